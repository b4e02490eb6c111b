"""What a verifier says, and where it finds the answer in a response."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MARK = "ANSWER:"
"""Before the answer; the last one counts, and the answer is the rest of its line."""


@dataclass(frozen=True)
class RewardResult:
    """The reward of a response.

    Args:
        value: from 0 to 1.
        parts: what it is made of, by name.
        reason: why it is below 1; empty if it is not.
    """

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


def stated_answer(response: str) -> str:
    """The answer of a response; empty if it states none.

    Example:
        >>> stated_answer("ANSWER: 3? No. ANSWER: 4\\nThat is it."), stated_answer("4")
        ('4', '')
    """
    _, mark, rest = response.rpartition(MARK)
    return rest.partition("\n")[0].strip() if mark else ""


def right_or_not(reason: str) -> RewardResult:
    """1 without a reason, and 0 with one."""
    return RewardResult(0.0 if reason else 1.0, {"correct": 0.0 if reason else 1.0}, reason)
