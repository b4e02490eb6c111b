"""JSON lines of a user's own: optional columns, and mistakes that are named with their row."""

import json

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.iw_sft.language.data import curated
from tenfold.papers.iw_sft.language.own_data import read_supervised

GOOD = {"prompt": "1+2=", "completion": "3"}


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_rows_with_and_without_optional_columns(tmp_path):
    plain = read_supervised(write(tmp_path / "a.jsonl", GOOD, "", GOOD | {"comment": 1}))
    assert plain.column_names == ["prompt", "completion"] and len(plain) == 2
    full = GOOD | {"quality": 1, "ref_log_probs": [-0.5, -1]}
    assert set(read_supervised(write(tmp_path / "b.jsonl", full)).column_names) == set(full)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no rows"),
        ([GOOD, "{"], "row 2: not JSON"),
        ([GOOD, "[1]"], "row 2: is of type list; allowed: a JSON object"),
        ([GOOD, {"prompt": "x"}], "row 2: no column 'completion'; it has prompt"),
        ([GOOD, {"prompt": "x", "completion": None}], "row 2: completion is None"),
        ([GOOD | {"quality": 10**400}], "row 1: quality is 1000"),
        ([{"prompt": "", "completion": "x"}], "row 1: prompt is ''"),
        ([GOOD | {"quality": 1}, GOOD], "row 2: no quality"),
        ([GOOD | {"quality": -1}], "row 1: quality is -1"),
        ([GOOD | {"quality": True}], "row 1: quality is True"),
        (['{"prompt": "x", "completion": "y", "quality": NaN}'], "row 1: quality is nan"),
        ([GOOD, GOOD | {"ref_log_probs": [-1]}], "row 1: no ref_log_probs; allowed: ref_log_probs in every row or"),
        ([GOOD | {"ref_log_probs": [-1, 0.5]}], "row 1: ref_log_probs has 0.5 at place 2; allowed: finite numbers up"),
        ([GOOD | {"ref_log_probs": []}], r"row 1: ref_log_probs is []; allowed: a list"),
    ],
)
def test_a_mistake_is_named_with_its_row(tmp_path, rows, message):
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        read_supervised(write(tmp_path / "rows.jsonl", *rows))


def test_texts_may_have_any_character_and_the_file_a_byte_order_mark(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes("\ufeff".encode() + json.dumps(GOOD | {"completion": "a\u2028b"}, ensure_ascii=False).encode())
    assert read_supervised(path)["completion"][:] == ["a\u2028b"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.jsonl: there is no such file"):
        read_supervised(tmp_path / "nowhere.jsonl")


def test_rows_of_which_none_is_worth_anything_are_refused(tmp_path):
    rows = read_supervised(write(tmp_path / "rows.jsonl", GOOD | {"quality": 0}))
    with pytest.raises(UserError, match="quality: 0 in every row"):
        curated(rows)
