"""Completions in blocks of tags: what they say, whether their form is right, and a reward for the form.

    <think> … </think><answer> … </answer><analysis> … </analysis><confidence>0.7</confidence>

The opening ``<think>`` may be missing (it is often a part of the prompt); between blocks, and after the last, there may
be white space only. The last answer and the last confidence count. A confidence must be a number in [0, 1]: "nan",
"inf", "90%" and "1.2" are no confidences in training; evaluation may read them (``loose``).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tenfold.core.errors import UserError
from tenfold.rewards.said import said_texts

FORMATS: dict[str, tuple[str, ...]] = {
    "tabc": ("think", "answer", "analysis", "confidence"),
    "tac": ("think", "answer", "confidence"),
    "ta": ("think", "answer"),
    "tbac": ("think", "analysis", "answer", "confidence"),
    "ac": ("answer", "confidence"),
    "a": ("answer",),
}
"""Blocks in their order, by the names that RLCR's code uses; the last two are without a chain of thought."""


@dataclass(frozen=True)
class Parsed:
    """What a completion says.

    Args:
        answer: the last answer, without outer white space; ``None`` where there is none.
        confidence: in [0, 1]; ``None`` where there is none.
        ok: whether the form is right.
        problems: why not, in a few words each.
    """

    answer: str | None
    confidence: float | None
    ok: bool
    problems: tuple[str, ...]


def parse_tagged(
    text: str, blocks: str = "tabc", *, strict: bool = False, loose: bool = False, percent: bool = False
) -> Parsed:
    """Read a completion.

    Args:
        text: the completion, without the prompt.
        blocks: a name of :data:`FORMATS`.
        strict: a tag that comes twice, wherever it does, spoils the form.
        loose: read a confidence as evaluation does: what training reads; else the first number in the block, divided by
            100 where it is above 1; 0 where there is none. The form is judged as before.
        percent: with ``loose``, divide by 100 always; for "1" would mean 1 or 0.01.

    Raises:
        UserError: for unknown blocks.

    Example:
        >>> parse_tagged("so</think><answer>7</answer><analysis>sure</analysis><confidence>0.9</confidence>").confidence
        0.9
    """
    names = blocks_of(blocks)
    answer, stated = _last(text, "answer"), _last(text, "confidence")
    confidence = None if stated is None else _confidence(stated)
    problems = [] if _has_form(text, names, strict) else [_form_problem(text, names)]
    if "confidence" in names and stated is not None and confidence is None:
        problems.append(f"confidence {stated!r} is no number in [0, 1]")
    if loose and "confidence" in names:
        confidence = _loose_confidence(stated or "", percent)
    return Parsed(answer, confidence, not problems, tuple(problems))


class FormatReward:
    """1 for a completion whose form is right, else 0; a reward function of trl.

    Args:
        blocks: a name of :data:`FORMATS`.
        strict: a tag that comes twice, wherever it does, spoils the form.

    Example:
        >>> FormatReward("a")(prompts=["2+2="], completions=["<answer>4</answer>"])
        [1.0]
    """

    def __init__(self, blocks: str = "tabc", strict: bool = False) -> None:
        blocks_of(blocks)
        self.blocks, self.strict = blocks, strict
        self.__name__ = "format"

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Score each completion (a string, or the messages of a chat): what the policy said of it."""
        said = said_texts(completions, columns)
        return [float(parse_tagged(text, self.blocks, strict=self.strict).ok) for text in said]


def blocks_of(blocks: str) -> tuple[str, ...]:
    """The names of the blocks of a format.

    Raises:
        UserError: if there is no such format.

    Example:
        >>> blocks_of("ta")
        ('think', 'answer')
    """
    if blocks not in FORMATS:
        raise UserError(f"blocks = {blocks!r}: must be one of {', '.join(FORMATS)}")
    return FORMATS[blocks]


def _has_form(text: str, names: Sequence[str], strict: bool) -> bool:
    """Whether the blocks follow each other, in time proportional to the text: each junction is sought after the last.

    One expression for it all would say the same, and take half a minute over a completion that repeats its tags a few
    hundred times, as policies do that fall into a loop.
    """
    if strict and any(text.count(tag) > 1 for name in names for tag in (f"<{name}>", f"</{name}>")):
        return False
    found = re.match("" if names[0] == "think" else rf"\s*<{names[0]}>", text)
    for name, after in pairwise(names):
        if found is None:
            return False
        found = re.compile(rf"</{name}>\s*<{after}>").search(text, found.end())
    return found is not None and text.rstrip().endswith(f"</{names[-1]}>")


def _form_problem(text: str, names: Sequence[str]) -> str:
    for name in names:
        if f"</{name}>" not in text or (name != "think" and f"<{name}>" not in text):
            return f"no <{name}> block"
    return "blocks are repeated, out of order, or have text between or after them"


def _last(text: str, name: str) -> str | None:
    found = re.findall(rf"<{name}>((?:(?!<{name}>).)*?)</{name}>", text, re.DOTALL)
    return found[-1].strip() if found else None


def _confidence(stated: str) -> float | None:
    try:
        value = float(stated)
    except ValueError:
        return None
    return value if 0 <= value <= 1 and "_" not in stated else None  # Python reads 0_1 as 1; nan fails any comparison


def _loose_confidence(stated: str, percent: bool) -> float:
    bare = _confidence(stated)
    if bare is not None and not percent:
        return bare
    found = _NUMBER.search(stated)
    if found is None or stated.startswith("-"):
        return 0.0
    value = float(found[0])
    value = value / 100 if percent or value > 1 else value
    return value if value <= 1 else 0.0


_NUMBER = re.compile(r"(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
