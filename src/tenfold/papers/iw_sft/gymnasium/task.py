"""A Gymnasium environment as a task: a data set of mixed qualities, as replay buffers are, and a policy's test.

A file in the layout of D4RL or Minari takes the place of generated data.
"""

from typing import Any

import numpy as np
from torch import nn

from tenfold.data.trajectories import TrajectoryDataset, from_episodes, nested_percentiles
from tenfold.data.trajectory_files import read_trajectories
from tenfold.papers.iw_sft.gymnasium.behaviours import QUALITIES, behaviours
from tenfold.papers.iw_sft.gymnasium.config import TaskConfig
from tenfold.papers.iw_sft.gymnasium.episodes import run_episodes
from tenfold.papers.iw_sft.tasks import ControlTask, acting

MOST_PICTURED = 50
"""Episodes whose returns are stored for pictures."""


def load_task(config: TaskConfig, seed: int) -> ControlTask:
    """The task of a seed: its data, of which the nested percentiles of the return are kept, and its test."""
    data, low, high = read_or_generate(config, seed)
    most_pictured = min(config.num_test, MOST_PICTURED)
    num_episodes = {"test": config.num_test, "validation": config.num_validation, "pictures": most_pictured}

    def play(policy: nn.Module, split: str) -> np.ndarray:
        act = acting(policy, config.sample_actions, seed, split)
        returns = run_episodes(config.env_id, act, num_episodes[split], seed, split).returns
        return (returns - low) / (high - low)

    def drawn_from(policy: nn.Module) -> dict[str, Any]:
        return {"returns": np.round(play(policy, "pictures"), 4).tolist()}

    # Above 0 in every row, so that the worst trajectory may be drawn, too.
    quality = data.returns - data.returns.min() + 1e-3 * max(np.ptp(data.returns), 1.0)
    kept = nested_percentiles(data.returns, config.percentiles)
    return ControlTask(data=data, kept=kept, quality=quality, play=play, drawn_from=drawn_from)


def read_or_generate(config: TaskConfig, seed: int) -> tuple[TrajectoryDataset, float, float]:
    """The data, and the returns that score 0 and 1."""
    low, high = config.score_low, config.score_high
    if config.file:
        assert low is not None and high is not None
        return read_trajectories(config.file), low, high
    data, levels = mixed_dataset(config.env_id, config.num_trajectories, seed)
    means = [float(data.returns[levels == level].mean()) for level in range(len(QUALITIES))]
    low = min(means) if low is None else low
    high = max(means) if high is None else high
    return data, low, high


def mixed_dataset(env_id: str, num_trajectories: int, *key: int | str) -> tuple[TrajectoryDataset, np.ndarray]:
    """Trajectories of behaviours of four qualities, and each trajectory's level [N].

    Args:
        env_id: an environment with bounded continuous actions.
        num_trajectories: N, shared out evenly.
        key: of starts, noise and search.
    """
    counts = [len(part) for part in np.array_split(np.arange(num_trajectories), len(QUALITIES))]
    episodes = []
    for level, (behaviour, count) in enumerate(zip(behaviours(env_id, *key), counts, strict=True)):
        played = run_episodes(env_id, behaviour, count, *key, f"level {level}")
        assert played.rewards is not None
        for row, happened in enumerate(played.mask):
            of_row = (played.observations[row], played.actions[row], played.rewards[row])
            episodes.append(tuple(array[happened] for array in of_row))
    return from_episodes(episodes), np.repeat(np.arange(len(QUALITIES)), counts)
