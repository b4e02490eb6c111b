"""How well stated probabilities match outcomes: Brier score, expected calibration error, AUROC, reliability table.

Beside them bootstrap intervals for any of these, and temperature scaling, the usual repair of one number.

q_N are confidences in [0, 1], c_N outcomes (0 or 1). No number says enough alone: the expected calibration error of a
constant confidence that equals the accuracy is 0, and AUROC does not change when all confidences are squared. Read
them beside accuracy, mean confidence and the count of distinct confidences, as :func:`calibration_report` gives them.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from scipy.stats import mannwhitneyu

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator

Numbers = Sequence[float] | np.ndarray
Edges = Literal["width", "linspace", "adaptive"]
"""Where the bins of a reliability table begin and end."""
LEAST_PROBABILITY = 1e-6
MOST_BINS = 10_000


class ReliabilityRow(NamedTuple):
    """One bin of a reliability table; means are NaN where the bin is empty."""

    low: float
    high: float
    size: int
    mean_confidence: float
    accuracy: float


def brier(confidences: Numbers, outcomes: Numbers) -> float:
    """Brier score: mean of (q − c)², 0 at best.

    Args:
        confidences: ``[N]`` in [0, 1].
        outcomes: ``[N]``, 0 or 1.

    Raises:
        UserError: if the two differ in length, are empty, or a value is out of range.

    Example:
        >>> brier([1.0, 0.5], [1, 0])
        0.125
    """
    q_N, c_N = _checked(confidences, outcomes)
    return float(np.mean((q_N - c_N) ** 2))


def reliability_table(
    confidences: Numbers, outcomes: Numbers, bins: int = 10, edges: Edges = "width"
) -> list[ReliabilityRow]:
    """Bins closed on the left, [low, high), the last one closed on both sides.

    Args:
        confidences: ``[N]`` in [0, 1].
        outcomes: ``[N]``, 0 or 1.
        bins: their number; adaptive ones may be fewer.
        edges: width: bins of equal width, [k/bins, (k+1)/bins); linspace: the same edges as NumPy's ``linspace`` rounds
            them, which puts exact 0.3, 0.6 and 0.7 one bin lower, as RLCR's authors have it; adaptive: bins of equally
            many predictions, where equal confidences stay together.

    Raises:
        UserError: as :func:`brier`; or if there is no bin, or there are no such edges.

    Example:
        >>> reliability_table([0.1, 0.9], [0, 1], bins=2)[1]
        ReliabilityRow(low=0.5, high=1.0, size=1, mean_confidence=0.9, accuracy=1.0)
        >>> [row.size for row in reliability_table([0.9, 0.91, 0.92, 0.99], [0, 1, 1, 1], bins=2, edges="adaptive")]
        [2, 2]
    """
    if not 1 <= bins <= MOST_BINS:
        raise UserError(f"bins = {bins}: must be from 1 to {MOST_BINS}")
    q_N, c_N = _checked(confidences, outcomes)
    edges_K = _edges(q_N, bins, edges)
    bin_N = np.minimum(np.searchsorted(edges_K, q_N, side="right") - 1, len(edges_K) - 2)
    rows = []
    for k in range(len(edges_K) - 1):
        inside = bin_N == k
        means = (float(q_N[inside].mean()), float(c_N[inside].mean())) if inside.any() else (np.nan, np.nan)
        rows.append(ReliabilityRow(float(edges_K[k]), float(edges_K[k + 1]), int(inside.sum()), *means))
    return rows


def _edges(q_N: np.ndarray, bins: int, edges: Edges) -> np.ndarray:
    if edges == "width":
        return np.arange(bins + 1) / bins
    if edges == "linspace":
        return np.linspace(0, 1, bins + 1)
    if edges != "adaptive":
        raise UserError(f"edges = {edges!r}: must be one of {', '.join(get_args(Edges))}")
    inner = np.unique(np.quantile(q_N, np.arange(1, bins) / bins, method="inverted_cdf"))
    return np.concatenate([[q_N.min()], np.nextafter(inner[inner < q_N.max()], 1), [q_N.max()]])


def expected_calibration_error(
    confidences: Numbers, outcomes: Numbers, bins: int = 10, edges: Edges = "width"
) -> float:
    """ECE: Σ_b n_b/N · |accuracy_b − mean confidence_b| over the bins of :func:`reliability_table`.

    With few predictions it is too high: bins that differ by chance add up. Adaptive bins have no empty ones.

    Example:
        >>> round(expected_calibration_error([0.8, 0.8, 0.8, 0.8], [1, 1, 1, 0]), 3)
        0.05
    """
    rows = reliability_table(confidences, outcomes, bins, edges)
    total = sum(row.size for row in rows)
    return sum(row.size / total * abs(row.accuracy - row.mean_confidence) for row in rows if row.size)


def auroc(confidences: Numbers, outcomes: Numbers) -> float:
    """Probability that a right answer has a higher confidence than a wrong one, ties counting half.

    Returns:
        A number in [0, 1]; NaN when all outcomes are equal.

    Example:
        >>> auroc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])
        0.875
    """
    q_N, c_N = _checked(confidences, outcomes)
    right, wrong = q_N[c_N == 1], q_N[c_N == 0]
    if not len(right) or not len(wrong):
        return float("nan")
    return float(mannwhitneyu(right, wrong, method="asymptotic").statistic / (len(right) * len(wrong)))


def calibration_report(
    confidences: Numbers, outcomes: Numbers, bins: int = 10, edges: Edges = "width"
) -> dict[str, float]:
    """All of it: accuracy, mean confidence, Brier, ECE, AUROC and the number of distinct confidences.

    Example:
        >>> calibration_report([0.5, 0.5], [1, 0])["ece"]
        0.0
    """
    q_N, c_N = _checked(confidences, outcomes)
    return {
        "accuracy": float(c_N.mean()),
        "mean_confidence": float(q_N.mean()),
        "brier": brier(q_N, c_N),
        "ece": expected_calibration_error(q_N, c_N, bins, edges),
        "auroc": auroc(q_N, c_N),
        "distinct_confidences": float(len(np.unique(q_N))),
    }


def bootstrap_interval(
    metric: Callable[[np.ndarray, np.ndarray], float],
    confidences: Numbers,
    outcomes: Numbers,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile interval of a metric over predictions drawn again with replacement.

    Resamples for which the metric is no number (AUROC, where all outcomes are equal) are left out. The calibration
    error of a resample is higher than that of the predictions, so that its interval lies high, too.

    Args:
        metric: of confidences and outcomes, such as :func:`brier`.
        confidences: ``[N]`` in [0, 1].
        outcomes: ``[N]``, 0 or 1.
        level: share of resamples within the interval.
        resamples: their number.
        seed: of the draws.

    Raises:
        UserError: as :func:`brier`; or if the level or the number is out of range.

    Example:
        >>> low, high = bootstrap_interval(brier, [0.9, 0.8, 0.3, 0.4], [1, 1, 0, 1])
        >>> low < brier([0.9, 0.8, 0.3, 0.4], [1, 1, 0, 1]) < high
        True
    """
    if not 0 < level < 1 or resamples < 1:
        raise UserError(f"level = {level}, resamples = {resamples}: must be between 0 and 1, and at least 1")
    q_N, c_N = _checked(confidences, outcomes)
    generator = numpy_generator(seed, "bootstrap")
    values = []
    for _ in range(resamples):
        chosen = generator.integers(len(q_N), size=len(q_N))
        values.append(metric(q_N[chosen], c_N[chosen]))
    known = np.array(values)[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def fit_temperature(confidences: Numbers, outcomes: Numbers) -> float:
    """The temperature T at which σ(logit(q)/T) has the least cross-entropy: above 1 where confidences are too sure.

    Fit it on predictions other than those that are reported. Where all outcomes are equal, or the confidences tell the
    outcomes apart without exception, no finite one is best, and the answer is a bound: 0.01 or 100.

    Args:
        confidences: ``[N]`` in [0, 1].
        outcomes: ``[N]``, 0 or 1.

    Raises:
        UserError: as :func:`brier`.

    Example:
        >>> round(fit_temperature([0.99] * 10, [1] * 8 + [0] * 2), 2)  # log 99 / log 4
        3.31
    """
    q_N, c_N = _checked(confidences, outcomes)

    def cross_entropy(log_temperature: float) -> float:
        p_N = np.clip(with_temperature(q_N, math.exp(log_temperature)), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return float(-np.mean(c_N * np.log(p_N) + (1 - c_N) * np.log1p(-p_N)))

    grid = np.linspace(math.log(0.01), math.log(100), 101)
    best = int(np.argmin([cross_entropy(one) for one in grid]))
    if best in (0, len(grid) - 1):
        return float(np.exp(grid[best]))
    found = minimize_scalar(cross_entropy, bounds=(grid[best - 1], grid[best + 1]), method="bounded")
    return float(np.exp(found.x))


def with_temperature(confidences: Numbers, temperature: float) -> np.ndarray:
    """σ(logit(q)/T) for each confidence, ``[N]`` in [0, 1]; q is taken no nearer to 0 or 1 than 1e-6.

    Args:
        confidences: ``[N]`` in [0, 1].
        temperature: T, above 0.

    Raises:
        UserError: if the temperature is not above 0.

    Example:
        >>> with_temperature([0.5, 0.9], 2.0).round(3).tolist()
        [0.5, 0.75]
    """
    if not 0 < temperature < math.inf:
        raise UserError(f"temperature = {temperature}: must be finite and above 0")
    q_N = np.clip(np.asarray(confidences, dtype=np.float64), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    scaled: np.ndarray = expit(logit(q_N) / temperature)
    return scaled


def intra_answer_std(confidences: Sequence[Numbers]) -> float:
    """Mean standard deviation of the confidences that resampled analyses give to one fixed answer.

    Args:
        confidences: for each answer at least two confidences.

    Raises:
        UserError: if an answer has fewer than two.

    Example:
        >>> intra_answer_std([[0.2, 0.4], [0.5, 0.5]])
        0.05
    """
    if any(len(row) < 2 for row in confidences) or not len(confidences):
        raise UserError("confidences: intra_answer_std needs at least two confidences for each answer")
    return float(round(np.mean([np.std(row) for row in confidences]), 12))


def confidence_sum(answers: Sequence[Hashable], confidences: Numbers) -> float:
    """Σ over distinct answers to one question of the mean confidence given to it.

    At most 1 for a coherent model when the answers exclude each other.

    Args:
        answers: ``[N]`` canonical answers.
        confidences: ``[N]`` in [0, 1].

    Raises:
        UserError: if the two differ in length, or there is nothing.

    Example:
        >>> confidence_sum(["7", "7", "8"], [0.6, 0.8, 0.5])
        1.2
    """
    if len(answers) != len(confidences) or not len(answers):
        raise UserError(f"answers: {len(answers)} for {len(confidences)} confidences; both need one entry a sample")
    stated: dict[Hashable, list[float]] = {}
    for answer, confidence in zip(answers, confidences, strict=True):
        stated.setdefault(answer, []).append(float(confidence))
    return float(sum(np.mean(values) for values in stated.values()))


def _as_array(numbers: Any) -> np.ndarray:
    if hasattr(numbers, "detach"):  # a tensor, on whatever device; asked so, torch need not be imported
        numbers = numbers.detach().cpu()
    try:
        return np.asarray(numbers, dtype=np.float64)
    except OverflowError:  # an integer of more than 308 digits
        raise UserError("confidences or outcomes: a number is too large; must lie in [0, 1]") from None


def _checked(confidences: Numbers, outcomes: Numbers) -> tuple[np.ndarray, np.ndarray]:
    q_N, c_N = _as_array(confidences), _as_array(outcomes)
    if q_N.shape != c_N.shape or q_N.ndim != 1 or not len(q_N):
        raise UserError(f"confidences and outcomes: shapes {q_N.shape} and {c_N.shape}; both must be [N] with N > 0")
    bad = np.flatnonzero(~((q_N >= 0) & (q_N <= 1)))
    if len(bad):
        raise UserError(f"confidences[{bad[0]}] = {q_N[bad[0]]}: must lie in [0, 1]")
    bad = np.flatnonzero((c_N != 0) & (c_N != 1))
    if len(bad):
        raise UserError(f"outcomes[{bad[0]}] = {c_N[bad[0]]}: must be 0 or 1")
    return q_N, c_N
