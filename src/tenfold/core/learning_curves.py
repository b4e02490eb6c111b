"""Learning curves of a report whose recipe draws none, and what every figure with curves needs to be readable."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report

LETTER_POINTS = 4.8
"""Mean width of a letter of a legend of 8 points."""
HANDLE_POINTS = 48.0
"""Width of a line in a legend, with the gaps around it."""


def learning_curves(report: Report) -> list[Picture]:
    """A figure with a panel for each curve: a thin line for each seed, a colour for each arm.

    Returns:
        One picture, or none when the recipe gave no curves.
    """
    from matplotlib.figure import Figure

    names = list(
        dict.fromkeys(name for row in report.scores.values() for scores in row.values() for name in scores.curves)
    )
    if not names:
        return []
    columns = min(2, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, name in zip(panels, names, strict=False):
        for index, (arm, by_seed) in enumerate(report.scores.items()):
            for position, scores in enumerate(by_seed.values()):
                curve = scores.curves.get(name) or [(math.nan, math.nan)]
                draw_line(panel, curve, color=f"C{index}", linewidth=1.2, label=arm if position == 0 else None)
        panel.set(title=name, xlabel="step")
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    legend_outside(figure)
    caption = "One line for each seed, one colour for each arm."
    return [Picture("learning-curves", "Learning curves", caption, figure)]


def draw_line(axes: Any, curve: Any, **style: Any) -> None:
    """A line over whole steps; a point that has no neighbour to be joined with gets a marker.

    Args:
        axes: where to.
        curve: ``(step, value)`` pairs, in increasing step.
        style: as ``axes.plot`` takes it.
    """
    from matplotlib.ticker import MaxNLocator

    steps, values = np.asarray(curve, dtype=float).T
    unjoined = alone(values)
    marker = "o" if any(unjoined) else ""
    axes.plot(steps, values, marker=marker, markersize=4.5, markevery=unjoined, **style)
    # One tick is enough: where all curves are a single point, matplotlib would divide a step to have two.
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True, min_n_ticks=1, steps=[1, 2, 2.5, 5, 10]))


def alone(values: Sequence[float] | np.ndarray) -> list[bool]:
    """Which points of a curve no line reaches: their neighbours are missing or are not numbers.

    Example:
        >>> alone([0.5]), alone([0.5, float("nan"), 0.25, 0.5])
        ([True], [True, False, False, False])
    """
    there = np.isfinite(np.asarray(values, dtype=float))
    padded = np.concatenate([[False], there, [False]])
    return [bool(point) for point in there & ~padded[:-2] & ~padded[2:]]


def legend_outside(figure: Any) -> None:
    """One legend above all panels of a figure, each label once, in as many columns as the figure is wide enough for."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    for old in list(figure.legends):
        old.remove()
    if not found:
        return
    width = HANDLE_POINTS + LETTER_POINTS * max(len(label) for label in found)
    columns = max(1, min(len(found), int(72 * figure.get_figwidth() / width)))
    rows = math.ceil(len(found) / columns)
    columns = math.ceil(len(found) / rows)  # rows of equal length
    figure.legend(
        list(found.values()), list(found), loc="outside upper center", frameon=False, fontsize=8, ncols=columns
    )
