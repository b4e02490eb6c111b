"""Exponential averages of parameters: what lags behind the trained policy, value or model."""

import torch
from torch import Tensor

from tenfold.core.errors import UserError


def lagging_average(average: Tensor, current: Tensor, decay: float) -> Tensor:
    """average <- decay * average + (1 - decay) * current, taken after each step.

    Args:
        average: before the step, in float32 or float64, whatever the parameters have.
        current: the parameters after the step, in the same shape.
        decay: the share of itself that the average keeps; 0 gives the current parameters.

    Returns:
        The average after the step, in its own dtype.

    Raises:
        UserError: for an average in half precision, which would never move: a step of it is below its rounding.

    Example:
        >>> lagging_average(torch.tensor([1.0]), torch.tensor([3.0]), decay=0.75).item()
        1.5
    """
    if torch.finfo(average.dtype).bits < 32:
        raise UserError(f"average of {average.dtype}: it would never move; keep it in float32, as average.float()")
    return torch.lerp(current.to(average.dtype), average, decay)
