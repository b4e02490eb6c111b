import json
import math
import os

import pytest

from tenfold.core.files import finite_or_none, number, to_json, write_atomically


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "file.json"
    write_atomically(path, "old")

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_bytes_and_text_are_written_as_they_are(tmp_path):
    write_atomically(tmp_path / "a", b"\x00\xff")
    write_atomically(tmp_path / "b", "é\n")
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_bytes() == "é\n".encode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_json_is_standard_where_numbers_are_not_finite():
    text = to_json({"a": math.nan, "b": [math.inf, 1.5], "c": (-math.inf,)})
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [None, 1.5], "c": [None]}
    assert finite_or_none("text") == "text"
    assert math.isnan(number(None)) and number(3) == 3.0


def test_what_is_not_json_is_refused():
    with pytest.raises(TypeError):
        to_json({"a": object()})
