"""Real bytes to learn from and to be measured on: text that every Python installation has, or any local file or folder.

Nothing is shipped and nothing is downloaded. Two sources have names, because they are there wherever the package runs:
``"python"``, the source files of the standard library, and ``"licences"``, the licence texts of the installed packages
and of Python. Both differ between environments, so compare numbers within one environment, never across.

Anything else is a path. Two that suit, as options of a Debian system: the package ``linux-source``, unpacked (C
source), and ``manpages-de``, whose folder ``/usr/share/man/de`` holds gzipped German manual pages: files that end in
``.gz`` are read through gzip.

The held-out part is the *last* part of the bytes, so no window crosses from one part into the other. Near-copies of a
text (licences above all) can lie on both sides.
"""

import gzip
import hashlib
import importlib.metadata
import os
import re
import sysconfig
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tenfold.core.errors import UserError
from tenfold.core.seeding import Key, numpy_generator

_LICENCE_NAME = re.compile(r"licen[cs]e|copying", re.IGNORECASE)
_METADATA_FOLDERS = (".dist-info", ".egg-info")


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text in two parts that do not overlap.

    Args:
        name: the source it was loaded from.
        train: [bytes] uint8, the first part.
        held_out: [bytes] uint8, the rest.
    """

    name: str
    train: np.ndarray
    held_out: np.ndarray

    @property
    def sha256(self) -> str:
        """Hash of the whole text, 64 hexadecimal digits: equal numbers can only be expected on equal texts."""
        return hashlib.sha256(self.train.tobytes() + self.held_out.tobytes()).hexdigest()


def load_corpus(source: str, *, limit: int = 1_000_000, held_out: float = 0.1) -> Corpus:
    """Read a corpus and split it.

    Args:
        source: ``"python"`` (top-level files of the standard library, by name), ``"licences"`` (licence texts of the
            installed distributions and of Python, each once, sorted by content), or the path of a file or folder.
            A folder is read recursively: in each folder first its files by name, then its folders; links and names
            that begin with a dot are left out. Write ``./python`` for a path of that name.
        limit: read at most this many bytes, train and held-out part together.
        held_out: share of the bytes read that is held out, strictly between 0 and 1.

    Raises:
        UserError: for a source that is not there, cannot be read or is too short, and for a number out of range.

    Example:
        >>> corpus = load_corpus("python", limit=50_000, held_out=0.2)
        >>> len(corpus.train), len(corpus.held_out), corpus.train.dtype
        (40000, 10000, dtype('uint8'))
    """
    if limit < 2:
        raise UserError(f"limit is {limit}, but it must be at least 2 bytes, one for each part.")
    if not 0 < held_out < 1:
        raise UserError(f"held_out is {held_out}, but it must be a share strictly between 0 and 1.")
    data = _join(_texts(source), limit)
    num_held_out = round(len(data) * held_out)
    if not 0 < num_held_out < len(data):
        raise UserError(f"source {source!r} gives {len(data)} bytes, too few to hold out a share of {held_out}.")
    return Corpus(source, data[:-num_held_out], data[-num_held_out:])


def windows(data: np.ndarray, length: int, starts: np.ndarray) -> np.ndarray:
    """Cut pieces of one length out of a text.

    Args:
        data: [bytes] uint8.
        length: bytes in a window.
        starts: [N] integers, where each window begins.

    Returns:
        [N, length] uint8, a copy.

    Raises:
        UserError: for a window that does not lie within the data.

    Example:
        >>> windows(np.arange(10, dtype=np.uint8), 3, np.array([0, 7])).tolist()
        [[0, 1, 2], [7, 8, 9]]
    """
    last = _last_start(data, length)
    starts = np.asarray(starts)
    if starts.size and (starts.min() < 0 or starts.max() > last):
        raise UserError(f"starts reach from {starts.min()} to {starts.max()}, but windows fit at 0..{last}.")
    return sliding_window_view(data, length)[starts]


def training_windows(data: np.ndarray, length: int, batch_size: int, *key: Key) -> np.ndarray:
    """A batch of windows at random places, the same for the same key.

    Args:
        data: [bytes] uint8.
        length: bytes in a window.
        batch_size: number of windows; they may overlap.
        *key: what the batch is for, such as ``(seed, "batch", step)``.

    Returns:
        [batch_size, length] int64, ready for an embedding.

    Raises:
        UserError: when the data are shorter than one window.

    Example:
        >>> training_windows(np.arange(100, dtype=np.uint8), 8, 4, 0, "batch", 17).shape
        (4, 8)
    """
    starts = numpy_generator(*key).integers(_last_start(data, length) + 1, size=batch_size)
    return windows(data, length, starts).astype(np.int64)


def held_out_windows(data: np.ndarray, length: int, count: int) -> np.ndarray:
    """Windows evenly spread from the first to the last byte; they overlap only when there is no room to avoid it.

    Args:
        data: [bytes] uint8.
        length: bytes in a window.
        count: number of windows, at most one for each place where one fits.

    Returns:
        [count, length] int64, ready for an embedding; always the same windows.

    Raises:
        UserError: when fewer than ``count`` different windows fit.

    Example:
        >>> held_out_windows(np.arange(10, dtype=np.uint8), 4, 2).tolist()
        [[0, 1, 2, 3], [6, 7, 8, 9]]
    """
    last = _last_start(data, length)
    if not 1 <= count <= last + 1:
        raise UserError(f"count is {count}, but {last + 1} windows of length {length} fit into {len(data)} bytes.")
    starts = np.arange(count) * last // max(count - 1, 1)
    return windows(data, length, starts).astype(np.int64)


def _last_start(data: np.ndarray, length: int) -> int:
    if not 1 <= length <= len(data):
        raise UserError(f"length is {length}, but windows of these data have 1..{len(data)} bytes.")
    return len(data) - length


def _join(texts: Iterable[bytes], limit: int) -> np.ndarray:
    """The first ``limit`` bytes of the texts; what is not needed is not read."""
    parts, have = [], 0
    for text in texts:
        parts.append(text)
        have += len(text)
        if have >= limit:
            break
    return np.frombuffer(bytearray(b"".join(parts)[:limit]), dtype=np.uint8)  # writable, as torch wants it


def _texts(source: str) -> Iterable[bytes]:
    if source == "python":
        return map(_read, sorted(_standard_library().glob("*.py")))
    if source == "licences":
        return sorted({_read(path) for path in _licence_files()})
    path = Path(source).expanduser()
    if path.is_dir():
        return map(_read, _files_below(path))
    if path.is_file():
        return [_read(path)]
    raise UserError(f"source is {source!r}, which is neither 'python' nor 'licences' nor the path of a file or folder.")


def _standard_library() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def _licence_files() -> Iterator[Path]:
    for distribution in importlib.metadata.distributions():
        for file in distribution.files or ():
            if _LICENCE_NAME.search(file.name) and file.parts[0].endswith(_METADATA_FOLDERS):
                path = Path(str(distribution.locate_file(file)))
                if path.is_file():  # records of a repackaged distribution can name files that it left out
                    yield path
    yield from (path for name in ("LICENSE.txt", "LICENSE") if (path := _standard_library() / name).is_file())


def _files_below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))  # in place: the order of the walk
        for path in (Path(place, name) for name in sorted(files) if not name.startswith(".")):
            if path.is_file() and not path.is_symlink():
                yield path


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise UserError(f"source {path} ends in .gz but is not a complete gzip file.") from None
    except OSError as error:
        return _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    raise UserError(f"source {error.filename} cannot be read: {error.strerror}.")
