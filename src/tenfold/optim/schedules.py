"""Learning-rate schedules as pure functions of the step, so that resuming needs no scheduler state."""

import math


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
