"""JSON lines with a supervised data set of one's own; each mistake names its row, counted from 1.

A row has ``prompt`` and ``completion`` (texts); where all rows have them, ``quality`` (a number >= 0) and
``ref_log_probs`` (one number for each token of the completion, its end token included). Other fields are left out.
"""

import sys
from pathlib import Path
from typing import Any

from datasets import Dataset

from tenfold.core.errors import UserError
from tenfold.data.json_lines import read_json_lines

TEXTS = ("prompt", "completion")
OPTIONAL = ("quality", "ref_log_probs")


def read_supervised(path: Path) -> Dataset:
    """The rows of a file.

    Raises:
        UserError: the file is missing or empty, or a row cannot be used.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "rows.jsonl"
        ...     _ = path.write_text('{"prompt": "1+2=", "completion": "3", "quality": 1}')
        ...     read_supervised(path)[0]
        {'prompt': '1+2=', 'completion': '3', 'quality': 1.0}
    """
    rows = read_json_lines(path, TEXTS)
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in TEXTS}
    for number, row in enumerate(rows, start=1):
        _require_texts(f"{path}, row {number}", row)
    for name in OPTIONAL:
        if any(name in row for row in rows):
            columns[name] = [
                _number_or_numbers(f"{path}, row {number}", name, row) for number, row in enumerate(rows, start=1)
            ]
    return Dataset.from_dict(columns)


def _require_texts(where: str, row: dict[str, Any]) -> None:
    for name in TEXTS:
        if not isinstance(row[name], str) or not row[name]:
            raise UserError(f"{where}: {name} is {row[name]!r}; allowed: a text that is not empty")


def _number_or_numbers(where: str, name: str, row: dict[str, Any]) -> float | list[float]:
    """The value of an optional column as floating point."""
    if name not in row:
        raise UserError(f"{where}: no {name}; allowed: {name} in every row or in none")
    value = row[name]
    if name == "quality":
        if not _is_number(value) or value < 0:
            raise UserError(f"{where}: quality is {value!r}; allowed: a finite number from 0 on")
        return float(value)
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}: {name} is {value!r}; allowed: a list with a number for each token of the completion")
    for place, one in enumerate(value, start=1):
        if not _is_number(one) or one > 0:
            raise UserError(f"{where}: {name} has {one!r} at place {place}; allowed: finite numbers up to 0")
    return [float(one) for one in value]


def _is_number(value: Any) -> bool:
    """Whether it is a number that floating point can hold; Python's JSON has NaN and longer integers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
