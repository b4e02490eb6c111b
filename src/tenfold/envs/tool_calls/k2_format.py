"""Kimi K2's text format of tool calls: written, and read from whatever a policy said.

    <|tool_calls_section_begin|>
    <|tool_call_begin|>functions.NAME:IDX<|tool_call_argument_begin|>{…}<|tool_call_end|>
    <|tool_calls_section_end|>

without the line breaks. A turn may hold several calls. Their numbers IDX count the calls of the whole dialogue from 0.
Results are headed ``## Results of functions.NAME:IDX``.

The reader takes time in proportion to the text and raises nothing: what it cannot use is a :class:`Fault`, which says
why. It also takes blanks around the parts, as the report prints them, and ``tool_call_section`` in the singular.

Source: Kimi K2, arXiv 2507.20534, appendix B; the spelling of the marks is the released model's.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tenfold.envs.tool_calls.specs import NAME

SECTION_BEGIN, SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
CALL_BEGIN, ARGUMENTS_BEGIN, CALL_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
MARKS = (SECTION_BEGIN, CALL_BEGIN, ARGUMENTS_BEGIN, CALL_END, SECTION_END)
"""For the vocabulary of a small policy."""

_MARK = re.compile(
    r"<\|tool_(?:(calls?_section_begin)|(calls?_section_end)|(call_begin)|(call_argument_begin)|(call_end))\|>"
)
_MARK_KINDS = ("section", "section end", "call", "arguments", "call end")
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_QUOTED = 80  # characters of a fault that are kept


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool.

    Args:
        name: of the tool, without ``functions.``.
        arguments: JSON, by name.
        index: its number among the calls of the dialogue, from 0.
    """

    name: str
    arguments: Mapping[str, Any]
    index: int

    @property
    def id(self) -> str:
        """``functions.NAME:IDX``."""
        return f"functions.{self.name}:{self.index}"

    def to_openai(self) -> dict[str, Any]:
        """The call as part of a chat message, with its arguments as an object, which is what chat templates take."""
        function = {"name": self.name, "arguments": dict(self.arguments)}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(frozen=True)
class Fault:
    """Something in a turn that begins like a call and is none.

    Args:
        reason: what is wrong with it, in a phrase.
        text: the first characters of it.
    """

    reason: str
    text: str


@dataclass(frozen=True)
class SaidTurn:
    """What a policy said in one turn.

    Args:
        text: what it said beside its calls.
        calls: those that can be used, in order.
        faults: those that cannot, in order.
    """

    text: str
    calls: tuple[ToolCall, ...]
    faults: tuple[Fault, ...]


def write_calls(calls: Iterable[ToolCall]) -> str:
    r"""The section of a turn with these calls; an empty text for none.

    ``<|`` within arguments is written ``\u003c|``, so that no text in them can end the call.

    Example:
        >>> write_calls([ToolCall("close", {"id": 7}, 0)])  # doctest: +ELLIPSIS
        '<|tool_calls_section_begin|><|tool_call_begin|>functions.close:0<|tool_call_argument_begin|>{"id": 7}...
    """
    written = [
        f"{CALL_BEGIN}{call.id}{ARGUMENTS_BEGIN}{_json_without_marks(call.arguments)}{CALL_END}" for call in calls
    ]
    return f"{SECTION_BEGIN}{''.join(written)}{SECTION_END}" if written else ""


def write_result(call: ToolCall, text: str) -> str:
    """The text of a tool's answer, under its heading.

    Example:
        >>> print(write_result(ToolCall("close", {"id": 7}, 0), "closed"))
        ## Results of functions.close:0
        closed
    """
    return f"## Results of {call.id}\n{text}"


