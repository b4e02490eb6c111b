"""The idea of paper_name alone: what an answer earns. Pure functions with trl's signature, without files or logs."""

import re
from collections.abc import Sequence
from typing import Any


def number_in(completion: Any) -> int | None:
    """The first whole number of a completion, a text or the messages of a chat; ``None`` where there is none.

    Example:
        >>> number_in("= 12."), number_in([{"role": "assistant", "content": "-3"}]), number_in("none")
        (12, -3, None)
    """
    text = completion if isinstance(completion, str) else completion[-1]["content"]
    found = re.search(r"-?\d+", text)
    return int(found.group()) if found else None


def exact(completions: Sequence[Any], answer: Sequence[str], **_: Any) -> list[float]:
    """R = 1[a = a*], and 0 without a number.

    Example:
        >>> exact(["3", "4"], ["3", "3"])
        [1.0, 0.0]
    """
    return [float(number_in(said) == int(right)) for said, right in zip(completions, answer, strict=True)]


def graded(completions: Sequence[Any], answer: Sequence[str], **_: Any) -> list[float]:
    """R = 1 / (1 + |a − a*|), and 0 without a number.

    Example:
        >>> graded(["3", "4", "?"], ["3", "3", "3"])
        [1.0, 0.5, 0.0]
    """
    earned = []
    for said, right in zip(completions, answer, strict=True):
        number = number_in(said)
        earned.append(0.0 if number is None else 1.0 / (1.0 + abs(number - int(right))))
    return earned
