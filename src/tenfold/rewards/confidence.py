"""Rewards for the answer and for the confidence in tagged completions, with trl's signature.

The data set has a column ``answer``, or one of another name: the right answer, or a list of them. A completion whose
form is wrong earns 0 in both (the gate of RLCR, arXiv 2507.16806, as its code has it), so that with a rule in [0, 1] no
malformed completion earns more than a wrong answer given with full confidence. What is read of a completion is what the
policy said (:mod:`tenfold.rewards.said`).
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tenfold.core.errors import UserError
from tenfold.eval.exact_match import exact_match
from tenfold.rewards.said import said_texts
from tenfold.rewards.scoring_rules import ScoringRule, brier_rule
from tenfold.rewards.tagged import FORMATS, blocks_of, parse_tagged

Verifier = Callable[[str, Any], bool]
"""``(answer, reference) -> whether it is right``."""


class CorrectnessReward:
    """1 for a right answer in a completion of the right form, else 0.

    Args:
        blocks: a name of :data:`tenfold.rewards.FORMATS`.
        verifier: decides whether an answer is right; by default :func:`tenfold.eval.exact_match.exact_match`.
        gate_on_format: whether a malformed completion earns 0 whatever it answers.
        column: the name of the column with the right answers.

    Raises:
        UserError: for unknown blocks; when called without the column.

    Example:
        >>> reward = CorrectnessReward("a")
        >>> reward(prompts=["2+2=", "2+2="], completions=["<answer>4</answer>", "4"], answer=["4", "4"])
        [1.0, 0.0]
    """

    def __init__(
        self,
        blocks: str = "tabc",
        verifier: Verifier = exact_match,
        gate_on_format: bool = True,
        column: str = "answer",
    ) -> None:
        blocks_of(blocks)
        self.blocks, self.verifier, self.gate_on_format, self.column = blocks, verifier, gate_on_format, column
        self.__name__ = "correctness"

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Score each completion."""
        return [float(right) for right in self.outcomes(completions, columns)]

    def outcomes(self, completions: Sequence[Any], columns: dict[str, Any]) -> list[bool]:
        """Whether each completion is right (and well-formed, with the gate)."""
        if self.column not in columns:
            raise UserError(f"{self.column}: the data set needs a column {self.column!r} with the right answers")
        said, outcomes = said_texts(completions, columns), []
        read = [parse_tagged(text, self.blocks) for text in said]
        if self.gate_on_format and not any(parsed.ok for parsed in read):
            _warn_of_other_blocks(said, self.blocks)
        for parsed, reference in zip(read, columns[self.column], strict=True):
            passes = parsed.ok or not self.gate_on_format
            outcomes.append(passes and parsed.answer is not None and bool(self.verifier(parsed.answer, reference)))
        return outcomes


class CalibrationReward:
    """1 − S(q, c) for the stated confidence q and the correctness c of the answer; 0 where the form is wrong.

    Args:
        blocks: a name of :data:`tenfold.rewards.FORMATS` with a confidence.
        rule: S, a loss on (q, c); by default Brier's.
        verifier: decides c.
        column: the name of the column with the right answers.

    Raises:
        UserError: for blocks that are unknown or without a confidence; when called without the column.

    Example:
        >>> reward = CalibrationReward("ac")
        >>> completion = "<answer>5</answer><confidence>0.5</confidence>"
        >>> reward(prompts=["2+2="], completions=[completion], answer=["4"])
        [0.75]
    """

    def __init__(
        self,
        blocks: str = "tabc",
        rule: ScoringRule = brier_rule,
        verifier: Verifier = exact_match,
        column: str = "answer",
    ) -> None:
        if "confidence" not in blocks_of(blocks):
            raise UserError(f"blocks = {blocks!r}: a calibration reward needs a confidence block")
        self.blocks, self.rule = blocks, rule
        self.correctness = CorrectnessReward(blocks, verifier, column=column)
        self.__name__ = "calibration"

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Score each completion."""
        outcomes = self.correctness.outcomes(completions, columns)
        return [self._score(text, c) for text, c in zip(said_texts(completions, columns), outcomes, strict=True)]

    def _score(self, text: str, c: bool) -> float:
        parsed = parse_tagged(text, self.blocks)
        if not parsed.ok or parsed.confidence is None:
            return 0.0
        return 1.0 - self.rule(parsed.confidence, int(c))


def _warn_of_other_blocks(said: Sequence[str], blocks: str) -> None:
    """Say so where all completions are well-formed in other blocks: such a reward stays 0 whatever is learned."""
    for other in FORMATS:
        if said and all(parse_tagged(text, other).ok for text in said):
            warnings.warn(
                f"blocks = {blocks!r}: all completions have the form {other!r}, so that each of them earns 0; give "
                "every reward the same blocks",
                stacklevel=4,
            )
            return
