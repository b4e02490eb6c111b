"""Calibration metrics against closed forms and scikit-learn."""

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.eval.calibration import (
    auroc,
    bootstrap_interval,
    brier,
    calibration_report,
    confidence_sum,
    expected_calibration_error,
    fit_temperature,
    intra_answer_std,
    reliability_table,
    with_temperature,
)


def predictions(seed, num=300):
    """Coarse confidences, so that there are ties, and outcomes that follow them loosely."""
    generator = numpy_generator(seed, "predictions")
    q = generator.integers(0, 11, num) / 10
    return q, (generator.random(num) < 0.2 + 0.5 * q).astype(float)


@pytest.mark.spec("rlcr", "5")
def test_bins_are_closed_on_the_left_and_the_last_one_on_both_sides():
    rows = reliability_table([0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 0.9, 1.0, 0.999], [0, 1, 1, 0, 1, 1, 1, 1, 0])
    assert [row.size for row in rows] == [1, 1, 1, 1, 0, 0, 1, 1, 0, 3]
    assert rows[0].mean_confidence == 0 and rows[1].mean_confidence == 0.1
    assert np.isnan(rows[4].accuracy)


@pytest.mark.spec("rlcr", "5")
@pytest.mark.parametrize(("q", "c", "expected"), [(0.0, 0, 0), (0.0, 1, 1), (0.1, 1, 0.9), (1.0, 1, 0), (1.0, 0, 1)])
def test_edges_of_the_calibration_error(q, c, expected):
    assert expected_calibration_error([q], [c]) == pytest.approx(expected)


@pytest.mark.spec("rlcr", "5")
def test_perfect_calibration_has_no_error():
    q = [0.0] * 4 + [0.25] * 4 + [0.5] * 4 + [1.0] * 4
    c = [0] * 4 + [1, 0, 0, 0] + [1, 1, 0, 0] + [1] * 4
    assert expected_calibration_error(q, c) == 0


def test_the_calibration_error_by_hand():
    q, c = [0.05, 0.15, 0.15, 0.95], [1, 0, 1, 1]
    assert expected_calibration_error(q, c) == pytest.approx((0.95 + 2 * 0.35 + 0.05) / 4)


def test_a_constant_confidence_at_the_accuracy_looks_calibrated_and_tells_nothing():
    report = calibration_report([0.6] * 10, [1] * 6 + [0] * 4)
    assert report["ece"] == pytest.approx(0) and report["auroc"] == 0.5 and report["distinct_confidences"] == 1
    assert report["brier"] == pytest.approx(0.24)
    assert report["accuracy"] == pytest.approx(0.6) and report["mean_confidence"] == pytest.approx(0.6)


@pytest.mark.spec("rlcr", "5")
@pytest.mark.parametrize("seed", range(5))
def test_auroc_with_ties_equals_scikit_learn(seed):
    from sklearn.metrics import roc_auc_score

    q, c = predictions(seed)
    assert auroc(q, c) == pytest.approx(roc_auc_score(c, q), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_brier_score_equals_scikit_learn(seed):
    from sklearn.metrics import brier_score_loss

    q, c = predictions(seed)
    assert brier(q, c) == pytest.approx(brier_score_loss(c, q), abs=1e-12)


@pytest.mark.spec("rlcr", "5")
@pytest.mark.parametrize("outcome", [0, 1])
def test_a_single_class_has_no_auroc(outcome):
    assert np.isnan(auroc([0.1, 0.7], [outcome] * 2))


def test_deviation_over_resampled_analyses():
    assert intra_answer_std([[0.0, 1.0], [0.5, 0.5]]) == 0.25
    with pytest.raises(UserError, match="at least two"):
        intra_answer_std([[0.1, 0.2], [0.3]])


@pytest.mark.spec("rlcr", "8")
def test_the_sum_of_confidences_over_two_answers():
    assert confidence_sum(["7", "7", "8"], [0.6, 0.8, 0.5]) == pytest.approx(1.2)
    assert confidence_sum(["7", "7"], [0.6, 0.8]) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("q", "c", "message"),
    [
        ([], [], "both must be"),
        ([0.5], [1, 0], "shapes"),
        ([0.2, 1.5], [1, 0], r"confidences\[1\] = 1.5"),
        ([float("nan")], [1], r"confidences\[0\] = nan"),
        ([0.2, 0.4], [1, 0.5], r"outcomes\[1\] = 0.5"),
    ],
)
def test_bad_input_names_the_first_wrong_value(q, c, message):
    with pytest.raises(UserError, match=message):
        calibration_report(q, c)


