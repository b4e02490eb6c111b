"""Recorded episodes with actions: stable-worldmodel's hdf5 files and DINO-WM's folders.

An hdf5 file holds a data set for each column, all episodes one after another; ``ep_len`` and ``ep_offset`` say where
each lies; images are uint8 [steps, h, w, 3]. A folder of DINO-WM holds ``actions.pth``, for mazes ``seq_lengths.pth``,
and ``obses/episode_000.pth`` with uint8 frames [time, h, w, 3]. With a frameskip k, every k-th frame is kept and the k
actions between two of them are joined into one.

Shapes: T frames of an episode that are kept, A numbers of an action.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.extras import require_extras


@dataclass(frozen=True)
class Episode:
    """One recorded episode.

    Args:
        frames: [T, 3, h, w] uint8.
        times: [T] float64 seconds.
        actions: [T-1, frameskip * A] float32; number t leads from frame t to t+1.
    """

    frames: np.ndarray
    times: np.ndarray
    actions: np.ndarray


def read_stable_worldmodel(
    path: Path, *, seconds_per_step: float, frameskip: int = 1, image: str = "pixels", action: str = "action"
) -> Iterator[Episode]:
    """The episodes of an hdf5 file of stable-worldmodel, in order; those shorter than two kept frames are left out.

    Args:
        path: the file.
        seconds_per_step: of the simulator, which the file does not say.
        frameskip: steps from one kept frame to the next.
        image: column of the frames.
        action: column of the actions.

    Raises:
        UserError: h5py is absent; the file lacks a column; an action that leads to a kept frame is not finite.
    """
    require_extras(["control"], "reading hdf5 files")
    import h5py

    check_spacing(seconds_per_step, frameskip)
    with _opened(h5py, path) as file:
        for column in (image, action, "ep_len", "ep_offset"):
            if column not in file:
                raise UserError(f"{path}: has no column {column}; it has {', '.join(sorted(file))}")
        for number, (length, offset) in enumerate(zip(file["ep_len"][:], file["ep_offset"][:], strict=True)):
            part = slice(int(offset), int(offset) + int(length))
            if length > frameskip:
                yield _episode(
                    file[image][part], file[action][part], seconds_per_step, frameskip, f"{path}, episode {number}"
                )


def _opened(h5py: Any, path: Path) -> Any:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path}: cannot be read as hdf5: {str(error).splitlines()[0]}") from error


def read_dino_wm(folder: Path, *, seconds_per_step: float, frameskip: int = 5) -> Iterator[Episode]:
    """The episodes of a folder of DINO-WM, in order; those shorter than two kept frames are left out.

    Args:
        folder: with ``actions.pth`` and ``obses``.
        seconds_per_step: of the simulator, which the folder does not say.
        frameskip: steps from one kept frame to the next; 5 in DINO-WM.

    Raises:
        UserError: a file is missing; an action that leads to a kept frame is not finite.
    """
    check_spacing(seconds_per_step, frameskip)
    actions = _loaded(folder / "actions.pth")
    lengths_file = folder / "seq_lengths.pth"
    lengths = _loaded(lengths_file) if lengths_file.exists() else np.full(len(actions), actions.shape[1])
    for number, length in enumerate(lengths.astype(int)):
        if length > frameskip:
            frames = _loaded(folder / "obses" / f"episode_{number:03d}.pth")[:length]
            yield _episode(frames, actions[number, :length], seconds_per_step, frameskip, f"{folder}, episode {number}")


def _loaded(path: Path) -> np.ndarray:
    import torch

    if not path.exists():
        raise UserError(f"{path} does not exist; allowed: a folder of DINO-WM with actions.pth and obses")
    return np.asarray(torch.load(path, weights_only=True))


def check_spacing(seconds_per_step: float, frameskip: int) -> None:
    """Refuse a spacing of frames that none has."""
    if not 0 < seconds_per_step < np.inf or frameskip < 1:
        raise UserError(
            f"seconds_per_step = {seconds_per_step:g}, frameskip = {frameskip}: allowed: finite above 0, and from 1 on"
        )


def _episode(
    frames_Shw3: np.ndarray, actions_SA: np.ndarray, seconds_per_step: float, frameskip: int, where: str
) -> Episode:
    """Every frameskip-th frame, with the actions between two of them joined."""
    kept = np.arange(0, len(frames_Shw3), frameskip)
    joined = np.asarray(actions_SA[: kept[-1]], np.float32).reshape(len(kept) - 1, -1)
    if not np.isfinite(joined).all():
        step = int((~np.isfinite(joined)).any(1).argmax()) * frameskip
        raise UserError(f"{where}: the actions from step {step} on are not finite; allowed: finite numbers")
    frames = np.moveaxis(np.asarray(frames_Shw3)[kept], -1, 1)
    return Episode(frames, kept * seconds_per_step, joined)
