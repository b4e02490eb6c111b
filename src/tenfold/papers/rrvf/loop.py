"""RRVF's loop for one image: reason, render, look, revise; for inference and evaluation, with any speaker.

    messages = [tool schema, image and fixed task]
    each turn: thoughts and either a call, which is rendered and remarked upon, or an answer, which ends the dialogue
    the last program is rendered and judged

A turn that keeps no format ends the dialogue, as it would earn -1 in training; on the last allowed turn an answer is
asked for. A render that fails is told by its error, and no comparator is asked. Different from the paper, whose code
was never published: the names of the tool for charts and SVG, and the most turns (4; one digest says 8).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tenfold.core.errors import UserError
from tenfold.envs.render.browser import BrowserRenderer
from tenfold.envs.render.matplotlib_renderer import MatplotlibRenderer
from tenfold.envs.render.renderer import Renderer
from tenfold.envs.render.shapes import ShapeRenderer
from tenfold.envs.render.svg import SvgRenderer
from tenfold.eval.visual import as_image
from tenfold.papers.rrvf.looking import Judged, VisualComparator, VisualJudge
from tenfold.papers.rrvf.method import Answer, Call, Malformed, parse_turn
from tenfold.rewards.visual import Parts, Rendered, VisualWeights, parts_of

Speaker = Callable[[Sequence["Said"]], str]
"""The policy: all that was said so far to its next turn."""


@dataclass(frozen=True)
class Domain:
    """What is drawn.

    Args:
        tool: the tool's name.
        argument: the name of its only argument.
        task: what is asked for beside the image.
        suffix: of files with such code.
    """

    tool: str
    argument: str
    task: str
    suffix: str


DOMAINS = {
    "chart": Domain(
        "chart_render_and_compare_tool", "python_code", "Write a Matplotlib program that draws this chart.", ".py"
    ),
    "web": Domain(
        "html_render_and_compare_tool", "html_code", "Write one HTML page that looks like this one.", ".html"
    ),
    "svg": Domain("svg_render_and_compare_tool", "svg_code", "Write an SVG that looks like this drawing.", ".svg"),
    "shapes": Domain("shape_render_and_compare_tool", "shape_code", "Write shapes that draw this picture.", ".txt"),
}
"""The web tool's name and argument are the paper's; the others are made like it."""

RENDERERS: Mapping[str, Callable[[], Renderer]] = {
    "chart": MatplotlibRenderer,
    "web": BrowserRenderer,
    "svg": SvgRenderer,
    "shapes": ShapeRenderer,
}


@contextmanager
def opened_renderer(domain: str) -> Iterator[Renderer]:
    """The renderer of a domain; what it has started ends with the block.

    Args:
        domain: a name of :data:`DOMAINS`.
    """
    renderer = RENDERERS[domain]()
    try:
        yield renderer
    finally:
        close = getattr(renderer, "close", None)
        if close is not None:
            close()


@dataclass(frozen=True, eq=False)
class Said:
    """One message of a dialogue.

    Args:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        text: its words.
        image: that goes along; [h, w, 3] in [0, 1], or none.
    """

    role: str
    text: str
    image: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class LoopTurn:
    """What the policy did in one turn, and what came of it.

    Args:
        text: what it said.
        code: its program; empty where there was none.
        image: the render, uint8 [h, w, 3], or none.
        error: why there is none.
        remarks: what the comparator said; empty for an answer.
        similarity: of the render to the image; none where there is no render.
        is_answer: whether it was the answer.
    """

    text: str
    code: str = ""
    image: np.ndarray | None = None
    error: str = ""
    remarks: str = ""
    similarity: float | None = None
    is_answer: bool = False


@dataclass(frozen=True, eq=False)
class LoopResult:
    """A whole dialogue.

    Args:
        turns: in order.
        parts: of the reward.
        total: the reward.
        judged: what the judge said of the last render.
    """

    turns: tuple[LoopTurn, ...]
    parts: Parts
    total: float
    judged: Judged


@dataclass
class Loop:
    """Draws images by dialogue.

    Args:
        renderer: of the domain.
        comparator: says what differs.
        judge: scores renders.
        domain: a name of :data:`DOMAINS`.
        max_turns: most turns of the policy.
        weights: of the reward.
        return_render_image: show the policy its own render beside the remarks.
        strict: whether turns must have thoughts, and nothing around their blocks.

    Raises:
        UserError: there is no such domain, or no turn is allowed.

    Example:
        >>> from tenfold.envs.render.shapes import ShapeRenderer
        >>> from tenfold.papers.rrvf.looking import PixelComparator, PixelJudge
        >>> loop = Loop(ShapeRenderer(32), PixelComparator(), PixelJudge(), "shapes")
        >>> target = ShapeRenderer(32).render("circle red 16 16 8").image
        >>> loop.run(target, lambda said: "<think>a circle</think><answer>circle red 16 16 8</answer>").parts.vision
        1.0
    """

    renderer: Renderer
    comparator: VisualComparator
    judge: VisualJudge
    domain: str = "chart"
    max_turns: int = 4
    weights: VisualWeights = field(default_factory=VisualWeights)
    return_render_image: bool = False
    strict: bool = True

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise UserError(f"domain = {self.domain!r}: allowed: {', '.join(DOMAINS)}")
        if self.max_turns < 1:
            raise UserError(f"max_turns = {self.max_turns}: must be at least 1")

    def run(self, image: Any, speak: Speaker) -> LoopResult:
        """One dialogue about one image.

        Args:
            image: what shall be drawn, as ``tenfold.eval.visual.as_image`` takes it.
            speak: the policy.
        """
        reference, domain = as_image(image), DOMAINS[self.domain]
        said = [Said("system", schema_of(domain)), Said("user", domain.task, reference)]
        turns: list[LoopTurn] = []
        well_formed = True
        for number in range(self.max_turns):
            is_last = number == self.max_turns - 1
            if is_last and number:
                said.append(Said("user", "This is your last turn: give your answer in <answer>…</answer>."))
            text = speak(said)
            action = parse_turn(text, {domain.tool: domain.argument}, strict=self.strict)
            if isinstance(action, Malformed) or (is_last and isinstance(action, Call)):
                well_formed = False
                reason = action.reason if isinstance(action, Malformed) else "a call on the last turn"
                turns.append(LoopTurn(text, error=f"malformed: {reason}"))
                break
            turn = self._drawn(text, action, reference)
            turns.append(turn)
            if isinstance(action, Answer):
                break
            shown = self._shown(turn)
            said += [Said("assistant", text), Said("tool", response_of(turn), shown)]
        return self._result(turns, well_formed, reference)

    def _drawn(self, text: str, action: Call | Answer, reference: np.ndarray) -> LoopTurn:
        result = self.renderer.render(action.code)
        is_answer = isinstance(action, Answer)
        if result.image is None:
            return LoopTurn(text, action.code, None, result.error, is_answer=is_answer)
        drawn = as_image(result.image)
        judged = self.judge.judge(reference, drawn)
        remarks = "" if is_answer else self.comparator.compare(reference, drawn)
        return LoopTurn(text, action.code, result.image, "", remarks, judged.score, is_answer)

    def _shown(self, turn: LoopTurn) -> np.ndarray | None:
        return as_image(turn.image) if self.return_render_image and turn.image is not None else None

    def _result(self, turns: Sequence[LoopTurn], well_formed: bool, reference: np.ndarray) -> LoopResult:
        last = turns[-1]
        judged = Judged(0.0, last.error)
        if last.image is not None:
            judged = self.judge.judge(reference, as_image(last.image))
        drawn = Rendered(
            last=judged.score if last.image is not None else None,
            earlier=[turn.similarity for turn in turns[:-1]],
            well_formed=well_formed,
        )
        parts = parts_of(drawn, self.weights)
        return LoopResult(tuple(turns), parts, parts.total(self.weights), judged)


def schema_of(domain: Domain) -> str:
    """What the policy is told of its tool and its tags."""
    return (
        f"You have one tool, {domain.tool}({domain.argument}): it renders your code and says how the result differs "
        "from the image. Think in <think>…</think> first. Then either call the tool with "
        f'<tool_call>{{"name": "{domain.tool}", "arguments": {{"{domain.argument}": "…"}}}}</tool_call>, '
        "or, when you are done, give the final code in <answer>…</answer>."
    )


def response_of(turn: LoopTurn) -> str:
    """What the policy is told after a call; masked from the loss in training."""
    inner = f"The code could not be rendered. {turn.error}" if turn.error else f"### Comments\n{turn.remarks}"
    return f"<tool_response>\n{inner}\n</tool_response>"
