"""PushT, optional: a disc pushes a T-shaped block on a table, seen as pictures; many tables at once.

The physics and the pictures are those of gym-pusht, which is installed apart and breaks with pymunk 7. Actions are
relative and in [-1, 1]², as DINO-WM's are, and each is kept for five steps of the simulator. Success is DINO-WM's: the
positions of disc and block together within 20 of the goal's, and the block's angle within pi / 9.

Shapes: N tables, A = 2 numbers of an action; a state is the disc's position, the block's position and its angle, [5],
on a table of 512 x 512.
"""

import importlib.metadata
from typing import Any

import numpy as np

from tenfold.core.errors import UserError
from tenfold.envs.control.worlds import PARTS, checked

TABLE = 512.0
REACH = 100.0
"""Of an action, along each axis."""
NEAR, ANGLE = 20.0, np.pi / 9


class PushTWorld:
    """N tables of gym-pusht.

    Args:
        num: N.
        generator: of the starts.
        size: of a picture, in pixels.

    Raises:
        UserError: gym-pusht is not installed, or pymunk is too new for it.
    """

    def __init__(self, num: int, generator: np.random.Generator, size: int = 96) -> None:
        environment = _environment()
        self.success_radius = NEAR
        self._tables = [
            environment(obs_type="pixels", observation_width=size, observation_height=size) for _ in range(num)
        ]
        seeds = generator.integers(2**31, size=num)
        shown = [table.reset(seed=int(seed)) for table, seed in zip(self._tables, seeds, strict=True)]
        self._pictures, self.states = _read(shown)

    @property
    def positions(self) -> np.ndarray:
        """Of the discs, [N, 2]."""
        return self.states[:, :2]

    def put(self, states_N5: np.ndarray) -> None:
        """Set disc and block of every table."""
        shown = [
            table.reset(options={"reset_to_state": state}) for table, state in zip(self._tables, states_N5, strict=True)
        ]
        self._pictures, self.states = _read(shown)

    def act(self, actions_NA: np.ndarray) -> None:
        """Move each disc towards a place relative to where it is.

        Raises:
            UserError: the actions have another shape, or are not finite.
        """
        actions = checked(actions_NA, len(self._tables)).clip(-1, 1)
        targets = np.clip(self.positions + REACH * actions, 0, TABLE)
        for _ in range(PARTS):
            shown = [table.step(target) for table, target in zip(self._tables, targets, strict=True)]
        self._pictures, self.states = _read([(step[0], step[-1]) for step in shown])

    def pictures(self) -> np.ndarray:
        """What is seen now, [N, 3, size, size] uint8."""
        return self._pictures

    def reached(self, goals_N5: np.ndarray) -> np.ndarray:
        """Whether disc and block are as in the goal, [N]."""
        return reached_states(self.states, goals_N5)


def reached_states(states_N5: np.ndarray, goals_N5: np.ndarray) -> np.ndarray:
    """DINO-WM's rule: four positions within 20, angle within pi / 9, [N].

    Example:
        >>> goal = np.array([[0.0, 0.0, 100.0, 100.0, 0.0]])
        >>> reached_states(goal + [[10.0, 0.0, 10.0, 0.0, 6.2]], goal).tolist()
        [True]
    """
    far = np.linalg.norm(states_N5[:, :4] - goals_N5[:, :4], axis=-1)
    turned = np.abs((states_N5[:, 4] - goals_N5[:, 4] + np.pi) % (2 * np.pi) - np.pi)
    return (far < NEAR) & (turned < ANGLE)


def _read(shown: list[tuple[np.ndarray, dict[str, Any]]]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and states from what the tables have returned."""
    pictures = np.stack([np.moveaxis(picture, -1, 0) for picture, _ in shown])
    return pictures, np.stack([np.concatenate([info["pos_agent"], info["block_pose"]]) for _, info in shown])


def _environment() -> Any:
    try:
        newest = int(importlib.metadata.version("pymunk").partition(".")[0])
        from gym_pusht.envs.pusht import PushTEnv
    except (ImportError, importlib.metadata.PackageNotFoundError) as error:
        raise UserError("PushT needs gym-pusht: pip install gym-pusht 'pymunk<7'") from error
    if newest >= 7:
        raise UserError(f"PushT needs pymunk below 7, which gym-pusht breaks with; {newest} is installed")
    return PushTEnv
