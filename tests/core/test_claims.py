"""Verdicts: closed forms, scipy as the reference, and a simulation of claims without an effect."""

import math

import numpy as np
import pytest
from scipy import stats

from tenfold.core import claims
from tenfold.core.claims import judge, judge_all, mean_interval, seeds_to_decide, verdict_text
from tenfold.core.types import Claim, Scores

METRIC = "test/exact"


def make_claim(kind="superiority", direction="higher", margin=0.0, baseline="base"):
    baseline = None if kind == "threshold" else baseline
    return Claim("c", "A claim.", kind, METRIC, "test", "method", baseline, direction, margin, "equal steps")


def make_scores(method, base=None, items=None):
    arms = {"method": method} | ({} if base is None else {"base": base})
    return {
        arm: {seed: Scores({METRIC: value}, (items or {}).get((arm, seed), {})) for seed, value in enumerate(values)}
        for arm, values in arms.items()
    }


def test_superiority_interval_is_that_of_a_paired_t_test():
    method, base = [0.71, 0.66, 0.75, 0.70], [0.52, 0.55, 0.49, 0.60]
    judgement = judge(make_claim(), make_scores(method, base))
    reference = stats.ttest_rel(method, base).confidence_interval(0.95)
    assert judgement.interval == pytest.approx((reference.low, reference.high))
    assert judgement.effect == pytest.approx(np.mean(method) - np.mean(base))
    assert (judgement.verdict, judgement.interval_over, judgement.seeds) == ("supported", "seeds", 4)


