"""Worlds of a dot among walls: a room with a wall and a door, and a maze in which the dot has momentum.

What moves, how it slides along walls, and how it looks; many worlds at once. ``tenfold.envs.control`` lets a policy
act in them, and :func:`wandering` films a dot that nobody controls, for models that learn from video alone.

Shapes: N worlds, R rectangles (left, top, right, bottom), T frames; positions (across, down) in pixels.
"""

from dataclasses import dataclass

import numpy as np

from tenfold.core.errors import UserError
from tenfold.data.video.drawing import as_bytes, bright_colours, canvas, draw_discs, draw_rectangles

WALL_COLOUR = (0.55, 0.55, 0.60)
MAZE = ("#######", "#     #", "# ### #", "#   # #", "### # #", "#     #", "#######")
"""A hash is a wall."""


@dataclass(frozen=True)
class Arenas:
    """N places with walls, and the dot that moves in each.

    Args:
        size: of a picture, in pixels.
        radius: of the dot, in pixels.
        walls: [N, R, 4] rectangles.
        colours: [N, 3], of the dots.
    """

    size: int
    radius: float
    walls: np.ndarray
    colours: np.ndarray

    def __len__(self) -> int:
        return len(self.walls)

    def blocked(self, positions_N2: np.ndarray) -> np.ndarray:
        """Whether a dot there would overlap a wall or leave the picture, [N]; dots count as squares."""
        outside = (positions_N2 < self.radius) | (positions_N2 > self.size - self.radius)
        left, top, right, bottom = np.moveaxis(self.walls, -1, 0)
        across, down = positions_N2[:, 0, None], positions_N2[:, 1, None]
        inside_columns = (across > left - self.radius) & (across < right + self.radius)
        inside_rows = (down > top - self.radius) & (down < bottom + self.radius)
        return outside.any(-1) | (inside_columns & inside_rows).any(-1)

    def moved(self, positions_N2: np.ndarray, steps_N2: np.ndarray) -> np.ndarray:
        """After a step: what a wall stops is the part of the step towards it, so the dot slides along.

        Args:
            positions_N2: free places.
            steps_N2: in pixels, shorter than walls are thick.
        """
        for axis in (0, 1):
            for share in (1.0, 0.5, 0.25):  # as near to the wall as a quarter of a step
                wanted = positions_N2.copy()
                wanted[:, axis] += share * steps_N2[:, axis]
                is_free = ~self.blocked(wanted)
                positions_N2 = np.where(is_free[:, None], wanted, positions_N2)
                steps_N2 = np.where(is_free[:, None] & (np.arange(2) == axis), 0.0, steps_N2)
        return positions_N2

    def free_places(self, generator: np.random.Generator) -> np.ndarray:
        """A place for each dot, drawn evenly among those that are free, [N, 2]."""
        places = np.full((len(self), 2), np.nan)
        while (missing := np.isnan(places[:, 0])).any():
            drawn = generator.uniform(self.radius, self.size - self.radius, (len(self), 2))
            places = np.where((missing & ~self.blocked(drawn))[:, None], drawn, places)
        return places

    def pictures(self, positions_NT2: np.ndarray) -> np.ndarray:
        """[N, T, 3, size, size] uint8."""
        num, frames = positions_NT2.shape[:2]
        pixels = canvas(num * frames, self.size)
        draw_rectangles(pixels, np.repeat(self.walls, frames, axis=0), WALL_COLOUR)
        colours = np.repeat(self.colours, frames, axis=0)[:, None]
        draw_discs(pixels, positions_NT2.reshape(-1, 1, 2), self.radius, colours)
        return as_bytes(pixels).reshape(num, frames, 3, self.size, self.size)


def walls_with_doors(generator: np.random.Generator, num: int, size: int = 32, radius: float = 2.0) -> Arenas:
    """Rooms with a wall down the middle and a door somewhere in it; door and colour vary.

    Example:
        >>> walls_with_doors(np.random.default_rng(0), 3).walls.shape
        (3, 2, 4)
    """
    half_door, half_wall = 2.4 * radius, 0.05 * size
    door = generator.uniform(half_door, size - half_door, num)
    left, right = np.full(num, size / 2 - half_wall), np.full(num, size / 2 + half_wall)
    above = np.stack([left, np.zeros(num), right, door - half_door], axis=-1)
    below = np.stack([left, door + half_door, right, np.full(num, size)], axis=-1)
    return Arenas(size, radius, np.stack([above, below], axis=1), bright_colours(generator, num))


def mazes(generator: np.random.Generator, num: int, size: int = 32, plan: tuple[str, ...] = MAZE) -> Arenas:
    """The same maze N times; the colour of the dot varies.

    Args:
        generator: of the colours.
        num: N.
        size: of a picture, in pixels.
        plan: rows of equal length, a hash for each wall.

    Raises:
        UserError: the plan is no rectangle, or has no free place.
    """
    if len({len(row) for row in plan}) != 1 or len(plan) != len(plan[0]) or " " not in "".join(plan):
        raise UserError(f"plan = {plan}: allowed: a square of hashes and blanks with a blank")
    cell = size / len(plan)
    walls = [
        (column * cell, row * cell, (column + 1) * cell, (row + 1) * cell)
        for row, letters in enumerate(plan)
        for column, letter in enumerate(letters)
        if letter == "#"
    ]
    repeated = np.broadcast_to(np.asarray(walls), (num, len(walls), 4))
    return Arenas(size, 0.3 * cell, repeated, bright_colours(generator, num))


def wandering(
    arenas: Arenas, num_steps: int, fastest: float, generator: np.random.Generator, persistence: float = 0.9
) -> np.ndarray:
    """Dots that wander smoothly, [N, num_steps + 1, 2]: velocities change a little at each step.

    Args:
        arenas: where.
        num_steps: positions after the first one.
        fastest: pixels of a step along each axis.
        generator: of start and velocities.
        persistence: how much of its velocity a dot keeps.
    """
    places = [arenas.free_places(generator)]
    velocity = generator.uniform(-1, 1, (len(arenas), 2))
    for _ in range(num_steps):
        places.append(arenas.moved(places[-1], fastest * velocity))
        fresh = generator.normal(0, 0.8, velocity.shape)
        velocity = np.clip(persistence * velocity + np.sqrt(1 - persistence**2) * fresh, -1, 1)
    return np.stack(places, axis=1)
