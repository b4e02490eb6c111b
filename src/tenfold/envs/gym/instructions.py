"""Instructions about the form of a response, checked by code, and claims to have followed them that are not true.

A policy that is rewarded by a judge learns to say that it did what was asked. The hack-check flags a response that
claims compliance and does not comply.

Source: Kimi K2, arXiv 2507.20534, section 3.2.1 (instruction following: code checks and a hack-check layer). The
patterns are ours, for English, and can be replaced.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tenfold.core.errors import UserError
from tenfold.envs.gym.results import RewardResult

Kind = Literal["most_words", "least_words", "has", "has_not", "bullets", "json", "lowercase", "ends_with"]
CLAIMS = (
    r"\bas (?:you )?(?:requested|instructed|asked)\b",
    r"\b(?:follow|meet|satisf|fulfil|observ|respect|compl)\w* (?:with )?(?:all|every|each|the|your)(?: of)?"
    r"(?: the| your)? (?:instruction|constraint|requirement|condition|request|rule)s?\b",
    r"\bin (?:exactly|at most|at least|under|fewer than) \d+ words\b",
    r"\b(?:fully|strictly) (?:complies|compliant|follows|adheres)\b",
)
"""What counts as a claim of compliance, whatever the case."""


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Args:
        kind: what is asked of the response.
        wanted: a number of words or bullets, a text that it must have, must not have or must end with; ``None`` for
            ``json`` and ``lowercase``.

    Raises:
        UserError: the kind is unknown.
    """

    kind: Kind
    wanted: Any = None

    def __post_init__(self) -> None:
        """Refuse what nothing checks."""
        if self.kind not in _CHECKS:
            raise UserError(f"instruction = {self.kind!r}: allowed are {', '.join(_CHECKS)}")


def follow(response: str, instructions: Sequence[Instruction]) -> RewardResult:
    """The share of the instructions that a response follows; 0 for one that claims to follow those that it does not.

    Example:
        >>> asked = [Instruction("most_words", 3), Instruction("has", "blue")]
        >>> follow("The sky is blue.", asked).parts
        {'most_words 3': 0.0, "has 'blue'": 1.0, 'honest': 1.0}
    """
    parts = {_name(each): float(_CHECKS[each.kind](response, each.wanted)) for each in instructions}
    failed = [name for name, value in parts.items() if not value]
    is_hack = is_claim_without_compliance(response, instructions)
    value = 0.0 if is_hack else sum(parts.values()) / len(parts) if parts else 1.0
    reason = "; ".join([*(["it claims to follow what it does not"] if is_hack else []), *failed])
    return RewardResult(value, {**parts, "honest": float(not is_hack)}, reason)


def is_claim_without_compliance(
    response: str, instructions: Sequence[Instruction], claims: Sequence[str] = CLAIMS
) -> bool:
    """The hack-check: whether a response says that it complies, and does not.

    Example:
        >>> is_claim_without_compliance("As requested, a haiku.", [Instruction("has", "snow")])
        True
    """
    complies = all(_CHECKS[each.kind](response, each.wanted) for each in instructions)
    return not complies and any(re.search(pattern, response, re.IGNORECASE) for pattern in claims)


def _name(instruction: Instruction) -> str:
    return instruction.kind if instruction.wanted is None else f"{instruction.kind} {instruction.wanted!r}"


def _is_json(response: str, wanted: Any) -> bool:
    try:
        json.loads(response)
    except (ValueError, RecursionError):
        return False
    return True


_CHECKS: Mapping[str, Callable[[str, Any], bool]] = {
    "most_words": lambda response, wanted: len(response.split()) <= wanted,
    "least_words": lambda response, wanted: len(response.split()) >= wanted,
    "has": lambda response, wanted: wanted.casefold() in response.casefold(),
    "has_not": lambda response, wanted: wanted.casefold() not in response.casefold(),
    "bullets": lambda response, wanted: (
        sum(line.lstrip().startswith(("- ", "* ")) for line in response.split("\n")) == wanted
    ),
    "json": _is_json,
    "lowercase": lambda response, wanted: response == response.lower(),
    "ends_with": lambda response, wanted: response.rstrip().endswith(wanted),
}