def test_the_edges_of_the_authors_put_three_tenths_one_bin_lower():
    tenths = [k / 10 for k in range(11)]
    defined = [row.size for row in reliability_table(tenths, [1] * 11)]
    floating = [row.size for row in reliability_table(tenths, [1] * 11, edges="linspace")]
    assert defined == [1] * 9 + [2]
    assert floating == [1, 1, 2, 0, 1, 2, 1, 0, 1, 2], "0.3, 0.6 and 0.7 of NumPy's linspace are a little more"


@pytest.mark.parametrize("seed", range(4))
def test_adaptive_bins_hold_equally_many_and_keep_equal_confidences_together(seed):
    generator = numpy_generator(seed, "adaptive")
    q = 0.8 + 0.2 * generator.random(400)
    c = (generator.random(400) < q).astype(float)
    rows = reliability_table(q, c, 8, "adaptive")
    assert [row.size for row in rows] == [50] * 8 and rows[0].low == q.min() and rows[-1].high == q.max()
    q, c = predictions(seed)
    rows = reliability_table(q, c, 8, "adaptive")
    assert sum(row.size for row in rows) == len(q) and all(row.size for row in rows)
    order = generator.permutation(len(q))
    assert expected_calibration_error(q[order], c[order], 8, "adaptive") == pytest.approx(
        expected_calibration_error(q, c, 8, "adaptive")
    )
    assert expected_calibration_error([0.7] * 4, [1, 1, 1, 0], edges="adaptive") == pytest.approx(0.05)


def test_bootstrap_intervals_cover_the_truth_as_often_as_they_say():
    """The Brier score of calibrated confidences, whose expectation is E q(1-q): 200 data sets of 80 predictions."""
    covered = 0
    for seed in range(200):
        generator = numpy_generator(seed, "coverage")
        q = generator.random(80)
        low, high = bootstrap_interval(brier, q, (generator.random(80) < q).astype(float), level=0.9, resamples=200)
        covered += low <= 1 / 6 <= high
    assert 165 <= covered <= 192, "of 200, 180 expected"


def test_a_bootstrap_interval_repeats_and_leaves_out_what_is_no_number():
    q, c = predictions(0)
    assert len({bootstrap_interval(auroc, q, c, seed=1, resamples=50) for _ in range(2)}) == 1
    assert all(np.isfinite(bootstrap_interval(auroc, [0.9, 0.1, 0.5], [1, 0, 0], resamples=50)))
    assert all(np.isnan(bootstrap_interval(auroc, [0.9, 0.1], [1, 1], resamples=50)))
    with pytest.raises(UserError, match=r"level = 1\.0"):
        bootstrap_interval(brier, q, c, level=1.0)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_confidences_that_were_scaled_is_found_again(temperature):
    generator = numpy_generator(0, "temperature")
    p = generator.random(20_000)
    c = (generator.random(20_000) < p).astype(float)
    stated = with_temperature(p, 1 / temperature)
    found = fit_temperature(stated, c)
    assert found == pytest.approx(temperature, rel=0.05)
    assert expected_calibration_error(with_temperature(stated, found), c) < 0.015
    assert auroc(with_temperature(stated, found), c) == pytest.approx(auroc(stated, c)), "the order stays"


def test_without_a_best_temperature_it_is_a_bound():
    assert fit_temperature([0.9, 0.1], [1, 0]) == pytest.approx(0.01)
    assert fit_temperature([0.9, 0.1], [0, 1]) == pytest.approx(100)
    with pytest.raises(UserError, match="temperature = 0: must be finite and above 0"):
        with_temperature([0.5], 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"bins": 0}, "bins = 0"), ({"bins": 10**6}, "bins = 1000000"), ({"edges": "x"}, "edges = 'x'")],
)
def test_bins_that_cannot_be_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        reliability_table([0.5], [1], **options)


@pytest.mark.parametrize("measure", [brier, expected_calibration_error, auroc, calibration_report])
def test_integers_that_no_float_holds_are_refused(measure):
    for confidences, outcomes in (([10**6000, 1], [1, 0]), ([0.5, 1], [1, -(10**6000)])):
        with pytest.raises(UserError, match="a number is too large"):
            measure(confidences, outcomes)
