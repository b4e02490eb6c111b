"""What supervised training asks of its rows: a layout, supervised tokens, and numbers that fit them.

What is wrong is said by the user's own names: the column, and the number of the row in the data as it was given.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from tenfold.core.errors import UserError

# The layouts of the data, any of which will do.
COLUMNS = (("input_ids",), ("prompt", "completion"), ("messages",), ("text",))
ROW = "row_of_the_data"
"""The column that remembers which row of the user's data a prepared row is, from 1."""


def require_columns(dataset: Dataset) -> None:
    """Refuse data that is empty or has none of the layouts.

    Raises:
        UserError: naming what is missing.
    """
    if not len(dataset):
        raise UserError("dataset: 0 rows; at least 1 is needed")
    for layout in COLUMNS:
        if set(layout) <= set(dataset.column_names):
            return
    layouts = ", or ".join(" and ".join(layout) for layout in COLUMNS)
    raise UserError(f"dataset: columns {', '.join(dataset.column_names)}; needed: {layouts}")


def tell_lost_rows(given: int, left: int, max_length: int | None) -> None:
    """Say that rows whose prompt fills ``max_length`` are left out.

    Raises:
        UserError: if none is left.
    """
    lost = f"{given - left} of {given} rows have no supervised token within max_length = {max_length}"
    if not left:
        raise UserError(f"{lost}; allowed: more than the tokens of the shortest prompt")
    if left < given:
        warnings.warn(f"{lost}, and are left out", stacklevel=2)


def require_numbers(dataset: Dataset, name: str, max_length: int | None) -> None:
    """Refuse a column of prepared rows that is no number, or not one number for each supervised token, in some row.

    Args:
        dataset: with ``labels`` (-100 where no token is supervised), ``input_ids`` and :data:`ROW`.
        name: of the column.
        max_length: rows of this length may have lost their end, and have more numbers than tokens.

    Raises:
        UserError: with the row of the user's data.
    """
    for row, values, labels in zip(dataset[ROW], dataset[name], dataset["labels"], strict=True):
        where = f"row {row}: {name}"
        is_list = isinstance(values, Sequence)
        numbers = values if is_list else [values]
        if not all(_is_finite_number(number) for number in numbers):
            raise UserError(f"{where} is {values!r}; allowed: a finite number, or a list of them")
        if not is_list:
            continue
        given, supervised = len(numbers), len(labels) - list(labels).count(-100)
        may_have_lost_its_end = max_length is not None and len(labels) >= max_length
        fits = given == supervised or (may_have_lost_its_end and given > supervised)
        if not fits:
            raise UserError(f"{where} has {given} numbers for {supervised} supervised tokens; needed: one for each")


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def drawing_shares(dataset: Dataset, column: str | None) -> np.ndarray | None:
    """The column that rows are drawn by, as probabilities up to their sum; ``None`` for no column.

    Raises:
        UserError: if the column is absent, or has a number that is no share.
    """
    if column is None:
        return None
    if column not in dataset.column_names:
        raise UserError(f"sampling_column = {column!r}: the dataset has {', '.join(dataset.column_names)}")
    shares = np.asarray(dataset[column][:], dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(shares) & (shares >= 0)))
    if len(wrong):
        raise UserError(f"{column} = {shares[wrong[0]]} in row {wrong[0]}: must be finite and not negative")
    if not shares.any():
        raise UserError(f"{column}: 0 in every row; at least one must be positive")
    return shares
