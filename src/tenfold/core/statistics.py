"""Intervals, tests and power for a handful of seeds: Student's t, and exact binomials where t has nothing to go by."""

import math
from collections.abc import Sequence

import numpy as np

ERROR = 0.025
"""How often a claim without an effect may be called supported: at one look, one-sided."""
POWER = 0.8
MOST_SEEDS = 100
ROUNDING = 1e-12
"""Of what numbers were computed from: a smaller difference is none."""

Interval = tuple[float, float]
Numbers = Sequence[float] | np.ndarray


def is_alike(values: Numbers, scale: float | None = None) -> bool:
    """Whether numbers are equal but for rounding.

    Args:
        values: [n].
        scale: the size of what they were computed from; by default their own.

    Example:
        >>> is_alike([0.9 - 0.8, 0.5 - 0.4], scale=0.9), is_alike([0.1, 0.1001])
        (True, False)
    """
    array = np.asarray(values, dtype=np.float64)
    size = float(np.abs(array).max()) if scale is None else scale
    return float(np.ptp(array)) <= ROUNDING * size


def mean_interval(values: Numbers, error: float = ERROR) -> Interval:
    """Student's interval of the mean.

    Args:
        values: at least two numbers, [n].
        error: how often each end may lie on the wrong side of the true mean; 0.025 makes a 95 % interval.

    Example:
        >>> low, high = mean_interval([1.0, 2.0, 3.0])
        >>> round(low, 3), round(high, 3)
        (-0.484, 4.484)
    """
    from scipy.special import stdtrit

    array = np.asarray(values, dtype=np.float64)
    if is_alike(array):  # the mean of equal numbers may differ from them by rounding
        return float(array[0]), float(array[0])
    half = float(stdtrit(len(array) - 1, 1 - error) * array.std(ddof=1)) / math.sqrt(len(array))
    mean = float(array.mean())
    return mean - half, mean + half


def p_above(values: Numbers, line: float) -> float:
    """How probable a mean at least as far above ``line`` is when the true one lies on it: one-sided t test.

    Args:
        values: at least two numbers that are not all equal, [n].
        line: the value that the mean is compared with.

    Example:
        >>> round(p_above([1.0, 2.0, 3.0], 0.0), 3)
        0.037
    """
    from scipy.special import stdtr

    array = np.asarray(values, dtype=np.float64)
    distance = (array.mean() - line) / (array.std(ddof=1) / math.sqrt(len(array)))
    return float(stdtr(len(array) - 1, -distance))


def share_interval(hits: int, total: int, error: float = ERROR) -> Interval:
    """The exact interval of a share (Clopper and Pearson), which has a width even where all items hit.

    Args:
        hits: how many items hit.
        total: how many items there are.
        error: how often each end may lie on the wrong side of the true share.

    Example:
        >>> low, high = share_interval(100, 100)
        >>> round(low, 3), high
        (0.964, 1.0)
    """
    from scipy.special import betaincinv

    low = 0.0 if hits == 0 else float(betaincinv(hits, total - hits + 1, error))
    high = 1.0 if hits == total else float(betaincinv(hits + 1, total - hits, 1 - error))
    return low, high


def power(effect: float, deviation: float, seeds: int, error: float = ERROR) -> float:
    """How often ``seeds`` seeds put the interval above the line, by the noncentral t.

    Args:
        effect: how far the true mean lies above the line.
        deviation: standard deviation over seeds.
        seeds: how many of them, at least two.
        error: one-sided, as in :func:`mean_interval`.

    Example:
        >>> round(power(effect=1.0, deviation=0.6, seeds=5), 2)
        0.79
    """
    from scipy.special import nctdtr, stdtrit

    shift = effect / deviation * math.sqrt(seeds)
    return 1.0 - float(nctdtr(seeds - 1, shift, stdtrit(seeds - 1, 1 - error)))


def seeds_to_decide(values: Numbers, line: float, error: float = ERROR) -> int | None:
    """How many seeds would probably (4 times in 5) put the interval on one side of ``line``.

    Takes the observed mean and standard deviation for the true ones.

    Args:
        values: the quantity for each seed so far, [n].
        line: the value that the interval must not contain.
        error: one-sided, as in :func:`mean_interval`.

    Returns:
        A number above ``n``, or ``None`` when 100 seeds would not do.

    Example:
        >>> seeds_to_decide([0.0, 0.1, 0.2], line=0.0)
        10
    """
    array = np.asarray(values, dtype=np.float64)
    deviation, distance = float(array.std(ddof=1)), abs(float(array.mean()) - line)
    if deviation == 0.0:
        return None
    candidates = range(len(array) + 1, MOST_SEEDS + 1)
    return next((seeds for seeds in candidates if power(distance, deviation, seeds, error) >= POWER), None)
