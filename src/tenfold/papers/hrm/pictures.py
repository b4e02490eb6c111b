"""What the HRM report shows: learning curves, accuracy per segment, and a puzzle solved segment by segment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report, Scores
from tenfold.papers.hrm.config import Config
from tenfold.papers.hrm.data import HeldOut
from tenfold.papers.hrm.inference import AllAnswers

Finished = Mapping[str, Mapping[int, Scores]]
"""Arm to seed to scores; no arm without a seed."""
COLOURS = {"plain": "#8a8f98", "hrm": "#1f6f8b", "trm": "#d1603d"}


def material(answers: AllAnswers, held_out: HeldOut, config: Config) -> dict[str, Any]:
    """What :func:`draw` needs of one trained arm, as plain data.

    Accuracy after each segment, the halting steps by difficulty, and the answers to one puzzle: of those that are
    wrong after the first segment and right after the last, the one that takes the most segments.
    """
    labels = held_out.rows.labels
    right = answers.right(labels)
    data: dict[str, Any] = {"exact_accuracy_per_segment": right.mean(1).tolist()}
    first_right = np.where(right.any(0), right.argmax(0), -1)
    shown = int(np.where(right[-1], first_right, -1).argmax())
    if config.data.task == "sudoku":
        data["box"] = [config.data.box_rows, config.data.box_columns]
        data["puzzle"] = {
            "inputs": held_out.rows.inputs[shown].tolist(),
            "labels": labels[shown].tolist(),
            "answers": answers.tokens[:, shown].tolist(),
        }
    return data


def draw(report: Report) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out."""
    finished = {arm: cells for arm, cells in report.scores.items() if cells}
    if not finished:
        return []
    pictures = [_learning_curves(finished), _accuracy_per_segment(finished)]
    for arm, cells in finished.items():
        puzzle = next((scores.samples for scores in cells.values() if "puzzle" in scores.samples), None)
        if puzzle is not None and len(puzzle["puzzle"]["answers"]) > 1:
            pictures.append(_solved_puzzle(arm, puzzle))
    return pictures


def _learning_curves(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    for arm, cells in finished.items():
        curves = [np.array(_accuracy_curve(scores.curves)) for scores in cells.values()]
        for curve in curves:
            axes.plot(curve[:, 0], curve[:, 1], color=COLOURS[arm], alpha=0.35, linewidth=1)
        common = min(len(curve) for curve in curves)
        mean = np.mean([curve[:common] for curve in curves], axis=0)
        axes.plot(mean[:, 0], mean[:, 1], color=COLOURS[arm], linewidth=2.2, marker="o", markersize=4, label=arm)
    axes.set(xlabel="optimizer steps", ylabel="validation puzzles solved", ylim=(-0.02, 1.02))
    _finish(axes)
    return Picture(
        "learning-curves",
        "Learning curves",
        "Share of validation puzzles with every cell right, after the last segment. Thin: one seed; thick: mean.",
        figure,
    )


def _accuracy_curve(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Sequence[tuple[float, float]]:
    """Accuracy on the validation part; tasks without one (ARC) show that of training."""
    return curves.get("validation/exact_accuracy", curves["train/exact_accuracy"])


def _accuracy_per_segment(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    longest = 1
    for arm, cells in finished.items():
        per_seed = np.array([scores.samples["exact_accuracy_per_segment"] for scores in cells.values()])
        segments = np.arange(1, per_seed.shape[1] + 1)
        longest = max(longest, len(segments))
        if len(segments) == 1:
            axes.axhline(per_seed.mean(), color=COLOURS[arm], linestyle="--", linewidth=1.6, label=f"{arm} (one pass)")
            continue
        axes.plot(segments, per_seed.T, color=COLOURS[arm], alpha=0.35, linewidth=1)
        axes.plot(segments, per_seed.mean(0), color=COLOURS[arm], linewidth=2.2, marker="o", markersize=4, label=arm)
    axes.set(xlabel="segment", ylabel="test puzzles solved", ylim=(-0.02, 1.02), xticks=range(1, longest + 1))
    _finish(axes)
    return Picture(
        "accuracy-per-segment",
        "Refinement",
        "Share of held-out puzzles with every cell right after each segment: the answer is refined, not guessed.",
        figure,
    )


def _solved_puzzle(arm: str, sample: Mapping[str, Any]) -> Picture:
    from matplotlib.figure import Figure

    box, puzzle = sample["box"], sample["puzzle"]
    answers = _changing(puzzle["answers"])
    figure = Figure(figsize=(2.1 * min(4, len(answers)), 2.35 * -(-len(answers) // 4)), layout="constrained")
    grid = figure.subplots(-(-len(answers) // 4), min(4, len(answers)), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (segment, tokens) in zip(grid.flat, answers, strict=False):
        wrong = _draw_board(axes, box, puzzle["inputs"], tokens, puzzle["labels"])
        axes.set_title(f"segment {segment}: " + (f"{wrong} wrong" if wrong else "solved"), fontsize=9)
    return Picture(
        f"solved-by-{arm}",
        f"A puzzle, segment by segment ({arm})",
        "Givens are bold, wrong cells red. Of the puzzles that were solved (if any), the one that took longest; "
        "segments that change nothing are left out.",
        figure,
    )


def _changing(answers: Sequence[Sequence[int]]) -> list[tuple[int, Sequence[int]]]:
    kept = [(1, answers[0])]
    for segment, tokens in enumerate(answers[1:], start=2):
        if list(tokens) != list(kept[-1][1]):
            kept.append((segment, tokens))
    return kept


def _draw_board(
    axes: Any, box: Sequence[int], inputs: Sequence[int], tokens: Sequence[int], labels: Sequence[int]
) -> int:
    """Draw one board on ``axes``; returns the number of wrong cells."""
    height, width = box
    n = height * width
    wrong = 0
    for cell, (given, token, label) in enumerate(zip(inputs, tokens, labels, strict=True)):
        row, column = divmod(cell, n)
        if token != label:
            wrong += 1
            axes.fill_between([column, column + 1], row, row + 1, color="#f6c6bd", linewidth=0)
        axes.text(
            column + 0.5,
            row + 0.54,
            str(token - 1) if token > 1 else "·",
            ha="center",
            va="center",
            fontsize=10,
            fontweight="bold" if given > 1 else "normal",
            color="#b3261e" if token != label else "#16181d",
        )
    for line in range(n + 1):
        axes.plot([0, n], [line, line], color="#16181d", linewidth=1.6 if line % height == 0 else 0.4)
        axes.plot([line, line], [0, n], color="#16181d", linewidth=1.6 if line % width == 0 else 0.4)
    axes.set(xlim=(-0.05, n + 0.05), ylim=(n + 0.05, -0.05), aspect="equal")
    return wrong


def _finish(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
