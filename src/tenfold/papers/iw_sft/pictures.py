"""What every study of iw-SFT shows: score of each arm, learning curves, effective sample size."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report
from tenfold.study.pictures import (
    INK,
    Finished,
    colours,
    draw_bars,
    draw_curves,
    draw_line,
    finish,
    finished,
    has_curve,
    named,
    one_panel,
)

VALIDATION = "validation/score"
SAMPLE_SIZE = "fine-tuning/weights/ess_fraction"


def draw(report: Report, arms: Sequence[str]) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out.

    Args:
        report: of any of the studies.
        arms: all of its recipe.
    """
    cells, colour_of = finished(report), colours(arms)
    if not cells:
        return []
    drawn = [_scores(cells, colour_of), _curves(report, cells, colour_of)]
    if has_curve(cells, SAMPLE_SIZE):
        drawn.append(_sample_sizes(cells, colour_of))
    return drawn


def _scores(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, axes = one_panel(height=0.45 * len(cells) + 1.2)
    draw_bars(axes, cells, "test/score", colour_of)
    axes.set(xlabel="test score", xlim=(0, 1.05))
    finish(axes)
    return Picture(
        "scores",
        "Score of each arm",
        "Bars: mean over seeds of the score on held-out episodes or problems; dots: single seeds.",
        figure,
    )


def _curves(report: Report, cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, axes = one_panel()
    _draw_stage_1(axes, report)
    draw_curves(axes, cells, named(f"fine-tuning/{VALIDATION}"), colour_of)
    axes.set(xlabel="steps of stage 2; before 0: stage 1", ylabel="validation score")
    finish(axes, legend=True)
    return Picture(
        "learning-curves",
        "Learning curves",
        "Score on validation episodes or problems. Stage 1, which all arms share, is black and ends at 0. Thin: one "
        "seed; thick: mean.",
        figure,
    )


def _draw_stage_1(axes: Any, report: Report) -> None:
    """Stage 1 of each seed, moved so that it ends where stage 2 begins."""
    for stages in report.stages.values():
        points = stages["cloning"].curves.get(VALIDATION) if "cloning" in stages else None
        if points:
            curve = np.asarray(points, dtype=float)
            draw_line(axes, curve - [curve[-1, 0], 0.0], color=INK, alpha=0.7, linewidth=1)


def _sample_sizes(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, axes = one_panel(height=3.4)
    draw_curves(axes, cells, named(SAMPLE_SIZE), colour_of)
    axes.set(xlabel="steps of stage 2", ylabel="effective / actual batch", ylim=(0, 1.05))
    finish(axes, legend=True)
    return Picture(
        "effective-sample-size",
        "Effective sample size",
        "(sum of weights) squared over the sum of squares, per batch: 1 where all weights are equal, as in SFT.",
        figure,
    )
