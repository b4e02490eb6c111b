"""What SEM reports: how right answers are, how much is searched, and whether the decision to search was the right one.

The decision is judged against closed-book correctness c of each question, asked without tools:

    over-search  = P(search | c = 1)        under-search = P(no search | c = 0)

and by the F1 of "searched" as a prediction of c = 0. Where no closed-book answers are given, the first answer of the
response stands for them, which a policy that spoils it on purpose can bend: watch ``first_accuracy``. A number that is
a share of nothing is NaN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.types import Trajectory
from tenfold.eval.answer_text import normalized
from tenfold.eval.calibration import ReliabilityRow, reliability_table
from tenfold.eval.multiple_choice import multiple_choice
from tenfold.eval.token_f1 import WHOLE
from tenfold.papers.sem.grammar import Response
from tenfold.papers.sem.method import Gold

Flags = Sequence[bool] | Sequence[int] | np.ndarray
AnswerJudge = Callable[[str, str, Gold], bool]
"""LJ: a question, an answer and what counts as right, to whether the answer is; a language model may stand behind."""


@dataclass(frozen=True)
class DecisionQuality:
    """How well searching follows what is not known.

    Args:
        over_search: share of known questions that were searched.
        under_search: share of unknown questions that were not.
        f1: of "searched" as a prediction of "not known".
    """

    over_search: float
    under_search: float
    f1: float


def decision_quality(searched_N: Flags, known_N: Flags) -> DecisionQuality:
    """Over-search, under-search and the F1 of the decision.

    Args:
        searched_N: whether each response searched.
        known_N: whether its question is answered rightly without tools.

    Raises:
        UserError: if the two differ in length, or there is nothing.

    Example:
        >>> decision_quality([1, 0, 1, 0], [1, 1, 0, 0])
        DecisionQuality(over_search=0.5, under_search=0.5, f1=0.5)
    """
    searched, known = np.asarray(searched_N, dtype=bool), np.asarray(known_N, dtype=bool)
    if searched.shape != known.shape or searched.ndim != 1 or not len(searched):
        raise UserError(
            f"searched_N and known_N: shapes {searched.shape} and {known.shape}; both must be [N] with N > 0"
        )
    needed = ~known
    both = int((searched & needed).sum())
    total = int(searched.sum() + needed.sum())
    return DecisionQuality(
        over_search=_mean(searched[known]),
        under_search=_mean(~searched[needed]),
        f1=2 * both / total if total else nan,
    )


def search_calibration(
    searched_N: Flags, closed_book_accuracy_N: Sequence[float] | np.ndarray, bins: int = 5
) -> list[ReliabilityRow]:
    """Share of searched responses over the closed-book accuracy of their questions.

    Args:
        searched_N: whether each response searched.
        closed_book_accuracy_N: share of right closed-book answers to its question.
        bins: of equal width.

    Returns:
        Rows in which ``mean_confidence`` is the mean closed-book accuracy, and ``accuracy`` the share of responses that
        searched: it falls from row to row where the policy knows what it knows.

    Raises:
        UserError: as for ``tenfold.eval.calibration.reliability_table``.

    Example:
        >>> search_calibration([1, 1, 0], [0.0, 0.25, 1.0], bins=2)[0]
        ReliabilityRow(low=0.0, high=0.5, size=2, mean_confidence=0.125, accuracy=1.0)
    """
    return reliability_table(closed_book_accuracy_N, np.asarray(searched_N, dtype=np.float64), bins)


def rule_judge(question: str, answer: str, gold: Gold) -> bool:
    """The default of LJ: an alias stands within the answer as whole words, or the right option is chosen.

    A yes or a no is right alone, as for the token F1: "no one knows" says no more than "yes and no".

    Example:
        >>> rule_judge("river of Rome?", "It is the Tiber, of course.", Gold(("Tiber", "Tevere")))
        True
    """
    if gold.choices or gold.choice:
        return multiple_choice(answer, gold.answers, gold.choices)
    said = f" {normalized(answer, gold.normalisation)} "
    aliases = [normalized(alias, gold.normalisation) for alias in gold.answers]
    within = (alias for alias in aliases if alias and alias not in WHOLE)
    return any(f" {alias} " in said for alias in within) or gold.exact(answer)


@dataclass(frozen=True)
class Measured:
    """One response.

    Args:
        valid: f.
        ended: whether the policy came to an end by itself.
        first_right: whether the first answer is right (exact match).
        right: whether the final one is.
        f1: of the final answer.
        judged_right: LJ of the final answer.
        searches: that were made.
        duplicates: searches that the response had made before.
        tool_tokens: that the environment inserted.
        model_tokens: that the policy said.
    """

    valid: bool
    ended: bool
    first_right: bool
    right: bool
    f1: float
    judged_right: bool
    searches: int
    duplicates: int
    tool_tokens: int
    model_tokens: int


def measure(
    responses: Sequence[Response],
    trajectories: Sequence[Trajectory],
    golds: Sequence[Gold],
    *,
    questions: Sequence[str] = (),
    judge: AnswerJudge = rule_judge,
) -> list[Measured]:
    """Read each response.

    Args:
        responses: what was said.
        trajectories: of ``rollout``, for what was searched and how many tokens there were.
        golds: what is right.
        questions: for the judge; none needed by the default one.
        judge: LJ.

    Raises:
        UserError: if they are not as many.
    """
    asked = questions or [""] * len(responses)
    if not len(responses) == len(trajectories) == len(golds) == len(asked):
        counts = (len(responses), len(trajectories), len(golds), len(asked))
        raise UserError(f"responses, trajectories, golds, questions: there are {counts}; the numbers must be equal")
    return [_measured(*row, judge) for row in zip(responses, trajectories, golds, asked, strict=True)]


def _measured(response: Response, trajectory: Trajectory, gold: Gold, question: str, judge: AnswerJudge) -> Measured:
    searches = [call for call in trajectory.tool_calls if call.get("error") != "no call left"]
    final, num_said = response.final_answer, sum(trajectory.loss_mask)
    return Measured(
        valid=response.valid,
        ended=trajectory.stop_reason == "stop",
        first_right=gold.exact(response.first_answer),
        right=gold.exact(final),
        f1=gold.f1(final),
        judged_right=final is not None and judge(question, final, gold),
        searches=len(searches),
        duplicates=sum(bool(call.get("duplicate")) for call in searches),
        tool_tokens=len(trajectory.token_ids) - num_said,
        model_tokens=num_said,
    )


def summary(
    samples: Sequence[Measured], closed_book_accuracy: Sequence[float] | None = None, *, known_from: float = 0.5
) -> dict[str, float]:
    """All numbers of a set of responses.

    Args:
        samples: the responses.
        closed_book_accuracy: of each one's question; without it the first answers stand for it.
        known_from: a question is known from this closed-book accuracy on.

    Raises:
        UserError: there is no response, or the accuracies are not as many.

    Example:
        >>> known = Measured(True, True, True, True, 1.0, True, 0, 0, 0, 9)
        >>> unknown = Measured(True, True, False, True, 1.0, True, 1, 0, 12, 20)
        >>> numbers = summary([known, unknown])
        >>> numbers["exact_match"], numbers["search_ratio"], numbers["over_search"], numbers["repair_rate"]
        (1.0, 0.5, 0.0, 1.0)
    """
    if not samples:
        raise UserError("samples: there are none; at least one is needed")
    if closed_book_accuracy is not None and len(closed_book_accuracy) != len(samples):
        raise UserError(
            f"closed_book_accuracy: {len(closed_book_accuracy)} for {len(samples)} samples; one is needed for each"
        )
    columns = {name: column(samples, name) for name in Measured.__dataclass_fields__}
    searched, first, right = columns["searches"] > 0, columns["first_right"], columns["right"]
    known = first
    if closed_book_accuracy is not None:
        known = np.asarray(closed_book_accuracy) >= known_from
    decision = decision_quality(searched, known)
    return {
        "exact_match": _mean(right),
        "f1": _mean(columns["f1"]),
        "judged": _mean(columns["judged_right"]),
        "search_ratio": _mean(searched),
        "searches": _mean(columns["searches"]),
        "duplicates": _mean(columns["duplicates"]),
        "tool_tokens": _mean(columns["tool_tokens"]),
        "model_tokens": _mean(columns["model_tokens"]),
        "first_accuracy": _mean(first),
        "repair_rate": _mean(right[searched & ~first]),
        "harm_rate": _mean(~right[searched & first]),
        "over_search": decision.over_search,
        "under_search": decision.under_search,
        "decision_f1": decision.f1,
        "valid": _mean(columns["valid"]),
        "ended": _mean(columns["ended"]),
    }


def column(samples: Sequence[Measured], name: str) -> np.ndarray:
    """One field of all responses."""
    return np.array([getattr(sample, name) for sample in samples])


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else nan
