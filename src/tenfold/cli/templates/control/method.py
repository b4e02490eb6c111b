"""The idea of paper_name alone: a point in the plane, an expert that steers it, and cloning.

N episodes or states. Pure functions of tensors; nothing here reads files, logs or keeps state.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Act = Callable[[Tensor], Tensor]
"""Positions [N, 2] to actions [N, 2]."""
STEP = 0.2


def expert(positions_N2: Tensor) -> Tensor:
    """Towards the goal at the origin, at most one unit in each direction; [N, 2].

    Example:
        >>> expert(torch.tensor([[3.0, -0.5]])).tolist()
        [[-1.0, 0.5]]
    """
    return (-positions_N2).clamp(-1.0, 1.0)


def moved(positions_N2: Tensor, actions_N2: Tensor, wind_N2: Tensor) -> Tensor:
    """x ← x + 0.2 (a + w); [N, 2]."""
    return positions_N2 + STEP * (actions_N2 + wind_N2)


def played(act: Act, num: int, horizon: int, wind: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Episodes from random starts: the positions in which ``act`` was asked [N, T, 2], and the last ones [N, 2].

    Args:
        act: who steers.
        num: N.
        horizon: T.
        wind: its standard deviation.
        generator: of starts and wind.
    """
    positions_N2 = 4.0 * torch.rand(num, 2, generator=generator) - 2.0
    visited = []
    for _ in range(horizon):
        visited.append(positions_N2)
        wind_N2 = wind * torch.randn(num, 2, generator=generator)
        positions_N2 = moved(positions_N2, act(positions_N2), wind_N2)
    return torch.stack(visited, dim=1), positions_N2


def cloning_loss(said_N2: Tensor, shown_N2: Tensor) -> Tensor:
    """mean ‖π(x) − a‖².

    Example:
        >>> cloning_loss(torch.zeros(1, 2), torch.ones(1, 2)).item()
        2.0
    """
    return (said_N2 - shown_N2).square().sum(-1).mean()
