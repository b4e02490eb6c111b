"""Verdicts: closed forms, scipy as the reference, and a simulation of claims without an effect."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tenfold.core.claims import (
    counted_together,
    error_of_look,
    judge,
    judge_all,
    number_of_look,
    verdict_text,
    what_it_says,
)
from tenfold.core.errors import UserError
from tenfold.core.statistics import mean_interval, seeds_to_decide, share_interval
from tenfold.core.types import Claim, Gate, Judgement, Looks, Plan, Scores

METRIC = "test/exact"
PLAN = Looks(plan=(0, 1, 2, 3, 4))


def make_claim(kind="superiority", direction="higher", margin=0.0, baseline="base"):
    baseline = None if kind == "threshold" else baseline
    return Claim("c", "A claim.", kind, METRIC, "test", "method", baseline, direction, margin, "equal steps")


def make_scores(method, base=None, items=None):
    arms = {"method": method} | ({} if base is None else {"base": base})
    return {
        arm: {seed: Scores({METRIC: value}, (items or {}).get((arm, seed), {})) for seed, value in enumerate(values)}
        for arm, values in arms.items()
    }


def judged(claim, scores, **looks):
    """The judgement where the planned seeds are those that are there."""
    plan = sorted({seed for by_seed in scores.values() for seed in by_seed})
    return judge(claim, scores, Looks(tuple(plan), **looks))


def test_superiority_interval_is_that_of_a_paired_t_test():
    method, base = [0.71, 0.66, 0.75, 0.70], [0.52, 0.55, 0.49, 0.60]
    judgement = judged(make_claim(), make_scores(method, base))
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
    assert judged(claim, make_scores(method, base)).verdict == verdict


def test_effect_is_the_gain_for_comparisons_and_the_value_for_thresholds():
    scores = make_scores([0.1, 0.1, 0.2], [0.4, 0.5, 0.5])
    gain = judged(make_claim(direction="lower"), scores)
    assert gain.effect == pytest.approx(1 / 3) and gain.interval[0] < gain.effect < gain.interval[1]
    value = judged(make_claim("threshold", "lower", 0.9), scores)
    assert value.effect == pytest.approx(0.4 / 3) and value.interval[0] < value.effect < value.interval[1]


def test_only_common_seeds_enter():
    scores = make_scores([0.9, 0.9, 0.9, 0.1], [0.1, 0.1, 0.2])
    assert judge(make_claim(), scores, Looks((0, 1, 2))).seeds == 3
    assert (
        judge_all([make_claim()], {"method": {0: Scores({METRIC: 1.0})}, "base": {1: Scores({METRIC: 1.0})}}, Looks())
        == ()
    )


def test_few_seeds_are_undecided_with_an_interval_over_items():
    method, base = [1.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0, 1.0]
    items = {("method", 0): {METRIC: method}, ("base", 0): {METRIC: base}}
    judgement = judge(make_claim(), make_scores([0.8], [0.4], items), PLAN)
    reference = stats.ttest_rel(method, base).confidence_interval(0.95)
    assert judgement.interval == pytest.approx((reference.low, reference.high))
    assert (judgement.verdict, judgement.interval_over) == ("undecided", "items")
    assert verdict_text(judgement) == "undecided (1 of 5 seeds)" and judgement.look == 0
    assert verdict_text(judge(make_claim(), make_scores([0.8, 0.8], [0.4, 0.4]), PLAN)) == "undecided (2 of 5 seeds)"


def test_items_that_do_not_pair_give_no_interval():
    items = {("method", 0): {METRIC: [1.0, 0.0, 1.0]}, ("base", 0): {METRIC: [1.0, 0.0]}}
    judgement = judge(make_claim(), make_scores([0.7], [0.5], items), PLAN)
    assert judgement.interval is None and judgement.interval_over == "nothing"


def test_items_of_two_seeds_are_averaged_by_position():
    items = {("method", 0): {METRIC: [1.0, 0.0, 1.0]}, ("method", 1): {METRIC: [0.0, 0.0, 1.0]}}
    judgement = judge(make_claim("threshold"), make_scores([2 / 3, 1 / 3], None, items), PLAN)
    assert judgement.interval == pytest.approx(mean_interval([0.5, 0.0, 1.0]))


def test_a_metric_that_is_not_a_number_is_undecided():
    judgement = judged(make_claim(), make_scores([0.9, math.nan, 0.9], [0.1, 0.1, 0.1]))
    assert judgement.verdict == "undecided" and math.isnan(judgement.effect)
    assert judgement.note == "test/exact is not a number for seed 1"


def test_a_missing_metric_is_a_defect_of_the_recipe():
    with pytest.raises(KeyError, match="needs the metric 'test/exact', which arm 'method' did not report"):
        judge(make_claim("threshold"), {"method": {0: Scores({"test/other": 1.0})}}, PLAN)


def test_no_common_seed_is_refused():
    with pytest.raises(ValueError, match="no finished seed in common"):
        judge(make_claim(), {}, PLAN)


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


def test_undecided_says_how_many_seeds_would_probably_do_and_what_they_cost():
    near = judged(make_claim(), make_scores([0.52, 0.60, 0.65], [0.5, 0.5, 0.5]))
    needed = seeds_to_decide([0.02, 0.10, 0.15], 0.0, error_of_look(2))
    assert near.note == (
        f"the interval contains 0; about {needed} seeds would probably decide it, "
        f"and they would be look 2, judged by a 97.5 % interval"
    )
    hopeless = judged(make_claim(), make_scores([0.4, 0.6, 0.501], [0.5, 0.5, 0.5]))
    assert "more than 100 seeds" in hopeless.note


def test_the_interval_of_equal_numbers_has_no_width_at_all():
    assert mean_interval([3.153272832] * 3) == (3.153272832, 3.153272832)


ROW = [0.62, 0.60, 0.65, 0.63, 0.61]


def test_without_a_plan_nothing_is_decided():
    judgement = judge(make_claim(), make_scores(ROW, [0.1] * 5), Looks())
    assert (judgement.verdict, judgement.planned, verdict_text(judgement)) == ("undecided", 0, "undecided (no plan)")


def test_other_seeds_than_the_planned_ones_decide_nothing():
    claim, scores = make_claim(), make_scores(ROW, [0.1] * 5)
    other = judge(claim, scores, Looks(plan=(10, 11, 12, 13, 14)))
    assert (other.verdict, other.on_plan, verdict_text(other)) == (
        "undecided",
        False,
        "undecided (not the planned seeds)",
    )
    mixed = judge(claim, scores, Looks(plan=(2, 3, 4, 5, 6)))
    assert (mixed.verdict, mixed.on_plan) == ("undecided", False)
    assert judge(claim, scores, PLAN).verdict == "supported"


def test_more_seeds_than_planned_are_a_further_look_judged_at_half_the_error():
    method = [0.51, 0.54, 0.62, 0.53, 0.65, 0.55]
    claim, scores = make_claim(), make_scores(method, [0.5] * 6)
    judgement = judge(claim, scores, PLAN)
    assert (judgement.look, judgement.confidence, verdict_text(judgement)) == (2, 0.975, "undecided (look 2)")
    reference = stats.ttest_1samp(np.array(method) - 0.5, 0.0).confidence_interval(0.975)
    assert judgement.interval == pytest.approx((reference.low, reference.high))
    planned = judge(claim, scores, Looks(plan=(0, 1, 2, 3, 4, 5)))
    assert (planned.look, planned.verdict) == (1, "supported"), "what the plan alone would have said"


def test_looks_are_counted_by_claim_over_other_runs_and_over_the_sets_of_seeds_of_its_own():
    plan = (0, 1)
    assert number_of_look("c", [0, 1], Looks(plan, earlier={"c": 2, "d": 7})) == 3
    assert number_of_look("c", [0, 1, 2, 3], Looks(plan, own=[[0, 1, 2]])) == 3
    assert number_of_look("c", [0, 1, 2, 3], Looks(plan, own=[[0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]])) == 3
    assert number_of_look("c", [0, 2], Looks(plan)) == 0


def gated(bound):
    gate = Gate("base", "test/learned", "higher", bound, "the rival did not learn the task")
    claim = Claim("c", "A claim.", "superiority", METRIC, "test", "method", "base", "higher", 0.0, "steps", gate=gate)
    scores = make_scores(ROW, [0.1] * 5)
    learned = [0.9, 0.8, 0.7, 0.9, 0.6]
    scores["base"] = {seed: Scores({METRIC: 0.1, "test/learned": learned[seed]}) for seed in range(5)}
    return judge(claim, scores, PLAN)


def test_a_rival_that_has_not_learned_in_every_seed_leaves_the_claim_undecided():
    assert (gated(0.5).gate, gated(0.5).verdict) == ("passed", "supported")
    failed = gated(0.65)
    assert (failed.gate, failed.verdict) == ("failed", "undecided")
    assert verdict_text(failed) == "undecided (the rival did not learn the task)"


def test_equal_seeds_decide_nothing_without_items_and_by_an_exact_interval_with_them():
    claim = make_claim("threshold", margin=0.9)
    bare = judge(claim, make_scores([1.0] * 5), PLAN)
    assert (bare.verdict, bare.interval_over) == ("undecided", "nothing") and "leave nothing to judge by" in bare.note
    items = {("method", seed): {METRIC: [1.0] * 20} for seed in range(5)}
    exact = judge(claim, make_scores([1.0] * 5, None, items), PLAN)
    assert (exact.verdict, exact.interval_over) == ("supported", "items")
    assert exact.interval == share_interval(100, 100) and exact.interval[0] == pytest.approx(0.025 ** (1 / 100))
    few = {("method", seed): {METRIC: [1.0] * 5} for seed in range(5)}
    assert judge(claim, make_scores([1.0] * 5, None, few), PLAN).verdict == "undecided"


def test_two_items_from_the_bound_pooled_items_decide_and_three_the_seeds():
    claim = make_claim("threshold", margin=0.95)
    for misses, over in ((2, "items"), (3, "seeds")):
        rows = [[1.0] * 20 for _ in range(5)]
        for seed in range(misses):
            rows[seed][0] = 0.0
        items = {("method", seed): {METRIC: row} for seed, row in enumerate(rows)}
        judgement = judge(claim, make_scores([np.mean(row) for row in rows], None, items), PLAN)
        assert judgement.interval_over == over


def test_the_exact_interval_of_a_gain_holds_both_shares():
    items = {("method", seed): {METRIC: [1.0] * 40} for seed in range(5)}
    items |= {("base", seed): {METRIC: [0.0] * 40} for seed in range(5)}
    judgement = judge(make_claim(margin=0.9), make_scores([1.0] * 5, [0.0] * 5, items), PLAN)
    low = share_interval(200, 200, 0.0125)[0] - share_interval(0, 200, 0.0125)[1]
    assert judgement.verdict == "supported" and judgement.interval == pytest.approx((low, 1.0))


def test_share_interval_is_that_of_the_exact_binomial_test():
    for hits, total in ((0, 10), (3, 10), (10, 10), (97, 100)):
        reference = stats.binomtest(hits, total).proportion_ci(0.95, method="exact")
        assert share_interval(hits, total) == pytest.approx((reference.low, reference.high))


def with_p(name, p, headline=False, **fields):
    claim = Claim(name, "t", "superiority", METRIC, "test", "a", "b", "higher", 0.0, "steps", headline=headline)
    return Judgement(claim, 0.1, (0.0, 0.2), "seeds", 5, "supported", look=1, planned=5, p=p, **fields)


def together(*judgements):
    return {judged.claim.id: judged.together for judged in counted_together(judgements)}


def test_the_headline_comes_first_and_holm_counts_the_others():
    assert together(with_p("h", 0.02, True), with_p("x", 0.012), with_p("y", 0.02)) == {"h": True, "x": True, "y": True}
    assert together(with_p("h", 0.02, True), with_p("x", 0.013), with_p("y", 0.02))["x"] is False
    behind = together(with_p("h", 0.02, True), with_p("x", 0.001), with_p("y", 0.02), with_p("z", 0.024))
    assert behind == {"h": True, "x": True, "y": False, "z": False}, "the second of three has half the error"
    assert together(with_p("h", 0.03, True), with_p("x", 0.001)) == {"h": False, "x": False}


def test_a_failed_gate_enters_with_p_1_and_exact_claims_stay_apart():
    failed = with_p("x", 0.001, gate="failed")
    assert together(with_p("h", 0.001, True), failed, with_p("y", 0.02)) == {"h": True, "x": False, "y": False}
    exact = Judgement(make_claim("exact"), 0.0, (0.0, 0.0), "seeds", 5, "supported", look=1, planned=5)
    assert together(with_p("h", 0.001, True), exact, with_p("y", 0.02)) == {"h": True, "c": None, "y": True}
    assert together(with_p("x", 0.001)) == {"x": False}, "without a headline no claim holds"


def test_the_p_of_a_claim_is_that_of_a_one_sided_t_test_times_the_looks():
    method = np.array([0.50, 0.54, 0.62, 0.51, 0.66])
    scores = make_scores(method, [0.5] * 5)
    reference = stats.ttest_1samp(method - 0.5, 0.0, alternative="greater").pvalue
    assert judge(make_claim(), scores, PLAN).p == pytest.approx(reference)
    assert judge(make_claim(), scores, Looks(PLAN.plan, earlier={what_it_says(make_claim()): 1})).p == pytest.approx(
        2 * reference
    )
    below = judge(make_claim("threshold", "lower", 0.7), make_scores(method), PLAN)
    assert below.p == pytest.approx(stats.ttest_1samp(method, 0.7, alternative="less").pvalue)


def test_gains_that_are_equal_but_for_rounding_decide_nothing():
    method, base = [0.9, 0.8, 0.7, 0.6, 0.5], [0.8, 0.7, 0.6, 0.5, 0.4]
    assert len({a - b for a, b in zip(method, base, strict=True)}) > 1, "rounding makes them differ"
    judgement = judge(make_claim(margin=0.09), make_scores(method, base), PLAN)
    assert (judgement.verdict, judgement.interval) == ("undecided", None)


def test_an_exact_claim_has_a_gate_too():
    gate = Gate("method", "test/learned", "higher", 0.5, "it did not learn")
    claim = Claim("c", "A claim.", "exact", METRIC, "test", "method", None, "higher", 1.0, "steps", gate=gate)
    scores = {"method": {seed: Scores({METRIC: 1.0, "test/learned": 0.1}) for seed in range(5)}}
    assert verdict_text(judge(claim, scores, PLAN)) == "undecided (it did not learn)"


def test_a_run_that_cannot_be_judged_says_why():
    judgement = judge(
        make_claim(), make_scores(ROW, [0.1] * 5), Looks(PLAN.plan, void="the code changed within the run")
    )
    assert verdict_text(judgement) == "undecided (the code changed within the run)" and judgement.p is None


def test_a_claim_under_another_name_or_margin_is_looked_at_again():
    renamed = replace(make_claim(margin=0.1), id="other")
    assert what_it_says(renamed) == what_it_says(make_claim())
    assert what_it_says(replace(make_claim(), arm="third")) != what_it_says(make_claim())


@pytest.mark.parametrize("seeds", [(1, 2), (1, 1, 2, 3, 4)])
def test_a_plan_has_at_least_five_seeds_each_once(seeds):
    with pytest.raises(UserError, match=r"PLAN: laptop = .*; allowed are at least 5 seeds, each named once"):
        Plan(laptop=seeds, why="few")
