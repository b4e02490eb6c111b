"""How far two distributions of judgments are apart, how well means agree, and intervals by resampling.

Judgments are numbers on one scale, often 0 to 100; a person's clicks and a model's samples alike.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator


def wasserstein_1(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    a_weights: np.ndarray | None = None,
    b_weights: np.ndarray | None = None,
) -> float:
    """W₁ = ∫ |F_a − F_b|, the area between two distribution functions; in the unit of the samples.

    For equally many samples of equal weight it is the mean of |a_(i) − b_(i)| over sorted samples.

    Args:
        a: samples [N].
        b: samples [M].
        a_weights: [N], not negative; equal by default.
        b_weights: [M], likewise.

    Raises:
        UserError: no samples, or weights that are none.

    Example:
        >>> wasserstein_1([0, 10], [5, 5])
        5.0
    """
    (a_sorted, a_shares), (b_sorted, b_shares) = _sorted(a, a_weights, "a"), _sorted(b, b_weights, "b")
    points = np.sort(np.concatenate((a_sorted, b_sorted)))
    widths = np.diff(points)
    at_a = a_shares[np.searchsorted(a_sorted, points[:-1], side="right")]
    at_b = b_shares[np.searchsorted(b_sorted, points[:-1], side="right")]
    return float(np.abs(at_a - at_b) @ widths)


def _sorted(samples: Sequence[float] | np.ndarray, weights: np.ndarray | None, name: str) -> tuple[np.ndarray, ...]:
    """Sorted samples [N], and the weight below or at the first n of them [N + 1]."""
    values = np.asarray(samples, dtype=float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise UserError(f"{name} = {values.shape} samples: must be at least one, in one dimension, and finite")
    shares = np.full(len(values), 1.0) if weights is None else np.asarray(weights, dtype=float)
    if shares.shape != values.shape or (shares < 0).any() or shares.sum() <= 0:
        raise UserError(f"{name}_weights: must be as many as samples, not negative, and not all 0")
    order = np.argsort(values, kind="stable")
    return values[order], np.concatenate(([0.0], np.cumsum(shares[order]) / shares.sum()))


def r_squared(predicted: Sequence[float] | np.ndarray, observed: Sequence[float] | np.ndarray) -> float:
    """The square of Pearson's correlation, over pairs; NaN where one side does not vary.

    Example:
        >>> round(r_squared([1, 2, 3], [2, 4, 6.5]), 3)
        0.996
    """
    x, y = np.asarray(predicted, dtype=float), np.asarray(observed, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise UserError(f"predicted = {x.shape}, observed = {y.shape}: must be equally many, at least two")
    x, y = x - x.mean(), y - y.mean()
    scale = float((x @ x) * (y @ y))
    return float((x @ y) ** 2 / scale) if scale > 0 else float("nan")


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], count: int, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """The percentile interval of a statistic under resampling of units, such as vignettes or participants.

    Args:
        statistic: takes indices of units [count], drawn with replacement, and gives a number.
        count: units there are.
        resamples: draws.
        seed: of the draws.
        level: of confidence.

    Example:
        >>> values = np.arange(100.0)
        >>> low, high = bootstrap_interval(lambda index: values[index].mean(), 100)
        >>> 40 < low < 49.5 < high < 59
        True
    """
    if count < 1:
        raise UserError(f"count = {count}: must be at least 1")
    generator = numpy_generator(seed, "bootstrap")
    found = [statistic(generator.integers(count, size=count)) for _ in range(resamples)]
    low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
