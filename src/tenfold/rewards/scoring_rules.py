"""Proper scoring rules as rewards for stated confidence, and whether such a reward is safe.

A rule S(q, c) is a loss on a confidence q when the outcome is c. In the reward λ·c − S(q, c) an output that is right
with probability p and states q earns λp − E S(q, c), at its best q that is

    V(p) = max_q [λp − p·S(q, 1) − (1−p)·S(q, 0)].

The reward makes a policy state q = p **and** prefer the answer most likely to be right iff (RLCR, arXiv 2507.16806,
the theorem and its conditions) S is proper and V does not fall, V'(p) = λ − (S(p, 1) − S(p, 0)) ≥ 0:

    Brier       (q − c)²                        S(p,1) − S(p,0) = 1 − 2p ≤ 1           safe from λ = 1 on
    spherical   1 − q_c / √(q² + (1−q)²)        at most 1                              safe from λ = 1 on
    logarithmic −log q_c                        log((1−p)/p), without bound            never safe (if clipped: late)

where q_c is q for c = 1 and 1 − q for c = 0. An unsafe reward pays a policy for answers that are surely wrong.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tenfold.core.errors import UserError

ScoringRule = Callable[[float, int], float]
"""``(confidence in [0, 1], outcome 0 or 1) -> loss``."""

LEAST_PROBABILITY = 1e-12
TOLERANCE, LEAST_FALL = 1e-9, 1e-13


def brier_rule(confidence: float, outcome: int) -> float:
    """(q − c)².

    Example:
        >>> brier_rule(0.5, 1)
        0.25
    """
    return (confidence - outcome) ** 2


def spherical_rule(confidence: float, outcome: int) -> float:
    """1 − q_c / √(q² + (1 − q)²), in [0, 1].

    Example:
        >>> round(spherical_rule(0.5, 1), 3)
        0.293
    """
    stated = confidence if outcome else 1 - confidence
    return 1 - stated / math.hypot(confidence, 1 - confidence)


def log_rule(confidence: float, outcome: int) -> float:
    """−log q_c, with q_c no less than 1e-12: proper, and unsafe as a reward at any weight below 28.

    Example:
        >>> round(log_rule(0.5, 1), 3)
        0.693
    """
    return -math.log(max(confidence if outcome else 1 - confidence, LEAST_PROBABILITY))


RULES: dict[str, ScoringRule] = {"brier": brier_rule, "spherical": spherical_rule, "log": log_rule}


class Safety(NamedTuple):
    """What :func:`is_safe` found.

    ``proper``: the best confidence is the probability itself. ``rising``: a likelier answer never earns less.
    ``worse_than_giving_up_below``: the largest p whose answer earns less than a surely wrong one; 0 if there is none.
    """

    proper: bool
    rising: bool
    worse_than_giving_up_below: float

    def __bool__(self) -> bool:
        return self.proper and self.rising


def is_safe(rule: ScoringRule, correctness_weight: float = 1.0, resolution: int = 1000) -> Safety:
    """Test λ·c − S(q, c) numerically on a grid of probabilities and confidences.

    Args:
        rule: S(q, c).
        correctness_weight: λ; 0 for a reward of calibration alone.
        resolution: steps of the grid on [0, 1].

    Returns:
        True (as a truth value) iff the rule is proper and V does not fall, with the reasons.

    Raises:
        UserError: if the weight is negative or not finite, the resolution below 10, or a loss not finite.

    Example:
        >>> bool(is_safe(brier_rule)), bool(is_safe(log_rule)), bool(is_safe(brier_rule, correctness_weight=0.0))
        (True, False, False)
    """
    if not 0 <= correctness_weight < math.inf:
        raise UserError(f"correctness_weight = {correctness_weight}: must be finite and not negative")
    if resolution < 10:
        raise UserError(f"resolution = {resolution}: must be at least 10")
    q_Q = np.linspace(0, 1, resolution + 1)
    right_Q, wrong_Q = (_losses(rule, q_Q, outcome) for outcome in (1, 0))
    p_P = q_Q[:, None]
    value_PQ = correctness_weight * p_P - p_P * right_Q - (1 - p_P) * wrong_Q
    best_P = value_PQ.max(axis=1)
    unique_P = (value_PQ >= best_P[:, None] - 1e-12).sum(axis=1) == 1
    proper = bool((np.diagonal(value_PQ) >= best_P - TOLERANCE).all() and unique_P.all())
    fine_P, value_P = q_Q, best_P
    if proper:  # then the best q is p itself, also between 0 and the first step of the grid, where log is steepest
        fine_P = np.concatenate([[0.0], np.geomspace(LEAST_PROBABILITY, q_Q[1], 100), q_Q[2:]])
        losses_P = [p * rule(float(p), 1) + (1 - p) * rule(float(p), 0) for p in fine_P]
        value_P = correctness_weight * fine_P - np.array(losses_P)
    below = np.flatnonzero(value_P < value_P[0] - LEAST_FALL)
    return Safety(
        proper=proper,
        rising=bool((np.diff(value_P) >= -LEAST_FALL).all()),
        worse_than_giving_up_below=float(fine_P[below[-1]]) if len(below) else 0.0,
    )


def _losses(rule: ScoringRule, q_Q: np.ndarray, outcome: int) -> np.ndarray:
    losses_Q = np.array([rule(float(q), outcome) for q in q_Q], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(losses_Q))
    if len(bad):
        raise UserError(
            f"rule: S({q_Q[bad[0]]:g}, {outcome}) = {losses_Q[bad[0]]}: must be finite on [0, 1]; clip the confidence"
        )
    return losses_Q


class PairSafety(NamedTuple):
    """What :func:`check_scoring_rule` found: the two conditions on a pair of reward functions."""

    proper: bool
    right_beats_wrong: bool

    def __bool__(self) -> bool:
        return self.proper and self.right_beats_wrong


def check_scoring_rule(
    right: Callable[[float], float], wrong: Callable[[float], float], resolution: int = 1000
) -> PairSafety:
    """Test any pair of rewards, f(q) for a right and g(q) for a wrong answer, for safety.

    Such a pair makes a policy state its probability and prefer the likelier answer iff, as later work characterises it,

        f'(q) / (q − 1) = g'(q) / q ≤ 0    and    f(0) ≥ g(0).

    Derivatives are central differences, compared to 1e-3 of the largest.

    Args:
        right: f, on [0, 1].
        wrong: g, on [0, 1].
        resolution: steps of the grid.

    Raises:
        UserError: if the resolution is below 10.

    Example:
        >>> bool(check_scoring_rule(lambda q: 1 - (q - 1) ** 2, lambda q: -(q**2)))
        True
        >>> bool(check_scoring_rule(lambda q: q, lambda q: -q))
        False
    """
    if resolution < 10:
        raise UserError(f"resolution = {resolution}: must be at least 10")
    q_Q = (np.arange(1, resolution)) / resolution
    half = 0.25 / resolution
    slope_f, slope_g = (
        np.array([(reward(float(q) + half) - reward(float(q) - half)) / (2 * half) for q in q_Q])
        for reward in (right, wrong)
    )
    left, other = slope_f / (q_Q - 1), slope_g / q_Q
    scale = max(float(np.abs(left).max()), float(np.abs(other).max()), 1e-12)
    proper = bool(np.allclose(left, other, atol=1e-3 * scale) and (left <= 1e-9).all())
    return PairSafety(proper, right_beats_wrong=bool(right(0.0) >= wrong(0.0) - 1e-12))
