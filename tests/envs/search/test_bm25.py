"""BM25 is the formula, the words are those that are stated, and a saved index is the same index."""

from math import log

import numpy as np
import pytest
from rank_bm25 import BM25Okapi

from tenfold.core.errors import UserError
from tenfold.data.fact_corpus import fact_corpus
from tenfold.envs.search import BM25, Passage, indexed_text, words
from tenfold.envs.search.retriever import best

QUESTIONS, PASSAGES = fact_corpus(200, 60)
QUERIES = [question.prompt for question in QUESTIONS]


def lucene(query, passages, k1, b):
    """The formula, word by word: idf * tf / (tf + k1 (1 - b + b length / mean length))."""
    documents = [words(indexed_text(passage)) for passage in passages]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for word in words(query):
            containing = sum(word in other for other in documents)
            if not (frequency := document.count(word)):
                continue
            idf = log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
            score += idf * frequency / (frequency + k1 * (1 - b + b * len(document) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.5, 0.75), (0.0, 0.0), (2.0, 1.0)])
def test_scores_are_the_formula(k1, b):
    retriever = BM25(PASSAGES, k1=k1, b=b)
    for query in QUERIES[:10]:
        expected = np.array(lucene(query, PASSAGES, k1, b))
        (found,) = retriever.search([query], 200)
        got = {passage.id: passage.score for passage in found}
        assert got == pytest.approx({p.id: s for p, s in zip(PASSAGES, expected, strict=True) if s > 0}, rel=1e-5)


def test_the_first_passage_is_that_of_another_implementation():
    """rank-bm25 has another idf, which changes scores but hardly ever the winner."""
    other = BM25Okapi([words(indexed_text(passage)) for passage in PASSAGES], k1=0.9, b=0.4)
    firsts = [PASSAGES[int(np.argmax(other.get_scores(words(query))))].id for query in QUERIES]
    agreed = [found[0].id == first for found, first in zip(BM25(PASSAGES).search(QUERIES, 1), firsts, strict=True)]
    assert sum(agreed) >= 0.9 * len(agreed)


def test_only_passages_that_share_a_word_are_found():
    corpus = [Passage("1", "", "Rome is on the Tiber"), Passage("2", "", "Paris is on the Seine")]
    found = BM25(corpus).search(["tiber TIBER!", "the", "is it on?", "London", "Seine or Tiber"], 5)
    assert [[passage.id for passage in each] for each in found] == [["1"], [], [], [], ["1", "2"]]


def test_titles_are_searched_too():
    corpus = [Passage("1", "Rome", "A city."), Passage("2", "Paris", "A city.")]
    assert BM25(corpus).search(["Paris"], 5)[0][0].id == "2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Tiber's 2nd bank", ["tiber", "s", "2nd", "bank"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("e\u0301tude étude", ["étude", "étude"]),
        ("", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_an_own_tokenizer_is_used_for_passages_and_queries_and_cannot_be_saved(tmp_path):
    corpus = [Passage("1", "", "東京は首都です"), Passage("2", "", "大阪は都市です")]
    retriever = BM25(corpus, tokenize=list)
    assert retriever.search(["東"], 5)[0][0].id == "1"
    with pytest.raises(UserError, match="tokenizer of your own cannot be saved"):
        retriever.save(tmp_path)


def test_a_saved_index_finds_the_same_and_another_corpus_is_refused(tmp_path):
    BM25(PASSAGES, k1=1.2).save(tmp_path)
    loaded = BM25.load(tmp_path, PASSAGES)
    assert loaded.search(QUERIES, 5) == BM25(PASSAGES, k1=1.2).search(QUERIES, 5) and loaded.k1 == 1.2
    with pytest.raises(UserError, match="holds an index of 200 passages, but the corpus has 199"):
        BM25.load(tmp_path, PASSAGES[1:])


@pytest.mark.parametrize("numbers", [{"k1": -0.1}, {"b": -0.1}, {"b": 1.1}])
def test_numbers_out_of_range(numbers):
    with pytest.raises(UserError, match="allowed: k1 of 0 or more, b from 0 to 1"):
        BM25(PASSAGES, **numbers)


def test_a_corpus_without_words():
    with pytest.raises(UserError, match="none of the 1 has a word"):
        BM25([Passage("1", "", "the")])


@pytest.mark.parametrize("k", [1, 2, 7, 50, 99])
def test_the_best_are_those_of_a_stable_sort(k):
    scores = np.random.default_rng(k).integers(0, 6, 50).astype(np.float32)
    assert best(scores, k).tolist() == sorted(range(50), key=lambda i: (-scores[i], i))[:k]
