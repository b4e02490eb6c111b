"""The reward of image to code by rendering: vision, format and tool, kept apart (RRVF, arXiv 2507.20766).

    R = w_vision R_vision + w_format R_format + w_tool R_tool

    R_vision   similarity of the last render to the image, in [0, 1]; 0 if it does not render
    R_format   0, or -1 for a malformed dialogue or a last program that does not render, and less for each failed call
    R_tool     a bonus for renders on the way; see :data:`TOOL_RULES`

**The weights are contradictory in every source**, so they are presets and never constants: ``default`` is ours;
``deepeyes`` is the published code on which the paper builds; ``rrvf_note`` is what a reproduction note says. What the
paper itself used is unstated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tenfold.core.errors import UserError
from tenfold.eval.visual import Similarity, as_image, compare
from tenfold.rewards.said import said_texts

ToolRule = Literal["gated", "above_half", "per_call"]
NEARLY_EQUAL = 0.95
"""Similarity above which no further call is needed for the tool part."""


@dataclass(frozen=True)
class VisualWeights:
    """How the parts are put together; one of :data:`PRESETS`, or anybody's own.

    Args:
        vision: weight of R_vision.
        format: weight of R_format.
        tool: weight of R_tool.
        tool_rule: how renders on the way are paid.
        enough_calls: successful calls that earn all of R_tool under the rules that count them.
        failed_call: what a call that does not render costs in R_format. Where a failed answer costs more than a failed
            call, a policy may learn to spoil its first turn.

    Raises:
        UserError: a number is out of range.
    """

    vision: float = 0.8
    format: float = 0.2
    tool: float = 0.2
    tool_rule: ToolRule = "gated"
    enough_calls: int = 2
    failed_call: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("vision", "format", "tool", "failed_call"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"{name} = {getattr(self, name)}: allowed: finite numbers from 0 on")
        if self.tool_rule not in TOOL_RULES:
            raise UserError(f"tool_rule = {self.tool_rule!r}: allowed: {', '.join(TOOL_RULES)}")
        if self.enough_calls < 1:
            raise UserError(f"enough_calls = {self.enough_calls}: must be at least 1")


@dataclass(frozen=True)
class Rendered:
    """What a dialogue drew.

    Args:
        last: similarity of the last render, or ``None`` where the last program does not render.
        earlier: similarities of the calls on the way, in order; ``None`` for one that did not render.
        well_formed: whether the dialogue keeps the format.
    """

    last: float | None
    earlier: Sequence[float | None] = ()
    well_formed: bool = True

    @property
    def successes(self) -> list[float]:
        """Similarities of the calls that rendered."""
        return [each for each in self.earlier if each is not None]


@dataclass(frozen=True)
class Parts:
    """The three parts of one dialogue's reward."""

    vision: float
    format: float
    tool: float

    def total(self, weights: VisualWeights) -> float:
        """R.

        Example:
            >>> round(Parts(vision=0.5, format=-1.0, tool=1.0).total(VisualWeights()), 3)
            0.4
        """
        return weights.vision * self.vision + weights.format * self.format + weights.tool * self.tool


def gated(drawn: Rendered, enough_calls: int) -> float:
    """gate * min(calls, enough) / enough, where the last render is above 0.3 and not worse than the best before - 0.02.

    Above 0.95 it is 1 without any call, so that no call is made for its own sake.

    Example:
        >>> gated(Rendered(0.6, [0.4]), 2), gated(Rendered(0.6, [0.9]), 2), gated(Rendered(0.97), 2)
        (0.5, 0.0, 1.0)
    """
    last = drawn.last or 0.0
    if last > NEARLY_EQUAL:
        return 1.0
    best_before = max(drawn.successes, default=0.0)
    gate = last > 0.3 and last >= best_before - 0.02
    return gate * min(len(drawn.successes), enough_calls) / enough_calls


def above_half(drawn: Rendered, enough_calls: int) -> float:
    """1 if a call rendered and the last similarity is above 0.5, as in DeepEyes' code; more calls add nothing."""
    return float(bool(drawn.successes) and (drawn.last or 0.0) > 0.5)


def per_call(drawn: Rendered, enough_calls: int) -> float:
    """min(calls, enough) / enough; 1 above 0.95, as a reproduction note remembers it."""
    if (drawn.last or 0.0) > NEARLY_EQUAL:
        return 1.0
    return min(len(drawn.successes), enough_calls) / enough_calls


TOOL_RULES: Mapping[str, Callable[[Rendered, int], float]] = {
    "gated": gated,
    "above_half": above_half,
    "per_call": per_call,
}
PRESETS: Mapping[str, VisualWeights] = {
    "default": VisualWeights(),
    "deepeyes": VisualWeights(vision=0.8, format=0.2, tool=1.2, tool_rule="above_half"),
    "rrvf_note": VisualWeights(vision=0.2, format=0.8, tool=1.0, tool_rule="per_call"),
}
"""Ours; DeepEyes' published code; a reproduction note about RRVF. They contradict each other."""


