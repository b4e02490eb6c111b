"""How well stated probabilities match outcomes: Brier score, expected calibration error, AUROC, reliability table.

q_N are confidences in [0, 1], c_N outcomes (0 or 1). No number says enough alone: the expected calibration error of a
constant confidence that equals the accuracy is 0, and AUROC does not change when all confidences are squared. Read
them beside accuracy, mean confidence and the count of distinct confidences, as :func:`calibration_report` gives them.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import mannwhitneyu

from tenfold.core.errors import UserError

Numbers = Sequence[float] | np.ndarray


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


def reliability_table(confidences: Numbers, outcomes: Numbers, bins: int = 10) -> list[ReliabilityRow]:
    """Bins of equal width, closed on the left: [k/bins, (k+1)/bins), the last one closed on both sides.

    Args:
        confidences: ``[N]`` in [0, 1].
        outcomes: ``[N]``, 0 or 1.
        bins: their number.

    Raises:
        UserError: as :func:`brier`; or if there is no bin.

    Example:
        >>> reliability_table([0.1, 0.9], [0, 1], bins=2)[1]
        ReliabilityRow(low=0.5, high=1.0, size=1, mean_confidence=0.9, accuracy=1.0)
    """
    if bins < 1:
        raise UserError(f"bins = {bins}: must be at least 1")
    q_N, c_N = _checked(confidences, outcomes)
    edges = np.arange(bins + 1) / bins
    bin_N = np.minimum(np.searchsorted(edges, q_N, side="right") - 1, bins - 1)
    rows = []
    for k in range(bins):
        inside = bin_N == k
        means = (float(q_N[inside].mean()), float(c_N[inside].mean())) if inside.any() else (np.nan, np.nan)
        rows.append(ReliabilityRow(float(edges[k]), float(edges[k + 1]), int(inside.sum()), *means))
    return rows


def expected_calibration_error(confidences: Numbers, outcomes: Numbers, bins: int = 10) -> float:
    """ECE: Σ_b n_b/N · |accuracy_b − mean confidence_b| over the bins of :func:`reliability_table`.

    Example:
        >>> round(expected_calibration_error([0.8, 0.8, 0.8, 0.8], [1, 1, 1, 0]), 3)
        0.05
    """
    rows = reliability_table(confidences, outcomes, bins)
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


def calibration_report(confidences: Numbers, outcomes: Numbers, bins: int = 10) -> dict[str, float]:
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
        "ece": expected_calibration_error(q_N, c_N, bins),
        "auroc": auroc(q_N, c_N),
        "distinct_confidences": float(len(np.unique(q_N))),
    }


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


def _checked(confidences: Numbers, outcomes: Numbers) -> tuple[np.ndarray, np.ndarray]:
    q_N, c_N = np.asarray(confidences, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    if q_N.shape != c_N.shape or q_N.ndim != 1 or not len(q_N):
        raise UserError(f"confidences and outcomes: shapes {q_N.shape} and {c_N.shape}; both must be [N] with N > 0")
    bad = np.flatnonzero(~((q_N >= 0) & (q_N <= 1)))
    if len(bad):
        raise UserError(f"confidences[{bad[0]}] = {q_N[bad[0]]}: must lie in [0, 1]")
    bad = np.flatnonzero((c_N != 0) & (c_N != 1))
    if len(bad):
        raise UserError(f"outcomes[{bad[0]}] = {c_N[bad[0]]}: must be 0 or 1")
    return q_N, c_N
