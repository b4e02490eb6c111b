"""Whether an answer equals one of its references, after the normalisation that SQuAD's evaluation made customary."""

import math
import re
import string
from collections.abc import Sequence

from tenfold.core.errors import UserError

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(answer: str) -> str:
    """Lower case, without punctuation and the articles a, an and the, white space collapsed.

    Example:
        >>> normalized("The  Eiffel Tower!")
        'eiffel tower'
    """
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def exact_match(answer: str, references: str | Sequence[str]) -> bool:
    """Whether the normalised answer is one of the normalised references.

    Different from SQuAD's: an answer of which the normalisation leaves nothing ("a", "the", "?") is compared as it is,
    or the option letter A would match nothing and everything; and numbers of different values are never equal, though
    the normalisation makes 15 of 1.5 and 3 of -3.

    Args:
        answer: the given answer.
        references: one right answer or several.

    Raises:
        UserError: if a reference is no text.

    Example:
        >>> exact_match("the 42.", ["42", "forty-two"])
        True
        >>> exact_match("A", "B"), exact_match("A", "A"), exact_match("-3", "3")
        (False, True, False)
    """
    accepted = [references] if isinstance(references, str) else references
    if not isinstance(accepted, Sequence) or not all(isinstance(reference, str) for reference in accepted):
        raise UserError(f"answer = {references!r}: must be a text, or several; of a number, its text")
    return any(_same(answer, reference) for reference in accepted)


def _same(answer: str, reference: str) -> bool:
    values = _value(answer), _value(reference)
    return _comparable(answer) == _comparable(reference) and (None in values or values[0] == values[1])


def _comparable(answer: str) -> str:
    return normalized(answer) or answer.strip().lower()


def _value(answer: str) -> float | None:
    """The number that a text is; ``None`` for any other text."""
    try:
        value = float(answer.strip().rstrip(".").replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
