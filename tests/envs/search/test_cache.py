"""Remembered answers are those of the retriever, for this corpus and this k alone, in memory and in a file."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from tenfold.core.errors import UserError
from tenfold.envs.search import CachedRetriever, FakeRetriever, Passage, RetrievalError

ROME = Passage("1", "Rome", 'Rome "é" is\non the Tiber.', 1 / 3)


def engine(**settings):
    return FakeRetriever({"Tiber": [ROME], "Po": []}, **settings)


def test_each_different_query_is_asked_once():
    retriever = engine()
    cached = CachedRetriever(retriever, "one")
    assert cached.search(["Tiber", "Po", "Tiber"], 5) == [[ROME], [], [ROME]]
    assert cached.search(["Po", "Arno", "Tiber"], 5) == [[], [], [ROME]]
    assert retriever.asked == [(("Tiber", "Po"), 5), (("Arno",), 5)]
    assert (cached.num_hits, cached.num_misses) == (3, 3)


def test_k_and_the_exact_query_are_parts_of_the_key():
    retriever = engine()
    cached = CachedRetriever(retriever, "one")
    for query, k in (("Tiber", 5), ("Tiber", 4), ("tiber", 5), ("Tiber", 5)):
        cached.search([query], k)
    assert len(retriever.asked) == 3


def test_answers_can_be_changed_by_who_got_them():
    cached = CachedRetriever(engine(), "one")
    first, second = cached.search(["Tiber", "Tiber"], 5)
    first.clear()
    assert second == [ROME]
    assert cached.search(["Tiber", "Tiber"], 5) == [[ROME], [ROME]]


def test_a_file_outlives_the_run_but_not_the_corpus(tmp_path):
    path = tmp_path / "new" / "answers.sqlite"
    first = CachedRetriever(engine(), "one", path=path)
    first.search(["Tiber"], 5)
    first.close()
    broken = engine(error=RetrievalError("down"))
    assert CachedRetriever(broken, "one", path=path).search(["Tiber"], 5) == [[ROME]]
    with pytest.raises(RetrievalError):
        CachedRetriever(broken, "two", path=path).search(["Tiber"], 5)


def test_failures_are_not_remembered():
    retriever = engine(error=RetrievalError("down"))
    cached = CachedRetriever(retriever, "one")
    for _ in range(2):
        with pytest.raises(RetrievalError):
            cached.search(["Tiber"], 5)
    retriever.error = None
    assert cached.search(["Tiber"], 5) == [[ROME]] and len(retriever.asked) == 3


def test_the_oldest_are_dropped(tmp_path):
    retriever = engine()
    cached = CachedRetriever(retriever, "one", path=tmp_path / "answers", max_entries=3)
    for query in ("a", "b", "c", "d"):
        cached.search([query], 1)
    retriever.asked.clear()
    cached.search(["d", "c", "b"], 1)
    assert retriever.asked == []
    cached.search(["a"], 1)
    assert retriever.asked == [(("a",), 1)]
    with sqlite3.connect(tmp_path / "answers") as store:
        assert store.execute("SELECT count(*) FROM answers").fetchone() == (3,)
    store.close()


def test_threads_are_not_in_each_others_way():
    """Eight slow searches for different queries at once, and the same ones again."""
    retriever = engine(seconds=0.02)
    cached = CachedRetriever(retriever, "one")
    queries = [str(number) for number in range(8)] * 5
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda query: cached.search([query], 1), queries)) == [[[]]] * 40
    assert cached.num_hits + cached.num_misses == 40 and len(retriever.asked) == cached.num_misses


def test_what_is_refused(tmp_path):
    with pytest.raises(UserError, match="max_entries = 0"):
        CachedRetriever(engine(), "one", max_entries=0)
    (tmp_path / "text").write_text("not a database, but long enough to be looked at" * 30)
    with pytest.raises(UserError, match="allowed: a file of remembered searches"):
        CachedRetriever(engine(), "one", path=tmp_path / "text")
