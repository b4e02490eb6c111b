"""What the HRM report shows: learning curves, accuracy per segment, and a puzzle solved segment by segment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report, Scores
from tenfold.papers.hrm.data import HeldOut
from tenfold.papers.hrm.inference import AllAnswers
from tenfold.study.pictures import (
    INK,
    Curve,
    Finished,
    colours,
    draw_curves,
    finish,
    finished,
    one_panel,
    panels,
)

WRONG_INK, WRONG_PAPER = "#b3261e", "#f6c6bd"
BOARDS_IN_A_ROW = 4


def drawn_from(answers: AllAnswers, held_out: HeldOut, box: tuple[int, int] | None) -> dict[str, Any]:
    """What :func:`draw` needs of one trained arm beside the curves, as plain data.

    Accuracy after each segment, and the answers to one puzzle: of those that are wrong after the first segment and
    right after the last, the one that takes the most segments.

    Args:
        answers: to the held-out puzzles.
        held_out: the puzzles.
        box: box shape of the Sudokus; no puzzle is shown of other tasks.
    """
    labels = held_out.rows.labels
    right = answers.right(labels)
    data: dict[str, Any] = {"exact_accuracy_per_segment": right.mean(1).tolist()}
    first_right = np.where(right.any(0), right.argmax(0), -1)
    shown = int(np.where(right[-1], first_right, -1).argmax())
    if box is not None:
        data["box"] = list(box)
        data["puzzle"] = {
            "inputs": held_out.rows.inputs[shown].tolist(),
            "labels": labels[shown].tolist(),
            "answers": answers.tokens[:, shown].tolist(),
        }
    return data


def draw(report: Report, arms: Sequence[str]) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out.

    Args:
        report: what the run knows.
        arms: all arms of the study, which tell the colours.
    """
    cells, colour_of = finished(report), colours(arms)
    if not cells:
        return []
    pictures = [_learning_curves(cells, colour_of), _accuracy_per_segment(cells, colour_of)]
    for arm, of_arm in cells.items():
        puzzle = next((scores.samples for scores in of_arm.values() if "puzzle" in scores.samples), None)
        if puzzle is not None and len(puzzle["puzzle"]["answers"]) > 1:
            pictures.append(_solved_puzzle(arm, puzzle))
    return pictures


def _learning_curves(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, axes = one_panel()
    draw_curves(axes, cells, _accuracy_curve, colour_of)
    axes.set(xlabel="optimizer steps", ylabel="validation puzzles solved", ylim=(-0.02, 1.02))
    finish(axes, legend=True)
    return Picture(
        "learning-curves",
        "Learning curves",
        "Share of validation puzzles with every cell right, after the last segment. Thin: one seed; thick: mean.",
        figure,
    )


def _accuracy_curve(scores: Scores) -> Curve:
    """Accuracy on the validation part; tasks without one (ARC) show that of training."""
    return scores.curves.get("validation/exact_accuracy", scores.curves["train/exact_accuracy"])


def _accuracy_per_segment(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, axes = one_panel()
    longest = 1
    for arm, of_arm in cells.items():
        per_seed = np.array([scores.samples["exact_accuracy_per_segment"] for scores in of_arm.values()])
        segments, colour = np.arange(1, per_seed.shape[1] + 1), colour_of[arm]
        longest = max(longest, len(segments))
        if len(segments) == 1:  # a level to compare with: one pass has no second point
            axes.axhline(per_seed.mean(), color=colour, linestyle="--", linewidth=1.6, label=f"{arm} (one pass)")
            continue
        axes.plot(segments, per_seed.T, color=colour, alpha=0.35, linewidth=1)
        axes.plot(segments, per_seed.mean(0), color=colour, linewidth=2.2, marker="o", markersize=4, label=arm)
    axes.set(xlabel="segment", ylabel="test puzzles solved", ylim=(-0.02, 1.02), xticks=range(1, longest + 1))
    finish(axes, legend=True)
    return Picture(
        "accuracy-per-segment",
        "Refinement",
        "Share of held-out puzzles with every cell right after each segment. Dashed: an arm of one pass. Thin: one "
        "seed; thick: mean.",
        figure,
    )


def _solved_puzzle(arm: str, sample: Mapping[str, Any]) -> Picture:
    box, puzzle = sample["box"], sample["puzzle"]
    answers = _changing(puzzle["answers"])
    columns, rows = min(BOARDS_IN_A_ROW, len(answers)), -(-len(answers) // BOARDS_IN_A_ROW)
    figure, grid = panels(columns, rows, width=2.1, height=2.35)
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
            axes.fill_between([column, column + 1], row, row + 1, color=WRONG_PAPER, linewidth=0)
        axes.text(
            column + 0.5,
            row + 0.54,
            str(token - 1) if token > 1 else "·",
            ha="center",
            va="center",
            fontsize=10,
            fontweight="bold" if given > 1 else "normal",
            color=WRONG_INK if token != label else INK,
        )
    for line in range(n + 1):
        axes.plot([0, n], [line, line], color=INK, linewidth=1.6 if line % height == 0 else 0.4)
        axes.plot([line, line], [0, n], color=INK, linewidth=1.6 if line % width == 0 else 0.4)
    axes.set(xlim=(-0.05, n + 0.05), ylim=(n + 0.05, -0.05), aspect="equal")
    return wrong
