"""One answer out of several samples to a question: by count, by confidence, or by both.

Answers are compared as they are: bring them to one form first (:func:`in_one_form`; "7", "7.0" and "7 apples" are three
answers here). Ties go to the answer that more samples gave, then to the one seen first; sums that differ by rounding
alone are a tie.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from tenfold.core.errors import UserError

Answer = TypeVar("Answer", bound=Hashable)


def in_one_form(answers: Sequence[Answer], same: Callable[[Answer, Answer], bool]) -> list[Answer]:
    """Each answer as the first of those that are the same was given.

    Args:
        answers: ``[N]`` to one question, in order of sampling.
        same: whether two answers are the same, as :func:`tenfold.eval.exact_match.exact_match` decides it.

    Example:
        >>> in_one_form(["Paris", "Rome", "paris."], lambda one, other: one.strip(".").lower() == other.lower())
        ['Paris', 'Rome', 'Paris']
    """
    forms: list[Answer] = []
    for answer in answers:
        forms.append(next((form for form in dict.fromkeys(forms) if answer == form or same(answer, form)), answer))
    return forms


def majority_vote(answers: Sequence[Answer]) -> Answer:
    """The answer that most samples gave.

    Args:
        answers: ``[N]`` canonical answers to one question, in order of sampling.

    Raises:
        UserError: if there are none.

    Example:
        >>> majority_vote(["a", "b", "b"])
        'b'
    """
    return confidence_weighted_vote(answers, [1.0] * len(answers))


def confidence_weighted_vote(answers: Sequence[Answer], confidences: Sequence[float]) -> Answer:
    """argmax over y of Σ_{i: y_i = y} q_i.

    Args:
        answers: ``[N]`` canonical answers to one question.
        confidences: ``[N]`` q_i in [0, 1].

    Raises:
        UserError: if the two differ in length, there are none, or a confidence is out of range.

    Example:
        >>> confidence_weighted_vote(["a", "b", "b"], [0.9, 0.4, 0.4])
        'a'
    """
    return _best(answers, confidences, sum)


def max_confidence(answers: Sequence[Answer], confidences: Sequence[float]) -> Answer:
    """The answer of the sample that states the highest confidence.

    Args:
        answers: ``[N]`` canonical answers to one question.
        confidences: ``[N]`` q_i in [0, 1].

    Raises:
        UserError: if the two differ in length, there are none, or a confidence is out of range.

    Example:
        >>> max_confidence(["a", "b", "b"], [0.9, 0.8, 0.8])
        'a'
    """
    return _best(answers, confidences, max)


def ensembled_confidence(confidences: Sequence[float]) -> float:
    """Mean of the confidences that K resampled analyses gave to one fixed answer.

    Raises:
        UserError: if there are none, or one is not in [0, 1].

    Example:
        >>> ensembled_confidence([0.25, 0.75])
        0.5
    """
    if not len(confidences):
        raise UserError("confidences = []: at least one is needed")
    for place, confidence in enumerate(confidences):
        _require_confidence(place, confidence)
    return float(sum(confidences) / len(confidences))


def _best(answers: Sequence[Answer], confidences: Sequence[float], total: Callable[[list[float]], float]) -> Answer:
    if not len(answers) or len(answers) != len(confidences):
        raise UserError(f"answers: {len(answers)} for {len(confidences)} confidences; at least one of each is needed")
    stated: dict[Answer, list[float]] = {}
    for place, (answer, confidence) in enumerate(zip(answers, confidences, strict=True)):
        _require_confidence(place, confidence)
        stated.setdefault(answer, []).append(float(confidence))
    # 0.7 + 0.1 is 0.7999999999999999, and ties with 0.8.
    return max(stated, key=lambda answer: (round(total(stated[answer]), 12), len(stated[answer])))


def _require_confidence(place: int, confidence: float) -> None:
    if not 0 <= confidence <= 1:
        shown = "inf" if confidence > MOST_SHOWN else "-inf" if confidence < -MOST_SHOWN else confidence
        raise UserError(f"confidences[{place}] = {shown}: must lie in [0, 1]")


MOST_SHOWN = 1e300
"""Beyond it a message does not spell a number out: Python writes no integer of more than 4,300 digits."""
