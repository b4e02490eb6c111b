"""How much of what supports an answer a search finds."""

from collections.abc import Sequence

from tenfold.core.errors import UserError


def recall(found: Sequence[Sequence[str]], supporting: Sequence[Sequence[str]]) -> float:
    """The share of supporting passages that were found, averaged over questions.

    Args:
        found: for each question, ids of the passages of its search.
        supporting: for each question, ids of the passages that it needs; at least one.

    Raises:
        UserError: the two differ in length, there is no question, or one needs no passage.

    Example:
        >>> recall([["a", "x"], ["y", "z"]], [["a", "b"], ["z"]])
        0.75
    """
    if len(found) != len(supporting) or not found or not all(supporting):
        raise UserError(
            f"found = {len(found)} searches, supporting = {len(supporting)} questions; "
            "allowed: equally many of both, and at least one passage for each question"
        )
    shares = [len(set(wanted) & set(ids)) / len(set(wanted)) for ids, wanted in zip(found, supporting, strict=True)]
    return sum(shares) / len(shares)


def hit_rate(found: Sequence[Sequence[str]], supporting: Sequence[Sequence[str]]) -> float:
    """The share of questions for which at least one supporting passage was found; arguments as for ``recall``.

    Example:
        >>> hit_rate([["a", "x"], ["y", "z"]], [["a", "b"], ["c"]])
        0.5
    """
    recall(found, supporting)  # the same arguments are refused
    return sum(bool(set(wanted) & set(ids)) for ids, wanted in zip(found, supporting, strict=True)) / len(found)
