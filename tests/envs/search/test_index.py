"""An index on disk: whole or absent, and never over a corpus that it was not built from."""

import json
import shutil
from pathlib import Path

import pytest

from tenfold.core.errors import UserError
from tenfold.data.fact_corpus import fact_corpus
from tenfold.envs.search import BM25, build_index, load_index
from tenfold.envs.search import index as module

QUESTIONS, PASSAGES = fact_corpus(60, 30)
QUERIES = [question.prompt for question in QUESTIONS]
ENGINES = ["bm25", "tantivy"]


def rows_of(passages):
    return [{"id": p.id, "title": p.title, "text": p.text} for p in passages]


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def corpus(tmp_path):
    return write(tmp_path / "corpus.jsonl", rows_of(PASSAGES))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loaded_index_finds_what_the_built_one_finds(corpus, tmp_path, engine):
    built = build_index(corpus, tmp_path / "index", engine)
    loaded = load_index(tmp_path / "index")
    assert type(loaded) is type(built) and loaded.search(QUERIES, 5) == built.search(QUERIES, 5)
    assert loaded.passages == tuple(PASSAGES)


CHANGES = {
    "a word": lambda rows: [{**rows[0], "text": rows[0]["text"] + " More."}, *rows[1:]],
    "a title": lambda rows: [{**rows[0], "title": "Other"}, *rows[1:]],
    "an id": lambda rows: [{**rows[0], "id": "other"}, *rows[1:]],
    "the order": lambda rows: [rows[1], rows[0], *rows[2:]],
    "one row less": lambda rows: rows[:-1],
    "one row more": lambda rows: [*rows, {"id": "new", "title": "", "text": "New."}],
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_corpus_that_changed_is_refused_in_one_line(corpus, tmp_path, change, engine):
    build_index(corpus, tmp_path / "index", engine)
    write(corpus, CHANGES[change](rows_of(PASSAGES)))
    with pytest.raises(UserError) as refused:
        load_index(tmp_path / "index")
    assert str(refused.value) == (
        f"{corpus}: changed since index {tmp_path / 'index'} was built from it; build it again: "
        f"tenfold index build {corpus} --out {tmp_path / 'index'}"
    )
    build_index(corpus, tmp_path / "index", engine)
    assert load_index(tmp_path / "index").search(QUERIES, 5)


def test_another_spelling_of_the_same_corpus_is_the_same_corpus(corpus, tmp_path):
    build_index(corpus, tmp_path / "index")
    write(corpus, [{"text": p.text, "more": 1, "title": p.title, "id": p.id} for p in PASSAGES])
    assert load_index(tmp_path / "index").search(QUERIES[:1], 1)


def test_a_corpus_may_move(corpus, tmp_path):
    build_index(corpus, tmp_path / "index")
    moved = corpus.rename(tmp_path / "elsewhere.jsonl")
    with pytest.raises(UserError, match=r"corpus\.jsonl: the corpus of index .* is not there; name its new place"):
        load_index(tmp_path / "index")
    assert load_index(tmp_path / "index", moved).search(QUERIES[:1], 1)
    shutil.move(tmp_path / "index", tmp_path / "index-2")
    assert load_index(tmp_path / "index-2", moved).search(QUERIES[:1], 1)


def test_a_build_that_fails_leaves_the_old_index(corpus, tmp_path, monkeypatch):
    build_index(corpus, tmp_path / "index")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            build_index(corpus, tmp_path / "index")
    assert len(list((tmp_path / "index").iterdir())) == 2
    assert load_index(tmp_path / "index").search(QUERIES[:1], 1)


def test_what_a_killed_build_left_behind_is_taken_away(corpus, tmp_path):
    """Even if it was the first one, so that no index is there yet."""
    BM25(PASSAGES).save(tmp_path / "index" / "bm25-0123456789ab")
    with pytest.raises(UserError, match="holds no index; build one"):
        load_index(tmp_path / "index")
    build_index(corpus, tmp_path / "index")
    assert len(list((tmp_path / "index").iterdir())) == 2


def test_another_engine_takes_the_place_of_the_first(corpus, tmp_path):
    for engine in (*ENGINES, *ENGINES):
        build_index(corpus, tmp_path / "index", engine)
        assert [path.name.partition("-")[0] for path in (tmp_path / "index").iterdir() if path.is_dir()] == [engine]


@pytest.mark.parametrize("name", ["notes.txt", "index.json", "bm25"])
def test_a_folder_with_something_else_is_left_alone(corpus, tmp_path, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text('{"format": 1}')  # as in an index, but nothing else of it
    with pytest.raises(UserError, match="is no index"):
        build_index(corpus, folder)
    with pytest.raises(UserError, match=r"is no index|holds no index"):
        load_index(folder)
    assert (folder / name).read_text() == '{"format": 1}' and len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_folder_that_cannot_be_made_is_one_line(corpus, engine):
    with pytest.raises(UserError, match="/dev/null/index: the index cannot be written there") as error:
        build_index(corpus, Path("/dev/null/index"), engine)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_index_is_one_line(corpus, tmp_path, engine):
    build_index(corpus, tmp_path / "index", engine)
    (files,) = (path for path in (tmp_path / "index").iterdir() if path.is_dir())
    for path in files.iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"the index is damaged \(.*; build it again"):
        load_index(tmp_path / "index")
    shutil.rmtree(files)
    with pytest.raises(UserError, match=r"the index is damaged \(.*; build it again"):
        load_index(tmp_path / "index")
