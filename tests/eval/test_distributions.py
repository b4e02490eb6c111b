"""Distances between samples against scipy, and intervals that cover."""

import numpy as np
import pytest
from scipy import stats

from tenfold.core.errors import UserError
from tenfold.eval.distributions import bootstrap_interval, r_squared, wasserstein_1


@pytest.mark.spec("msa", "10")
@pytest.mark.parametrize("seed", range(8))
def test_wasserstein_is_that_of_scipy(seed):
    generator = np.random.default_rng(seed)
    a, b = generator.normal(50, 20, 1 + 37 * seed), generator.exponential(30, 60).round()
    assert wasserstein_1(a, b) == pytest.approx(stats.wasserstein_distance(a, b))
    u, v = generator.random(len(a)), generator.random(len(b))
    assert wasserstein_1(a, b, u, v) == pytest.approx(stats.wasserstein_distance(a, b, u, v))


@pytest.mark.spec("msa", "10")
def test_wasserstein_of_equal_samples_is_zero_and_of_equally_many_a_mean_of_sorted_differences():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=50), generator.normal(2, 3, size=50)
    assert wasserstein_1(a, generator.permutation(a)) == 0
    assert wasserstein_1(a, b) == pytest.approx(np.abs(np.sort(a) - np.sort(b)).mean())


@pytest.mark.spec("msa", "10")
@pytest.mark.parametrize("seed", range(4))
def test_r_squared_is_that_of_scipy(seed):
    generator = np.random.default_rng(seed)
    a = generator.normal(size=30)
    b = a + generator.normal(size=30)
    assert r_squared(a, b) == pytest.approx(stats.pearsonr(a, b).statistic ** 2)


def test_r_squared_of_a_constant_is_none():
    assert np.isnan(r_squared([1, 1, 1], [1, 2, 3]))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: wasserstein_1([], [1]), "a = "),
        (lambda: wasserstein_1([1], [np.nan]), "b = "),
        (lambda: wasserstein_1([1, 2], [1], np.array([1.0, -1.0])), "a_weights"),
        (lambda: r_squared([1], [1]), "at least two"),
        (lambda: bootstrap_interval(lambda index: 0.0, 0), "count = 0"),
    ],
)
def test_what_is_no_sample_is_refused(call, reason):
    with pytest.raises(UserError, match=reason):
        call()


def test_bootstrap_intervals_cover_about_as_often_as_they_say():
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        values = generator.normal(size=60)
        low, high = bootstrap_interval(lambda index, v=values: v[index].mean(), 60, resamples=300, seed=trial)
        covered += low < 0 < high
    assert 0.88 < covered / 200 <= 1.0
