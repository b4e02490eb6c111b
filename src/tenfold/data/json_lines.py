"""JSON lines of a user's own: one object a line, every mistake named with its row.

Rows are counted from 1, blank lines aside, so that a row has one number here, in what checks its values, and in a data
set made of it. Lines end with a line feed alone: U+2028 and its like are characters of a text.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError


def read_json_lines(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The objects of a file; blank lines don't count.

    Args:
        path: the file, UTF-8, with or without a byte order mark.
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
        lines = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); allowed: JSON lines with {wanted}") from None
    if not lines:
        raise UserError(f"{path}: has no rows; allowed: at least one JSON object with {wanted}")
    return [_row(f"{path}, row {number}", line, columns) for number, line in enumerate(lines, start=1)]


def _row(where: str, line: str, columns: Sequence[str]) -> dict[str, Any]:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg}, column {error.colno})") from None
    except UnicodeEncodeError:
        raise UserError(
            f"{where}: a text has half of a surrogate pair (\\ud800 to \\udfff); allowed: Unicode"
        ) from None
    except RecursionError:
        raise UserError(f"{where}: nests too deep") from None
    except ValueError:  # Python reads no longer ones
        raise UserError(f"{where}: a number has more than {sys.get_int_max_str_digits()} digits") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: is of type {type(row).__name__}; allowed: a JSON object")
    for column in columns:
        if column not in row:
            raise UserError(f"{where}: no column {column!r}; it has {', '.join(row) or 'none'}")
    return row
