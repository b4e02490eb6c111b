"""Where a trace computes in prose what a program could, or checks again by hand what a program has found.

    delayed computation   >= k arithmetic steps in the prose before a program whose output shows their result again
    result distrust       after an output: an opener such as "wait, let me check", >= k arithmetic steps, no new
                          program, and the output's value once more

The paper gives neither rule nor code: these are decisions of this project (specification, section 4). A step is an
equation of numerals, ``347*8=2776``. The heuristic proposer of hints uses the same segments, and is a suggestion to
review: the paper found automatic placement not precise enough.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tenfold.core.errors import UserError

DEFAULT_STEPS = 2
"""k. In the toy task working by hand has three steps and other prose none, so that 1, 2 and 3 separate alike."""

# Possessive (`++`, `?+`): what a number or a chain of them has taken it never gives back, so that a text is read once.
# A chain of numbers is taken whole, whether or not a result follows.
_NUMBER = r"(?>\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?+"
_OPERATOR = r"\s*+(?:[-+*/×·÷^]|\\times|\\cdot|\\div)\s*+"
_STEP = re.compile(
    rf"-?{_NUMBER}(?:(?P<chain>(?:{_OPERATOR}-?{_NUMBER})++)"
    rf"(?:\s*+(?:=|≈|\\approx)\s*+\$?+\s*+(?P<result>-?{_NUMBER}))?+)?+"
)
_NUMERAL = re.compile(rf"-?{_NUMBER}")
_OPENING = re.compile(r"```(python|output)[ \t]*+\n")
_FENCE = re.compile(r"^[ \t]*+```", re.MULTILINE)
_CLOSING = re.compile(r"^[ \t]*+```[ \t]*+(?:\n|\Z)", re.MULTILINE)
_WORD = re.compile(r"\S")
_SENTENCE_END = re.compile(r"[.!?:](?=\s|[A-Z`<\\]|\Z)|\n")
_RECHECK = re.compile(
    r"\b(?:wait\b|hold on\b|to be sure\b|just to (?:check|confirm|be sure)\b|let me (?:just )?"
    r"(?:check|verify|confirm|double[- ]check|re-?check|re-?calculate|make sure)|let's (?:just )?"
    r"(?:check|verify|confirm|double[- ]check|re-?check|make sure)|is (?:that|this) (?:right|correct)\b|"
    r"double[- ]check)",
    re.IGNORECASE,
)
_ANNOUNCES = re.compile(r"by hand|let(?:'s| me| us) (?:compute|calculate|multiply|add|work)|manually", re.IGNORECASE)


@dataclass(frozen=True)
class Segment:
    """A stretch of a trace.

    Args:
        kind: of text.
        text: of code and output, what is between the fences; else the stretch itself.
        start: of the stretch in the trace, fences included.
        end: likewise.
    """

    kind: Literal["prose", "code", "output"]
    text: str
    start: int
    end: int


def segments(text: str) -> list[Segment]:
    """The trace as prose, code and outputs, in order; joined, the stretches are the trace.

    Example:
        >>> [part.kind for part in segments("So\\n```python\\nprint(1)\\n```\\n```output\\n1\\n```\\nIt is 1.")]
        ['prose', 'code', 'output', 'prose']
    """
    found: list[Segment] = []
    at = 0
    for block in _blocks(text):
        if block.start > at:
            found.append(Segment("prose", text[at : block.start], at, block.start))
        found.append(block)
        at = block.end
    if at < len(text):
        found.append(Segment("prose", text[at:], at, len(text)))
    return found


def _blocks(text: str) -> Iterator[Segment]:
    """Programs and outputs from fence to fence; a program that no fence follows goes on to the end."""
    closings = list(_CLOSING.finditer(text))
    last_fence = max((fence.start() for fence in _FENCE.finditer(text)), default=-1)
    at = place = 0
    for opening in _OPENING.finditer(text):
        if opening.start() < at:
            continue
        while place < len(closings) and closings[place].start() < opening.end():
            place += 1
        is_output = opening[1] == "output"
        if place < len(closings):
            inside, at = text[opening.end() : closings[place].start()], closings[place].end()
        elif not is_output and last_fence < opening.end():
            inside, at = text[opening.end() :], len(text)
        else:
            continue  # nothing closes it
        yield Segment("output" if is_output else "code", inside.strip("\n"), opening.start(), at)


def without_outputs(text: str) -> str:
    """A text without its output blocks.

    Example:
        >>> without_outputs("So\\n```output\\n1\\n```\\nIt is 1.")
        'So\\nIt is 1.'
    """
    return "".join(text[part.start : part.end] for part in segments(text) if part.kind != "output")


def arithmetic_steps(prose: str) -> list[tuple[int, str]]:
    """Equations of numerals in prose: where each begins, and its result.

    Example:
        >>> arithmetic_steps("First 347*20=6940, then 347*8 = 2,776.")
        [(6, '6940'), (24, '2776')]
    """
    return [(step.start(), _plain(step["result"])) for step in _STEP.finditer(prose) if step["result"]]


def delayed_computation(text: str, num_steps: int = DEFAULT_STEPS) -> bool:
    """Whether prose works out what the program after it only verifies.

    Args:
        text: of the trace.
        num_steps: k, the least number of arithmetic steps.

    Example:
        >>> delayed_computation("6*7=42. 42+1=43.\\n```python\\nprint(6*7+1)\\n```\\n```output\\n43\\n```\\n")
        True
    """
    require_steps(num_steps)
    parts = segments(text)
    for before, code, output in zip(parts, parts[1:], parts[2:], strict=False):
        if (before.kind, code.kind, output.kind) == ("prose", "code", "output"):
            steps = arithmetic_steps(before.text)
            if len(steps) >= num_steps and numbers(output.text) & {result for _, result in steps}:
                return True
    return False


def result_distrust(text: str, num_steps: int = DEFAULT_STEPS) -> bool:
    """Whether a number that a program has found is worked out again by hand.

    Args:
        text: of the trace.
        num_steps: k, the least number of arithmetic steps.

    Example:
        >>> result_distrust("```output\\n42\\n```\\nWait, let me check: 6*5=30, 30+12=42. Yes.")
        True
        >>> result_distrust("```output\\n42\\n```\\nWait, did the code read the problem right? Yes. It is 42.")
        False
    """
    require_steps(num_steps)
    parts = segments(text)
    for index, (output, after) in enumerate(pairwise(parts)):
        if output.kind != "output" or after.kind != "prose":
            continue
        found = recheck(after.text, num_steps)
        ends_in_code = index + 2 < len(parts) and parts[index + 2].kind == "code"
        if found is not None and not ends_in_code and numbers(output.text) & numbers(after.text[found:]):
            return True
    return False


def computation(prose: str, num_steps: int = DEFAULT_STEPS) -> int | None:
    """Where manual computation begins in prose: its sentence, or one that announces it; ``None`` without.

    Example:
        >>> prose = "Two factors. Let me multiply by hand. 6*7=42. 42+1=43."
        >>> prose[computation(prose) :]
        'Let me multiply by hand. 6*7=42. 42+1=43.'
    """
    steps = arithmetic_steps(prose)
    if len(steps) < num_steps:
        return None
    starts = _sentence_starts(prose)
    index = max(i for i, start in enumerate(starts) if start <= steps[0][0])
    if index and _ANNOUNCES.search(prose[starts[index - 1] : starts[index]]):
        index -= 1
    return starts[index]


def recheck(prose: str, num_steps: int = DEFAULT_STEPS) -> int | None:
    """Where a manual re-check begins in the prose after an output: the sentence of its opener; ``None`` without.

    Example:
        >>> recheck("So 43. Wait, let me verify: 6*7=42, 42+1=43.")
        7
    """
    opener = _RECHECK.search(prose)  # behind a later one there are no more steps than behind the first
    if opener is None:
        return None
    num_behind = sum(start >= opener.start() for start, _ in arithmetic_steps(prose))
    if num_behind < num_steps:
        return None
    return max(start for start in _sentence_starts(prose) if start <= opener.start())


def numbers(text: str) -> set[str]:
    """The numerals of a text, without separators and trailing zeros.

    Example:
        >>> sorted(numbers("2,776 and 3.50"))
        ['2776', '3.5']
    """
    return {_plain(number) for number in _NUMERAL.findall(text)}


def _plain(number: str) -> str:
    number = number.replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number else number


def _sentence_starts(prose: str) -> Sequence[int]:
    """Where sentences begin, spaces skipped."""
    starts = [0]
    for end in _SENTENCE_END.finditer(prose):
        if end.end() <= starts[-1]:
            continue  # the next word was found behind an earlier end
        word = _WORD.search(prose, end.end())
        if word is None:
            break
        starts.append(word.start())
    return starts


def require_steps(num_steps: int) -> None:
    """Refuse a k below 1, as a :class:`UserError`."""
    if num_steps < 1:
        raise UserError(f"num_steps = {num_steps}: must be at least 1")
