"""Learning-rate schedules as pure functions of the step, so that resuming needs no scheduler state."""

import math
from collections.abc import Callable, Sequence

import torch

from tenfold.core.errors import UserError


def warmup_cosine(step: int, *, total_steps: int, warmup_steps: int, floor: float = 1.0) -> float:
    """Factor on the learning rate: linear warm-up, then a cosine from 1 to ``floor``.

    step/warmup up to the warm-up's end; then floor + (1 - floor) · (1 + cos(π · progress)) / 2. With floor 1 the rate
    is constant after the warm-up.

    Args:
        step: from 1.
        total_steps: at which the cosine reaches ``floor``.
        warmup_steps: 0 for none.
        floor: final factor, in [0, 1].

    Raises:
        ValueError: if ``step`` is below 1 or ``floor`` is outside [0, 1].

    Example:
        >>> warmup_cosine(1, total_steps=10_000, warmup_steps=2000)
        0.0005
    """
    if step < 1:
        raise ValueError(f"step = {step}: the first step is 1")
    if not 0 <= floor <= 1:
        raise ValueError(f"floor = {floor}: must lie in [0, 1]")
    if step < warmup_steps:
        return step / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: progress,
    "cosine": lambda progress: 0.5 * (1 - math.cos(math.pi * progress)),
}

Phase = tuple[int, str, float]  # number of steps, shape, value at the end


def phased(step: int, *, phases: Sequence[Phase], start: float = 0.0) -> float:
    """A value that goes from phase to phase, such as warm-up, stable, decay (WSD) and anneal.

    Each phase leads from the end of the one before to its own end, which it reaches exactly at its last step; a stable
    phase ends where it began. After the last phase the value stays.

    Args:
        step: from 0 (``start`` itself); with a learning rate the first optimizer step is 1.
        phases: ``(steps, "linear" or "cosine", end)``.
        start: value before the first step.

    Raises:
        UserError: if there are no phases, or one has no steps or an unknown shape.

    Example:
        >>> kimi_k2 = [(500, "linear", 2e-4), (149_000, "linear", 2e-4), (82_000, "cosine", 2e-5)]
        >>> [phased(step, phases=kimi_k2) for step in (250, 500, 100_000, 231_500)]
        [0.0001, 0.0002, 0.0002, 2e-05]
    """
    if not phases:
        raise UserError("phases = []: at least one is needed")
    for length, shape, end in phases:
        if length < 1 or shape not in SHAPES:
            raise UserError(f"phase ({length}, {shape!r}, {end}): needs at least 1 step and a shape of {list(SHAPES)}")
        if step < length:
            return start + (end - start) * SHAPES[shape](step / length)
        step -= length
        start = end
    return start


def wsd_schedule(
    optimizer: torch.optim.Optimizer, phases: Sequence[Phase], start: float = 0.0
) -> torch.optim.lr_scheduler.LambdaLR:
    """A scheduler whose factor on each group's rate is :func:`phased`, from step 1 at the first optimizer step.

    Example:
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        >>> scheduler = wsd_schedule(optimizer, [(2, "linear", 1.0), (3, "linear", 1.0), (2, "cosine", 0.1)])
        >>> scheduler.get_last_lr()
        [0.25]
    """
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: phased(step + 1, phases=phases, start=start))
