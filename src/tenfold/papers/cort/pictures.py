"""What the CoRT report shows: trajectories in colour, accuracy against tokens, tokens of each arm, learning curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report, Scores
from tenfold.papers.cort.detectors import segments
from tenfold.papers.cort.measures import Measured
from tenfold.papers.cort.method import HINTS
from tenfold.papers.cort.traces import Trace
from tenfold.study.pictures import (
    PAPER,
    Curve,
    Finished,
    Piece,
    coloured_lines,
    draw_bars,
    draw_curves,
    draw_text,
    finish,
    finished,
    first,
    has_curve,
    mean_of,
    named,
    one_panel,
    panels,
)
from tenfold.study.questions import Question

KINDS = {"hint": "#b8860b", "code": "#1f4fd8", "output": "#1a7f37"}
COLUMNS, MOST_LINES = 104, 30
NUM_EXAMPLES, NUM_BUDGETS = 3, 41
LEARNED = {
    "reinforcement/train/reward": "reward of samples",
    "reinforcement/validation/accuracy": "accuracy",
    "reinforcement/validation/model_tokens": "model tokens",
}


def drawn_from(
    traces: Sequence[Trace], questions: Sequence[Question], samples: Sequence[Measured], tokenizer: Any
) -> dict[str, Any]:
    """What :func:`draw` needs of one trained arm, as plain data."""
    repeats = len(traces) // len(questions)
    examples = []
    for i, question in enumerate(questions[:NUM_EXAMPLES]):
        sample = samples[i * repeats]
        examples.append(
            {
                "problem": question.key,
                "text": traces[i * repeats].text(tokenizer),
                "right": sample.right,
                "model_tokens": sample.model_tokens,
                "tool_tokens": sample.tool_tokens,
            }
        )
    return {"examples": examples, "within": _within_budgets(samples)}


def _within_budgets(samples: Sequence[Measured]) -> list[list[float]]:
    """Budgets of model tokens, from none to the longest answer, and the share that is right within each."""
    right = np.array([sample.right for sample in samples])
    tokens = np.array([sample.model_tokens for sample in samples])
    budgets = np.unique(np.linspace(0, tokens.max(), NUM_BUDGETS).round().astype(int))
    return [[int(budget), float((right & (tokens <= budget)).mean())] for budget in budgets]


def draw(report: Report, colour_of: Mapping[str, str]) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out."""
    cells = finished(report)
    if not cells:
        return []
    pictures = [_examples(cells), _tokens(cells, colour_of), _budgets(cells, colour_of)]
    if has_curve(cells, "reinforcement/validation/accuracy"):
        pictures.append(_learning_curves(cells, colour_of))
    return pictures


def stretches(text: str) -> list[Piece]:
    """A trace as stretches with their kind: prose, hint, code, output.

    Example:
        >>> stretches("So:\\n```python\\nprint(1)\\n```\\n")
        [('prose', 'So:\\n'), ('code', '```python\\nprint(1)\\n```\\n')]
    """
    found: list[Piece] = []
    for part in segments(text):
        stretch = text[part.start : part.end]
        found += _with_hints(stretch) if part.kind == "prose" else [(part.kind, stretch)]
    return found


def _with_hints(prose: str) -> list[Piece]:
    """Prose with the hints in it told apart."""
    for hint in HINTS.values():
        before, found, after = prose.partition(hint.text)
        if found:
            return [*_with_hints(before), ("hint", found), *_with_hints(after)]
    return [("prose", prose)] if prose else []


def _examples(cells: Finished) -> Picture:
    lines: list[list[Piece]] = []
    for arm, of_arm in cells.items():
        example = first(of_arm).samples["examples"][0]
        verdict = "right" if example["right"] else "wrong"
        tokens = f"{example['model_tokens']} model tokens, {example['tool_tokens']} tool tokens"
        lines.append([("heading", f"{arm}: {example['problem'][:40]}, {verdict}, {tokens}")])
        lines += coloured_lines(stretches(example["text"]), COLUMNS)[:MOST_LINES]
        lines.append([])
    return Picture(
        "trajectories",
        "One problem, answered by every arm",
        "The first test problem of the first seed. Black: prose; gold: hints; blue: "
        "programs; green: outputs of the interpreter, which are no tokens of the model.",
        draw_text(lines, COLUMNS, KINDS),
    )


def _tokens(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, ((left, right),) = panels(2)
    draw_bars(left, cells, "test/model_tokens", colour_of)
    for row, of_arm in enumerate(cells.values()):
        left.barh(row, mean_of(of_arm, "test/tool_tokens"), left=mean_of(of_arm, "test/model_tokens"), color=PAPER)
    left.set(xlabel="tokens per answer (grey: of outputs)")
    draw_bars(right, cells, "test/accuracy", colour_of)
    right.set(xlabel="accuracy", xlim=(0, 1), yticks=[])
    finish(left)
    finish(right)
    return Picture(
        "tokens",
        "Tokens and accuracy of the arms",
        "Left: mean tokens of an answer, those of the model in colour, those of outputs in grey. Right: share of right "
        "answers. Dots: single seeds.",
        figure,
    )


def _budgets(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, axes = one_panel()
    curves = [scores.samples["within"] for of_arm in cells.values() for scores in of_arm.values()]
    # Answers of each cell are as long as they are: one grid for all, so that a mean over seeds is over equal budgets.
    budgets = np.arange(0, max(curve[-1][0] for curve in curves) + 1)

    def right_within(scores: Scores) -> Curve:
        known = np.array(scores.samples["within"])
        shares = np.interp(budgets, known[:, 0], known[:, 1])
        return list(zip(budgets.tolist(), shares.tolist(), strict=True))

    draw_curves(axes, cells, right_within, colour_of)
    axes.set(xlabel="budget of model tokens", ylabel="right within the budget", ylim=(-0.02, 1.02))
    finish(axes, legend=True)
    return Picture(
        "budgets",
        "Accuracy under a token budget",
        "Share of test problems that are answered rightly with at most so many tokens of the model. Thin: one seed; "
        "thick: mean over seeds.",
        figure,
    )


def _learning_curves(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, (row,) = panels(len(LEARNED), width=3.6)
    for axes, (curve, label) in zip(row, LEARNED.items(), strict=True):
        draw_curves(axes, cells, named(curve), colour_of)
        axes.set(xlabel="steps of GRPO", ylabel=label)
        finish(axes, legend=axes is row[-1])
    return Picture(
        "learning-curves",
        "Reinforcement with and without the tool, with and without the mask",
        "rl starts from rft, rl_from_base from the base; the unmasked arm has the interpreter's tokens in the loss; "
        "no_tool has no interpreter. Left: mean reward of the sampled completions; others: validation problems. Thin: "
        "one seed; thick: mean.",
        figure,
    )
