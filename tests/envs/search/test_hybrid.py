"""Reciprocal rank fusion on rankings that can be added up by hand."""

import pytest

from tenfold.core.errors import UserError
from tenfold.envs.search import FakeRetriever, Hybrid, Passage, reciprocal_rank_fusion

A, B, C, E = (Passage(name, "", name, score=99.0) for name in "abce")


def test_scores_are_sums_of_reciprocal_ranks():
    fused = reciprocal_rank_fusion([[A, B, C], [C, A], []], k=9, constant=1)
    assert [(passage.id, passage.score) for passage in fused] == [
        ("a", pytest.approx(1 / 2 + 1 / 3)),
        ("c", pytest.approx(1 / 4 + 1 / 2)),
        ("b", pytest.approx(1 / 3)),
    ]


def test_equal_scores_keep_the_order_of_the_rankings():
    assert [passage.id for passage in reciprocal_rank_fusion([[B, A], [A, B], [E]], k=3)] == ["b", "a", "e"]


def test_the_depth_is_never_less_than_what_is_asked_for():
    engines = FakeRetriever({"?": [A, B, C]}), FakeRetriever({"?": [C]})
    assert [len(found) for found in Hybrid(engines, depth=2).search(["?"], 3)] == [3]
    assert [engine.asked for engine in engines] == [[(("?",), 3)]] * 2
    Hybrid(engines, depth=2).search(["?"], 1)
    assert engines[0].asked[-1] == (("?",), 2)


def test_what_is_refused():
    with pytest.raises(UserError, match="at least one retriever"):
        Hybrid([])
    for numbers in ({"depth": 0}, {"constant": -1.0}):
        with pytest.raises(UserError, match="allowed: depth of 1 or more"):
            Hybrid([FakeRetriever()], **numbers)
