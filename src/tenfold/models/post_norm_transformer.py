"""A byte-level causal transformer with post-norm blocks, as a configuration that transformers loads as it is.

    model = causal_lm(post_norm_transformer_config(width=384, layers=16, heads=16), seed=0)

LayerNorm after each residual sum and none at the end, learned positions, ReLU in a feed-forward layer of four widths,
head and embedding apart: GPT-1's blocks, so transformers' class of that name is used. Its dropout lies on embeddings,
attention weights and residual branches. A token is a byte: no tokenizer.
"""

from typing import TYPE_CHECKING

from tenfold.core.errors import UserError

if TYPE_CHECKING:
    from transformers import OpenAIGPTConfig


def post_norm_transformer_config(
    width: int = 128, layers: int = 2, heads: int = 4, context: int = 64, vocab_size: int = 256, dropout: float = 0.0
) -> "OpenAIGPTConfig":
    """A byte-level model of about ``12 · layers · width²`` parameters.

    Args:
        width: of the residual stream; a multiple of ``heads``.
        layers: number of blocks.
        heads: attention heads.
        context: the longest window, for positions are learned.
        vocab_size: number of tokens.
        dropout: probability, in [0, 1).

    Raises:
        UserError: if a size is not positive, ``width`` is no multiple of ``heads``, or ``dropout`` is outside [0, 1).

    Example:
        >>> post_norm_transformer_config(width=64).afn
        'relu'
    """
    from transformers import OpenAIGPTConfig

    sizes = dict(width=width, layers=layers, heads=heads, context=context, vocab_size=vocab_size)
    for name, value in sizes.items():
        if value < 1:
            raise UserError(f"{name} = {value}: must be at least 1")
    if width % heads:
        raise UserError(f"width = {width}: must be a multiple of the {heads} heads")
    if not 0 <= dropout < 1:
        raise UserError(f"dropout = {dropout}: must lie in [0, 1)")
    return OpenAIGPTConfig(
        vocab_size=vocab_size,
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        afn="relu",
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
