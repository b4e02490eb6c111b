"""What tantivy adds: stems of words, and an index on disk."""

import pytest

from tenfold.core.errors import UserError
from tenfold.envs.search import BM25, Passage, Tantivy

CORPUS = [Passage("1", "", "She was writing novels"), Passage("2", "Painter", "He painted"), Passage("3", "", "Rain")]


def ids(retriever, *queries):
    return [[passage.id for passage in found] for found in retriever.search(queries, 5)]


def test_words_of_one_stem_are_one_word():
    assert ids(Tantivy(CORPUS), "novel", "painting", "rains") == [["1"], ["2"], ["3"]]
    assert ids(BM25(CORPUS), "novel", "painting", "rains") == [[], [], []]


def test_an_index_on_disk_is_the_same_index(tmp_path):
    made = Tantivy(CORPUS, folder=tmp_path / "index")
    loaded = Tantivy.load(tmp_path / "index", CORPUS)
    queries = ["write a novel", "painter", "rain"]
    assert loaded.search(queries, 5) == made.search(queries, 5) == Tantivy(CORPUS).search(queries, 5)
    with pytest.raises(UserError, match="holds an index of 3 passages, but the corpus has 2"):
        Tantivy.load(tmp_path / "index", CORPUS[:2])
