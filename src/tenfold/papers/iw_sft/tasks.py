"""A control study's task as data and a test: what is learned from, what is kept of it, how a policy is scored.

Both studies have this shape, so that what is done with it is written once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.core.seeding import torch_generator
from tenfold.data.trajectories import TrajectoryDataset

Act = Callable[[np.ndarray, int], np.ndarray]
"""``(observations [N, O], step) -> actions [N, A]``."""
Play = Callable[[nn.Module, str], np.ndarray]
"""``(policy, split) -> score of each episode``; the splits are ``test`` and ``validation``."""


@dataclass(frozen=True, eq=False)
class ControlTask:
    """The task of one study with one seed.

    Args:
        data: all trajectories.
        kept: rows of the curated ones; a row may be there several times.
        quality: [N] scores >= 0 for drawing trajectories by quality.
        play: scores a policy, by the split's own noise.
        drawn_from: ``policy -> plain data`` for pictures.
    """

    data: TrajectoryDataset
    kept: np.ndarray
    quality: np.ndarray
    play: Play
    drawn_from: Callable[[nn.Module], dict[str, Any]]


def acting(policy: nn.Module, sample: bool, *key: int | str) -> Act:
    """A policy as ``(observations, step) -> actions``; sampled actions are keyed by ``key`` and the step."""
    device = next(policy.parameters()).device
    choose: Callable[..., Tensor] = cast(Any, policy).act

    def act(observations: np.ndarray, step: int) -> np.ndarray:
        generator = torch_generator(*key, "actions", step) if sample else None
        seen = torch.as_tensor(observations, dtype=torch.float32, device=device)
        return choose(seen, generator).cpu().numpy()

    return act
