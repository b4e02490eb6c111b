"""What the CoRT report shows: trajectories in colour, accuracy against tokens, tokens of each arm, learning curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report, Scores
from tenfold.papers.cort.detectors import segments
from tenfold.papers.cort.measures import Measured
from tenfold.papers.cort.method import HINTS
from tenfold.papers.cort.questions import Question
from tenfold.papers.cort.traces import Trace

Finished = Mapping[str, Mapping[int, Scores]]
"""Arm to seed to scores; no arm without a seed."""
COLOURS = {
    "no_tool": "#8a8f98",
    "prompt_hint": "#d1603d",
    "hint_engineering": "#1f6f8b",
    "random_hints": "#c9a227",
    "truncated": "#7a5195",
    "rft": "#2e8b57",
    "rl": "#16181d",
    "rl_from_base": "#4f9d9d",
    "rl_from_base_unmasked": "#b03a5b",
}
KINDS = {"prose": "#16181d", "hint": "#b8860b", "code": "#1f4fd8", "output": "#1a7f37"}
COLUMNS, POINTS = 104, 8.0
NUM_EXAMPLES = 3


def material(
    traces: Sequence[Trace], questions: Sequence[Question], samples: Sequence[Measured], tokenizer: Any
) -> dict[str, Any]:
    """What :func:`draw` needs of one trained arm, as plain data."""
    repeats = len(traces) // len(questions)
    right, tokens = np.array([s.right for s in samples]), np.array([s.model_tokens for s in samples])
    budgets = np.unique(np.linspace(0, tokens.max(), 41).round().astype(int))
    return {
        "examples": [
            {
                "problem": question.key,
                "text": traces[i * repeats].text(tokenizer),
                "right": samples[i * repeats].right,
                "model_tokens": samples[i * repeats].model_tokens,
                "tool_tokens": samples[i * repeats].tool_tokens,
            }
            for i, question in enumerate(questions[:NUM_EXAMPLES])
        ],
        "within": [[int(b), float((right & (tokens <= b)).mean())] for b in budgets],
    }


def draw(report: Report) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out."""
    finished = {arm: cells for arm, cells in report.scores.items() if cells}
    if not finished:
        return []
    pictures = [_examples(finished), _tokens(finished), _budgets(finished)]
    if any("reinforcement/validation/accuracy" in s.curves for cells in finished.values() for s in cells.values()):
        pictures.append(_learning_curves(finished))
    return pictures


def coloured_lines(text: str, columns: int = COLUMNS) -> list[list[tuple[str, str]]]:
    """A trace as lines of (kind, text): prose, hint, code, output; broken at line ends and at the width.

    Example:
        >>> coloured_lines("So:\\n```python\\nprint(1)\\n```\\n", 40)[1:]
        [[('code', '```python')], [('code', 'print(1)')], [('code', '```')]]
    """
    runs: list[tuple[str, str]] = []
    for part in segments(text):
        stretch = text[part.start : part.end]
        runs += _with_hints(stretch) if part.kind == "prose" else [(part.kind, stretch)]
    lines: list[list[tuple[str, str]]] = [[]]
    room = columns
    for kind, run in runs:
        for number, line in enumerate(run.split("\n")):
            if number:
                lines.append([])
                room = columns
            while line:
                if room == 0:
                    lines.append([])
                    room = columns
                piece, line = line[:room], line[room:]
                lines[-1].append((kind, piece))
                room -= len(piece)
    return [line for line in lines if line]


def _with_hints(prose: str) -> list[tuple[str, str]]:
    """Prose with the hints in it told apart."""
    for hint in HINTS.values():
        before, found, after = prose.partition(hint.text)
        if found:
            return [*_with_hints(before), ("hint", found), *_with_hints(after)]
    return [("prose", prose)] if prose else []


