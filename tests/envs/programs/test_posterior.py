"""Weighted samples: means, quantiles, ranges, JSON, pooling."""

import json

import numpy as np
import pytest

from tenfold.envs.programs import InThisProcess, Marginal, Posterior, infer, pooled

from .examples import TUG_OF_WAR

HERE = InThisProcess()


def posterior(values, weights=None, query="a"):
    values = np.array(values, dtype=float)
    weights = np.full(len(values), 1 / len(values)) if weights is None else np.array(weights)
    return Posterior({query: values}, weights, method="rejection", attempts=10, accepted=len(values))


def test_moments_and_quantiles_of_weighted_samples():
    one = Marginal(np.array([3.0, 1.0, 2.0]), np.array([0.5, 0.25, 0.25]))
    assert one.mean() == 2.25
    assert one.sd() == pytest.approx(np.sqrt(0.5 * 0.75**2 + 0.25 * 1.25**2 + 0.25 * 0.25**2))
    assert [one.quantile(share) for share in (0.1, 0.25, 0.3, 0.5, 0.9, 1.0)] == [1, 1, 2, 2, 3, 3]
    assert one.expectation(lambda x: x > 1.5) == 0.75
    weights, edges = one.hist(bins=2, range=(1, 3))
    assert weights.tolist() == [0.25, 0.75] and edges.tolist() == [1, 2, 3]
    assert one.resample(1000).mean() == pytest.approx(2.25, abs=0.1)


def test_effective_size_and_acceptance():
    one = posterior([1, 2, 3, 4], [0.5, 0.5, 0.0, 0.0])
    assert one.effective_size == pytest.approx(2) and one.acceptance == 0.4


def test_ranges_are_checked_and_a_share_in_place_of_a_percentage_is_noticed():
    assert posterior([10, 90]).out_of_range({"a": (0, 100)}) == []
    assert posterior([10, 120]).out_of_range({"a": (0, 100)}) == [
        "query 'a' has values from 10 to 120; declared: 0 to 100"
    ]
    assert "multiply it by 100" in posterior([0, 0.5, 1]).out_of_range({"a": (0, 100)})[0]
    assert posterior([0, 0.5, 1]).out_of_range({"a": (0, 1)}) == []
    assert posterior([1, 2]).out_of_range({"b": (0, 1)}) == ["query 'b' has no answer"]


def test_a_posterior_goes_to_json_and_back():
    one = infer(TUG_OF_WAR, n=50, runner=HERE)
    again = Posterior.from_plain(json.loads(json.dumps(one.to_plain())))
    assert again.summary() == one.summary() and again.conditions == one.conditions
    assert np.array_equal(again.weights, one.weights)


def test_pooling_takes_equal_numbers_from_each():
    both = pooled([posterior([0.0] * 10), posterior([1.0] * 990)], 50)
    assert len(both.weights) == 100 and both["a"].mean() == 0.5


def test_a_plot_has_a_histogram_for_each_query():
    assert len(infer(TUG_OF_WAR, n=50, runner=HERE).plot().axes) == 3
