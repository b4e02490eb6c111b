"""What every retriever promises: batch equals single, k, order, scores, threads, odd queries."""

import importlib.util
from concurrent.futures import ThreadPoolExecutor

import pytest
from retrieval_server import Behaviour, serving

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.data.fact_corpus import fact_corpus
from tenfold.envs.search import (
    BM25,
    CachedRetriever,
    Dense,
    FakeRetriever,
    HTTPRetriever,
    Hybrid,
    Passage,
    Tantivy,
    hashed_ngrams,
)

QUESTIONS, PASSAGES = fact_corpus(300, 100)
QUERIES = [question.prompt for question in QUESTIONS]
ODD = ["", "  ", "the", "?!", "\x00", 'title:"x" AND (', "ünïcode Straße 東京", "guild " * 300, "-guild", "a_b _ *"]
TWINS = [*PASSAGES[:50], *(Passage(f"twin{i}", p.title, p.text) for i, p in enumerate(PASSAGES[:50]))]


@pytest.fixture(scope="module")
def server():
    with serving(Behaviour(BM25(PASSAGES))) as url:
        yield url


def build(name, passages, server=None):
    if name == "bm25":
        return BM25(passages)
    if name == "dense":
        return Dense(passages, hashed_ngrams(128))
    if name == "dense on a device":
        return Dense(passages, hashed_ngrams(128), device="cpu")
    if name == "hybrid":
        return Hybrid([BM25(passages), Dense(passages, hashed_ngrams(128))])
    if name == "tantivy":
        return Tantivy(passages)
    if name == "cached":
        retriever = BM25(passages)
        return CachedRetriever(retriever, retriever.corpus_hash)
    if name == "http":
        return HTTPRetriever(server, batch_size=30)
    answers = BM25(passages).search(QUERIES, 10)
    return FakeRetriever(dict(zip(QUERIES, answers, strict=True)))


EMBEDDED = ["bm25", "dense", "dense on a device", "hybrid", "tantivy"]
NAMES = [*EMBEDDED, "cached", "http", "fake"]


@pytest.fixture(scope="module")
def retrievers(server):
    return {name: build(name, PASSAGES, server) for name in NAMES}


@pytest.mark.spec("sem", "6")
@pytest.mark.parametrize("name", NAMES)
def test_a_query_in_a_batch_finds_what_it_finds_alone(name, retrievers):
    """Passages, order and scores, whatever the batch is."""
    retriever = retrievers[name]
    queries = QUERIES[:40] + [query for query in ODD if name != "fake"]
    together = retriever.search(queries, 5)
    assert together == [retriever.search([query], 5)[0] for query in queries]
    assert together[::-1] == retriever.search(queries[::-1], 5)
    assert sum(len(found) == 5 for found in together) >= 38


@pytest.mark.parametrize("name", NAMES)
def test_the_best_come_first_and_more_passages_only_follow(name, retrievers):
    few, many = retrievers[name].search(QUERIES[:20], 3), retrievers[name].search(QUERIES[:20], 9)
    assert [found[:3] for found in many] == few
    for found in many:
        scores = [passage.score for passage in found]
        assert scores == sorted(scores, reverse=True) and len({passage.id for passage in found}) == len(found)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_found_is_in_the_corpus(name, retrievers):
    corpus = {passage.id: (passage.title, passage.text) for passage in PASSAGES}
    for found in retrievers[name].search(QUERIES, 5):
        assert all(corpus[passage.id] == (passage.title, passage.text) for passage in found)


@pytest.mark.parametrize("name", NAMES)
def test_many_threads_may_search_at_once(name, retrievers):
    alone = [retrievers[name].search([query], 4) for query in QUERIES]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda query: retrievers[name].search([query], 4), QUERIES)) == alone


@pytest.mark.parametrize("name", NAMES)
def test_no_queries_and_too_small_a_number_of_passages(name, retrievers):
    assert retrievers[name].search([], 5) == []
    with pytest.raises(UserError, match="k = 0; allowed: 1 or more"):
        retrievers[name].search(["Tiber"], 0)


@pytest.mark.parametrize("name", EMBEDDED)
def test_odd_queries_are_answered(name, retrievers):
    """Nothing in a query is a language: quotes, operators, a thousand words, letters of any script."""
    generator = numpy_generator("odd queries")
    noise = ["".join(map(chr, generator.integers(32, 0x2FFF, 30).tolist())) for _ in range(50)]
    assert all(len(found) <= 3 for found in retrievers[name].search([*ODD, *noise], 3))


@pytest.mark.parametrize("name", EMBEDDED)
def test_equal_passages_come_in_the_order_of_the_corpus(name):
    answers = build(name, TWINS).search([passage.text for passage in TWINS[:50]], 4)
    for number, (first, second, *_) in enumerate(answers):
        assert (first.id, second.id) == (f"p{number}", f"twin{number}")
        assert name == "hybrid" or first.score == second.score, "ranks differ where scores don't"


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_corpus_smaller_than_k_and_one_with_a_repeated_id(name):
    assert len(build(name, PASSAGES[:2]).search([PASSAGES[0].text + PASSAGES[1].text], 5)[0]) == 2
    with pytest.raises(UserError, match="id 'p0' occurs twice"):
        build(name, [PASSAGES[0], PASSAGES[0]])
    with pytest.raises(UserError, match="allowed: at least one passage"):
        build(name, [])


def test_a_missing_package_is_one_line(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == "tantivy" else find(wanted))
    with pytest.raises(UserError, match=r"this search engine needs the extra tantivy: pip install .*\[tantivy\]'"):
        build("tantivy", PASSAGES)
