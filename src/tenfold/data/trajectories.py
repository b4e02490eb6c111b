"""Trajectories of a control task as padded arrays, and the choices that offline learning makes among them.

A :class:`TrajectoryDataset` holds observations, actions, a mask and the undiscounted return of each trajectory. Files
in the layouts of D4RL and Minari are read by ``tenfold.data.trajectory_files``. Shapes: N trajectories, T steps (of the
longest), O observation and A action values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.core.errors import UserError


@dataclass(frozen=True, eq=False)
class TrajectoryDataset:
    """N trajectories, padded to the longest.

    Args:
        observations: float32 [N, T, O], the state in which each action was taken; zeros behind the end.
        actions: float32 [N, T, A].
        mask: bool [N, T], true for the steps that happened: a prefix of each row.
        returns: float32 [N], sum of rewards without discount.
        rewards: float32 [N, T], where a method needs them step by step.

    Raises:
        UserError: the shapes do not fit, nothing is there, a row has no step, or a number is not finite.

    Example:
        >>> mask, returns = np.ones((2, 3), dtype=bool), np.array([0.0, 1.0])
        >>> data = TrajectoryDataset(np.zeros((2, 3, 4)), np.zeros((2, 3, 1)), mask, returns)
        >>> len(data), data.take([1]).returns.tolist()
        (2, [1.0])
    """

    observations: np.ndarray
    actions: np.ndarray
    mask: np.ndarray
    returns: np.ndarray
    rewards: np.ndarray | None = None

    def __post_init__(self) -> None:
        N_T = self.mask.shape
        if self.mask.ndim != 2 or not all(N_T):
            raise UserError(f"mask has shape {N_T}; allowed: [trajectories, steps], at least one of each")
        named = {"observations": self.observations, "actions": self.actions, "rewards": self.rewards}
        for name, array in named.items():
            if array is not None and array.shape[:2] != N_T:
                raise UserError(f"{name} have shape {array.shape}; allowed: {list(N_T)} first, as the mask")
            if array is not None and not np.isfinite(array).all():
                raise UserError(f"{name} of trajectory {_first_bad_row(array)} are not finite")
        if self.returns.shape != N_T[:1] or not np.isfinite(self.returns).all():
            raise UserError(f"returns must be {N_T[0]} finite numbers, one for each trajectory")
        if not self.mask[:, 0].all():
            raise UserError(f"trajectory {int(np.argmin(self.mask[:, 0]))} has no step")

    def __len__(self) -> int:
        return len(self.returns)

    @property
    def num_steps(self) -> np.ndarray:
        """Length of each trajectory, [N]."""
        return self.mask.sum(1)

    def take(self, index: Sequence[int] | np.ndarray) -> "TrajectoryDataset":
        """The trajectories of ``index``, which may name one several times."""
        rows = np.asarray(index)
        rewards = None if self.rewards is None else self.rewards[rows]
        return TrajectoryDataset(
            self.observations[rows], self.actions[rows], self.mask[rows], self.returns[rows], rewards
        )


def from_episodes(
    episodes: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> TrajectoryDataset:
    """Pad ``(observations [T, O], actions [T, A], rewards [T])`` of different lengths to a dataset.

    Example:
        >>> one = (np.zeros((2, 3)), np.zeros((2, 1)), np.ones(2))
        >>> two = (np.zeros((5, 3)), np.zeros((5, 1)), np.ones(5))
        >>> data = from_episodes([one, two])
        >>> data.mask.sum(1).tolist(), data.returns.tolist()
        ([2, 5], [2.0, 5.0])
    """
    if not episodes:
        raise UserError("there are no trajectories; allowed: at least one")
    longest = max(len(rewards) for _, _, rewards in episodes)
    padded = [
        np.stack([_pad(np.asarray(episode[part], dtype=np.float32), longest) for episode in episodes])
        for part in range(3)
    ]
    lengths = np.array([len(rewards) for _, _, rewards in episodes])
    mask = np.arange(longest) < lengths[:, None]
    return TrajectoryDataset(padded[0], padded[1], mask, padded[2].sum(1), padded[2])


def nested_percentiles(returns: np.ndarray, percentiles: Sequence[float]) -> np.ndarray:
    """Rows whose return reaches each percentile, concatenated: the best are there once for each percentile.

    Args:
        returns: [N].
        percentiles: such as (90, 95, 98); then the top 2 % are there three times, the next 3 % twice.

    Returns:
        Indices into ``returns``.

    Example:
        >>> nested_percentiles(np.arange(10.0), (50, 80)).tolist()
        [5, 6, 7, 8, 9, 8, 9]
    """
    if not percentiles or not all(0 <= percentile < 100 for percentile in percentiles):
        raise UserError(f"percentiles = {tuple(percentiles)}: allowed: at least one number in [0, 100)")
    return np.concatenate([np.flatnonzero(returns >= np.percentile(returns, one)) for one in percentiles])


def quality_probabilities(quality: np.ndarray) -> np.ndarray:
    """Probabilities proportional to scores that are finite, not negative and not all 0; float64 [N].

    Raises:
        UserError: with the first row at fault.

    Example:
        >>> quality_probabilities(np.array([1.0, 3.0, 0.0])).tolist()
        [0.25, 0.75, 0.0]
    """
    scores = np.asarray(quality, dtype=np.float64)
    wrong = ~np.isfinite(scores) | (scores < 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(f"quality of row {row + 1} is {scores[row]}; allowed: finite numbers from 0 on")
    if not scores.any():
        raise UserError("quality is 0 in every row; allowed: at least one positive score")
    return scores / scores.sum()


def _pad(array: np.ndarray, length: int) -> np.ndarray:
    return np.pad(array, [(0, length - len(array))] + [(0, 0)] * (array.ndim - 1))


def _first_bad_row(array: np.ndarray) -> int:
    return int(np.argmin(np.isfinite(array).reshape(len(array), -1).all(1)))
