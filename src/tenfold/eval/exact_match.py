"""Whether an answer equals one of its references, after a normalisation of :mod:`tenfold.eval.answer_text`."""

from collections.abc import Sequence

from tenfold.core.errors import UserError
from tenfold.eval.answer_text import Normalisation, normalized, require_normalisation


def exact_match(answer: str, references: str | Sequence[str], normalisation: Normalisation = "careful") -> bool:
    """Whether the normalised answer is one of the normalised references.

    With the careful normalisation, an answer of which it leaves nothing ("?", "...") is compared as it is, or it would
    match any other such answer. With SQuAD's it is as published: nothing equals nothing.

    Args:
        answer: the given answer.
        references: one right answer or several.
        normalisation: careful, or squad for the published one.

    Raises:
        UserError: if a reference is no text, or the normalisation unknown.

    Example:
        >>> exact_match("the 42.", ["42", "forty-two"]), exact_match("５．０", "5")
        (True, True)
        >>> exact_match("1/2", "12"), exact_match("1/2", "12", "squad")
        (False, True)
        >>> exact_match("A", "B"), exact_match("A", "A"), exact_match("-3", "3")
        (False, True, False)
    """
    accepted = [references] if isinstance(references, str) else references
    if not isinstance(accepted, Sequence) or not all(isinstance(reference, str) for reference in accepted):
        raise UserError(f"answer = {references!r}: must be a text, or several; of a number, its text")
    require_normalisation(normalisation)
    given = _comparable(answer, normalisation)
    return any(given == _comparable(reference, normalisation) for reference in accepted)


def squad_match(answer: str, references: str | Sequence[str]) -> bool:
    """:func:`exact_match` as SQuAD's evaluation has it, by which published answers to HotpotQA were judged.

    Args:
        answer: the given answer.
        references: one right answer or several.

    Raises:
        UserError: if a reference is no text.

    Example:
        >>> squad_match("The Eiffel Tower!", "eiffel tower"), squad_match("$1.5", "15")
        (True, True)
    """
    return exact_match(answer, references, "squad")


def _comparable(answer: str, normalisation: Normalisation) -> str:
    form = normalized(answer, normalisation)
    return form or ("" if normalisation == "squad" else " ".join(answer.lower().split()))
