"""Corpora: the bytes are those of the files, parts and windows never overlap, and wrong input is one sentence."""

import gzip
import hashlib
import os
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data import held_out_windows, load_corpus, training_windows, windows

RAMP = np.arange(200, dtype=np.uint8)


def whole(corpus):
    return np.concatenate([corpus.train, corpus.held_out]).tobytes()


def test_python_is_the_start_of_the_sorted_standard_library():
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    corpus = load_corpus("python", limit=300_000)
    assert whole(corpus) == b"".join(file.read_bytes() for file in files)[:300_000]
    assert corpus.train.flags.writeable  # torch.from_numpy warns otherwise
    assert (corpus.name, len(corpus.train), len(corpus.held_out)) == ("python", 270_000, 30_000)


def test_licences_are_many_texts_each_once():
    corpus = load_corpus("licences", limit=10_000_000)
    text = whole(corpus)
    assert text == whole(load_corpus("licences", limit=10_000_000))
    assert text.count(b"WARRANTIES") + text.count(b"WARRANTY") > 20
    assert b"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2" in text
    assert set(np.unique(corpus.train)) >= set(b"abcdefghijklmnopqrstuvwxyz \n")


def test_licences_are_sorted_by_content(monkeypatch, tmp_path):
    class Distribution:
        def __init__(self, folder, **texts):
            self.files = [Path(f"{folder}.dist-info", name) for name in texts]
            (tmp_path / f"{folder}.dist-info").mkdir()
            for name, text in texts.items():
                (tmp_path / f"{folder}.dist-info" / name).write_text(text)

        def locate_file(self, file):
            return tmp_path / file

    found = [
        Distribution("b", LICENSE="zz", COPYING="mm", METADATA="no"),
        Distribution("a", LICENCE="mm", license="aa"),
    ]
    monkeypatch.setattr("importlib.metadata.distributions", lambda: found)
    monkeypatch.setattr("tenfold.data.corpora._standard_library", lambda: tmp_path)
    assert whole(load_corpus("licences")) == b"aammzz"
    (tmp_path / "LICENSE.txt").write_text("pp")
    found[0].files.append(Path("b.dist-info", "LICENSE.gone"))
    assert whole(load_corpus("licences")) == b"aammppzz"


def test_a_file(tmp_path):
    (tmp_path / "text").write_bytes(bytes(range(256)) * 4)
    corpus = load_corpus(str(tmp_path / "text"), held_out=0.25)
    assert corpus.train.tobytes() == bytes(range(256)) * 3
    assert corpus.held_out.tobytes() == bytes(range(256))


def test_a_folder_in_order_with_gzip_and_without_links(tmp_path):
    for name, text in {
        "b.txt": "B",
        "sub/z": "Z",
        "sub/a": "A",
        ".git/x": "no",
        ".hidden": "no",
        "asub/q": "Q",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with gzip.open(tmp_path / "c.1.gz", "wt") as file:
        file.write("zipped")
    os.symlink(tmp_path / "b.txt", tmp_path / "a-link")
    os.symlink(tmp_path, tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    assert whole(load_corpus(str(tmp_path))) == b"BzippedQAZ"


def test_no_more_is_read_than_needed(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "b.gz").write_bytes(b"not gzip")
    assert len(load_corpus(str(tmp_path), limit=100).train) == 90
    with pytest.raises(UserError, match=r"b\.gz ends in \.gz but is not a complete gzip file"):
        load_corpus(str(tmp_path), limit=101)


def test_a_named_source_can_be_shadowed_only_by_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("python").write_bytes(b"abcdefghij")
    assert whole(load_corpus("./python")) == b"abcdefghij"
    assert len(load_corpus("python", limit=1000).train) == 900


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "pyton"}, "source is 'pyton', which is neither 'python' nor 'licences' nor the path"),
        ({"source": "python", "limit": 1}, "limit is 1, but it must be at least 2"),
        ({"source": "python", "held_out": 0.0}, "held_out is 0.0, but it must be a share strictly between 0 and 1"),
        ({"source": "python", "held_out": 1.0}, "held_out is 1.0"),
        ({"source": "python", "limit": 4}, "source 'python' gives 4 bytes, too few to hold out a share of 0.1"),
    ],
)
def test_wrong_input_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        load_corpus(**arguments)


@pytest.mark.parametrize("content", [b"", b"abc"])
def test_an_empty_or_tiny_file_is_refused(tmp_path, content):
    (tmp_path / "text").write_bytes(content)
    for source in (tmp_path, tmp_path / "text"):
        with pytest.raises(UserError, match=f"gives {len(content)} bytes, too few"):
            load_corpus(str(source))


def test_a_read_that_fails_is_named(tmp_path, monkeypatch):
    (tmp_path / "text").write_bytes(b"abc" * 10)

    def fail(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(UserError, match="text cannot be read: Permission denied"):
        load_corpus(str(tmp_path))
    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        load_corpus(str(tmp_path))


def test_training_windows_are_keyed_and_reach_both_ends():
    batch = training_windows(RAMP, 50, 400, 3, "batch", 0)
    assert batch.shape == (400, 50)
    assert batch.dtype == np.int64
    np.testing.assert_array_equal(batch - batch[:, :1], np.arange(50)[None].repeat(400, axis=0))
    np.testing.assert_array_equal(batch, training_windows(RAMP, 50, 400, 3, "batch", 0))
    assert (batch != training_windows(RAMP, 50, 400, 3, "batch", 1)).any()
    assert set(training_windows(RAMP, 198, 400, 3)[:, 0]) == {0, 1, 2}


@pytest.mark.parametrize("count", [2, 3, 7, 19, 20])
def test_held_out_windows_do_not_overlap_while_there_is_room(count):
    found = held_out_windows(RAMP, 10, count)
    assert found.dtype == np.int64
    assert (np.diff(found[:, 0]) >= 10).all()
    assert (found[0, 0], found[-1, -1]) == (0, 199)


def test_held_out_windows_overlap_rather_than_repeat():
    assert held_out_windows(RAMP, 10, 191)[:, 0].tolist() == list(range(191))
    assert held_out_windows(RAMP, 200, 1).tolist() == [RAMP.tolist()]
    with pytest.raises(UserError, match="count is 192, but 191 windows of length 10 fit into 200 bytes"):
        held_out_windows(RAMP, 10, 192)


def test_windows_must_lie_within_the_data():
    assert windows(RAMP, 3, np.array([197, 0])).tolist() == [[197, 198, 199], [0, 1, 2]]
    for starts in ([-1], [0, 198]):
        with pytest.raises(UserError, match=r"windows fit at 0\.\.197"):
            windows(RAMP, 3, np.array(starts))
    for length in (0, 201):
        with pytest.raises(UserError, match=rf"length is {length}, but windows of these data have 1\.\.200 bytes"):
            training_windows(RAMP, length, 1, 0)


def test_a_corpus_has_the_hash_of_its_whole_text(tmp_path):
    (tmp_path / "text.txt").write_bytes(bytes(range(100)))
    corpus = load_corpus(str(tmp_path / "text.txt"), held_out=0.3)
    assert corpus.sha256 == hashlib.sha256(bytes(range(100))).hexdigest()
    assert corpus.sha256 == load_corpus(str(tmp_path / "text.txt"), held_out=0.5).sha256
