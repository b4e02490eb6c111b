"""Kimi K2's learning rate from phase to phase (section 2.5), as data: warm-up, stable, decay (WSD), and two anneals.

A phase is a number of tokens, or of steps, that leads to a rate. In steps they are what :func:`tenfold.optim.phased`
takes. The report gives neither the shape of the anneal (linear here) nor the rate between its two phases (on the line).
Imports no torch, so that the ``paper`` preset can use it.
"""

from collections.abc import Sequence
from typing import NamedTuple


class TokenPhase(NamedTuple):
    """Part of a pre-training.

    Args:
        name: what it is called.
        steps: optimizer steps; 0 when ``tokens`` say how long it is.
        tokens: trained on; 0 when ``steps`` say how long it is.
        context: tokens of a window.
        shape: ``"linear"`` or ``"cosine"``, how the rate gets from the end of the phase before to ``end``.
        end: learning rate at its last step.
    """

    name: str
    steps: int
    tokens: float
    context: int
    shape: str
    end: float


BATCH_TOKENS = 16_384 * 4096
"""Tokens of a step: 67 M (section 2.5), as windows of 4096."""
PUBLISHED = (
    TokenPhase("warm-up", 500, 0, 4096, "linear", 2e-4),
    TokenPhase("stable", 0, 10e12, 4096, "linear", 2e-4),
    TokenPhase("decay", 0, 5.5e12, 4096, "cosine", 2e-5),
    TokenPhase("anneal", 0, 400e9, 4096, "linear", 2e-5 + (7e-6 - 2e-5) * 400 / 460),
    TokenPhase("anneal, long context", 0, 60e9, 32_768, "linear", 7e-6),
)
"""What the report publishes; YaRN to 128k follows without training."""


def in_steps(
    phases: Sequence[TokenPhase] = PUBLISHED, tokens_per_step: int = BATCH_TOKENS
) -> list[tuple[int, str, float]]:
    """The phases as ``(steps, shape, end)``, for :func:`tenfold.optim.phased` and ``wsd_schedule``.

    Args:
        phases: in their order.
        tokens_per_step: global batch, by which tokens become steps.

    Example:
        >>> [steps for steps, _, _ in in_steps()]
        [500, 149012, 81956, 5960, 894]
    """
    return [(phase.steps or round(phase.tokens / tokens_per_step), phase.shape, phase.end) for phase in phases]
