"""A causal transformer over bytes for small experiments, as a configuration that transformers loads as it is.

    model = AutoModelForCausalLM.from_config(byte_transformer_config(width=128, layers=2, heads=4))

RMSNorm before each part, rotary positions, multi-head attention without query-key norms, a feed-forward layer of
four widths with GELU and without a gate, no biases, head and embedding apart, weights from N(0, 0.02). Of transformers'
classes it is Arcee's that has just these parts, with ``gelu`` for its squared ReLU. A token is a byte: no tokenizer.
"""

from typing import TYPE_CHECKING

from tenfold.core.errors import UserError

if TYPE_CHECKING:
    from transformers import ArceeConfig


def byte_transformer_config(
    width: int = 128, layers: int = 2, heads: int = 4, context: int = 64, vocab_size: int = 256
) -> "ArceeConfig":
    """A byte-level model of about ``12 · layers · width²`` parameters.

    Args:
        width: of the residual stream; a multiple of ``2 * heads``, for rotary positions turn pairs.
        layers: number of blocks.
        heads: attention heads.
        context: the longest window that the model is meant for.
        vocab_size: number of tokens; 256 for all bytes, 128 for text clamped to ASCII.

    Raises:
        UserError: if a size is not positive, or ``width`` is no multiple of ``2 * heads``.

    Example:
        >>> byte_transformer_config(width=64).intermediate_size
        256
    """
    from transformers import ArceeConfig

    sizes = dict(width=width, layers=layers, heads=heads, context=context, vocab_size=vocab_size)
    for name, value in sizes.items():
        if value < 1:
            raise UserError(f"{name} = {value}: must be at least 1")
    if width % (2 * heads):
        raise UserError(f"width = {width}: must be a multiple of twice the {heads} heads")
    return ArceeConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        hidden_act="gelu",
        max_position_embeddings=context,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
