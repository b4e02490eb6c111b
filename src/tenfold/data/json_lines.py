"""JSON lines of a user's own: one object a line, every mistake named with its row, counted from 1."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # as JSON spells one
HALF = re.compile("[\ud800-\udfff]")  # what is left of one that has no other half


def read_json_lines(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The objects of a file; blank lines don't count.

    Args:
        path: the file, UTF-8.
        columns: what every object must have.

    Raises:
        UserError: the file is missing, empty or not UTF-8, or a row is no JSON object or lacks a column.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "rows.jsonl"
        ...     _ = path.write_text('{"prompt": "1+1=", "answer": "2"}')
        ...     read_json_lines(path, ["prompt", "answer"])
        [{'prompt': '1+1=', 'answer': '2'}]
    """
    wanted = " and ".join(columns)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; allowed: JSON lines with {wanted}")
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); allowed: JSON lines with {wanted}") from None
    if not lines:
        raise UserError(f"{path}: has no rows; allowed: at least one JSON object with {wanted}")
    return [_row(f"{path}, row {number}", line, columns) for number, line in enumerate(lines, start=1)]


def _row(where: str, line: str, columns: Sequence[str]) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg}, column {error.colno})") from None
    except (ValueError, RecursionError) as error:  # a number too long, brackets too deep
        raise UserError(f"{where}: cannot be read ({error})") from None
    if SURROGATE.search(line) and HALF.search(json.dumps(row, ensure_ascii=False)):
        raise UserError(f"{where}: half of a surrogate pair, which is no character; allowed: text that UTF-8 can hold")
    if not isinstance(row, dict):
        raise UserError(f"{where}: {type(row).__name__}; allowed: a JSON object")
    for column in columns:
        if column not in row:
            raise UserError(f"{where}: no column {column!r}; it has {', '.join(row) or 'none'}")
    return row
