"""What the RLCR report shows: reliability diagrams side by side, confidence against difficulty, learning curves."""

from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report, Scores
from tenfold.eval.calibration import reliability_table
from tenfold.papers.rlcr.answering import Answers, by_hidden
from tenfold.papers.rlcr.arms import ARMS
from tenfold.papers.rlcr.masked_addition import best_accuracy
from tenfold.study.pictures import (
    INK,
    Curve,
    Finished,
    colours,
    draw_curves,
    finish,
    finished,
    first,
    has_curve,
    named,
    one_panel,
    panels,
)
from tenfold.study.questions import Question

COLOURS = colours(list(ARMS))
SHOWN = 8
"""Completions that the report keeps."""


def drawn_from(answers: Answers, questions: Sequence[Question]) -> dict[str, Any]:
    """What :func:`draw` needs of one trained arm, as plain data: reliability table, and confidence by difficulty."""
    rows = [row for row in reliability_table(answers.confidences, answers.right) if row.size]
    completions = []
    for question, parsed in list(zip(questions, answers.parsed, strict=True))[:SHOWN]:
        asked = str(question.prompt)[-200:]
        completions.append({"prompt": asked, "answer": parsed.answer, "confidence": parsed.confidence})
    return {
        "reliability": [[row.size, row.mean_confidence, row.accuracy] for row in rows],
        "by_hidden": plain_by_hidden(answers, questions),
        "completions": completions,
    }


def plain_by_hidden(answers: Answers, questions: Sequence[Question]) -> dict[str, list[float]]:
    """Number of hidden operands to mean confidence and share of right answers."""
    return {str(num_hidden): list(pair) for num_hidden, pair in by_hidden(answers, questions).items()}


def draw(report: Report) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out."""
    cells = finished(report)
    if not cells:
        return []
    pictures = [_reliability(cells)]
    if all(first(of_arm).samples["by_hidden"] for of_arm in cells.values()):
        pictures.append(_difficulty(cells, is_known=report.config["task"]["kind"] == "masked_addition"))
    if has_curve(cells, "validation/accuracy"):
        pictures.append(_learning_curves(cells))
    return pictures


def _reliability(cells: Finished) -> Picture:
    safe = {arm: of_arm for arm, of_arm in cells.items() if not ARMS[arm].allow_unsafe}
    shown = safe or cells
    figure, (row,) = panels(len(shown), width=4.0, height=4.0, share_y=True)
    for axes, (arm, of_arm) in zip(row, shown.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--")
        for scores in of_arm.values():
            sizes, confidences, accuracies = np.array(scores.samples["reliability"]).T
            areas = 600 * sizes / sizes.sum()
            axes.scatter(confidences, accuracies, s=areas, color=COLOURS[arm], alpha=0.55)
        axes.set(xlim=(-0.06, 1.06), ylim=(-0.06, 1.06), xlabel="stated confidence", title=arm, aspect="equal")
        finish(axes)
    row[0].set_ylabel("share of right answers")
    return Picture(
        "reliability",
        "Stated confidence and how often it is right",
        "One circle for each tenth of confidence and seed, as large as the share of test answers in it. On the dashed "
        "line the confidence is the frequency of right answers; below it is too high.",
        figure,
    )


def _difficulty(cells: Finished, *, is_known: bool) -> Picture:
    figure, axes = one_panel()
    draw_curves(axes, cells, _confidence, COLOURS)
    # All arms have one start, so that of any is shown.
    start = {"before": next(iter(cells.values()))}
    draw_curves(axes, start, _confidence_at_start, {"before": INK}, style=":")
    axes.set(xlabel="gold paragraphs dropped", ylabel="mean confidence", ylim=(-0.02, 1.06), xticks=range(3))
    caption = (
        "Mean stated confidence by how much of what the answer needs is hidden; dotted: before the reinforcement. "
    )
    if is_known:
        best = [best_accuracy(num_hidden) for num_hidden in range(3)]
        axes.scatter(range(3), best, color=INK, marker="_", s=400, zorder=3, label="right confidence")
        axes.set_xlabel("hidden operands")
        caption += "The bars mark the accuracy that the best answers reach, which an honest policy states. "
    finish(axes, legend=True)
    return Picture("difficulty", "Confidence against difficulty", caption + "Thin: one seed; thick: mean.", figure)


def _confidence(scores: Scores) -> Curve:
    return _curve(scores.samples["by_hidden"])


def _confidence_at_start(scores: Scores) -> Curve:
    return _curve(scores.samples["by_hidden_at_start"])


def _curve(table: dict[str, Sequence[float]]) -> Curve:
    """Mean confidence along the number of hidden operands."""
    return [(num_hidden, table.get(str(num_hidden), [nan])[0]) for num_hidden in range(3)]


def _learning_curves(cells: Finished) -> Picture:
    shown = {"accuracy": "accuracy", "brier": "Brier score", "ece": "calibration error"}
    figure, (row,) = panels(len(shown), width=3.6, height=3.4)
    for axes, (name, label) in zip(row, shown.items(), strict=True):
        draw_curves(axes, cells, named(f"validation/{name}"), COLOURS)
        axes.set(xlabel="steps of GRPO", ylabel=label, ylim=(-0.02, None))
        finish(axes, legend=axes is row[-1])
    return Picture(
        "learning-curves",
        "Learning curves",
        "Greedy answers to the validation problems: accuracy, Brier score and expected calibration error. The warm "
        "start lies to the left of the first point. Thin: one seed; thick: mean.",
        figure,
    )