@pytest.mark.parametrize(
    ("claim", "method", "base", "verdict"),
    [
        (make_claim(), [0.9, 0.9, 0.91], [0.1, 0.1, 0.1], "supported"),
        (make_claim(), [0.1, 0.1, 0.11], [0.9, 0.9, 0.9], "not supported"),
        (make_claim(), [0.1, 0.9, 0.5], [0.4, 0.4, 0.4], "undecided"),
        (make_claim(margin=0.9), [0.9, 0.9, 0.91], [0.1, 0.1, 0.1], "not supported"),
        (make_claim(), [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], "undecided"),
        (make_claim(direction="lower"), [0.1, 0.1, 0.11], [0.9, 0.9, 0.9], "supported"),
        (make_claim(direction="lower"), [0.9, 0.9, 0.91], [0.1, 0.1, 0.1], "not supported"),
        (make_claim("non_inferiority", margin=0.05), [0.49, 0.5, 0.5], [0.5, 0.5, 0.5], "supported"),
        (make_claim("non_inferiority", margin=0.05), [0.39, 0.4, 0.4], [0.5, 0.5, 0.5], "not supported"),
        (make_claim("non_inferiority", margin=0.05), [0.4, 0.5, 0.5], [0.5, 0.5, 0.5], "undecided"),
        (make_claim("non_inferiority", "lower", 0.05), [0.51, 0.5, 0.5], [0.5, 0.5, 0.5], "supported"),
        (make_claim("threshold", margin=0.3), [0.4, 0.41, 0.4], None, "supported"),
        (make_claim("threshold", margin=0.3), [0.2, 0.21, 0.2], None, "not supported"),
        (make_claim("threshold", margin=0.3), [0.2, 0.5, 0.3], None, "undecided"),
        (make_claim("threshold", "lower", 0.3), [0.2, 0.21, 0.2], None, "supported"),
        (make_claim("threshold", "lower", 0.3), [0.4, 0.41, 0.4], None, "not supported"),
        (make_claim("exact", margin=7.0, baseline=None), [7.0, 7.0, 7.0], None, "supported"),
        (make_claim("exact", margin=7.0, baseline=None), [7.0, 7.0, 7.5], None, "not supported"),
        (make_claim("exact"), [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "supported"),
        (make_claim("exact"), [1.0, 2.0, 3.0], [1.0, 2.0, 4.0], "not supported"),
    ],
)
def test_verdict_of_each_kind(claim, method, base, verdict):
    assert judge(claim, make_scores(method, base)).verdict == verdict


def test_effect_is_the_gain_for_comparisons_and_the_value_for_thresholds():
    scores = make_scores([0.1, 0.1, 0.2], [0.4, 0.5, 0.5])
    gain = judge(make_claim(direction="lower"), scores)
    assert gain.effect == pytest.approx(1 / 3) and gain.interval[0] < gain.effect < gain.interval[1]
    value = judge(make_claim("threshold", "lower", 0.9), scores)
    assert value.effect == pytest.approx(0.4 / 3) and value.interval[0] < value.effect < value.interval[1]


def test_only_common_seeds_enter():
    scores = make_scores([0.9, 0.9, 0.9, 0.1], [0.1, 0.1, 0.2])
    assert judge(make_claim(), scores).seeds == 3
    assert judge_all([make_claim()], {"method": {0: Scores({METRIC: 1.0})}, "base": {1: Scores({METRIC: 1.0})}}) == ()


def test_few_seeds_are_undecided_with_an_interval_over_items():
    method, base = [1.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0, 1.0]
    items = {("method", 0): {METRIC: method}, ("base", 0): {METRIC: base}}
    judgement = judge(make_claim(), make_scores([0.8], [0.4], items))
    reference = stats.ttest_rel(method, base).confidence_interval(0.95)
    assert judgement.interval == pytest.approx((reference.low, reference.high))
    assert (judgement.verdict, judgement.interval_over) == ("undecided", "items")
    assert verdict_text(judgement) == "undecided (1 seed)"
    assert verdict_text(judge(make_claim(), make_scores([0.8, 0.8], [0.4, 0.4]))) == "undecided (2 seeds)"


def test_items_that_do_not_pair_give_no_interval():
    items = {("method", 0): {METRIC: [1.0, 0.0, 1.0]}, ("base", 0): {METRIC: [1.0, 0.0]}}
    judgement = judge(make_claim(), make_scores([0.7], [0.5], items))
    assert judgement.interval is None and judgement.interval_over == "nothing"


def test_items_of_two_seeds_are_averaged_by_position():
    items = {("method", 0): {METRIC: [1.0, 0.0, 1.0]}, ("method", 1): {METRIC: [0.0, 0.0, 1.0]}}
    judgement = judge(make_claim("threshold"), make_scores([2 / 3, 1 / 3], None, items))
    assert judgement.interval == pytest.approx(mean_interval([0.5, 0.0, 1.0]))


def test_a_metric_that_is_not_a_number_is_undecided():
    judgement = judge(make_claim(), make_scores([0.9, math.nan, 0.9], [0.1, 0.1, 0.1]))
    assert judgement.verdict == "undecided" and math.isnan(judgement.effect)
    assert judgement.note == "test/exact is not a number for seed 1"


def test_a_missing_metric_is_a_defect_of_the_recipe():
    with pytest.raises(KeyError, match="needs the metric 'test/exact', which arm 'method' did not report"):
        judge(make_claim("threshold"), {"method": {0: Scores({"test/other": 1.0})}})


def test_no_common_seed_is_refused():
    with pytest.raises(ValueError, match="no finished seed in common"):
        judge(make_claim(), {})


@pytest.fixture
def _no_notes(monkeypatch):
    """How many seeds would decide takes most of the time of a judgement, and decides nothing."""
    monkeypatch.setattr(claims, "seeds_to_decide", lambda values, line: None)


@pytest.mark.usefixtures("_no_notes")
@pytest.mark.parametrize("seeds", [3, 5, 12])
@pytest.mark.parametrize(("kind", "margin", "shift"), [("superiority", 0.0, 0.0), ("non_inferiority", 0.1, -0.1)])
def test_without_an_effect_at_most_three_percent_are_supported(seeds, kind, margin, shift):
    random = np.random.default_rng(seeds)
    trials, claim = 4000, make_claim(kind, margin=margin)
    base = random.normal(0.5, 0.05, (trials, seeds))
    method = base + shift + random.normal(0.0, 0.03, (trials, seeds))
    verdicts = [judge(claim, make_scores(*pair)).verdict for pair in zip(method, base, strict=True)]
    assert verdicts.count("supported") / trials <= 0.03
    assert verdicts.count("not supported") > 0


@pytest.mark.usefixtures("_no_notes")
@pytest.mark.parametrize("seeds", [3, 5, 12])
@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_at_the_threshold_itself_at_most_three_percent_are_supported(seeds, direction):
    random = np.random.default_rng(seeds)
    trials, claim = 4000, make_claim("threshold", direction, margin=0.5)
    values = random.normal(0.5, 0.05, (trials, seeds))
    verdicts = [judge(claim, make_scores(row)).verdict for row in values]
    assert verdicts.count("supported") / trials <= 0.03
    assert 0 < verdicts.count("not supported") / trials <= 0.03


def test_a_large_effect_is_called_supported():
    random = np.random.default_rng(0)
    base = random.normal(0.5, 0.05, (200, 5))
    method = base + 0.3 + random.normal(0.0, 0.03, base.shape)
    assert all(
        judge(make_claim(), make_scores(*pair)).verdict == "supported" for pair in zip(method, base, strict=True)
    )


def test_number_of_seeds_that_would_decide_has_the_promised_power():
    values = [0.02, 0.10, 0.15]
    needed = seeds_to_decide(values, line=0.0)
    random = np.random.default_rng(1)
    draws = random.normal(np.mean(values), np.std(values, ddof=1), (20_000, needed))
    lows = draws.mean(1) - stats.t.ppf(0.975, needed - 1) * draws.std(1, ddof=1) / math.sqrt(needed)
    assert 0.79 < (lows > 0).mean() < 0.95
    fewer = draws[:, :-1]
    lows = fewer.mean(1) - stats.t.ppf(0.975, needed - 2) * fewer.std(1, ddof=1) / math.sqrt(needed - 1)
    assert (lows > 0).mean() < 0.81


def test_undecided_says_how_many_seeds_would_probably_do():
    near = judge(make_claim(), make_scores([0.52, 0.60, 0.65], [0.5, 0.5, 0.5]))
    assert (
        near.note
        == f"the interval contains 0; about {seeds_to_decide([0.02, 0.10, 0.15], 0.0)} seeds would probably decide it"
    )
    hopeless = judge(make_claim(), make_scores([0.4, 0.6, 0.501], [0.5, 0.5, 0.5]))
    assert "more than 100 seeds" in hopeless.note


def test_the_interval_of_equal_numbers_has_no_width_at_all():
    assert mean_interval([3.153272832] * 3) == (3.153272832, 3.153272832)
