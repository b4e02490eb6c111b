"""JSON lines of a user's own: rows are counted from 1, blank lines aside."""

import pytest

from tenfold.core.errors import UserError
from tenfold.data.json_lines import read_json_lines


def test_rows_in_order(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\r\n\n{"a": "line\\u2028separator\u2028inside"}\n{"a": "\\ud83d\\ude00 \\\\ud83d"}\n')
    assert read_json_lines(path, ["a"]) == [{"a": 1}, {"a": "line\u2028separator\u2028inside"}, {"a": "😀 \\ud83d"}]


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert read_json_lines(path, ["a"]) == [{"a": 1}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n\n{"b": 1}', "row 2: no column 'a'; it has b"),
        (b'{"a": 1}\n3', "row 2: is of type int; allowed: a JSON object"),
        (b"{}", "row 1: no column 'a'; it has none"),
        (b"{'a': 1}", r"row 1: not JSON \(.*, column 2\)"),
        (b" \n", "has no rows; allowed: at least one JSON object with a"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"a": 1}\n{"a": "\\ud83d"}', "row 2: a text has half of a surrogate pair"),
        (b'{"a": 1}\n{"a": ' + b"9" * 5000 + b"}", "row 2: a number has more than 4300 digits"),
        (b'{"a": ' + b"[" * 100_000 + b"}", "row 1: nests too deep"),
        (b'{"a": 1}\n{"a": ["x \\uD83D"]}', "row 2: a text has half of a surrogate pair"),
        (b"[" * 200_000, "row 1: nests too deep"),
    ],
)
def test_mistakes_name_file_and_row(content, message, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"rows.jsonl.*{message}"):
        read_json_lines(path, ["a"])
