"""Whether an answer equals one of its references, after the normalisation that SQuAD's evaluation made customary."""

import re
import string
from collections.abc import Sequence

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

    An answer of which the normalisation leaves nothing ("a", "the", "?") is compared as it is, or the option letter A
    would match nothing and everything.

    Args:
        answer: the given answer.
        references: one right answer or several.

    Example:
        >>> exact_match("the 42.", ["42", "forty-two"])
        True
        >>> exact_match("A", "B"), exact_match("A", "A")
        (False, True)
    """
    accepted = [references] if isinstance(references, str) else references
    return any(_comparable(answer) == _comparable(reference) for reference in accepted)


def _comparable(answer: str) -> str:
    return normalized(answer) or answer.strip().lower()
