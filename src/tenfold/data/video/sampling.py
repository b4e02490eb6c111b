"""Which frames of a video a clip takes: gaps drawn uniformly in seconds, then the nearest real frames.

Section "Training" of arXiv 2507.19468: draw T-1 gaps uniformly in [shortest, longest], add them up from a random start,
take the nearest real frame to each, and use its own time. That makes horizons uniform, not skewed to short ones, and
lets videos of different rates be mixed. Frames are cropped alike throughout a clip.
"""

from dataclasses import dataclass

import numpy as np

from tenfold.core.errors import UserError


@dataclass(frozen=True)
class Gaps:
    """How far apart the frames of a clip are.

    Args:
        frames: T, frames of a clip.
        shortest: seconds, above 0.
        longest: seconds.
    """

    frames: int
    shortest: float
    longest: float

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise UserError(f"frames = {self.frames}: allowed: at least 2")
        if not 0 < self.shortest <= self.longest < np.inf:
            raise UserError(
                f"gaps from {self.shortest:g} to {self.longest:g} s: allowed: finite, above 0, the longest last"
            )

    def draw(self, generator: np.random.Generator, num: int) -> np.ndarray:
        """Times of each clip's frames from its start on, [num, T]; the first is 0."""
        gaps = generator.uniform(self.shortest, self.longest, (num, self.frames - 1))
        return np.concatenate([np.zeros((num, 1)), gaps.cumsum(1)], axis=1)

    @property
    def longest_clip(self) -> float:
        """Seconds that a clip can take."""
        return (self.frames - 1) * self.longest


def sample_frames(times_N: np.ndarray, gaps: Gaps, generator: np.random.Generator, num: int) -> np.ndarray:
    """Numbers of the frames of ``num`` clips of one video, [num, T], rising strictly.

    Args:
        times_N: the seconds of the video's frames, rising.
        gaps: of the clips.
        generator: of gaps and starts.
        num: clips.

    Raises:
        UserError: the video has too few frames, times that do not rise, or is shorter than the longest clip.

    Example:
        >>> times = np.arange(100) / 25
        >>> chosen = sample_frames(times, Gaps(3, 0.1, 0.4), np.random.default_rng(0), 2)
        >>> bool((times[chosen][:, 1:] > times[chosen][:, :-1]).all())
        True
    """
    check_times(times_N)
    if len(times_N) < gaps.frames:
        raise UserError(f"a video of {len(times_N)} frames: clips take {gaps.frames}")
    duration = float(times_N[-1] - times_N[0])
    if duration < gaps.longest_clip:
        raise UserError(
            f"a video of {duration:.3g} s: clips of {gaps.frames} frames with gaps up to {gaps.longest:g} s take up to "
            f"{gaps.longest_clip:.3g} s; use a longer video, or shorter gaps"
        )
    from_start = gaps.draw(generator, num)
    start = times_N[0] + generator.uniform(0, 1, (num, 1)) * (duration - from_start[:, -1:])
    return strictly_rising(nearest(times_N, start + from_start), len(times_N))


def check_times(times_N: np.ndarray) -> None:
    """Refuse times that are missing, or that do not rise."""
    if not np.isfinite(times_N).all():
        raise UserError("the video's times: some frames have none; allowed: a time for each frame")
    if (np.diff(times_N) <= 0).any():
        frame = int((np.diff(times_N) <= 0).argmax()) + 1
        raise UserError(
            f"the video's times: frame {frame} is at {times_N[frame]:g} s, not after the one before; allowed: rising"
        )


def nearest(times_N: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The number of the frame nearest to each wanted time.

    Example:
        >>> nearest(np.array([0.0, 1.0, 2.0]), np.array([0.4, 1.6, 9.0])).tolist()
        [0, 2, 2]
    """
    after = np.searchsorted(times_N, wanted).clip(1, len(times_N) - 1)
    return after - (wanted - times_N[after - 1] <= times_N[after] - wanted)


def strictly_rising(frames: np.ndarray, num_frames: int) -> np.ndarray:
    """Of equal neighbours, which gaps below a frame's length give, the later one moves on, within the video."""
    steps = np.arange(frames.shape[1])
    risen = np.maximum.accumulate(frames - steps, axis=1) + steps
    return np.minimum(risen, num_frames - frames.shape[1] + steps)


@dataclass(frozen=True)
class CropBox:
    """A part of a picture, in pixels; the same for all frames of a clip."""

    top: int
    left: int
    height: int
    width: int

    def of(self, frames: np.ndarray) -> np.ndarray:
        """The part, of frames [..., h, w]."""
        return frames[..., self.top : self.top + self.height, self.left : self.left + self.width]


def random_crop(
    generator: np.random.Generator,
    height: int,
    width: int,
    scale: tuple[float, float] = (0.6, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> CropBox:
    """A part with a share of the area, and an aspect (width / height), drawn uniformly; the aspect's logarithm is.

    Args:
        generator: of the draw.
        height: of the picture.
        width: of the picture.
        scale: least and most share of the area.
        aspect: least and most.
    """
    for _ in range(10):
        area = height * width * generator.uniform(*scale)
        ratio = np.exp(generator.uniform(*np.log(aspect)))
        box_height, box_width = round(float(np.sqrt(area / ratio))), round(float(np.sqrt(area * ratio)))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = (int(generator.integers(room + 1)) for room in (height - box_height, width - box_width))
            return CropBox(top, left, box_height, box_width)
    return centre_square(height, width)  # a long picture has no such part


def centre_square(height: int, width: int) -> CropBox:
    """The largest square in the middle.

    Example:
        >>> centre_square(576, 768)
        CropBox(top=0, left=96, height=576, width=576)
    """
    side = min(height, width)
    return CropBox((height - side) // 2, (width - side) // 2, side, side)
