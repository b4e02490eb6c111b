"""What the SEM report shows: example responses in colours, searching and first answers over training, and knowledge."""

import numpy as np

from tenfold.core.types import Picture, Report, Scores
from tenfold.papers.sem.arms import ARMS
from tenfold.study.pictures import (
    INK,
    Finished,
    Piece,
    coloured_lines,
    colours,
    draw_curves,
    draw_text,
    finish,
    finished,
    first,
    has_curve,
    named,
    one_panel,
    panels,
)

COLOURS = colours(list(ARMS))
PIECES = {"search": "#d1603d", "result": "#1f6f8b"}
_CHARACTERS, _LINES = 96, 6
_CURVE = "reinforcement/validation/"


def draw(report: Report, method: str) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out.

    Args:
        report: of a run.
        method: the arm whose responses are shown, if it has any.
    """
    cells = finished(report)
    if not cells:
        return []
    shown = method if method in cells else next(iter(cells))
    pictures = [_examples(shown, first(cells[shown])), _knowledge(cells)]
    if has_curve(cells, f"{_CURVE}search_known"):
        pictures += [_searching(cells), _first_answers(cells)]
    return pictures


def _examples(arm: str, scores: Scores) -> Picture:
    lines: list[list[Piece]] = []
    for example in scores.samples["examples"]:
        right = "right" if example["right"] else "wrong"
        lines.append([("heading", f"{example['question']}  ({example['answer']}; {right})"[:_CHARACTERS])])
        pieces = [(kind, text) for kind, text in example["pieces"]]
        lines += [*coloured_lines(pieces, _CHARACTERS, keep_breaks=False)[:_LINES], []]
    return Picture(
        "examples",
        f"Responses of {arm}",
        "Test questions, known ones first, each with its answer and whether the final one was right. Black: what the "
        "policy says; orange: what it searches for; blue: what the search inserted, which is not trained on.",
        draw_text(lines, _CHARACTERS, PIECES),
    )


def _knowledge(cells: Finished) -> Picture:
    figure, axes = one_panel(width=6.4)
    for arm, of_arm in cells.items():
        for number, scores in enumerate(of_arm.values()):
            _size, accuracy, searched = np.array(scores.samples["calibration"]).reshape(-1, 3).T
            label = None if number else arm
            axes.plot(accuracy, searched, color=COLOURS[arm], marker="o", markersize=4, alpha=0.7, label=label)
    axes.plot([0, 1], [1, 0], color=INK, linewidth=0.8, linestyle="--")
    axes.set(xlabel="closed-book accuracy before reinforcement", ylabel="share searched", ylim=(-0.04, 1.04))
    finish(axes, legend=True)
    return Picture(
        "knowledge",
        "Searching against what is known",
        "Share of searched test questions, by how often the policy answered them rightly without search before the "
        "reinforcement. Dashed: searching exactly as often as the "
        "policy would be wrong without it. A line is a seed.",
        figure,
    )


def _searching(cells: Finished) -> Picture:
    figure, grid = panels(2, share_y=True)
    shown = (("search_known", "known facts", 0.2), ("search_unknown", "unknown facts", 0.8))
    for axes, (name, title, claimed) in zip(grid[0], shown, strict=True):
        draw_curves(axes, cells, named(f"{_CURVE}{name}"), COLOURS)
        axes.axhline(claimed, color=INK, linewidth=0.8, linestyle="--")
        axes.set(title=title, xlabel="steps of GRPO", ylim=(-0.04, 1.04))
        finish(axes)
    grid[0][0].set_ylabel("share searched")
    finish(grid[0][1], legend=True)
    return Picture(
        "searching",
        "Searching over training",
        "Validation questions that no reinforcement asks for. Dashed: what is claimed of SEM, below it for known facts "
        "and above it for unknown ones. Thin: one seed; thick: mean.",
        figure,
    )


def _first_answers(cells: Finished) -> Picture:
    figure, grid = panels(2, share_y=True)
    shown = (("first_shown", "known facts asked in training"), ("first_known", "known facts not asked in training"))
    for axes, (name, title) in zip(grid[0], shown, strict=True):
        draw_curves(axes, cells, named(f"{_CURVE}{name}"), COLOURS)
        axes.set(title=title, xlabel="steps of GRPO", ylim=(-0.04, 1.04))
        finish(axes)
    grid[0][0].set_ylabel("right first answers")
    finish(grid[0][1], legend=True)
    return Picture(
        "first-answers",
        "Whether first answers are spoilt",
        "Accuracy of the first answer to known facts, on validation questions. Left: facts that the reinforcement asks "
        "for; a fall here alone would mean that first answers are spoilt on purpose, for SEM's reward pays a right "
        "second answer as much as a right first one. Right: facts that it does not ask for; a fall here alone would "
        "mean forgetting. Thin: one seed; thick: mean.",
        figure,
    )
