"""Videos of a ball between elastic walls, in closed form, and pairs in which something impossible happens.

A position is the straight path folded at the walls, so any time can be drawn without a simulation. In a pair both
videos are the same until the event; then the ball of one vanishes, jumps, or turns in free space at equal speed (which
moves as much as going on, so that the motion alone tells nothing). All balls are of one size on one background, so
that where they are can be read linearly from features; colours vary.

Shapes: N videos, T frames, size x size pixels; positions (across, down) in pixels, times in seconds.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tenfold.core.errors import UserError
from tenfold.data.video.drawing import as_bytes, bright_colours, canvas, draw_discs
from tenfold.data.video.sampling import Gaps

FRAME_RATES = (24, 25, 30, 50)
Event = Literal["vanish", "jump", "turn"]
TURN_DEGREES = (50.0, 120.0)


@dataclass(frozen=True)
class BallWorld:
    """Size of the pictures and of what moves in them.

    Args:
        size: of a picture, in pixels.
        radius: of the ball, in pixels.
        slowest: pixels a second.
        fastest: pixels a second.
    """

    size: int = 32
    radius: float = 3.4
    slowest: float = 5.0
    fastest: float = 23.0

    def __post_init__(self) -> None:
        if not 0 < 2 * self.radius < self.size:
            raise UserError(f"radius = {self.radius:g}: allowed: above 0 and below half of size = {self.size}")
        if not 0 <= self.slowest <= self.fastest:
            raise UserError(f"speeds from {self.slowest:g} to {self.fastest:g}: allowed: from 0 on, the fastest last")


@dataclass(frozen=True)
class Balls:
    """Videos with what is true of them.

    Args:
        frames: [N, T, 3, size, size] uint8.
        times: [N, T] float64 seconds.
        positions: [N, T, 2], centre of the ball; NaN where there is none.
    """

    frames: np.ndarray
    times: np.ndarray
    positions: np.ndarray


def fold(path: np.ndarray, low: float, high: float) -> np.ndarray:
    """A straight path reflected at ``low`` and ``high``, any number of times.

    Example:
        >>> fold(np.array([0.5, 1.25, 2.5]), 0.0, 1.0).tolist()
        [0.5, 0.75, 0.5]
    """
    length = high - low
    return low + length - np.abs((path - low) % (2 * length) - length)


def real_times(generator: np.random.Generator, gaps: Gaps, num: int) -> np.ndarray:
    """Times of clips from videos of common frame rates, each clip at one: [num, T], from 0, rising strictly."""
    rates = generator.choice(FRAME_RATES, (num, 1))
    frames = np.rint(gaps.draw(generator, num) * rates)
    steps = np.arange(gaps.frames)
    return (np.maximum.accumulate(frames - steps, axis=1) + steps) / rates


def ball_videos(world: BallWorld, times_NT: np.ndarray, generator: np.random.Generator) -> Balls:
    """A video for each row of times, with start, direction, speed and colour drawn.

    Args:
        world: sizes and speeds.
        times_NT: seconds.
        generator: of all that is drawn.

    Example:
        >>> ball_videos(BallWorld(), np.zeros((2, 3)), np.random.default_rng(0)).frames.shape
        (2, 3, 3, 32, 32)
    """
    num = len(times_NT)
    start = generator.uniform(world.radius, world.size - world.radius, (num, 1, 2))
    velocity = _velocities(world, generator, num)
    path = start + velocity[:, None] * times_NT[..., None]
    return _drawn(world, times_NT, _folded(world, path), generator)


def event_pairs(
    world: BallWorld, event: Event, times_T: np.ndarray, at: int, generator: np.random.Generator, num: int
) -> tuple[Balls, Balls]:
    """Pairs of a possible and an impossible video, equal in every frame before number ``at``.

    Args:
        world: sizes and speeds.
        event: the ball is not there any more; it is elsewhere, by less than half of the picture; or it has turned by
            50 to 120 degrees, far from any wall.
        times_T: seconds of the frames.
        at: the first frame that shows the event.
        generator: of all that is drawn.
        num: pairs.

    Raises:
        UserError: ``at`` is no frame with one before it, or the walls are too near for a turn in free space.
    """
    if not 0 < at < len(times_T):
        raise UserError(f"at = {at}: allowed: from 1 to {len(times_T) - 1}, a frame with one before it")
    velocity = _velocities(world, generator, num)
    since = (times_T - times_T[at - 1])[None, :, None]  # the last frame before the event
    start = generator.uniform(world.radius, world.size - world.radius, (num, 1, 2))
    if event == "turn":
        room = world.size / 2 - world.radius - world.fastest * float(np.abs(since).max())
        if room < 0:
            raise UserError(
                f"times up to {float(np.abs(since).max()):g} s from the event, at fastest = {world.fastest:g}: a turn "
                f"in free space needs walls farther away than size = {world.size} puts them"
            )
        start = world.size / 2 + generator.uniform(-room, room, (num, 1, 2))
    possible = _folded(world, start + velocity[:, None] * since)
    after = np.arange(len(times_T)) >= at
    if event == "vanish":
        changed = np.full_like(possible, np.nan)
    elif event == "jump":
        changed = _elsewhere(world, possible, generator)
    else:
        changed = start + _turned(velocity, generator)[:, None] * since
    impossible = np.where(after[None, :, None], changed, possible)
    times_NT = np.broadcast_to(times_T, (num, len(times_T)))
    colours = bright_colours(generator, num)
    return tuple(_painted(world, times_NT, positions, colours) for positions in (possible, impossible))  # type: ignore[return-value]


def _velocities(world: BallWorld, generator: np.random.Generator, num: int) -> np.ndarray:
    direction = generator.uniform(0, 2 * np.pi, num)
    speed = generator.uniform(world.slowest, world.fastest, num)
    return speed[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=-1)


def _folded(world: BallWorld, path: np.ndarray) -> np.ndarray:
    return fold(path, world.radius, world.size - world.radius)


def _turned(velocity_N2: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    angle = np.radians(generator.uniform(*TURN_DEGREES, len(velocity_N2))) * generator.choice([-1, 1], len(velocity_N2))
    across, down = velocity_N2.T
    return np.stack(
        [across * np.cos(angle) - down * np.sin(angle), across * np.sin(angle) + down * np.cos(angle)], axis=-1
    )


def _elsewhere(world: BallWorld, positions_NT2: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The same paths moved by 14 of 32 pixels, folded back into the picture."""
    direction = generator.uniform(0, 2 * np.pi, (len(positions_NT2), 1))
    distance = 14 / 32 * world.size
    return _folded(world, positions_NT2 + distance * np.stack([np.cos(direction), np.sin(direction)], axis=-1))


def _drawn(world: BallWorld, times_NT: np.ndarray, positions: np.ndarray, generator: np.random.Generator) -> Balls:
    return _painted(world, times_NT, positions, bright_colours(generator, len(positions)))


def _painted(world: BallWorld, times_NT: np.ndarray, positions_NT2: np.ndarray, colours_N3: np.ndarray) -> Balls:
    num, frames = positions_NT2.shape[:2]
    pictures = canvas(num * frames, world.size)
    colours = np.repeat(colours_N3, frames, axis=0)[:, None]
    draw_discs(pictures, positions_NT2.reshape(-1, 1, 2), world.radius, colours)
    return Balls(as_bytes(pictures).reshape(num, frames, 3, world.size, world.size), times_NT, positions_NT2)
