"""RLCR: a proper scoring rule in the reward trains a policy to say how sure it is (arXiv 2507.16806).

For an answer y with stated confidence q in [0, 1] and correctness c = 1[y ≡ y*],

    (1)  R_RLCR = c − (q − c)²                                          (the paper's reward)
    (2)  R_code = w_f·format + w_a·c + w_q·(1 − (c − q)²),  w = 0.5     (the authors' code; 0 all over if malformed)

On well-formed completions (2) is ½·(1) plus a constant, which a group's mean removes. :func:`rlcr_rewards` gives (2) as
three reward functions for trl with their weights; :func:`rlcr_reward` is (1) for any scoring rule and weight λ.
Which rules are safe, and why the logarithm is not: :mod:`tenfold.rewards.scoring_rules`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from tenfold.core.errors import UserError
from tenfold.eval.exact_match import exact_match
from tenfold.rewards import (
    CalibrationReward,
    CorrectnessReward,
    FormatReward,
    ScoringRule,
    Verifier,
    brier_rule,
    is_safe,
)

RewardFunction = Callable[..., list[float | None]]


def rlcr_reward(
    confidence: float, outcome: int, rule: ScoringRule = brier_rule, correctness_weight: float = 1.0
) -> float:
    """Equation (1), λ·c − S(q, c).

    Args:
        confidence: q in [0, 1].
        outcome: c, 0 or 1.
        rule: S; Brier's by default.
        correctness_weight: λ.

    Example:
        >>> [rlcr_reward(q, c) for c, q in ((1, 1.0), (1, 0.0), (0, 0.0), (0, 1.0))]
        [1.0, 0.0, 0.0, -1.0]
    """
    c = outcome
    return correctness_weight * c - rule(confidence, c)


class WeightedRewards(NamedTuple):
    """Reward functions and their weights, as trl's GRPO takes them: ``reward_funcs`` and ``reward_weights``."""

    functions: list[Any]
    weights: list[float]


def rlcr_rewards(
    blocks: str = "tabc",
    *,
    verifier: Verifier = exact_match,
    rule: ScoringRule = brier_rule,
    weights: tuple[float, float, float] = (0.5, 0.5, 0.5),
    allow_unsafe: bool = False,
    column: str = "answer",
) -> WeightedRewards:
    """Equation (2): format, correctness and calibration.

    Args:
        blocks: the form of a completion, a name of :data:`tenfold.rewards.FORMATS` with a confidence.
        verifier: decides whether an answer is right.
        rule: S.
        weights: of format, correctness and calibration; (0.5, 0.5, 0) with a confidence block, or
            :func:`rlvr_rewards`, is the binary reward.
        allow_unsafe: accept a rule that pays for surely wrong answers, for an ablation.
        column: the name of the column with the right answers.

    Raises:
        UserError: if a weight is negative or not finite, or the rule at these weights is not safe.

    Example:
        >>> functions, weights = rlcr_rewards("ac")
        >>> completion = "<answer>4</answer><confidence>1</confidence>"
        >>> sum(w * f(prompts=["2+2="], completions=[completion], answer=["4"])[0]
        ...     for f, w in zip(functions, weights, strict=True))
        1.5
    """
    for name, weight in zip(("format", "correctness", "calibration"), weights, strict=True):
        if not 0 <= weight < math.inf:
            raise UserError(f"weights: {name} = {weight}: must be finite and not negative")
    _, correctness, calibration = weights
    if calibration > 0 and not allow_unsafe:
        safety = is_safe(rule, correctness / calibration)
        if not safety:
            reason = "pays more for a surely wrong answer than for a likely one" if safety.proper else "is not proper"
            raise UserError(
                f"rule = {getattr(rule, '__name__', rule)!r}, correctness weighing {correctness:g} to {calibration:g}: "
                f"{reason}; allow_unsafe=True accepts it"
            )
    functions = [
        FormatReward(blocks),
        CorrectnessReward(blocks, verifier, column=column),
        CalibrationReward(blocks, rule, verifier, column),
    ]
    return WeightedRewards(functions, list(weights))


def rlvr_rewards(blocks: str = "ta", *, verifier: Verifier = exact_match, column: str = "answer") -> WeightedRewards:
    """The binary reward that RLCR is compared with: 0.5·format + 0.5·c.

    Example:
        >>> rlvr_rewards().weights
        [0.5, 0.5]
    """
    return WeightedRewards([FormatReward(blocks), CorrectnessReward(blocks, verifier, column=column)], [0.5, 0.5])
