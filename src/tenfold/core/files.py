"""Files that are either whole or absent, and JSON that every reader accepts.

A run can be killed at any moment, so whatever is read back later is written under a temporary name and
then renamed. Numbers that are not finite have no spelling in standard JSON: they are written as ``null``
and, where a number is expected, read back as NaN.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write ``content`` so that a reader sees the old file or the new one, never a part.

    Args:
        path: the file; its folder is made when it is missing.
        content: text (stored as UTF-8) or bytes.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder) / "a" / "note.txt", "hello")
        ...     (Path(folder) / "a" / "note.txt").read_text()
        'hello'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def cut_torn_line(path: Path) -> None:
    """Cut off what follows the last line feed: a line that was being added when its process was killed.

    Args:
        path: a file of lines.
    """
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_atomically(path, whole)


def is_leftover(name: str) -> bool:
    """Whether a file of this name is what :func:`write_atomically` leaves when its process is killed.

    Example:
        >>> is_leftover(".run.json.4711.tmp"), is_leftover("run.json")
        (True, False)
    """
    return name.startswith(".") and name.endswith(".tmp")


def finite_or_none(value: Any) -> Any:
    """``value`` with every non-finite float in it, however deep, replaced by ``None``; tuples become lists.

    Example:
        >>> finite_or_none({"loss": float("nan"), "steps": (1, 2)})
        {'loss': None, 'steps': [1, 2]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite_or_none(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(part) for part in value]
    return value


def to_json(value: Any, indent: int | None = None) -> str:
    """Standard JSON: non-finite numbers as ``null``, keys in the given order.

    Raises:
        TypeError: a part of ``value`` is not JSON-able.

    Example:
        >>> to_json({"loss": float("inf")})
        '{"loss": null}'
    """
    return json.dumps(finite_or_none(value), indent=indent, ensure_ascii=False, allow_nan=False)


def number(value: float | None) -> float:
    """A number read from JSON, with ``null`` as NaN.

    Example:
        >>> number(2), number(None)
        (2.0, nan)
    """
    return math.nan if value is None else float(value)