def parts_of(drawn: Rendered, weights: VisualWeights) -> Parts:
    """The three parts of a dialogue's reward.

    Example:
        >>> parts_of(Rendered(0.6, [0.4]), PRESETS["default"])
        Parts(vision=0.6, format=0.0, tool=0.5)
        >>> parts_of(Rendered(None, [0.4]), PRESETS["rrvf_note"])
        Parts(vision=0.0, format=-1.0, tool=0.5)
    """
    failed_calls = len(drawn.earlier) - len(drawn.successes)
    is_wrong = not drawn.well_formed or drawn.last is None
    return Parts(
        vision=drawn.last or 0.0,
        format=0.0 - is_wrong - weights.failed_call * failed_calls,
        tool=TOOL_RULES[weights.tool_rule](drawn, weights.enough_calls),
    )


class VisualReward:
    """Rewards with trl's signature for programs that shall draw the image of their row.

    The program is what stands in the last ``<answer>`` block, or in the last fenced block of that or of the whole text.
    Use :meth:`functions` with trl's ``reward_weights``, so that the parts are logged apart.

    Args:
        render: code to an image [h, w, 3] of uint8, or ``None`` where it does not draw; say
            ``lambda code: renderer.render(code).image``.
        similarity: of two images.
        weights: how the parts are put together; the tool part needs dialogues and is 0 here but for its 0.95 rule.
        column: of the data set that holds the image of a row, in any form that ``as_image`` takes.

    Example:
        >>> black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
        >>> black[2:5, 2:5] = 255
        >>> reward = VisualReward(lambda code: {"draw": black, "blank": white}.get(code))
        >>> answers = ["<answer>draw</answer>", "<answer>nonsense</answer>", "no answer"]
        >>> reward.vision(completions=answers, image=[black] * 3), reward.format(completions=answers, image=[black] * 3)
        ([1.0, 0.0, 0.0], [0.0, -1.0, -1.0])
    """

    def __init__(
        self,
        render: Callable[[str], np.ndarray | None],
        *,
        similarity: Similarity | None = None,
        weights: VisualWeights = PRESETS["default"],
        column: str = "image",
    ) -> None:
        self.render, self.similarity, self.weights, self.column = render, similarity, weights, column
        self._last: tuple[Any, list[Parts]] | None = None

    def functions(self) -> tuple[list[Callable[..., list[float]]], list[float]]:
        """The three rewards, and their weights."""
        return [self.vision, self.format, self.tool], [self.weights.vision, self.weights.format, self.weights.tool]

    def vision(self, completions: Sequence[Any], **columns: Any) -> list[float]:
        """R_vision of each completion."""
        return [parts.vision for parts in self._parts(completions, columns)]

    def format(self, completions: Sequence[Any], **columns: Any) -> list[float]:
        """R_format of each completion."""
        return [parts.format for parts in self._parts(completions, columns)]

    def tool(self, completions: Sequence[Any], **columns: Any) -> list[float]:
        """R_tool of each completion."""
        return [parts.tool for parts in self._parts(completions, columns)]

    def _parts(self, completions: Sequence[Any], columns: Mapping[str, Any]) -> list[Parts]:
        """The parts of a batch, rendered once for the three functions."""
        if self.column not in columns:
            raise UserError(f"column {self.column!r}: the data set has {', '.join(columns) or 'no columns'}")
        images = columns[self.column]
        key = (tuple(map(id, completions)), tuple(map(id, images)))
        if self._last is None or self._last[0] != key:
            said = said_texts(completions, columns)
            self._last = key, [self._parts_of(text, image) for text, image in zip(said, images, strict=True)]
        return self._last[1]

    def _parts_of(self, text: str, image: Any) -> Parts:
        code = code_of(text)
        drawn = None if code is None else self.render(code)
        last = None if drawn is None else compare(as_image(image), drawn, self.similarity)["total"]
        return parts_of(Rendered(last, well_formed=code is not None), self.weights)


def code_of(text: str) -> str | None:
    """The program of an answer: the last ``<answer>`` block without its fence, else the last fenced block, else none.

    Example:
        >>> code_of("<think>x</think><answer>```python\\nplot()\\n```</answer>")
        'plot()'
    """
    answer = _last_answer(text)
    fenced = _fenced(text if answer is None else answer)
    code = answer if fenced is None else fenced
    return None if code is None else code.strip() or None


def _last_answer(text: str) -> str | None:
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, max(end, 0))
    return None if start < 0 else text[start + len("<answer>") : end]


def _fenced(text: str) -> str | None:
    """What stands in the last fenced block of a text."""
    pieces = text.split("```")
    if len(pieces) < 3:
        return None
    last = pieces[-2] if len(pieces) % 2 else pieces[-3]
    first, _, rest = last.partition("\n")
    return rest if not first.strip() or first.strip().isalnum() else last
