"""What the iw-SFT report shows: score of every arm, learning curves, effective sample size, paths to the goal."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report, Scores

Finished = Mapping[str, Mapping[int, Scores]]
"""Arm to seed to scores; no arm without a seed."""
COLOURS = {
    "sft": "#8a8f98",
    "bc": "#c3c7cd",
    "iw_sft": "#1f6f8b",
    "iw_sft_mean": "#7fb3c4",
    "sft_quality": "#b59f6b",
    "iw_sft_quality": "#d1603d",
    "awr": "#7a5c99",
    "iql": "#4f8a5b",
}


def draw(report: Report) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out."""
    finished = {arm: cells for arm, cells in report.scores.items() if cells}
    if not finished:
        return []
    pictures = [_scores(finished), _curves(finished), _sample_sizes(finished)]
    with_paths = {arm: cells for arm, cells in finished.items() if "paths" in _samples(cells)}
    return [*pictures, _paths(with_paths)] if with_paths else pictures


def _scores(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 0.45 * len(finished) + 1.2), layout="constrained")
    axes = figure.subplots()
    for row, (arm, cells) in enumerate(finished.items()):
        values = [scores.metrics["test/score"] for scores in cells.values()]
        axes.barh(row, np.mean(values), color=COLOURS[arm], height=0.6)
        axes.plot(values, [row] * len(values), "o", color="#16181d", markersize=4)
    axes.set_yticks(range(len(finished)), list(finished))
    axes.invert_yaxis()
    axes.set(xlabel="test score", xlim=(0, 1.05))
    _finish(axes)
    return Picture(
        "scores",
        "Score of each arm",
        "Bars: mean over seeds of the score on test episodes; dots: single seeds.",
        figure,
    )


def _curves(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    for arm, cells in finished.items():
        curves = [_both_stages(scores.curves) for scores in cells.values()]
        for curve in curves:
            axes.plot(curve[:, 0], curve[:, 1], color=COLOURS[arm], alpha=0.3, linewidth=1)
        common = min(len(curve) for curve in curves)
        mean = np.mean([curve[:common] for curve in curves], axis=0)
        axes.plot(mean[:, 0], mean[:, 1], color=COLOURS[arm], linewidth=2, marker="o", markersize=3, label=arm)
    axes.set(xlabel="optimizer steps of both stages", ylabel="validation score")
    _finish(axes)
    axes.legend(frameon=False, ncols=2, fontsize=8)
    return Picture(
        "learning-curves",
        "Learning curves",
        "Score on validation episodes; stage 1 is the same in every arm. Thin: one seed; thick: mean.",
        figure,
    )


def _both_stages(curves: Mapping[str, Any]) -> np.ndarray:
    """(step, score) over cloning and fine-tuning, the second counted on from the first; [n, 2]."""
    parts = [np.array(curves.get(f"{part}/validation/score", [])).reshape(-1, 2) for part in ("cloning", "fine-tuning")]
    if len(parts[0]):
        parts[1][:, 0] += parts[0][-1, 0]
    return np.concatenate(parts)


def _sample_sizes(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for arm, cells in finished.items():
        for number, scores in enumerate(cells.values()):
            curve = np.array(scores.curves.get("fine-tuning/weights/ess_fraction", [])).reshape(-1, 2)
            axes.plot(curve[:, 0], curve[:, 1], color=COLOURS[arm], alpha=0.8, label=arm if number == 0 else None)
    axes.set(xlabel="fine-tuning steps", ylabel="effective / actual batch", ylim=(0, 1.05))
    _finish(axes)
    axes.legend(frameon=False, ncols=2, fontsize=8)
    return Picture(
        "effective-sample-size",
        "Effective sample size",
        "(sum of weights) squared over the sum of squares, per batch: 1 where all weights are equal, as in SFT.",
        figure,
    )


def _paths(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.3 * min(4, len(finished)), 2.6 * -(-len(finished) // 4)), layout="constrained")
    grid = figure.subplots(-(-len(finished) // 4), min(4, len(finished)), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (arm, cells) in zip(grid.flat, finished.items(), strict=False):
        sample = _samples(cells)
        for path, success in zip(sample["paths"], sample["success"], strict=True):
            x, y = np.array(path).T
            axes.plot(x, y, color="#1f6f8b" if success else "#b3261e", alpha=0.35, linewidth=0.9)
        axes.plot([-0.25, 0.25], [0.5, 0.5], color="#16181d", linewidth=2.5)
        axes.set(xlim=(-0.85, 0.85), ylim=(-0.15, 1.3), aspect="equal")
        axes.set_title(f"{arm}: {sample['share_right']:.0%} right", fontsize=9)
    return Picture(
        "paths",
        "Routes",
        "40 episodes of one seed: success blue, failure red. Crossing left of the wall is fatal half the time; the "
        "share of all test episodes that crossed on the right is in the title.",
        figure,
    )


def _samples(cells: Mapping[int, Scores]) -> Mapping[str, Any]:
    return next(iter(cells.values())).samples


def _finish(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
