"""Many worlds at once in which a dot is moved by actions in [-1, 1]², seen as small pictures.

``WallWorld``: an action is a displacement; a wall with a door lies between the halves (after DINO-WM's Wall).
``MazeWorld``: an action is a push, the dot keeps its velocity (after its PointMaze). An action lasts for ``SECONDS``
and is done in five equal parts, as DINO-WM merges five steps of its simulators. Success is to be within a radius of
the goal.

Shapes: N worlds, T frames, A = 2 numbers of an action; positions (across, down) in pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tenfold.core.errors import UserError
from tenfold.data.video.arenas import Arenas, mazes, walls_with_doors

ACTION_DIM = 2
SECONDS = 0.2
"""Of an action."""
PARTS = 5
"""Of an action, in each of which walls are felt."""


class PixelWorld(Protocol):
    """Worlds that can be acted in and looked at."""

    arenas: Arenas
    positions: np.ndarray
    success_radius: float

    def act(self, actions_NA: np.ndarray) -> None:
        """One action in each world."""
        ...

    def pictures(self) -> np.ndarray:
        """What is seen now, [N, 3, size, size] uint8."""
        ...


class WallWorld:
    """A dot that is displaced by up to ``reach`` pixels along each axis, and slides along walls.

    Args:
        num: N.
        generator: of doors, colours and starts.
        size: of a picture, in pixels.

    Example:
        >>> world = WallWorld(3, np.random.default_rng(0))
        >>> world.act(np.zeros((3, 2)))
        >>> world.pictures().shape
        (3, 3, 32, 32)
    """

    def __init__(self, num: int, generator: np.random.Generator, size: int = 32) -> None:
        self.arenas = walls_with_doors(generator, num, size, radius=size / 16)
        self.positions = self.arenas.free_places(generator)
        self.reach = 4.6 * size / 32
        self.success_radius = 2.3 * size / 32

    def act(self, actions_NA: np.ndarray) -> None:
        """One displacement in each world.

        Raises:
            UserError: the actions have another shape, or are not finite.
        """
        step = checked(actions_NA, len(self.arenas)).clip(-1, 1) * self.reach / PARTS
        for _ in range(PARTS):
            self.positions = self.arenas.moved(self.positions, step)

    def pictures(self) -> np.ndarray:
        """What is seen now, [N, 3, size, size] uint8."""
        return self.arenas.pictures(self.positions[:, None])[:, 0]


class MazeWorld:
    """A dot that is pushed, keeps its velocity with some friction, and loses it at walls.

    Args:
        num: N.
        generator: of colours and starts.
        size: of a picture, in pixels.
    """

    def __init__(self, num: int, generator: np.random.Generator, size: int = 32) -> None:
        self.arenas = mazes(generator, num, size)
        self.positions = self.arenas.free_places(generator)
        self.velocities = np.zeros((num, 2))
        self.push = 0.12 * size / 32
        self.fastest = 0.9 * size / 32
        self.friction = 0.1
        self.success_radius = 0.5 * size / 7  # half of a cell

    def act(self, actions_NA: np.ndarray) -> None:
        """One push in each world, for as long as an action lasts.

        Raises:
            UserError: the actions have another shape, or are not finite.
        """
        push = checked(actions_NA, len(self.arenas)).clip(-1, 1) * self.push
        for _ in range(PARTS):
            self.velocities = (self.velocities * (1 - self.friction) + push).clip(-self.fastest, self.fastest)
            moved = self.arenas.moved(self.positions, self.velocities)
            went = moved - self.positions
            self.velocities = np.where(np.isclose(went, self.velocities), self.velocities, 0.0)
            self.positions = moved

    def pictures(self) -> np.ndarray:
        """What is seen now, [N, 3, size, size] uint8."""
        return self.arenas.pictures(self.positions[:, None])[:, 0]


def checked(actions_NA: np.ndarray, num: int) -> np.ndarray:
    """Actions that can be done.

    Raises:
        UserError: otherwise.
    """
    actions = np.asarray(actions_NA, dtype=float)
    if actions.shape != (num, ACTION_DIM):
        raise UserError(f"actions of shape {list(actions.shape)}: allowed: [{num}, {ACTION_DIM}]")
    if not np.isfinite(actions).all():
        raise UserError("actions: hold numbers that are not finite; allowed: finite numbers, cut to [-1, 1]")
    return actions


@dataclass(frozen=True)
class Recording:
    """What was seen and done.

    Args:
        frames: [N, T, 3, size, size] uint8.
        positions: [N, T, 2].
        actions: [N, T-1, A]; number t leads from frame t to t+1.
        times: [N, T] seconds.
    """

    frames: np.ndarray
    positions: np.ndarray
    actions: np.ndarray
    times: np.ndarray


def record(world: PixelWorld, policy: Callable[[PixelWorld], np.ndarray], num_actions: int) -> Recording:
    """Let a policy act, and film it.

    Args:
        world: acted in from where it is.
        policy: worlds to actions [N, A].
        num_actions: T-1.
    """
    frames, positions, actions = [world.pictures()], [world.positions], []
    for _ in range(num_actions):
        actions.append(np.asarray(policy(world), dtype=np.float32))
        world.act(actions[-1])
        frames.append(world.pictures())
        positions.append(world.positions)
    times = np.broadcast_to(np.arange(num_actions + 1) * SECONDS, (len(positions[0]), num_actions + 1))
    return Recording(np.stack(frames, 1), np.stack(positions, 1), np.stack(actions, 1), times)


def reached(world: PixelWorld, goals_N2: np.ndarray) -> np.ndarray:
    """Whether each dot is within the success radius of its goal, [N]."""
    return np.linalg.norm(world.positions - goals_N2, axis=-1) < world.success_radius
