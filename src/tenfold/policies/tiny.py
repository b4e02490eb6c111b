"""Policies small enough to learn a task from scratch on a CPU in minutes: a Llama over characters, no downloads.

The tokenizer is made in code: every character of the alphabet is a token, and so is every tag such as ``<think>``, so
that opening and closing a block is one decision each. Both parts are ordinary objects of transformers: they save,
load, train and generate like any other.
"""

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed
from tenfold.models.feed_forward import inner_width
from tenfold.policies.policy import Policy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ASCII = string.digits + string.ascii_letters + string.punctuation + " \n"
ROLES = ("system", "user", "assistant", "tool")
PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"

# An assistant's message ends with <eos>; `generation` marks what a trainer of the assistant's words may learn.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def character_tokenizer(alphabet: str = ASCII, special: Sequence[str] = ()) -> "PreTrainedTokenizerFast":
    """A tokenizer with one token for each character and one for each special string.

    Nothing is added to a text when it is encoded. Of the special tokens only padding, beginning, end, unknown and the
    roles of the chat template are dropped by ``skip_special_tokens``; ``special`` is part of what a policy says, and
    is kept.

    Args:
        alphabet: the characters, each once.
        special: strings that are one token each, such as ``<think>``; longer than a character.

    Raises:
        UserError: if a character or a special string is there twice, or a special string is too short.

    Example:
        >>> tokenizer = character_tokenizer("0123456789+=", special=("<answer>", "</answer>"))
        >>> tokenizer.tokenize("1+2=<answer>3</answer>")
        ['1', '+', '2', '=', '<answer>', '3', '</answer>']
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    names = [PAD, BOS, EOS, UNKNOWN, *(f"<|{role}|>" for role in ROLES)]
    _check_alphabet(alphabet, special, names)
    pieces = [*names, *special, *alphabet]
    # Byte pairs without a single merge: characters. Without a decoder that fuses, they would be joined by spaces.
    model = models.BPE({piece: index for index, piece in enumerate(pieces)}, [], unk_token=UNKNOWN)
    backend = Tokenizer(model)
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    backend.add_tokens([AddedToken(name, normalized=False, special=False) for name in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def tiny_policy(
    alphabet: str = ASCII,
    special: Sequence[str] = (),
    *,
    tokenizer: "PreTrainedTokenizerFast | None" = None,
    width: int = 128,
    layers: int = 4,
    heads: int = 4,
    context: int = 256,
    seed: int = 0,
    neighbours: bool = False,
) -> Policy:
    """A Llama with fresh weights, in float32 on the CPU; about ``12 · layers · width²`` parameters.

    Args:
        alphabet: of the :func:`character_tokenizer`.
        special: of the :func:`character_tokenizer`.
        tokenizer: in place of alphabet and special.
        width: of the residual stream; a multiple of ``2 * heads``, for rotary positions turn pairs.
        layers: number of blocks.
        heads: attention heads.
        context: most tokens of prompt and completion.
        seed: of the weights.
        neighbours: begin with a layer that adds to each token what stands before it, beside ``layers``: things are then
            looked up by their neighbours early, see :mod:`tenfold.models.neighbour_llama`.

    Raises:
        UserError: if a size is not positive, or ``width`` is no multiple of ``2 * heads``.

    Example:
        >>> policy = tiny_policy("0123456789+=", special=("<answer>", "</answer>"), width=64, layers=2, heads=2)
        >>> policy.num_parameters
        102080
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    from tenfold.models.neighbour_llama import NeighbourLlamaConfig, NeighbourLlamaForCausalLM

    for name, value in dict(width=width, layers=layers, heads=heads, context=context).items():
        if value < 1:
            raise UserError(f"{name} = {value}: must be at least 1")
    if width % (2 * heads):
        raise UserError(f"width = {width}: must be a multiple of twice the {heads} heads")
    tokenizer = tokenizer or character_tokenizer(alphabet, special)
    config_type: type[LlamaConfig] = NeighbourLlamaConfig if neighbours else LlamaConfig
    model_type: type[LlamaForCausalLM] = NeighbourLlamaForCausalLM if neighbours else LlamaForCausalLM
    config = config_type(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=inner_width(width, 4, multiple=8),
        num_hidden_layers=layers + neighbours,
        num_attention_heads=heads,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key_to_seed(seed, "weights"))
        model = model_type(config)
    return Policy(model.eval(), tokenizer)


def _check_alphabet(alphabet: str, special: Sequence[str], names: Sequence[str]) -> None:
    if not alphabet:
        raise UserError("alphabet = '': must have at least one character")
    if twice := sorted({letter for letter in alphabet if alphabet.count(letter) > 1}):
        raise UserError(f"alphabet = {alphabet!r}: has {twice[0]!r} twice")
    for name in special:
        if len(name) < 2 or name in names or list(special).count(name) > 1:
            raise UserError(f"special = {name!r}: must be longer than a character, there once, and none of {names}")
