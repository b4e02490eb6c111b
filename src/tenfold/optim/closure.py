"""The closure that ``torch.optim.Optimizer.step`` may be given, in one place for all optimizers of this layer."""

from collections.abc import Callable
from typing import Any

import torch


def loss_of(closure: Callable[[], Any] | None) -> Any:
    """What ``closure`` returns, run with gradient although ``step`` itself runs without; ``None`` without a closure.

    Example:
        >>> loss_of(None) is None, loss_of(torch.is_grad_enabled)
        (True, True)
    """
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