def _examples(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    lines: list[list[tuple[str, str]]] = []
    for arm, cells in finished.items():
        example = next(iter(cells.values())).samples["examples"][0]
        verdict = "right" if example["right"] else "wrong"
        tokens = f"{example['model_tokens']} model tokens, {example['tool_tokens']} tool tokens"
        lines += [[("title", f"{arm}: {example['problem'][:40]}, {verdict}, {tokens}")]]
        lines += [*coloured_lines(example["text"])[:30], []]
    width, height = COLUMNS * POINTS * 0.602 / 72, (len(lines) + 1) * POINTS * 1.35 / 72
    figure = Figure(figsize=(width + 0.3, height + 0.3))
    axes = figure.add_axes((0.15 / (width + 0.3), 0.0, width / (width + 0.3), 1.0))
    axes.set(xlim=(0, COLUMNS), ylim=(len(lines) + 1, -1))
    axes.axis("off")
    for row, line in enumerate(lines):
        column = 0
        for kind, piece in line:
            style: dict[str, Any] = {
                "color": KINDS.get(kind, "#16181d"),
                "weight": "bold" if kind == "title" else "normal",
            }
            axes.text(column, row, piece, family="monospace", fontsize=POINTS, parse_math=False, va="top", **style)
            column += len(piece)
    return Picture(
        "trajectories",
        "One problem, answered by every arm",
        "The first test problem of the first seed. Black: prose; gold: hints, which the tuned policies say by "
        "themselves; blue: programs; green: outputs of the interpreter, which are no tokens of the model.",
        figure,
    )


def _tokens(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    names, places = list(finished), np.arange(len(finished))
    model = np.array([_mean(cells, "test/model_tokens") for cells in finished.values()])
    tool = np.array([_mean(cells, "test/tool_tokens") for cells in finished.values()])
    left.barh(places, model, color=[COLOURS[name] for name in names], label="model")
    left.barh(places, tool, left=model, color="#d5d8dc", label="tool")
    for place, cells in enumerate(finished.values()):
        values = [scores.metrics["test/model_tokens"] for scores in cells.values()]
        left.plot(values, [place] * len(values), "|", color="#16181d")
    left.set(xlabel="tokens per answer (grey: of outputs)", yticks=places, yticklabels=names)
    for place, (name, cells) in enumerate(finished.items()):
        values = [scores.metrics["test/accuracy"] for scores in cells.values()]
        right.barh(place, np.mean(values), color=COLOURS[name])
        right.plot(values, [place] * len(values), "|", color="#d5d8dc")
    right.set(xlabel="accuracy", xlim=(0, 1), yticks=[])
    for axes in (left, right):
        axes.invert_yaxis()
        _finish(axes)
    return Picture(
        "tokens",
        "Tokens and accuracy of the arms",
        "Left: mean tokens of an answer, those of the model in colour, those of outputs in grey. Right: share of right "
        "answers. Marks: single seeds.",
        figure,
    )


def _budgets(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    for arm, cells in finished.items():
        curves = [np.array(scores.samples["within"]) for scores in cells.values()]
        budgets = np.arange(0, max(curve[-1, 0] for curve in curves) + 1)
        mean = np.mean([np.interp(budgets, curve[:, 0], curve[:, 1]) for curve in curves], axis=0)
        axes.plot(budgets, mean, color=COLOURS[arm], linewidth=2.0, label=arm)
    axes.set(xlabel="budget of model tokens", ylabel="right within the budget", ylim=(-0.02, 1.02))
    _finish(axes)
    axes.legend(frameon=False, fontsize=8)
    return Picture(
        "budgets",
        "Accuracy under a token budget",
        "Share of test problems that are answered rightly with at most so many tokens of the model; mean over seeds.",
        figure,
    )


def _learning_curves(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    shown = {
        "train/reward": "reward of samples",
        "validation/accuracy": "accuracy",
        "validation/model_tokens": "model tokens",
    }
    figure = Figure(figsize=(3.6 * len(shown), 3.4), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        for arm, cells in finished.items():
            curves = [
                np.array(scores.curves[key])
                for scores in cells.values()
                if (key := f"reinforcement/{name}") in scores.curves
            ]
            for curve in curves:
                axes.plot(curve[:, 0], curve[:, 1], color=COLOURS[arm], alpha=0.3, linewidth=1)
            if curves:
                common = min(map(len, curves))
                mean = np.mean([curve[:common] for curve in curves], axis=0)
                axes.plot(mean[:, 0], mean[:, 1], color=COLOURS[arm], linewidth=2.0, label=arm)
        axes.set(xlabel="steps of GRPO", ylabel=label)
        _finish(axes)
    axes.legend(frameon=False, fontsize=8)
    return Picture(
        "learning-curves",
        "Reinforcement with and without the tool, with and without the mask",
        "rl goes on from rft, rl_from_base from the base; the unmasked arm has the interpreter's tokens in the loss; "
        "no_tool has no interpreter. Left: mean reward of the sampled completions; others: validation problems. Thin: "
        "one seed; thick: mean.",
        figure,
    )


def _mean(cells: Mapping[int, Scores], name: str) -> float:
    return float(np.mean([scores.metrics[name] for scores in cells.values()]))


def _finish(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
