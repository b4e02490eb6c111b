"""What the RLCR report shows: reliability diagrams side by side, confidence against difficulty, learning curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report, Scores
from tenfold.eval.calibration import reliability_table
from tenfold.papers.rlcr.answering import Answers, by_hidden
from tenfold.papers.rlcr.questions import Question

Finished = Mapping[str, Mapping[int, Scores]]
"""Arm to seed to scores; no arm without a seed."""
COLOURS = {"rlvr": "#8a8f98", "rlcr": "#1f6f8b", "brier_only": "#d1603d", "log_score": "#7a5195"}
BEST = {0: 1.0, 1: 0.5, 2: 0.304}
"""Masked addition: best possible accuracy by number of hidden operands, which is the right confidence."""


def material(answers: Answers, start: Answers, questions: Sequence[Question]) -> dict[str, Any]:
    """What :func:`draw` needs of one trained arm, as plain data: reliability table, and confidence by difficulty."""
    table = reliability_table(answers.confidences, answers.right)
    return {
        "reliability": [[row.size, row.mean_confidence, row.accuracy] for row in table if row.size],
        "by_hidden": {str(k): list(pair) for k, pair in by_hidden(answers, questions).items()},
        "by_hidden_at_start": {str(k): list(pair) for k, pair in by_hidden(start, questions).items()},
        "completions": [
            {"prompt": question.text[-200:], "answer": parsed.answer, "confidence": parsed.confidence}
            for question, parsed in list(zip(questions, answers.parsed, strict=True))[:8]
        ],
    }


def draw(report: Report) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out."""
    finished = {arm: cells for arm, cells in report.scores.items() if cells}
    if not finished:
        return []
    pictures = [_reliability({arm: finished[arm] for arm in finished if arm in ("rlvr", "rlcr")} or finished)]
    if all(scores.samples["by_hidden"] for cells in finished.values() for scores in cells.values()):
        pictures.append(_difficulty(finished, BEST if report.config["task"]["kind"] == "masked_addition" else {}))
    if any("reinforcement/validation/accuracy" in s.curves for cells in finished.values() for s in cells.values()):
        pictures.append(_learning_curves(finished))
    return pictures


def _reliability(shown: Finished) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.0 * len(shown), 4.0), layout="constrained")
    row = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    for axes, (arm, cells) in zip(row, shown.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="#16181d", linewidth=0.8, linestyle="--")
        for scores in cells.values():
            table = np.array(scores.samples["reliability"])
            axes.scatter(
                table[:, 1], table[:, 2], s=600 * table[:, 0] / table[:, 0].sum(), color=COLOURS[arm], alpha=0.55
            )
        axes.set(xlim=(-0.06, 1.06), ylim=(-0.06, 1.06), xlabel="stated confidence", title=arm, aspect="equal")
        _finish(axes)
    row[0].set_ylabel("share of right answers")
    return Picture(
        "reliability",
        "Stated confidence and how often it is right",
        "One circle for each tenth of confidence and seed, as large as the share of test answers in it. On the dashed "
        "line the confidence is the frequency of right answers; below it is too high.",
        figure,
    )


def _difficulty(finished: Finished, best: Mapping[int, float]) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    for arm, cells in finished.items():
        points = np.array([_by_hidden(scores.samples["by_hidden"]) for scores in cells.values()])
        axes.plot(range(3), points.T, color=COLOURS[arm], alpha=0.35, linewidth=1)
        axes.plot(range(3), points.mean(0), color=COLOURS[arm], linewidth=2.2, marker="o", markersize=4, label=arm)
    start = np.array(
        [_by_hidden(s.samples["by_hidden_at_start"]) for cells in finished.values() for s in cells.values()]
    )
    axes.plot(range(3), start.mean(0), color="#16181d", linewidth=1.2, linestyle=":", label="warm start")
    if best:
        axes.scatter(best.keys(), best.values(), color="#16181d", marker="_", s=400, zorder=3, label="right confidence")
    axes.set(
        xlabel="hidden operands" if best else "gold paragraphs dropped",
        ylabel="mean confidence",
        ylim=(-0.02, 1.06),
        xticks=range(3),
    )
    _finish(axes)
    axes.legend(frameon=False, ncols=2)
    return Picture(
        "difficulty",
        "Confidence against difficulty",
        "Mean stated confidence by how much of what the answer needs is hidden. "
        + ("The bars mark the accuracy that the best answers reach, which an honest policy states. " if best else "")
        + "Thin: one seed; thick: mean.",
        figure,
    )


def _by_hidden(table: Mapping[str, Sequence[float]]) -> list[float]:
    return [table.get(str(k), [np.nan])[0] for k in range(3)]


def _learning_curves(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    shown = {"accuracy": "accuracy", "brier": "Brier score", "ece": "calibration error"}
    figure = Figure(figsize=(3.6 * len(shown), 3.4), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        for arm, cells in finished.items():
            curves = [np.array(s.curves[f"reinforcement/validation/{name}"]) for s in cells.values()]
            for curve in curves:
                axes.plot(curve[:, 0], curve[:, 1], color=COLOURS[arm], alpha=0.35, linewidth=1)
            common = min(len(curve) for curve in curves)
            mean = np.mean([curve[:common] for curve in curves], axis=0)
            axes.plot(mean[:, 0], mean[:, 1], color=COLOURS[arm], linewidth=2.0, label=arm)
        axes.set(xlabel="steps of GRPO", ylabel=label, ylim=(-0.02, None))
        _finish(axes)
    axes.legend(frameon=False)
    return Picture(
        "learning-curves",
        "Learning curves",
        "Greedy answers to the validation problems: accuracy, Brier score and expected calibration error. The warm "
        "start lies to the left of the first point. Thin: one seed; thick: mean.",
        figure,
    )


def _finish(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
