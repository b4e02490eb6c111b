"""How much a video differs from what a model expected of it, and whether the impossible one surprises more.

Section "Intuitive physics" of arXiv 2507.19468: surprise is the mean absolute error between predicted and encoded
features along the video. How many frames of context are seen, and how errors are joined over time, is ours: a sliding
context, mean and maximum.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tenfold.core.errors import UserError
from tenfold.papers.dino_world.method import Predictor

Expect = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(x [B, T, H, W, D], tau [B, T], tau_q [B, 1]) -> [B, 1, H, W, D]``: what is expected at the next frame's time."""


@torch.no_grad()
def surprise(expect: Expect, x_BTHWD: Tensor, tau_BT: Tensor, context: int) -> Tensor:
    """mean |expected - encoded| of each frame from the second on, [B, T-1].

    Args:
        expect: a predictor's ``predict``, or :func:`copy_last`.
        x_BTHWD: encoded frames.
        tau_BT: their seconds.
        context: most frames before each that are seen.

    Raises:
        UserError: the video has one frame, or the context none.
    """
    if x_BTHWD.shape[1] < 2 or context < 1:
        raise UserError(
            f"a video of {x_BTHWD.shape[1]} frame(s) with context = {context}: surprise needs two frames and one to see"
        )
    errors = []
    for frame in range(1, x_BTHWD.shape[1]):
        seen = slice(max(0, frame - context), frame)
        expected = expect(x_BTHWD[:, seen], tau_BT[:, seen], tau_BT[:, frame : frame + 1])
        errors.append((expected[:, 0] - x_BTHWD[:, frame]).abs().mean((1, 2, 3)))
    return torch.stack(errors, dim=1)


def copy_last(x_BTHWD: Tensor, tau_BT: Tensor, tau_BQ: Tensor) -> Tensor:
    """Expects that nothing changes: the last frame for every asked time."""
    return x_BTHWD[:, -1:].expand(-1, tau_BQ.shape[1], -1, -1, -1)


def expectation_of(model: Predictor) -> Expect:
    """A model's one-call prediction."""
    return model.predict


def relative_accuracy(possible_N: Tensor, impossible_N: Tensor) -> float:
    """The share of pairs whose impossible video surprises more; a tie counts half.

    Example:
        >>> relative_accuracy(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0]))
        0.75
    """
    return float(((impossible_N > possible_N).float() + 0.5 * (impossible_N == possible_N).float()).mean())
