"""Proper scores as rewards: closed forms of V(p), and which rules pay for giving up."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from tenfold.core.errors import UserError
from tenfold.rewards import brier_rule, check_scoring_rule, is_safe, log_rule, spherical_rule

GRID = np.linspace(0, 1, 101)


def best(rule, p, weight=1.0):
    """(best confidence on a grid of 0.01, its expected reward)."""
    values = [weight * p - p * rule(q, 1) - (1 - p) * rule(q, 0) for q in GRID]
    return GRID[int(np.argmax(values))], max(values)


@pytest.mark.spec("rlcr", "2")
@pytest.mark.parametrize("rule", [brier_rule, spherical_rule])
def test_brier_and_spherical_ask_for_the_probability_and_for_the_likelier_answer(rule):
    found = [best(rule, p) for p in GRID]
    assert [q for q, _ in found] == pytest.approx(GRID.tolist())
    assert (np.diff([value for _, value in found]) >= -1e-12).all()
    safety = is_safe(rule)
    assert safety and safety.proper and safety.rising and safety.worse_than_giving_up_below == 0


def test_the_value_under_brier_is_p_squared():
    for p in GRID:
        assert best(brier_rule, p)[1] == pytest.approx(p**2)


@pytest.mark.spec("rlcr", "2")
def test_the_log_score_is_flagged_with_its_zero_crossing():
    def value(p):
        return p + p * math.log(p) + (1 - p) * math.log(1 - p)

    crossing = brentq(value, 0.3, 0.9)
    assert crossing == pytest.approx(0.648, abs=1e-3)
    safety = is_safe(log_rule)
    assert not safety and safety.proper and not safety.rising
    assert safety.worse_than_giving_up_below == pytest.approx(crossing, abs=1e-3)


@pytest.mark.parametrize(("weight", "safe"), [(2.0, False), (10.0, False), (25.0, False), (30.0, True)])
def test_no_common_weight_makes_the_log_score_safe(weight, safe):
    """Clipped at 1e-12, V near 0 is p (weight + log 1e-12 - 1): negative up to a weight of 28.6."""
    safety = is_safe(log_rule, weight)
    assert bool(safety) is safe
    assert (safety.worse_than_giving_up_below == 0) is safe


@pytest.mark.spec("rlcr", "2")
def test_brier_without_correctness_is_flagged():
    safety = is_safe(brier_rule, correctness_weight=0.0)
    assert not safety and safety.proper and not safety.rising
    assert safety.worse_than_giving_up_below == pytest.approx(0.999)  # V = -p (1 - p) is below V(0) but at p = 1


@pytest.mark.parametrize(("weight", "safe"), [(0.5, False), (0.99, False), (1.0, True), (2.0, True)])
def test_brier_is_safe_from_weight_one_on(weight, safe):
    assert bool(is_safe(brier_rule, weight)) is safe


def test_a_rule_that_is_not_proper_is_told_apart():
    linear = is_safe(lambda q, c: abs(q - c))
    assert not linear and not linear.proper and linear.rising
    assert not is_safe(lambda q, c: 0.0).proper  # a confidence that earns nothing is undetermined


@pytest.mark.parametrize("rule", [brier_rule, spherical_rule])
def test_the_condition_on_pairs_agrees_with_the_rules(rule):
    assert check_scoring_rule(lambda q: 1 - rule(q, 1), lambda q: -rule(q, 0))
    bribed = check_scoring_rule(lambda q: -rule(q, 1), lambda q: 1 - rule(q, 0))
    assert bribed.proper and not bribed.right_beats_wrong


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (lambda q: q, lambda q: -q),
        (lambda q: -((1 - q) ** 2), lambda q: -2 * q**2),
        (lambda q: 1 + (1 - q) ** 2, lambda q: q**2),  # Brier's with the sign turned: both slopes fit, and pay for lies
    ],
)
def test_pairs_that_are_not_proper_are_refused(right, wrong):
    assert not check_scoring_rule(right, wrong).proper


def test_a_loss_without_bound_is_named_and_not_taken_for_improper():
    with pytest.raises(UserError, match=r"S\(0, 1\) = inf: must be finite on \[0, 1\]"):
        is_safe(lambda q, c: math.inf if q == 1 - c else -math.log(q if c else 1 - q))


def test_bad_arguments_are_refused():
    with pytest.raises(UserError, match="correctness_weight = -1"):
        is_safe(brier_rule, -1)
    with pytest.raises(UserError, match="resolution = 3"):
        is_safe(brier_rule, resolution=3)
    with pytest.raises(UserError, match="resolution = 3"):
        check_scoring_rule(lambda q: q, lambda q: q, 3)


def test_the_log_score_is_finite_at_the_ends():
    assert log_rule(0.0, 1) == pytest.approx(12 * math.log(10))
    assert log_rule(1.0, 1) == 0
