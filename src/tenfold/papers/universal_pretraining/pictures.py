"""What the report shows: zero-shot bits beside Markov models, the curves of training, and rows of the data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report
from tenfold.study.pictures import (
    INK,
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

_CURVES = ("rep-1", "rep-3", "dyck", "ndfa", "python", "licences")
_MARKERS = "ov^"
"""Of the Markov models of the lowest orders, as many as are drawn."""


def draw(report: Report, arms: Sequence[str]) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out.

    Args:
        report: what the run knows.
        arms: all arms of the study, which tell the colours.
    """
    cells, colour_of = finished(report), colours(arms)
    if not cells:
        return []
    pictures = [_zero_shot(cells, colour_of), _finetuning(cells, colour_of, report.config["finetuning"])]
    pretrained = {arm: of_arm for arm, of_arm in cells.items() if first(of_arm).samples["rows"]}
    if pretrained:
        pictures += [_pretraining(pretrained, colour_of), _rows(pretrained)]
    return pictures


def _zero_shot(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    """Bars for the arms, marks for the Markov models and for what cannot be gone below."""
    tables = {arm: [scores.samples["zero_shot"] for scores in of_arm.values()] for arm, of_arm in cells.items()}
    every_table = [table for of_arm in tables.values() for table in of_arm]
    tasks = list(every_table[0])
    figure, axes = one_panel(9.6, 4.4)
    places, width = np.arange(len(tasks)), 0.8 / len(tables)
    for index, (arm, of_arm) in enumerate(tables.items()):
        bits = np.mean([[table[task]["bits"] for task in tasks] for table in of_arm], axis=0)
        axes.bar(places - 0.4 + (index + 0.5) * width, bits, width, color=colour_of[arm], label=arm)
    marks: dict[str, Any] = dict(linestyle="none", color=INK, zorder=3)
    for order in range(min(len(_MARKERS), len(every_table[0][tasks[0]]["markov"]))):
        rival = np.mean([[table[task]["markov"][order] for task in tasks] for table in every_table], axis=0)
        label = f"in-context Markov, order {order}"
        axes.plot(places, rival, marker=_MARKERS[order], markersize=5, label=label, **marks)
    bounds = [every_table[0][task]["lower_bound"] for task in tasks]
    known = np.array(bounds, dtype=float)  # None, where nothing is known, becomes NaN
    axes.plot(places, known, marker="_", markersize=18, markeredgewidth=2, label="lower bound", **marks)
    axes.axhline(8, color=INK, linestyle="--", linewidth=1, label="8 bits: a uniform guess")
    axes.set(ylabel="bits per byte", ylim=(0, None))
    axes.set_xticks(places, tasks, rotation=40, ha="right")
    finish(axes, legend=True)
    return Picture(
        "zero-shot",
        "Zero-shot bits per byte",
        "Bits per byte on tasks and texts that no arm was trained on, mean over seeds. Marks: Markov models fitted on "
        "the same window, and the lower bound where it is known. Dashed: 8 bits, a uniform guess.",
        figure,
    )


def _pretraining(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    tasks = [task for task in _CURVES if has_curve(cells, f"pretraining/zero_shot/{task}")]
    figure, grid = panels(3, -(-len(tasks) // 3), width=3.2, height=2.6)
    for axes in grid.flat[len(tasks) :]:
        axes.axis("off")
    for axes, task in zip(grid.flat, tasks, strict=False):
        draw_curves(axes, cells, named(f"pretraining/zero_shot/{task}"), colour_of)
        axes.axhline(8, color=INK, linestyle="--", linewidth=0.8)
        axes.set_title(task, fontsize=10)
        finish(axes, legend=task == tasks[0])
    for axes in grid[-1]:
        axes.set_xlabel("steps of pre-training")
    for axes in grid[:, 0]:
        axes.set_ylabel("bits per byte")
    return Picture(
        "pretraining",
        "While it learns from random computation",
        "Bits per byte on unseen tasks and texts during pre-training, on few windows. Dashed: a uniform guess. "
        "Thin: one seed; thick: mean.",
        figure,
    )


def _finetuning(cells: Finished, colour_of: Mapping[str, str], settings: Mapping[str, Any]) -> Picture:
    figure, ((left, right),) = panels(2, width=4.8, height=3.8)
    draw_curves(left, cells, named("finetuning/held_out/bits"), colour_of)
    draw_curves(right, cells, named("finetuning/retention/bits"), colour_of)
    left.axhline(settings["target_bits"], color=INK, linestyle=":", linewidth=1)
    left.set(ylabel="bits per byte", title=f"{settings['source']}, held out", xlabel="steps of fine-tuning")
    right.set(title=f"{settings['retention_task']}, not trained on", xlabel="steps of fine-tuning")
    finish(left, legend=True)
    finish(right)
    return Picture(
        "finetuning",
        "Fine-tuning on real bytes",
        "Bits per byte on held-out text of the source that is fine-tuned on, and on a task that is not. All arms see "
        "the same batches. Dotted: the target. Thin: one seed; thick: mean.",
        figure,
    )


def _rows(cells: Finished) -> Picture:
    figure, grid = panels(2, len(cells), width=4.8, height=2.2)
    for both, (arm, of_arm) in zip(grid, cells.items(), strict=True):
        for axes, (name, rows) in zip(both, first(of_arm).samples["rows"].items(), strict=True):
            axes.imshow(np.array(rows), cmap="nipy_spectral", vmin=0, vmax=255, aspect="auto", interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{arm}: {name} batch", fontsize=9)
    return Picture(
        "rows",
        "What is learned from",
        "Rows of the first and of the last training batch: a line is a row, a colour is a byte.",
        figure,
    )
