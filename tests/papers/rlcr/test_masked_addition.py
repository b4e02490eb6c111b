"""The law of masked addition, by enumeration and by drawing."""

from collections import Counter

import numpy as np
import pytest

from tenfold.papers.rlcr.config import laptop
from tenfold.papers.rlcr.masked_addition import (
    LAW,
    answer_probabilities,
    best_accuracy,
    overconfident,
    probability_right,
    problems,
)


def test_the_best_accuracy_is_what_the_specification_says():
    found = [best_accuracy(hidden) for hidden in range(3)]
    assert found == pytest.approx([1.0, 0.5, 0.3], abs=0.005)
    assert np.mean(found) == pytest.approx(0.60, abs=0.005)


def test_probabilities_of_answers_by_enumeration():
    for prompt, cases in {
        "?+4=": [(a, 4) for a in range(10)],
        "7+?=": [(7, b) for b in range(10)],
        "?+?=": [(a, b) for a in range(10) for b in range(10)],
    }.items():
        left, right = prompt[:-1].split("+")
        weights = Counter()
        for a, b in cases:
            weights[(a + b) % 10] += (LAW[a] if left == "?" else 1) * (LAW[b] if right == "?" else 1)
        assert answer_probabilities(prompt) == pytest.approx([weights[y] for y in range(10)])


def test_draws_follow_the_law():
    found = problems(30_000, 0, "law")
    hidden = Counter(problem.facts["num_hidden"] for problem in found)
    assert all(hidden[k] / len(found) == pytest.approx(1 / 3, abs=0.01) for k in range(3))
    for k in range(3):
        assert all(problem.prompt.count("?") == k for problem in found if problem.facts["num_hidden"] == k)
    first_hidden = np.mean([p.prompt.startswith("?") for p in found if p.facts["num_hidden"] == 1])
    assert first_hidden == pytest.approx(0.5, abs=0.02)
    shown = Counter(p.prompt[0] for p in found if p.facts["num_hidden"] == 0)
    total = sum(shown.values())
    assert [shown[str(digit)] / total for digit in range(3)] == pytest.approx(LAW[:3], abs=0.015)
    right = np.mean([probability_right(p.prompt, p.answers[0]) for p in found if p.facts["num_hidden"] == 2])
    assert right == pytest.approx(sum(p**2 for p in answer_probabilities("?+?=")), abs=0.01)


def test_visible_sums_have_their_answer_and_draws_are_keyed():
    found = problems(200, 1, "x")
    assert all(eval(p.prompt[:-1]) % 10 == int(p.answers[0]) for p in found if not p.facts["num_hidden"])
    assert found == problems(200, 1, "x") and found != problems(200, 2, "x")


@pytest.mark.parametrize("answer", [None, "", "12", "x", "½"])
def test_what_is_no_digit_is_never_right(answer):
    assert probability_right("1+1=", answer) == 0


def test_the_warm_start_is_overconfident_whatever_is_hidden():
    found, warm = problems(40_000, 0, "warm"), laptop().warm_start
    said = overconfident(found, (warm.even_law, warm.odd_law), 0)
    q = np.array([float(text.split("<confidence>")[1][:3]) for text in said])
    hidden = np.array([problem.facts["num_hidden"] for problem in found])
    assert 0.81 < q.mean() < 0.94
    assert np.ptp([q[hidden == k].mean() for k in range(3)]) < 0.01
    assert all(text.startswith(f"<answer>{p.answers[0]}</answer>") for p, text in zip(found, said, strict=True))
    even = np.array([p.prompt in ("1+1=", "0+0=", "?+?=") for p in found])
    odd = np.array([p.prompt in ("?+1=", "0+1=") for p in found])
    assert np.mean(q[even] == 0.9) == pytest.approx(0.74, abs=0.02)
    assert np.mean(q[odd] == 0.8) == pytest.approx(0.40, abs=0.03)
    assert set(np.round(10 * q).astype(int)) == set(range(11))
