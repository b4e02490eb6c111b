"""Videos of a user's own as frames and their real times, by PyAV (extra ``video``).

A file is decoded once, each frame cropped to the square in its middle and resized; what is returned is small. Every
reason why a file cannot be learned from is one sentence that names the file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.extras import require_extras
from tenfold.data.video.sampling import centre_square, check_times

SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".mpg", ".ogv", ".webm")


@dataclass(frozen=True)
class Video:
    """A decoded video.

    Args:
        name: of the file.
        frames: [N, 3, size, size] uint8.
        times: [N] float64 seconds, rising.
    """

    name: str
    frames: np.ndarray
    times: np.ndarray

    def __len__(self) -> int:
        return len(self.times)


def video_files(path: Path) -> list[Path]:
    """A video, or the videos of a folder by name, with those in folders within it.

    Raises:
        UserError: there is no such path, or no video in it.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; allowed: a video or a folder of videos")
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"{path} holds no video; allowed: files that end in {', '.join(SUFFIXES)}")
    return found


def read_video(path: Path, size: int, most_frames: int = 10_000) -> Video:
    """Decode a video: the square in the middle of each frame, at ``size`` x ``size`` pixels.

    Args:
        path: anything that FFmpeg reads.
        size: pixels of the side.
        most_frames: what follows is left out.

    Raises:
        UserError: PyAV is absent; the file cannot be decoded, has one frame, frames of changing size, or frames
            without rising times.
    """
    av = _pyav()
    frames: list[np.ndarray] = []
    times: list[float] = []
    shape = None
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path}: holds no video stream")
            for frame in container.decode(video=0):
                shape = _same_shape(path, shape, (frame.height, frame.width), len(frames))
                times.append(np.nan if frame.pts is None else float(frame.time))
                frames.append(_square(frame.to_ndarray(format="rgb24"), size))
                if len(frames) == most_frames:
                    break
    except av.error.FFmpegError as error:
        raise UserError(f"{path}: cannot be decoded as a video: {error.strerror}") from error
    if len(frames) < 2:
        raise UserError(f"{path}: a video of {len(frames)} frame(s); allowed: at least 2")
    try:
        check_times(np.asarray(times))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return Video(path.name, np.stack(frames), np.asarray(times))


def _pyav() -> Any:
    require_extras(["video"], "reading videos")
    import av

    return av


def _same_shape(path: Path, shape: tuple[int, int] | None, found: tuple[int, int], frame: int) -> tuple[int, int]:
    if shape is not None and shape != found:
        raise UserError(
            f"{path}: frame {frame} has {found[1]}x{found[0]} pixels, those before {shape[1]}x{shape[0]}; allowed: "
            "frames of one size"
        )
    return found


def _square(pixels_hw3: np.ndarray, size: int) -> np.ndarray:
    """The square in the middle, resized with antialiasing: [3, size, size] uint8."""
    colours_first = np.moveaxis(pixels_hw3, -1, 0)
    return resized(centre_square(*pixels_hw3.shape[:2]).of(colours_first)[None], size)[0]


def resized(frames_Nchw: np.ndarray, size: int) -> np.ndarray:
    """Frames at size x size pixels, with antialiasing: uint8 to uint8.

    Example:
        >>> resized(np.full((1, 3, 8, 8), 7, np.uint8), 4).shape
        (1, 3, 4, 4)
    """
    import torch

    frames = torch.from_numpy(np.ascontiguousarray(frames_Nchw)).float()
    small = torch.nn.functional.interpolate(frames, size=(size, size), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8).numpy()
