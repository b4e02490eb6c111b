"""Features of frames on disk, so that a frozen encoder sees each frame once.

A frame's features are one file, found by video, frame number, encoder and resolution. Files are written whole or not
at all; one that is cut or of another shape is made again. The folder stays below a size: what was not used for the
longest time goes first.
"""

import hashlib
import io
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tenfold.core.errors import UserError
from tenfold.core.files import write_atomically
from tenfold.models.frame_encoder import FrameEncoder


class FeatureCache:
    """Features of single frames by (video, frame, encoder, resolution).

    Args:
        folder: where; made when it is missing.
        most_bytes: what the files may take together.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from transformers import Dinov2Config, Dinov2Model
        >>> encoder = FrameEncoder(Dinov2Model(Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)))
        >>> with TemporaryDirectory() as folder:
        ...     cache = FeatureCache(Path(folder))
        ...     cache.features(encoder, "film", [3, 5], (28, 28), lambda frames: torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 2, 2, 8])
    """

    def __init__(self, folder: Path, most_bytes: int = 10**10) -> None:
        if most_bytes <= 0:
            raise UserError(f"most_bytes = {most_bytes}: allowed: above 0")
        self.folder, self.most_bytes = folder, most_bytes
        self._encoders: dict[int, str] = {}
        self._size: int | None = None

    def features(
        self,
        encoder: FrameEncoder,
        video: str,
        frames: Sequence[int],
        resolution: tuple[int, int],
        decode: Callable[[Sequence[int]], Tensor],
    ) -> Tensor:
        """Features of some frames of a video, [T, H, W, D]; only those that are not stored are decoded and encoded.

        Args:
            encoder: whose features.
            video: what tells this video from others: a path, or better a hash of its content.
            frames: numbers of frames.
            resolution: height and width in pixels.
            decode: numbers of frames to their pixels, [n, 3, h, w].
        """
        height, width = (size // encoder.patch_size for size in resolution)
        shape = (height, width, encoder.dim)
        stored = {frame: self._load(self._path(encoder, video, frame, resolution), shape) for frame in set(frames)}
        missing = sorted(frame for frame, found in stored.items() if found is None)
        if missing:
            made = encoder(decode(missing)[None])[0].cpu()
            for frame, features in zip(missing, made, strict=True):
                stored[frame] = features
                self._store(self._path(encoder, video, frame, resolution), features)
        return torch.stack([stored[frame] for frame in frames])  # type: ignore[misc]  # none is missing now

    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.folder.rglob("*.npy"))

    def _path(self, encoder: FrameEncoder, video: str, frame: int, resolution: tuple[int, int]) -> Path:
        if id(encoder) not in self._encoders:
            self._encoders[id(encoder)] = encoder.identity()
        name = hashlib.sha256(video.encode()).hexdigest()[:16]
        height, width = resolution
        return self.folder / self._encoders[id(encoder)] / f"{height}x{width}" / name / f"{frame}.npy"

    @staticmethod
    def _load(path: Path, shape: tuple[int, ...]) -> Tensor | None:
        try:
            found = np.load(path)
        except (OSError, ValueError, EOFError):  # absent, or cut
            return None
        if found.shape != shape:
            return None
        _touch(path)
        return torch.from_numpy(found)

    def _store(self, path: Path, features: Tensor) -> None:
        stream = io.BytesIO()
        np.save(stream, features.numpy())
        content = stream.getvalue()
        if self._size is None:
            self._size = self.size()
        if self._size + len(content) > self.most_bytes:
            self._make_room(len(content))
        write_atomically(path, content)
        _touch(path)
        self._size += len(content)

    def _make_room(self, needed: int) -> None:
        """Delete what was used longest ago, down to nine tenths of what is allowed."""
        files = sorted(self.folder.rglob("*.npy"), key=lambda path: path.stat().st_mtime_ns)
        self._size = self.size()
        for path in files:
            if self._size + needed <= 0.9 * self.most_bytes:
                break
            self._size -= path.stat().st_size
            path.unlink()


def _touch(path: Path) -> None:
    """Used now, by a finer clock than that of the file system."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))
