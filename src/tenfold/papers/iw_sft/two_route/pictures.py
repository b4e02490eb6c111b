"""What the two-route study shows beside the other ones: the paths to the goal."""

from collections.abc import Sequence

import numpy as np

from tenfold.core.types import Picture, Report
from tenfold.papers.iw_sft import pictures
from tenfold.papers.iw_sft.two_route.task import GAP_X, WALL_Y
from tenfold.study.pictures import INK, Finished, finished, first, panels

REACHED, FAILED = "#1f6f8b", "#b3261e"


def draw(report: Report, arms: Sequence[str]) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out."""
    cells = finished(report)
    if not cells:
        return []
    return [*pictures.draw(report, arms), _paths(cells)]


def _paths(cells: Finished) -> Picture:
    columns = min(4, len(cells))
    rows = -(-len(cells) // columns)
    figure, grid = panels(columns, rows, width=2.3, height=2.6)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (arm, of_arm) in zip(grid.flat, cells.items(), strict=False):
        drawn = first(of_arm).samples
        for path, success in zip(drawn["paths"], drawn["success"], strict=True):
            x, y = np.array(path).T
            axes.plot(x, y, color=REACHED if success else FAILED, alpha=0.35, linewidth=0.9)
        axes.plot([-GAP_X, GAP_X], [WALL_Y, WALL_Y], color=INK, linewidth=2.5)
        axes.set(xlim=(-0.85, 0.85), ylim=(-0.15, 1.3), aspect="equal")
        axes.set_title(f"{arm}: {drawn['share_right']:.0%} right", fontsize=9)
    return Picture(
        "paths",
        "Routes",
        "40 episodes of one seed: success blue, failure red. Crossing left of the wall is fatal half the time; the "
        "share of all test episodes that crossed on the right is in the title.",
        figure,
    )
