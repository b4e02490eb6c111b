"""Reward functions with trl's signature, and the scoring rules that they are made of."""

from tenfold.rewards.confidence import CalibrationReward, CorrectnessReward, Verifier
from tenfold.rewards.said import said_texts, text_of
from tenfold.rewards.scoring_rules import (
    RULES,
    PairSafety,
    Safety,
    ScoringRule,
    brier_rule,
    check_scoring_rule,
    is_safe,
    log_rule,
    spherical_rule,
)
from tenfold.rewards.tagged import FORMATS, FormatReward, Parsed, blocks_of, parse_tagged
from tenfold.rewards.visual import VisualReward, VisualWeights

__all__ = [
    "FORMATS",
    "RULES",
    "CalibrationReward",
    "CorrectnessReward",
    "FormatReward",
    "PairSafety",
    "Parsed",
    "Safety",
    "ScoringRule",
    "Verifier",
    "VisualReward",
    "VisualWeights",
    "blocks_of",
    "brier_rule",
    "check_scoring_rule",
    "is_safe",
    "log_rule",
    "parse_tagged",
    "said_texts",
    "spherical_rule",
    "text_of",
]
