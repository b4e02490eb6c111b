"""How a token is drawn, with noise that is a function of (seed, trajectory, position) and of nothing else.

A draw inverts the distribution function: with u uniform on [0, 1), the token is the first one whose cumulative
probability exceeds u. So a draw needs one number, not one per entry of the vocabulary, and u is position number t of
the SplitMix64 stream (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) that starts at
the hash of the trajectory's key. What else is in the batch, its padding and its order change nothing but the rounding
of the logits.

Shapes: B rows, V tokens of the vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tenfold.core.errors import UserError
from tenfold.core.seeding import Key, key_to_seed

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True)
class Sampling:
    """How to sample a completion.

    Args:
        max_new_tokens: most tokens that the policy samples, over all turns.
        temperature: logits are divided by it; 0 takes the most likely token.
        top_p: keep the smallest set of most likely tokens whose probability reaches it; 1 keeps all.
        stop: strings that end a turn; see :mod:`tenfold.policies.stopping` for the exact meaning.
        count_replies: the replies of an environment use up ``max_new_tokens`` too, which then limits the whole
            completion. A reply that leaves no room for another token is left out, and the trajectory ends there.

    Raises:
        UserError: if a value is out of range.

    Example:
        >>> Sampling(max_new_tokens=20, stop=("</answer>",)).temperature
        1.0
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    count_replies: bool = False

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens = {self.max_new_tokens}: must be at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature = {self.temperature}: must be finite and not negative (0 is greedy)")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p = {self.top_p}: must be above 0 and at most 1")
        if isinstance(self.stop, str) or not all(isinstance(text, str) and text for text in self.stop):
            raise UserError(f"stop = {self.stop!r}: must be a tuple of non-empty strings")


def trajectory_seed(seed: int, *key: Key) -> int:
    """Where the stream of one trajectory starts; its key is what tells it from the other trajectories."""
    return key_to_seed(seed, "rollout", *key)


def uniforms(seeds_B: np.ndarray, positions_B: np.ndarray) -> np.ndarray:
    """One number in [0, 1) for each (trajectory, position), float64 [B].

    They have 40 bits: enough to tell probabilities of 1e-12, and u · total stays below total after rounding.

    Args:
        seeds_B: uint64 [B], from :func:`trajectory_seed`.
        positions_B: uint64 [B], the index of the token within its completion.

    Example:
        >>> uniforms(np.array([1, 1, 2], dtype=np.uint64), np.array([0, 5, 0], dtype=np.uint64)).round(3)
        array([0.567, 0.763, 0.591])
    """
    state_B = seeds_B + (positions_B + np.uint64(1)) * _GOLDEN
    state_B = (state_B ^ (state_B >> np.uint64(30))) * _MIX[0]
    state_B = (state_B ^ (state_B >> np.uint64(27))) * _MIX[1]
    return ((state_B ^ (state_B >> np.uint64(31))) >> np.uint64(24)) * 2.0**-40


def draw(logits_BV: Tensor, uniforms_B: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> tuple[Tensor, Tensor]:
    """A token for each row, int64 [B], and its log-probability, float32 [B].

    The log-probability is that of ``softmax(logits / temperature)`` before top-p; at temperature 0 that of
    ``softmax(logits)``.

    Args:
        logits_BV: any floating dtype.
        uniforms_B: float64 in [0, 1), not used at temperature 0.
        temperature: see :class:`Sampling`.
        top_p: see :class:`Sampling`.

    Example:
        >>> tokens, log_probs = draw(torch.zeros(2, 4), torch.tensor([0.3, 0.9], dtype=torch.float64))
        >>> tokens.tolist(), log_probs.exp().tolist()
        ([1, 3], [0.25, 0.25])
    """
    log_probs_BV = (logits_BV.float() / (temperature or 1.0)).log_softmax(-1)
    if temperature == 0:
        tokens_B1 = log_probs_BV.argmax(-1, keepdim=True)
    elif top_p == 1:
        tokens_B1 = _invert(log_probs_BV.exp(), uniforms_B)
    else:
        probs_BV, order_BV = log_probs_BV.exp().sort(dim=-1, descending=True, stable=True)
        before_BV = probs_BV.cumsum(-1) - probs_BV
        probs_BV = probs_BV.masked_fill(before_BV >= top_p, 0.0)
        tokens_B1 = order_BV.gather(1, _invert(probs_BV, uniforms_B))
    return tokens_B1.squeeze(1), log_probs_BV.gather(1, tokens_B1).squeeze(1)


def _invert(probs_BV: Tensor, uniforms_B: Tensor) -> Tensor:
    """The first token of each row whose cumulative probability exceeds u times the total, int64 [B, 1]."""
    cumulative_BV = probs_BV.cumsum(-1, dtype=torch.float64)
    levels_B1 = uniforms_B[:, None] * cumulative_BV[:, -1:]
    # Not a number anywhere gives an index past the end; the caller sees it in the log-probability.
    return torch.searchsorted(cumulative_BV, levels_B1, right=True).clamp_(max=probs_BV.shape[-1] - 1)
