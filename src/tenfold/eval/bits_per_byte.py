"""How many bits a model needs for each byte of a text: the cross-entropy in base 2.

Any causal language model of transformers whose tokens are bytes will do. Both functions speak of the tokens *after
the first*: column t of a table of bits is the cost of token t + 1 given tokens 0..t. The first token of a window has
nothing before it; no predictor that has not seen the source can do better than 8 bits there, so it is left out of
every mean, here and for the rivals in ``eval.markov`` alike.

Letters in shapes: N windows, L tokens in a window, T = L - 1.
"""

import math
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UserError

Positions = Literal["last", "all", "second_half"]
"""Which tokens of a window count: the last one, all but the first, or those from L // 2 on."""


@torch.no_grad()
def token_bits(model: nn.Module, tokens_NL: Tensor, *, batch_size: int = 64) -> Tensor:
    """The bits that each token costs, -log2 p(token | tokens before it in the window).

    Args:
        model: a causal language model: ``model(input_ids=…).logits`` is [N, L, vocabulary]. It is evaluated where it
            is, without dropout, and left in the mode it was in.
        tokens_NL: [N, L] integers, L at least 2.
        batch_size: windows in one forward pass.

    Returns:
        [N, L - 1] float64, on the CPU.

    Raises:
        UserError: for tokens of another shape.

    Example:
        >>> from transformers import AutoModelForCausalLM
        >>> from tenfold.models import byte_transformer_config
        >>> model = AutoModelForCausalLM.from_config(byte_transformer_config(width=32, layers=1, heads=2))
        >>> bits = token_bits(model, torch.randint(256, (4, 16)))
        >>> tuple(bits.shape), abs(bits.mean().item() - 8) < 0.05  # untrained: as good as a uniform guess
        ((4, 15), True)
    """
    if tokens_NL.ndim != 2 or tokens_NL.shape[1] < 2:
        raise UserError(f"tokens have the shape {tuple(tokens_NL.shape)}, but it must be [windows, at least 2 tokens].")
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        parts = [_batch_bits(model, batch.to(device).long()).cpu() for batch in tokens_NL.split(batch_size)]
    finally:
        for module, training in modes.items():
            module.training = training
    return torch.cat(parts)


def bits_per_byte(token_bits_NT: ArrayLike, positions: Positions = "all") -> tuple[float, float]:
    """The mean over windows and its standard error.

    A window counts as one observation, whatever the number of its tokens: they depend on each other. Windows that
    overlap do too, and then the standard error is too small.

    Args:
        token_bits_NT: [N, L - 1] bits, from :func:`token_bits` or a Markov model.
        positions: which tokens count.

    Returns:
        Bits per byte, and the standard error, which is nan for a single window.

    Raises:
        UserError: for an unknown name of positions or an empty table.

    Example:
        >>> bits_per_byte([[4.0, 2.0, 1.0], [4.0, 4.0, 3.0]], "second_half")
        (2.5, 1.0)
    """
    if isinstance(token_bits_NT, Tensor):
        token_bits_NT = token_bits_NT.detach().cpu()
    bits_NT = np.asarray(token_bits_NT, dtype=np.float64)
    if bits_NT.ndim != 2 or not bits_NT.size:
        raise UserError(
            f"token_bits have the shape {bits_NT.shape}, but it must be [windows, tokens], at least one each."
        )
    means_N = bits_NT[:, first_counted(bits_NT.shape[1], positions) :].mean(axis=1)
    error = means_N.std(ddof=1) / math.sqrt(len(means_N)) if len(means_N) > 1 else math.nan
    return float(means_N.mean()), float(error)


def first_counted(num_columns: int, positions: Positions) -> int:
    """The first column that counts in a table of bits of L - 1 columns; all later ones do too.

    Example:
        >>> [first_counted(127, name) for name in ("all", "second_half", "last")]  # windows of 128 tokens
        [0, 63, 126]
    """
    firsts = {"all": 0, "second_half": num_columns // 2, "last": num_columns - 1}
    if positions not in firsts:
        raise UserError(f"positions is {positions!r}, but it must be one of {', '.join(get_args(Positions))}.")
    return firsts[positions]


def _batch_bits(model: nn.Module, tokens_NL: Tensor) -> Tensor:
    logits_NTV = model(input_ids=tokens_NL, use_cache=False).logits[:, :-1].float()  # bf16 cannot hold a cross-entropy
    nats = F.cross_entropy(logits_NTV.flatten(0, 1), tokens_NL[:, 1:].flatten(), reduction="none")
    return nats.view(len(tokens_NL), -1).double() / math.log(2)
