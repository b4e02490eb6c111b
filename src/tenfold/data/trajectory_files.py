"""Reads offline control data in the layouts of D4RL and Minari as a :class:`TrajectoryDataset`.

D4RL (v2): one HDF5 file with ``observations``, ``actions``, ``rewards``, ``terminals`` and ``timeouts``, all
trajectories one after the other; what follows the last end is a trajectory, too. Minari: ``main_data.hdf5`` with a
group ``episode_k`` for each trajectory, whose ``observations`` have one row more than its ``actions``. Reading needs
h5py (the extra ``control``); the functions that cut arrays to trajectories need nothing.
"""

import importlib.util
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.extras import advice
from tenfold.data.trajectories import TrajectoryDataset, from_episodes

D4RL_KEYS = ("observations", "actions", "rewards", "terminals")


def read_trajectories(path: str | Path) -> TrajectoryDataset:
    """Read an HDF5 file of either layout.

    Raises:
        UserError: h5py or the file is missing, it is not HDF5, or it has neither layout.
    """
    if importlib.util.find_spec("h5py") is None:
        raise UserError(f"{path}: reading HDF5 needs h5py: {advice('control')}")
    import h5py

    if not Path(path).is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        with h5py.File(path, "r") as stored:
            return from_minari(stored) if _episode_names(stored) else from_d4rl(stored)
    except OSError as error:
        raise UserError(f"{path}: not an HDF5 file ({error})") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def from_d4rl(stored: Mapping[str, Any]) -> TrajectoryDataset:
    """Cut flat arrays at ``terminals`` and ``timeouts``.

    Args:
        stored: the arrays by name (an open HDF5 file, or a dictionary).

    Raises:
        UserError: an array is missing or has another length.

    Example:
        >>> flat = {"observations": np.zeros((5, 2)), "actions": np.zeros((5, 1)), "rewards": np.ones(5),
        ...         "terminals": [0, 1, 0, 0, 0], "timeouts": [0, 0, 0, 1, 0]}
        >>> from_d4rl(flat).returns.tolist()
        [2.0, 2.0, 1.0]
    """
    missing = [name for name in D4RL_KEYS if name not in stored]
    if missing:
        raise UserError(
            f"has no {', '.join(missing)}; allowed: D4RL's arrays {', '.join(D4RL_KEYS)}, or Minari's groups"
        )
    arrays = {name: np.asarray(stored[name]) for name in D4RL_KEYS}
    length = len(arrays["rewards"])
    arrays["timeouts"] = np.asarray(stored["timeouts"]) if "timeouts" in stored else np.zeros(length)
    for name, array in arrays.items():
        if len(array) != length:
            raise UserError(f"{name} has {len(array)} rows, rewards has {length}; allowed: equal numbers")
    ends = np.flatnonzero(arrays["terminals"].astype(bool) | arrays["timeouts"].astype(bool)) + 1
    bounds = [0, *ends.tolist()] + ([length] if not len(ends) or ends[-1] < length else [])
    return from_episodes(
        [(arrays["observations"][a:b], arrays["actions"][a:b], arrays["rewards"][a:b]) for a, b in pairwise(bounds)]
    )


def from_minari(stored: Mapping[str, Any]) -> TrajectoryDataset:
    """One trajectory for each group ``episode_k``; the observation after the last action is dropped.

    Raises:
        UserError: there is no such group, or one lacks an array or has a wrong number of observations.

    Example:
        >>> episode = {"observations": np.zeros((4, 2)), "actions": np.zeros((3, 1)), "rewards": np.ones(3)}
        >>> from_minari({"episode_0": episode}).returns.tolist()
        [3.0]
    """
    names = _episode_names(stored)
    if not names:
        raise UserError("has no group episode_0; allowed: Minari's groups episode_0, episode_1, …")
    episodes = []
    for name in names:
        missing = [part for part in ("observations", "actions", "rewards") if part not in stored[name]]
        if missing:
            raise UserError(f"{name} has no {', '.join(missing)}; allowed: observations, actions and rewards")
        observations, actions, rewards = (np.asarray(stored[name][p]) for p in ("observations", "actions", "rewards"))
        if len(observations) != len(actions) + 1 or len(rewards) != len(actions):
            raise UserError(
                f"{name} has {len(observations)} observations, {len(actions)} actions and {len(rewards)} rewards; "
                "allowed: one observation more than actions, as many rewards"
            )
        episodes.append((observations[:-1], actions, rewards))
    return from_episodes(episodes)


def _episode_names(stored: Mapping[str, Any]) -> list[str]:
    """The names of the episodes' groups, in the order of their numbers."""
    names = [name for name in stored if re.fullmatch(r"episode_\d+", name)]
    return sorted(names, key=lambda name: int(name.split("_")[1]))
