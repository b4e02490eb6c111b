"""What the figures of all papers share: finished cells, colours, curves, bars over arms, coloured trajectories.

matplotlib is imported where a figure is made. A paper's own ``pictures.py`` names what is shown and says what is to be
seen; how a curve or a bar looks is decided here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.learning_curves import draw_line as draw_line  # part of the public names of this module
from tenfold.core.learning_curves import legend_outside
from tenfold.core.types import Report, Scores

Finished = Mapping[str, Mapping[int, Scores]]
"""Arm to seed to scores; no arm without a seed."""
Curve = Sequence[tuple[float, float]]
CurveOf = Callable[[Scores], Curve | None]
"""The curve of one cell that is drawn; ``None`` where it has none."""
Piece = tuple[str, str]
"""Kind of a stretch of text, and the stretch."""

INK, PAPER = "#16181d", "#d5d8dc"
PALETTE = ("#8a8f98", "#1f6f8b", "#d1603d", "#7a5195", "#3aa17e", "#c9a227", "#4f9d9d", "#b03a5b", "#7fb3c4")
"""Of the arms in their order; the first, grey, is the baseline's."""
LETTER = 0.602
"""Width of a letter of DejaVu Sans Mono, in its size."""
POINTS, LINE_HEIGHT = 8.0, 1.6


def finished(report: Report) -> Finished:
    """The arms of a report that have a finished cell."""
    return {arm: cells for arm, cells in report.scores.items() if cells}


def first(cells: Mapping[int, Scores]) -> Scores:
    """The cell of the first finished seed."""
    return next(iter(cells.values()))


def colours(arms: Sequence[str]) -> dict[str, str]:
    """A colour for each arm of a recipe, by its place among all of them, so that it is the same in every figure.

    Example:
        >>> colours(["plain", "hrm"])["hrm"]
        '#1f6f8b'
    """
    return {arm: PALETTE[place % len(PALETTE)] for place, arm in enumerate(arms)}


def panels(columns: int, rows: int = 1, *, width: float = 4.4, height: float = 3.6, share_y: bool = False) -> Any:
    """A figure and its grid of axes, ``[rows][columns]``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=share_y)


def one_panel(width: float = 7.2, height: float = 4.0) -> Any:
    """A figure and its only axes."""
    figure, grid = panels(1, width=width, height=height)
    return figure, grid[0][0]


def named(curve: str) -> CurveOf:
    """The curve of this name, where a cell has it."""
    return lambda scores: scores.curves.get(curve)


def has_curve(cells: Finished, curve: str) -> bool:
    """Whether any cell has a curve of this name."""
    return any(curve in scores.curves for of_arm in cells.values() for scores in of_arm.values())


def draw_curves(
    axes: Any, cells: Finished, curve_of: CurveOf, colour_of: Mapping[str, str], *, label: str = "", style: str = "-"
) -> None:
    """For each arm a thin line for each seed and a thick one for their mean, as far as all seeds go.

    A point that has no neighbour to be joined with is a marker: a line of one point cannot be seen.

    Args:
        axes: where to.
        cells: arms with their finished cells.
        curve_of: which curve.
        colour_of: arm to colour.
        label: said behind the arm's name in the legend.
        style: of the lines.
    """
    for arm, of_arm in cells.items():
        found = [curve_of(scores) for scores in of_arm.values()]
        curves = [np.asarray(curve, dtype=float) for curve in found if curve]
        if not curves:
            continue
        for curve in curves if len(curves) > 1 else ():
            draw_line(axes, curve, color=colour_of[arm], alpha=0.35, linewidth=1, linestyle=style)
        common = min(len(curve) for curve in curves)
        mean = np.mean([curve[:common] for curve in curves], axis=0)
        name = f"{arm}, {label}" if label else arm
        draw_line(axes, mean, color=colour_of[arm], linewidth=2, linestyle=style, label=name)


def draw_bars(axes: Any, cells: Finished, metric: str, colour_of: Mapping[str, str]) -> None:
    """A horizontal bar for each arm, as long as the mean over seeds, and a dot for each seed."""
    for row, (arm, of_arm) in enumerate(cells.items()):
        values = [scores.metrics[metric] for scores in of_arm.values() if metric in scores.metrics]
        if values:
            axes.barh(row, np.mean(values), color=colour_of[arm], height=0.6)
            axes.plot(values, [row] * len(values), "o", color=INK, markersize=4)
    axes.set_yticks(range(len(cells)), list(cells))
    axes.invert_yaxis()


def mean_of(cells: Mapping[int, Scores], metric: str) -> float:
    """The mean of a metric over the seeds of an arm."""
    return float(np.mean([scores.metrics[metric] for scores in cells.values()]))


def finish(axes: Any, *, legend: bool = False) -> None:
    """What every panel gets last: a faint grid, no box, and perhaps a legend above all panels, off the curves."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        legend_outside(axes.figure)


def coloured_lines(pieces: Sequence[Piece], columns: int, *, keep_breaks: bool = True) -> list[list[Piece]]:
    """Stretches of text as lines of at most so many letters; each line as stretches.

    Args:
        pieces: kind and text, in order.
        columns: letters of a line.
        keep_breaks: begin a new line where the text does; else breaks become blanks.

    Example:
        >>> coloured_lines([("said", "abc"), ("search", "de")], 4)
        [[('said', 'abc'), ('search', 'd')], [('search', 'e')]]
    """
    lines: list[list[Piece]] = [[]]
    used = 0
    for kind, text in pieces:
        stretches = text.split("\n") if keep_breaks else [" ".join(text.split("\n"))]
        for number, stretch in enumerate(stretches):
            if number:
                lines.append([])
                used = 0
            while stretch:
                if used == columns:
                    lines.append([])
                    used = 0
                part, stretch = stretch[: columns - used], stretch[columns - used :]
                lines[-1].append((kind, part))
                used += len(part)
    return [line for line in lines if line]


def draw_text(lines: Sequence[Sequence[Piece]], columns: int, colour_of: Mapping[str, str]) -> Any:
    """A figure of coloured text; stretches of the kind ``heading`` are bold.

    Args:
        lines: as :func:`coloured_lines` makes them; an empty line is a gap.
        columns: letters of the longest line.
        colour_of: kind to colour; ink for others.
    """
    from matplotlib.figure import Figure

    width = (columns + 2) * POINTS * LETTER / 72
    figure = Figure(figsize=(width, (len(lines) + 1) * POINTS * LINE_HEIGHT / 72))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(-1, columns + 1), ylim=(-len(lines), 1))
    axes.axis("off")
    for number, line in enumerate(lines):
        column = 0
        for kind, text in line:
            style: dict[str, Any] = {
                "color": colour_of.get(kind, INK),
                "weight": "bold" if kind == "heading" else "normal",
            }
            for place, letter in enumerate(text):  # one by one, so that columns are as wide in every font
                axes.text(
                    column + place, -number, letter, family="monospace", fontsize=POINTS, parse_math=False, **style
                )
            column += len(text)
    return figure
