"""Exponential averages of parameters: what lags behind the trained policy, value or model."""

import torch
from torch import Tensor


def lagging_average(average: Tensor, current: Tensor, decay: float) -> Tensor:
    """average <- decay * average + (1 - decay) * current, taken after each step.

    Args:
        average: before the step.
        current: the parameters after the step, in the same shape.
        decay: the share of itself that the average keeps; 0 gives the current parameters.

    Example:
        >>> lagging_average(torch.tensor([1.0]), torch.tensor([3.0]), decay=0.75).item()
        1.5
    """
    return torch.lerp(current, average, decay)
