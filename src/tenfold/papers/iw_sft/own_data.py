"""Reads JSON lines with a supervised data set of one's own; each mistake names its row, counted from 1.

A row has ``prompt`` and ``completion`` (texts); where all rows have them, ``quality`` (a number >= 0) and
``ref_log_probs`` (one number for each token of the completion, its end token included). Other fields are left out.
"""

import json
import math
from pathlib import Path
from typing import Any

from datasets import Dataset

from tenfold.core.errors import UserError

TEXTS = ("prompt", "completion")
OPTIONAL = ("quality", "ref_log_probs")


def read_supervised(path: Path) -> Dataset:
    """The rows of a file.

    Raises:
        UserError: the file is missing or empty, or a row cannot be used.
    """
    rows = read_rows(path, TEXTS)
    named = [name for name in OPTIONAL if any(name in row for row in rows)]
    for number, row in enumerate(rows, start=1):
        for name in named:
            if name not in row:
                raise UserError(f"{path}, row {number}: no {name}; allowed: {name} in every row or in none")
        if "quality" in row and not _is_score(row["quality"]):
            raise UserError(f"{path}, row {number}: quality is {row['quality']!r}; allowed: a finite number from 0 on")
        if "ref_log_probs" in row and not _are_log_probs(row["ref_log_probs"]):
            raise UserError(f"{path}, row {number}: ref_log_probs; allowed: a list of finite numbers up to 0")
    return Dataset.from_list([{name: row[name] for name in (*TEXTS, *named)} for row in rows])


def read_questions(path: Path) -> list[tuple[str, str]]:
    """``(prompt, answer)`` of each row of a test file."""
    return [(row["prompt"], row["answer"]) for row in read_rows(path, ("prompt", "answer"))]


def read_rows(path: Path, texts: tuple[str, ...]) -> list[dict[str, Any]]:
    """JSON objects, one a line, in which ``texts`` are texts that are not empty; empty lines do not count.

    Raises:
        UserError: see :func:`read_supervised`.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; allowed: JSON lines with {' and '.join(texts)}")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{path}: has no rows; allowed: at least one JSON object with {' and '.join(texts)}")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, row {number}: not JSON ({error.msg}, column {error.colno})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number}: {type(row).__name__}; allowed: a JSON object")
        for name in texts:
            if not isinstance(row.get(name), str) or not row[name]:
                raise UserError(f"{path}, row {number}: {name} is {row.get(name)!r}; allowed: a text that is not empty")
        rows.append(row)
    return rows


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_score(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _are_log_probs(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_number(one) and one <= 0 for one in value)
