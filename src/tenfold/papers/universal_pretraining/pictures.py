"""What the report shows: zero-shot bits beside Markov models, the curves of both trainings, and rows of the data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report, Scores
from tenfold.study.pictures import (
    INK,
    Finished,
    colours,
    draw_curves,
    finish,
    finished,
    first,
    has_curve,
    mean_of,
    named,
    one_panel,
    panels,
)

_CURVES = ("rep-1", "rep-3", "dyck", "ndfa", "python", "licences")
_MARKERS = "ov^"
"""Of the Markov models of the lowest orders, as many as are drawn."""


def draw(report: Report, arms: Sequence[str], baseline: str, method: str) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out.

    Args:
        report: what the run knows.
        arms: all arms of the study, which tell the colours.
        baseline: the arm that is not pre-trained.
        method: the arm that captions compare with it.
    """
    cells, colour_of = finished(report), colours(arms)
    if not cells:
        return []
    settings = report.config["finetuning"]
    caption = _finetuning_caption(cells, baseline, method)
    pictures = [_zero_shot(cells, colour_of, method), _finetuning(cells, colour_of, settings, caption)]
    pretrained = {arm: of_arm for arm, of_arm in cells.items() if first(of_arm).samples["rows"]}
    if pretrained:
        pictures += [_pretraining(pretrained, colour_of), _rows(pretrained)]
    return pictures


def _zero_shot(cells: Finished, colour_of: Mapping[str, str], method: str) -> Picture:
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
    finish(axes)
    figure.legend(loc="outside upper center", frameon=False, fontsize=8, ncols=3)
    return Picture("zero-shot", "Zero-shot bits per byte", _zero_shot_caption(cells, method, len(tasks)), figure)


def _zero_shot_caption(cells: Finished, method: str, num_tasks: int) -> str:
    caption = "Bits per byte on tasks and texts that no arm was trained on, mean over seeds."
    if method not in cells:
        return caption
    won, uniform = (mean_of(cells[method], f"{rival}/tasks_won") for rival in ("markov", "uniform"))
    return (
        f"{caption} The {method} arm needs less than 8 bits on {uniform:.3g} of {num_tasks}, and less than the best "
        f"Markov model fitted on the same window on {won:.3g}."
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


def _finetuning(cells: Finished, colour_of: Mapping[str, str], settings: Mapping[str, Any], caption: str) -> Picture:
    figure, ((left, right),) = panels(2, width=4.8, height=3.8)
    draw_curves(left, cells, named("finetuning/held_out/bits"), colour_of)
    draw_curves(right, cells, named("finetuning/retention/bits"), colour_of)
    left.axhline(settings["target_bits"], color=INK, linestyle=":", linewidth=1)
    left.set(ylabel="bits per byte", title=f"{settings['source']}, held out", xlabel="steps of fine-tuning")
    right.set(title=f"{settings['retention_task']}, not trained on", xlabel="steps of fine-tuning")
    finish(left, legend=True)
    finish(right)
    return Picture("finetuning", "Fine-tuning on real bytes", caption, figure)


def _finetuning_caption(cells: Finished, baseline: str, method: str) -> str:
    caption = "All arms see the same batches. Dotted: the target. Thin: one seed; thick: mean."
    if not {baseline, method} <= set(cells):
        return caption
    without, steps = (mean_of(cells[arm], "finetuning/steps_to_target") for arm in (baseline, method))
    costs = first(cells[method]).metrics
    saved = costs["cost/finetuning_teraflops"] * (without - steps) / _last_step(first(cells[method]))
    spent = costs["cost/pretraining_teraflops"] + costs["cost/generation_teraflops"]
    verdict = "is repaid at once" if saved > spent else "is not repaid by one fine-tuning of this size"
    return (
        f"{caption} To the target: {without:.0f} steps from {baseline}, {steps:.0f} from the {method}. That saves "
        f"{saved:.3g} teraFLOPs; pre-training took {spent:.3g}, which {verdict}."
    )


def _last_step(scores: Scores) -> float:
    return scores.curves["finetuning/held_out/bits"][-1][0]


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
        "Rows of training batches, a row a line and a byte a colour: at the first step the buffer is mostly "
        "constant; at the last, sources have read each other's output (those of noniterated: noise and constants).",
        figure,
    )