def read_turn(text: str, first: int | None = None) -> SaidTurn:
    """What a policy said, with the calls read from it. It raises nothing.

    Args:
        text: a turn, special tokens spelled out.
        first: the number that the first call must have; the others must follow it. ``None``: any numbers will do.

    Returns:
        Text, calls and faults. A call that is refused takes no number.

    Example:
        >>> said = read_turn("I close it. " + write_calls([ToolCall("close", {"id": {"a": "}"}}, 0)]) + " Done.")
        >>> said.text, said.calls[0].arguments
        ('I close it.  Done.', {'id': {'a': '}'}})
        >>> said = read_turn("<|tool_calls_section_begin|><|tool_call_begin|>functions.close:0")
        >>> said.calls, said.faults[0].reason
        ((), 'the call does not end')
    """
    reader = _Reader(first)
    begin = 0
    for mark in _MARK.finditer(text):
        reader.text(text[begin : mark.start()])
        reader.mark(_MARK_KINDS[(mark.lastindex or 1) - 1])
        begin = mark.end()
    reader.text(text[begin:])
    return reader.finish()


class _Reader:
    """Goes through marks and the texts between them once; ``_place`` is where it is."""

    def __init__(self, first: int | None) -> None:
        self._next = first
        self._said: list[str] = []
        self._calls: list[ToolCall] = []
        self._faults: list[Fault] = []
        self._place = "outside"  # section, call, arguments
        self._header = self._body = ""

    def text(self, text: str) -> None:
        if self._place == "outside":
            self._said.append(text)
        elif self._place == "call":
            self._header = text
        elif self._place == "arguments":
            self._body = text
        elif text.strip():
            self._fault("text between calls", text)

    def mark(self, kind: str) -> None:
        if self._place in ("call", "arguments") and not self._goes_on(kind):
            self._fault("the call does not end", self._header + self._body)
            self._place = "section"
        if kind == "section":
            self._place = "section"
        elif kind == "section end":
            if self._place == "outside":
                self._fault("a section ends that did not begin", "")
            self._place = "outside"
        elif self._place == "outside":
            self._fault("a call outside of a section", "")
        elif kind == "call":
            self._place, self._header, self._body = "call", "", ""
        elif kind == "arguments" and self._place == "call":
            self._place = "arguments"
        elif kind == "call end" and self._place == "arguments":
            self._call()
            self._place = "section"
        else:
            self._fault("a mark of a call without a call", "")

    def finish(self) -> SaidTurn:
        if self._place in ("call", "arguments"):
            self._fault("the call does not end", self._header + self._body)
        elif self._place == "section":
            self._fault("the section does not end", "")
        return SaidTurn("".join(self._said), tuple(self._calls), tuple(self._faults))

    def _goes_on(self, kind: str) -> bool:
        return (self._place, kind) in (("call", "arguments"), ("arguments", "call end"))

    def _call(self) -> None:
        name, index = _name_and_number(self._header)
        if name is None or index is None:
            self._fault("the call is not headed functions.NAME:IDX", self._header)
            return
        try:
            arguments = _read_json(self._body)
        except (ValueError, RecursionError) as error:
            self._fault(f"the arguments are not JSON ({str(error)[:_QUOTED] or type(error).__name__})", self._body)
            return
        if not isinstance(arguments, dict):
            self._fault("the arguments are not a JSON object", self._body)
        elif self._next is not None and index != self._next:
            self._fault(f"the call has number {index}; the next is {self._next}", self._header)
        else:
            self._calls.append(ToolCall(name, arguments, index))
            self._next = None if self._next is None else self._next + 1

    def _fault(self, reason: str, text: str) -> None:
        self._faults.append(Fault(reason, text.strip()[:_QUOTED]))


def _name_and_number(header: str) -> tuple[str | None, int | None]:
    name, _, number = header.strip().rpartition(":")
    name = name.strip()
    if not name.startswith("functions.") or not NAME.fullmatch(name[len("functions.") :]):
        return None, None
    return name[len("functions.") :], int(number) if _NUMBER.fullmatch(number.strip()) else None


def _read_json(text: str) -> Any:
    """JSON as the standard has it: no NaN, no 1e999, no name twice in an object, no half of a surrogate pair.

    Raises:
        ValueError: it is not.
        RecursionError: it nests too deeply.
    """
    value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_object)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number[:20]} is larger than any float")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _json_without_marks(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<|", "\\u003c|")
