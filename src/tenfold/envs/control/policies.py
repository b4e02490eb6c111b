"""Scripted policies of several qualities, whose recordings models learn from: what data came from is part of a result.

``random`` draws every action anew, ``smooth`` changes it a little at a time, so that the dot gets somewhere, and
``expert`` goes to a place that is drawn for it, through the door of a wall world, with some noise.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from tenfold.core.errors import UserError
from tenfold.envs.control.worlds import ACTION_DIM, PixelWorld

ScriptedControl = Literal["random", "smooth", "expert"]
POLICIES: tuple[ScriptedControl, ...] = ("random", "smooth", "expert")


def scripted_actions(
    quality: ScriptedControl, generator: np.random.Generator, persistence: float = 0.7, noise: float = 0.3
) -> Callable[[PixelWorld], np.ndarray]:
    """A policy: worlds to actions [N, 2] in [-1, 1].

    Args:
        quality: see the module.
        generator: of all that is drawn.
        persistence: of ``smooth``, how much of its last action it keeps.
        noise: of ``expert``, deviation of what is added to its actions.

    Raises:
        UserError: there is no such policy.

    Example:
        >>> from tenfold.envs.control.worlds import WallWorld
        >>> world = WallWorld(4, np.random.default_rng(0))
        >>> scripted_actions("smooth", np.random.default_rng(1))(world).shape
        (4, 2)
    """
    if quality == "random":
        return lambda world: _uniform(generator, len(world.positions))
    if quality == "smooth":
        return _Smooth(generator, persistence)
    if quality == "expert":
        return _Expert(generator, noise)
    raise UserError(f"quality = {quality}: allowed: {', '.join(POLICIES)}")


def smooth_plans(generator: np.random.Generator, num: int, horizon: int, persistence: float = 0.7) -> np.ndarray:
    """Action sequences of the smooth policy, [num, horizon, 2]."""
    actions = [_uniform(generator, num)]
    for _ in range(horizon - 1):
        actions.append(_next_smooth(actions[-1], generator, persistence))
    return np.stack(actions, axis=1)


class _Smooth:
    def __init__(self, generator: np.random.Generator, persistence: float) -> None:
        self.generator, self.persistence = generator, persistence
        self.last: np.ndarray | None = None

    def __call__(self, world: PixelWorld) -> np.ndarray:
        if self.last is None:
            self.last = _uniform(self.generator, len(world.positions))
        else:
            self.last = _next_smooth(self.last, self.generator, self.persistence)
        return self.last


class _Expert:
    def __init__(self, generator: np.random.Generator, noise: float) -> None:
        self.generator, self.noise = generator, noise
        self.goals: np.ndarray | None = None

    def __call__(self, world: PixelWorld) -> np.ndarray:
        if self.goals is None:
            self.goals = world.arenas.free_places(self.generator)
        towards = _way_point(world, self.goals) - world.positions
        wanted = towards / np.maximum(np.abs(towards).max(-1, keepdims=True), 4.6)
        return np.clip(wanted + self.noise * self.generator.normal(size=wanted.shape), -1, 1)


def _way_point(world: PixelWorld, goals_N2: np.ndarray) -> np.ndarray:
    """The goal, or, where the wall of a wall world is in between, first the door's near side and then its far side."""
    walls = world.arenas.walls
    if walls.shape[1] != 2:
        return goals_N2
    middle, door = (walls[:, 0, 0] + walls[:, 0, 2]) / 2, (walls[:, 0, 3] + walls[:, 1, 1]) / 2
    half = (walls[:, 0, 2] - walls[:, 0, 0]) / 2 + world.arenas.radius + 0.5
    here, there = world.positions[:, 0] - middle, goals_N2[:, 0] - middle
    in_door = (np.abs(here) < half) & (np.abs(world.positions[:, 1] - door) < 0.6 * (walls[:, 1, 1] - walls[:, 0, 3]))
    at_door = in_door | (np.abs(world.positions[:, 1] - door) < 1.5) & (np.abs(here) < half + 3)
    across = middle + np.where(at_door, np.sign(there), np.sign(here)) * (half + 1)
    must_cross = np.sign(here) != np.sign(there)
    door_point = np.stack([across, door], axis=-1)
    return np.where(must_cross[:, None], door_point, goals_N2)


def _uniform(generator: np.random.Generator, num: int) -> np.ndarray:
    return generator.uniform(-1, 1, (num, ACTION_DIM))


def _next_smooth(last: np.ndarray, generator: np.random.Generator, persistence: float) -> np.ndarray:
    fresh = generator.normal(0, 0.8, last.shape)
    return np.clip(persistence * last + np.sqrt(1 - persistence**2) * fresh, -1, 1)
