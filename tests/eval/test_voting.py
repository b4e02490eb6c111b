"""Votes on samples made by hand."""

import pytest

from tenfold.core.errors import UserError
from tenfold.eval.exact_match import exact_match
from tenfold.eval.voting import (
    confidence_weighted_vote,
    ensembled_confidence,
    in_one_form,
    majority_vote,
    max_confidence,
)

ANSWERS, CONFIDENCES = ["a", "b", "b", "c", "c"], [0.9, 0.5, 0.1, 0.4, 0.45]


@pytest.mark.spec("rlcr", "8")
def test_three_rules_three_winners():
    assert majority_vote(ANSWERS) == "b"  # two votes, seen before c's two
    assert max_confidence(ANSWERS, CONFIDENCES) == "a"
    assert max_confidence(["b", "a", "b"], [0.4, 0.5, 0.4]) == "a"  # one sample is surest, though b's sum is higher
    assert confidence_weighted_vote(["b", "a", "b"], [0.4, 0.5, 0.4]) == "b"
    assert confidence_weighted_vote(["a", "b", "b", "c", "c"], [0.6, 0.5, 0.1, 0.4, 0.45]) == "c"  # .6, .6, .85


@pytest.mark.spec("rlcr", "8")
def test_ties_go_to_the_larger_count_then_to_the_first():
    assert confidence_weighted_vote(["a", "b", "b"], [0.5, 0.25, 0.25]) == "b"
    assert confidence_weighted_vote(["b", "a"], [0.5, 0.5]) == "b"
    assert max_confidence(["a", "b", "b"], [0.5, 0.5, 0.1]) == "b"
    assert majority_vote(["y", "x", "x", "y"]) == "y"


@pytest.mark.spec("rlcr", "8")
def test_sums_that_rounding_alone_tells_apart_are_a_tie():
    assert 0.7 + 0.1 != 0.8
    assert confidence_weighted_vote(["b", "a", "a"], [0.8, 0.7, 0.1]) == "a"  # by count
    assert confidence_weighted_vote(["b", "b", "a", "a"], [0.7, 0.1, 0.4, 0.4]) == "b"  # by order


@pytest.mark.spec("rlcr", "8")
def test_answers_are_brought_to_one_form_before_they_are_counted():
    answers = ["Rome", "The Paris", "paris.", "ROME", "Paris"]
    assert majority_vote(answers) == "Rome"
    assert in_one_form(answers, exact_match) == ["Rome", "The Paris", "The Paris", "Rome", "The Paris"]
    assert majority_vote(in_one_form(answers, exact_match)) == "The Paris"
    assert in_one_form([], exact_match) == []


@pytest.mark.spec("rlcr", "8")
def test_equal_confidences_make_the_weighted_vote_a_majority():
    assert confidence_weighted_vote(ANSWERS, [0.3] * 5) == majority_vote(ANSWERS)


@pytest.mark.spec("rlcr", "8")
def test_an_ensemble_has_a_brier_score_no_worse_than_its_members_have_on_average():
    confidences = [0.2, 0.9, 0.4]
    mean = ensembled_confidence(confidences)
    assert mean == 0.5
    for outcome in (0, 1):
        assert (mean - outcome) ** 2 <= sum((q - outcome) ** 2 for q in confidences) / 3


def test_nothing_to_count_is_refused():
    with pytest.raises(UserError, match="at least one"):
        majority_vote([])
    with pytest.raises(UserError, match="2 for 1"):
        max_confidence(["a", "b"], [0.1])
    with pytest.raises(UserError, match="at least one"):
        ensembled_confidence([])


@pytest.mark.parametrize("confidence", [float("nan"), -0.1, 1.5, 10**6000, -(10**6000)], ids=[*"abcde"])
def test_a_confidence_out_of_range_is_refused(confidence):
    with pytest.raises(UserError, match=r"confidences\[1\] = .*: must lie in \[0, 1\]"):
        ensembled_confidence([0.5, confidence])
    for vote in (confidence_weighted_vote, max_confidence):
        with pytest.raises(UserError, match=r"confidences\[1\] = .*: must lie in \[0, 1\]"):
            vote(["a", "b"], [0.5, confidence])
