"""A control study as data and a test: what is learned from, what is kept of it, and how a policy is scored.

Two studies share this shape, so that a recipe treats them alike: the two-route task (score: share of successes) and a
Gymnasium environment (score: return between that of the worst and the best behaviour in the data).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tenfold.core.seeding import torch_generator
from tenfold.data.trajectories import TrajectoryDataset
from tenfold.papers.iw_sft import two_route
from tenfold.papers.iw_sft.config import Config

Play = Callable[[nn.Module, int, str], np.ndarray]
"""``(policy, number of episodes, split) -> score of each episode``."""


@dataclass(frozen=True, eq=False)
class ControlTask:
    """One control study with one seed.

    Args:
        data: all trajectories.
        kept: rows of the curated ones; a row may be there several times.
        quality: [N] scores >= 0 for drawing trajectories by quality.
        play: scores a policy, by the split's own noise.
        samples: ``policy -> plain data`` for pictures.
    """

    data: TrajectoryDataset
    kept: np.ndarray
    quality: np.ndarray
    play: Play
    samples: Callable[[nn.Module], dict]


def load_task(config: Config, seed: int) -> ControlTask:
    """The study's data, by seed, and its test."""
    if config.study == "two_route":
        return two_route_task(config, seed)
    from tenfold.papers.iw_sft.gym_control import gymnasium_task

    return gymnasium_task(config, seed)


def two_route_task(config: Config, seed: int) -> ControlTask:
    """The two-route task: successes are kept."""
    data = two_route.dataset(config.control.num_trajectories, seed, "train")

    def episodes(policy: nn.Module, num: int, split: str) -> two_route.Episodes:
        act = acting(policy, config.control.sample_actions, seed, split)
        return two_route.play(act, num, seed, split)

    def samples(policy: nn.Module) -> dict:
        shown = episodes(policy, 40, "pictures")
        played = episodes(policy, config.control.num_test, "test")
        return {
            "paths": np.round(shown.positions, 3).tolist(),
            "success": shown.data.returns.astype(bool).tolist(),
            "share_right": float(played.went_right.mean()),
        }

    return ControlTask(
        data=data,
        kept=np.flatnonzero(data.returns > 0),
        quality=two_route.graded_quality(data),
        play=lambda policy, num, split: episodes(policy, num, split).data.returns,
        samples=samples,
    )


def acting(policy: nn.Module, sample: bool, *key: int | str) -> two_route.Act:
    """A policy as ``(observations, step) -> actions``; sampled actions are keyed by ``key`` and the step."""
    device = next(policy.parameters()).device

    def act(observations: np.ndarray, step: int) -> np.ndarray:
        generator = torch_generator(*key, "actions", step) if sample else None
        return policy.act(torch.as_tensor(observations, dtype=torch.float32, device=device), generator).cpu().numpy()

    return act
