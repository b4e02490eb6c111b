"""Files that were cut short or overwritten: found before they are used, and told in one line.

A machine that loses power, a full disk or an interrupted copy leaves files that are there and cannot be read. What can
be seen without loading anything is looked for here: JSON that ends early, archives of torch whose checksums do not fit,
safetensors that are shorter than their header says. Other kinds of files count as damaged only if they are empty.
"""

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError

ARCHIVES = (".pt", ".pth", ".bin", ".pkl")
"""What ``torch.save`` writes, by the endings in use."""
PICKLE = b"\x80"


def read_json(path: Path, advice: str) -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        advice: what to do where it is damaged, as the second half of a sentence.

    Raises:
        UserError: the file is not there, or is damaged.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "run.json"
        ...     _ = file.write_text('{"seeds": [0')
        ...     try:
        ...         read_json(file, "start the run anew")
        ...     except UserError as error:
        ...         print(str(error).replace(folder, "runs"))
        runs/run.json is damaged (it ends early, or is no JSON from character 13 on); start the run anew
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {advice}") from None
    except (ValueError, RecursionError) as error:
        raise damaged(path, _json_fault(error), advice) from None


def damaged(path: Path, fault: str, advice: str) -> UserError:
    """The error about a damaged file: what is wrong with it, and what to do."""
    return UserError(f"{path} is damaged ({fault}); {advice}")


def shapes_in(path: Path, advice: str) -> dict[str, tuple[int, ...]]:
    """Name to shape of the tensors in a safetensors file, read from its header.

    Args:
        path: the file.
        advice: what is allowed, as the second half of a sentence.

    Raises:
        UserError: the file is not there, or is damaged.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; {advice}")
    if (fault := fault_of(path)) is not None:
        raise damaged(path, fault, advice)
    with open(path, "rb") as stream:
        length = struct.unpack("<Q", stream.read(8))[0]
        header = json.loads(stream.read(length))
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def refuse_other_weights(path: Path, wanted: Mapping[str, Sequence[int]], advice: str) -> None:
    """Refuse a safetensors file whose tensors are not those of a model: no weight may be made up.

    Args:
        path: the file.
        wanted: name to shape of the model's weights.
        advice: what is allowed, as the second half of a sentence.

    Raises:
        UserError: naming the first weight that is missing, left over or of another shape.
    """
    held = shapes_in(path, advice)
    for name, shape in wanted.items():
        if name not in held:
            raise UserError(f"{path} lacks the weight {name}; {advice}")
        if held[name] != tuple(shape):
            raise UserError(f"{path} has {name} of shape {list(held[name])}, not {list(shape)}; {advice}")
    left_over = next((name for name in held if name not in wanted), None)
    if left_over is not None:
        raise UserError(f"{path} has the weight {left_over}, which this model has not; {advice}")


def fault_of(path: Path) -> str | None:
    """What is wrong with a stored file, as far as its form tells; ``None`` where nothing is.

    Args:
        path: a file that exists; all of it is read where its form has checksums.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "weights.safetensors"
        ...     _ = file.write_bytes(b"123")
        ...     fault_of(file)
        'it ends within its header'
    """
    if not path.stat().st_size:
        return "it is empty"
    if path.suffix == ".safetensors":
        return _fault_of_safetensors(path)
    if path.suffix == ".json":
        return _fault_of_json(path)
    if path.suffix in ARCHIVES:
        return _fault_of_archive(path)
    return None


def _fault_of_json(path: Path) -> str | None:
    try:
        json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return _json_fault(error)
    return None


def _json_fault(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it ends early, or is no JSON from character {error.pos + 1} on" if error.doc else "it is empty"
    if isinstance(error, RecursionError):
        return "it nests too deep"
    return "it is not text in UTF-8"


def _fault_of_safetensors(path: Path) -> str | None:
    """The file holds 8 bytes with the length of the header, the header, and what the header says."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if 8 + length > size:
            return "it ends within its header"
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return "its header cannot be read"
    needed = 8 + length + max(ends, default=0)
    return None if size == needed else f"it has {size:,} bytes, and its header speaks of {needed:,}"


def _fault_of_archive(path: Path) -> str | None:
    with open(path, "rb") as stream:
        if stream.read(1) == PICKLE:  # an older form, which has no checksums
            return None
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError):
        return "it is not a whole archive of torch"
    return None if broken is None else f"the checksum of its part {broken} does not fit"


def sync(path: Path) -> None:
    """Have a file, or the list of files in a folder, on the disk before anything else happens."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
