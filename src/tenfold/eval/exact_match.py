"""Whether an answer equals one of its references, after a normalisation of :mod:`tenfold.eval.answer_text`."""

from collections.abc import Sequence

from tenfold.eval.answer_text import Normalisation, normalized, require_normalisation
from tenfold.eval.references import reference_texts


def exact_match(answer: str, references: str | Sequence[str], normalisation: Normalisation = "careful") -> bool:
    """Whether the normalised answer is one of the normalised references.

    With the careful normalisation, an answer of which it leaves nothing ("?", "...") is compared as it is, or it would
    match any other such answer. With SQuAD's it is as published: nothing equals nothing.

    Args:
        answer: the given answer.
        references: one right answer or several, texts or numbers.
        normalisation: careful, or squad for the published one.

    Raises:
        UserError: if a reference is neither, or the normalisation unknown.

    Example:
        >>> exact_match("the 42.", ["42", "forty-two"]), exact_match("５．０", "5")
        (True, True)
        >>> exact_match("1/2", "12"), exact_match("1/2", "12", "squad")
        (False, True)
        >>> exact_match("A", "B"), exact_match("A", "A"), exact_match("-3", "3")
        (False, True, False)
    """
    require_normalisation(normalisation)
    given = _comparable(answer, normalisation)
    return any(given == _comparable(reference, normalisation) for reference in reference_texts(references))


def squad_match(answer: str, references: str | Sequence[str]) -> bool:
    """:func:`exact_match` as SQuAD's evaluation has it, by which published answers to HotpotQA were judged.

    Args:
        answer: the given answer.
        references: one right answer or several, texts or numbers.

    Raises:
        UserError: if a reference is neither.

    Example:
        >>> squad_match("The Eiffel Tower!", "eiffel tower"), squad_match("$1.5", "15")
        (True, True)
    """
    return exact_match(answer, references, "squad")


def _comparable(answer: str, normalisation: Normalisation) -> str:
    form = normalized(answer, normalisation)
    return form or ("" if normalisation == "squad" else " ".join(answer.lower().split()))
