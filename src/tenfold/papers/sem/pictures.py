"""What the SEM report shows: example responses in colours, searching and first answers over training, and knowledge."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report, Scores

Finished = Mapping[str, Mapping[int, Scores]]
"""Arm to seed to scores; no arm without a seed."""
COLOURS = {
    "answer_reward": "#8a8f98",
    "never_search": "#c9a227",
    "always_search": "#7a5195",
    "sem": "#1f6f8b",
    "sem_discount": "#3aa17e",
    "sem_confidence": "#d1603d",
}
PIECES = {"prose": "#16181d", "search": "#d1603d", "result": "#1f6f8b"}
_CHARACTERS, _POINTS = 96, 8.0
_ADVANCE = 0.602  # of a letter of DejaVu Sans Mono, in its size
_CURVE = "reinforcement/validation/"


def draw(report: Report) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out."""
    finished = {arm: cells for arm, cells in report.scores.items() if cells}
    if not finished:
        return []
    shown = "sem" if "sem" in finished else next(iter(finished))
    pictures = [_examples(shown, next(iter(finished[shown].values()))), _knowledge(finished)]
    trained = {arm: cells for arm, cells in finished.items() if all(_has_curves(s) for s in cells.values())}
    if trained:
        pictures += [_searching(trained), _first_answers(trained)]
    return pictures


def _has_curves(scores: Scores) -> bool:
    return f"{_CURVE}search_known" in scores.curves


def lines_of(pieces: Sequence[Sequence[str]], width: int = _CHARACTERS) -> list[list[tuple[str, str]]]:
    """Coloured pieces of text as lines of at most ``width`` characters.

    Example:
        >>> lines_of([["prose", "abc"], ["search", "de"]], width=4)
        [[('prose', 'abc'), ('search', 'd')], [('search', 'e')]]
    """
    lines: list[list[tuple[str, str]]] = [[]]
    used = 0
    for kind, text in pieces:
        rest = " ".join(text.split("\n"))
        while rest:
            if used == width:
                lines.append([])
                used = 0
            part, rest = rest[: width - used], rest[width - used :]
            lines[-1].append((kind, part))
            used += len(part)
    return lines


def _examples(arm: str, scores: Scores) -> Picture:
    from matplotlib.figure import Figure

    rows: list[list[tuple[str, str]]] = []
    for example in scores.samples["examples"]:
        right = "right" if example["right"] else "wrong"
        rows.append([("heading", f"{example['question']}  ({example['answer']}; {right})"[:_CHARACTERS])])
        rows += [*lines_of(example["pieces"])[:6], []]
    figure = Figure(figsize=((_CHARACTERS + 2) * _POINTS * _ADVANCE / 72, (len(rows) + 1) * _POINTS * 1.6 / 72))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(-1, _CHARACTERS + 1), ylim=(-len(rows), 1))
    axes.axis("off")
    for number, row in enumerate(rows):
        column = 0
        for kind, text in row:
            weight = "bold" if kind == "heading" else "normal"
            for place, letter in enumerate(text):  # one by one, so that columns are as wide in every font
                axes.text(
                    column + place, -number, letter, family="monospace", fontsize=_POINTS, weight=weight,
                    color=PIECES.get(kind, "#16181d"), parse_math=False,
                )  # fmt: skip
            column += len(text)
    return Picture(
        "examples",
        f"Responses of {arm}",
        "Test questions, known ones first, each with its answer and whether the final one was right. Black: what the "
        "policy says; orange: what it searches for; blue: what the search inserted, which is not trained on.",
        figure,
    )


def _knowledge(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for arm, cells in finished.items():
        for number, scores in enumerate(cells.values()):
            table = np.array(scores.samples["calibration"]).reshape(-1, 3)
            axes.plot(
                table[:, 1],
                table[:, 2],
                color=COLOURS[arm],
                marker="o",
                markersize=4,
                alpha=0.7,
                label=arm if number == 0 else None,
            )
    axes.plot([0, 1], [1, 0], color="#16181d", linewidth=0.8, linestyle="--")
    axes.set(xlabel="closed-book accuracy before reinforcement", ylabel="share searched", ylim=(-0.04, 1.04))
    _finish(axes)
    axes.legend(frameon=False, fontsize=8)
    return Picture(
        "knowledge",
        "Searching against what is known",
        "Share of searched test questions, by how often the policy answered them rightly without search before the "
        "reinforcement. A policy that knows what it knows falls from the upper left to the lower right. A "
        "line is a seed.",
        figure,
    )


def _searching(trained: Finished) -> Picture:
    figure, row = _panels(2)
    for axes, (name, label) in zip(row, (("search_known", "known"), ("search_unknown", "unknown")), strict=True):
        _curves(axes, trained, name)
        axes.axhline(0.2 if label == "known" else 0.8, color="#16181d", linewidth=0.8, linestyle="--")
        axes.set(title=f"{label} facts", xlabel="steps of GRPO", ylim=(-0.04, 1.04))
    row[0].set_ylabel("share searched")
    row[1].legend(frameon=False, fontsize=8)
    return Picture(
        "searching",
        "Searching over training",
        "Validation questions that no reinforcement asks for. Dashed: what is claimed of SEM, below it for known facts "
        "and above it for unknown ones. Thin: one seed; thick: mean.",
        figure,
    )


def _first_answers(trained: Finished) -> Picture:
    figure, row = _panels(2)
    shown = (("first_shown", "known facts asked in training"), ("first_known", "known facts not asked in training"))
    for axes, (name, label) in zip(row, shown, strict=True):
        _curves(axes, trained, name)
        axes.set(title=label, xlabel="steps of GRPO", ylim=(-0.04, 1.04))
    row[0].set_ylabel("right first answers")
    row[1].legend(frameon=False, fontsize=8)
    return Picture(
        "first-answers",
        "Whether first answers are spoilt",
        "Accuracy of the first answer to known facts. SEM's reward pays a wrong first answer with a right second one "
        "as much as a right first one: a policy that spoils first answers on purpose falls on the left; one that falls "
        "on the right alone has forgotten. Second answers of sem_discount are paid less.",
        figure,
    )


def _panels(number: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * number, 3.6), layout="constrained")
    return figure, figure.subplots(1, number, sharey=True)


def _curves(axes: Any, trained: Finished, name: str) -> None:
    for arm, cells in trained.items():
        curves = [np.array(s.curves[f"{_CURVE}{name}"]) for s in cells.values() if f"{_CURVE}{name}" in s.curves]
        if not curves:
            continue
        for curve in curves:
            axes.plot(curve[:, 0], curve[:, 1], color=COLOURS[arm], alpha=0.35, linewidth=1)
        common = min(len(curve) for curve in curves)
        mean = np.mean([curve[:common] for curve in curves], axis=0)
        axes.plot(mean[:, 0], mean[:, 1], color=COLOURS[arm], linewidth=2.0, label=arm)
    _finish(axes)


def _finish(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
