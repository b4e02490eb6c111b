"""Decision metrics against numbers worked out by hand, and what is counted in a response."""

import math
from dataclasses import replace

import pytest

from tenfold.core.errors import UserError
from tenfold.core.types import Trajectory
from tenfold.papers.sem.grammar import Response, Search
from tenfold.papers.sem.measures import (
    Measured,
    decision_quality,
    measure,
    rule_judge,
    search_calibration,
    summary,
)
from tenfold.papers.sem.method import Gold

# Four questions (rows) with four responses each. Closed-book accuracies 1, 3/4, 1/4, 0: the first two are known.
CLOSED_BOOK = [1.0, 0.75, 0.25, 0.0]
SEARCHED = [
    [0, 0, 0, 0],
    [0, 1, 0, 0],
    [1, 0, 1, 1],
    [1, 1, 1, 0],
]
FLAT = [flag for row in SEARCHED for flag in row]
ACCURACIES = [accuracy for accuracy in CLOSED_BOOK for _ in range(4)]


def sample(searches, first, right, **facts):
    return Measured(
        **{
            "valid": True,
            "ended": True,
            "first_right": first,
            "right": right,
            "f1": float(right),
            "judged_right": right,
            "searches": searches,
            "duplicates": 0,
            "tool_tokens": 10 * searches,
            "model_tokens": 20,
        }
        | facts
    )


@pytest.mark.spec("sem", "7")
def test_the_decisions_of_four_times_four_responses():
    found = decision_quality(FLAT, [accuracy >= 0.5 for accuracy in ACCURACIES])
    assert found.over_search == 1 / 8  # of 8 responses to known questions 1 searched
    assert found.under_search == 2 / 8  # of 8 responses to unknown questions 2 did not
    # "searched" as a prediction of "unknown": 7 said so, 6 rightly, of 8 that are: P = 6/7, R = 6/8, F1 = 12/15
    assert found.f1 == pytest.approx(0.8)


@pytest.mark.spec("sem", "7")
def test_the_calibration_of_four_times_four_responses():
    rows = search_calibration(FLAT, ACCURACIES, bins=4)
    assert [(row.size, row.accuracy) for row in rows if row.size] == [(4, 0.75), (4, 0.75), (8, 0.125)]
    assert [row.mean_confidence for row in rows if row.size] == [0.0, 0.25, 0.875]


@pytest.mark.spec("sem", "7")
def test_the_summary_of_four_times_four_responses():
    right = [1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0]
    first = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    samples = [sample(n, bool(a), bool(b)) for n, a, b in zip(FLAT, first, right, strict=True)]
    numbers = summary(samples, ACCURACIES)
    assert numbers["exact_match"] == numbers["f1"] == numbers["judged"] == 11 / 16
    assert numbers["search_ratio"] == numbers["searches"] == 7 / 16
    assert numbers["tool_tokens"] == 70 / 16
    assert numbers["first_accuracy"] == 9 / 16
    # searched with a wrong first answer: numbers 8, 12, 13, 14; of them 8, 12 and 14 are right in the end
    assert numbers["repair_rate"] == 3 / 4
    # searched with a right first answer: 5, 10 and 11; 5 and 10 are wrong in the end
    assert numbers["harm_rate"] == 2 / 3
    assert (numbers["over_search"], numbers["under_search"]) == (1 / 8, 2 / 8)
    assert numbers["decision_f1"] == pytest.approx(0.8)
    strict = summary(samples, ACCURACIES, known_from=1.0)
    assert (strict["over_search"], strict["under_search"]) == (0.0, 5 / 12)
    by_first = summary(samples)
    assert (by_first["over_search"], by_first["under_search"]) == (3 / 9, 3 / 7), "5, 10, 11; 7, 9, 15"


def test_a_share_of_nothing_is_no_number():
    numbers = summary([sample(0, True, True)])
    assert all(math.isnan(numbers[name]) for name in ("repair_rate", "harm_rate", "under_search", "decision_f1"))
    assert numbers["over_search"] == 0.0
    with pytest.raises(UserError, match="samples: there are none"):
        summary([])
    with pytest.raises(UserError, match="closed_book_accuracy: 2 for 1"):
        summary([sample(0, True, True)], [0.5, 0.5])
    with pytest.raises(UserError, match="both must be"):
        decision_quality([1], [1, 0])


def test_what_is_counted_in_a_response():
    found = Response("", "Po", (Search("a", "b"), Search("a", "b")), "the river Tiber of Rome")
    calls = [
        {"error": None, "duplicate": False},
        {"error": None, "duplicate": True},
        {"error": "no call left"},
    ]
    trajectory = Trajectory((1,), list(range(9)), [True] * 4 + [False] * 5, [0.0] * 9, "stop", tool_calls=tuple(calls))
    gold = Gold(("Tiber",))
    (one,) = measure([found], [trajectory], [gold])
    assert (one.searches, one.duplicates, one.tool_tokens, one.model_tokens) == (2, 1, 5, 4)
    assert (one.first_right, one.right, one.judged_right, one.f1) == (False, False, True, pytest.approx(0.4))
    asked = []

    def judge(question, answer, references):
        asked.append((question, answer, references))
        return False

    (one,) = measure([found], [trajectory], [gold], questions=["river of Rome?"], judge=judge)
    assert asked == [("river of Rome?", "the river Tiber of Rome", gold)] and not one.judged_right
    cut = replace(trajectory, stop_reason="length")
    assert [row.ended for row in measure([found] * 2, [trajectory, cut], [gold] * 2)] == [True, False]
    silent = Response("", None, problem="no text")
    (one,) = measure([silent], [trajectory], [gold], judge=judge)
    assert len(asked) == 1 and not one.judged_right and not one.valid
    with pytest.raises(UserError, match=r"there are \(1, 1, 2, 1\)"):
        measure([found], [trajectory], [gold, gold])


def test_the_judge_by_rule_reads_whole_words():
    assert rule_judge("?", "It's the Tiber!", Gold(("tiber",)))
    assert not rule_judge("?", "Tiberius", Gold(("Tiber",)))
    assert rule_judge("?", "(b)", Gold(("B",), ("Po", "Tiber"))) and not rule_judge("?", "A", Gold(("B",), ("x", "y")))
    assert rule_judge("?", "No.", Gold(("no",))) and not rule_judge("?", "No one knows", Gold(("no",)))
    assert not rule_judge("?", "yes and no", Gold(("yes",))) and rule_judge("?", "yes sir", Gold(("yes", "yes sir")))
    assert rule_judge("?", "the", Gold(("The",))) and not rule_judge("?", "Rome", Gold(("the",)))
