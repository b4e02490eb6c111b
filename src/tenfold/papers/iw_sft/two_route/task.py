"""Two routes to one goal, one of which fails half the time: the smallest task on which iw-SFT and SFT part.

A point mass starts at (0, 0) and has ``HORIZON`` steps of ``s += SPEED * clip(a, -1, 1)`` to come within
``GOAL_RADIUS`` of (0, 1). A wall at y = 0.5 can be crossed where |x| >= 0.25 only; elsewhere the step's y is lost.
Crossing on the left is fatal with probability one half. The scripted behaviour picks a side at random, so of its kept
trajectories two thirds went right: SFT copies that share and succeeds in 5 of 6 cases; the policy that maximises
success always goes right.

All episodes of a batch advance together; noise is keyed by (seed, purpose) and the episode's row.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from tenfold.core.seeding import numpy_generator
from tenfold.data.trajectories import TrajectoryDataset
from tenfold.papers.iw_sft.tasks import Act, ControlTask, acting
from tenfold.papers.iw_sft.two_route.config import TaskConfig

HORIZON, SPEED = 20, 0.12
WALL_Y, GAP_X, GOAL, GOAL_RADIUS = 0.5, 0.25, np.array([0.0, 1.0]), 0.3
LEFT_FAILS, ACTION_NOISE = 0.5, 0.3
NUM_PICTURED = 40
"""Episodes whose paths are drawn."""


@dataclass(frozen=True, eq=False)
class Episodes:
    """N episodes of the task.

    Args:
        data: observations (x, y, t/20), actions before clipping, mask (false after a fatal crossing), rewards
            (success at the end).
        positions: [N, HORIZON + 1, 2], for pictures.
        went_right: [N] whether the wall was crossed on the right; false where it was not crossed.
        distance: [N] final distance to the goal.
    """

    data: TrajectoryDataset
    positions: np.ndarray
    went_right: np.ndarray
    distance: np.ndarray


def load_task(config: TaskConfig, seed: int) -> ControlTask:
    """The task of a seed: its data, of which the successes are kept, and its test."""
    data = dataset(config.num_trajectories, seed, "train")
    num_episodes = {"test": config.num_test, "validation": config.num_validation, "pictures": NUM_PICTURED}

    def episodes(policy: nn.Module, split: str) -> Episodes:
        act = acting(policy, config.sample_actions, seed, split)
        return play(act, num_episodes[split], seed, split)

    def drawn_from(policy: nn.Module) -> dict[str, Any]:
        shown = episodes(policy, "pictures")
        tested = episodes(policy, "test")
        return {
            "paths": np.round(shown.positions, 3).tolist(),
            "success": shown.data.returns.astype(bool).tolist(),
            "share_right": float(tested.went_right.mean()),
        }

    return ControlTask(
        data=data,
        kept=np.flatnonzero(data.returns > 0),
        quality=graded_quality(data),
        play=lambda policy, split: episodes(policy, split).data.returns,
        drawn_from=drawn_from,
    )


def play(act: Act, num_episodes: int, *key: int | str) -> Episodes:
    """Run ``num_episodes`` at once; ``key`` decides which crossings on the left are fatal.

    Example:
        >>> episodes = play(lambda observations, step: np.zeros((len(observations), 2)), 5, 0, "demo")
        >>> episodes.data.returns.tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    fatal_left = numpy_generator(*key, "left gap").random(num_episodes) < LEFT_FAILS
    position = np.zeros((num_episodes, 2))
    alive, crossed = np.ones(num_episodes, dtype=bool), np.zeros(num_episodes, dtype=bool)
    went_right = np.zeros(num_episodes, dtype=bool)
    observations, actions, masks, positions = [], [], [], [position]
    for step in range(HORIZON):
        observation = observe(position, step)
        action = act(observation, step)
        observations.append(observation)
        actions.append(action)
        masks.append(alive)  # of before the step: the fatal one is part of the trajectory
        moved, crosses = _move(position, action)
        position = np.where(alive[:, None], moved, position)
        crosses &= alive
        went_right |= crosses & ~crossed & (position[:, 0] > 0)
        alive = alive & ~(crosses & (position[:, 0] < 0) & fatal_left)
        crossed |= crosses
        positions.append(position)
    distance = np.linalg.norm(position - GOAL, axis=1)
    success = alive & (position[:, 1] >= WALL_Y) & (distance <= GOAL_RADIUS)
    mask = np.stack(masks, 1)
    # The reward comes with the last step that happened, so that a sum over the mask is the return.
    rewards = np.zeros(mask.shape, dtype=np.float32)
    rewards[np.arange(num_episodes), mask.sum(1) - 1] = success
    data = TrajectoryDataset(
        np.stack(observations, 1).astype(np.float32),
        np.stack(actions, 1).astype(np.float32),
        mask,
        success.astype(np.float32),
        rewards,
    )
    return Episodes(data, np.stack(positions, 1), went_right, distance)


def observe(position: np.ndarray, step: int) -> np.ndarray:
    """(x, y, t/20) for each episode; [N, 3]."""
    return np.column_stack([position, np.full(len(position), step / HORIZON)])


def behaviour(num_episodes: int, *key: int | str) -> Act:
    """The scripted policy: a side at random for each episode; sideways, through the gap, to the goal; with noise."""
    generator = numpy_generator(*key, "behaviour")
    side = np.where(generator.random(num_episodes) < 0.5, -1.0, 1.0)
    noise = generator.normal(0.0, ACTION_NOISE, size=(HORIZON, num_episodes, 2))
    beside, behind = (np.column_stack([0.5 * side, np.full(num_episodes, y)]) for y in (0.2, 0.7))

    def act(observations: np.ndarray, step: int) -> np.ndarray:
        position = observations[:, :2]
        is_before_gap, is_below = np.abs(position[:, :1]) < 0.35, position[:, 1:] < WALL_Y + 0.05
        away = np.where(is_below, np.where(is_before_gap, beside, behind), GOAL) - position
        return away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), SPEED) + noise[step]

    return act


def dataset(num_trajectories: int, *key: int | str) -> TrajectoryDataset:
    """Trajectories of the scripted behaviour, with success as return.

    Example:
        >>> data = dataset(600, 0, "train")
        >>> bool(0.7 < data.returns.mean() < 0.8)
        True
    """
    return play(behaviour(num_trajectories, *key), num_trajectories, *key).data


def graded_quality(data: TrajectoryDataset) -> np.ndarray:
    """A score in [0, 1] for each trajectory: 0 for failures, and more for a success that spent less action.

    Success divided by one plus the mean squared action. It does not know that one route is riskier than the other.
    """
    effort = (np.square(data.actions).sum(-1) * data.mask).sum(-1) / data.mask.sum(-1)
    return data.returns / (1.0 + effort)


def _move(position: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The next position of each episode, and whether it crossed the wall upwards."""
    moved = position + SPEED * np.clip(action, -1, 1)
    changes_side = (position[:, 1] < WALL_Y) != (moved[:, 1] < WALL_Y)
    blocked = changes_side & (np.abs(moved[:, 0]) < GAP_X)
    moved[blocked, 1] = position[blocked, 1]
    return moved, changes_side & ~blocked & (moved[:, 1] >= WALL_Y)
