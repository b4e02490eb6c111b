"""What the report shows: zero-shot bits beside Markov models, the curves of both trainings, and rows of the data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report, Scores

Finished = Mapping[str, Mapping[int, Scores]]
"""Arm to seed to scores; no arm without a seed."""
COLOURS = {"scratch": "#8a8f98", "lstm": "#1f6f8b", "mixture": "#d1603d", "noniterated": "#7a5c99"}
_CURVES = ("rep-1", "rep-3", "dyck", "ndfa", "python", "licences")
_MARKOV_ORDERS = 3


def draw(report: Report) -> list[Picture]:
    """The pictures of a report; arms without finished cells are left out."""
    finished = {arm: cells for arm, cells in report.scores.items() if cells}
    if not finished:
        return []
    pictures = [_zero_shot(finished), _finetuning(finished, report.config)]
    pretrained = {arm: cells for arm, cells in finished.items() if _first(cells).samples["rows"]}
    if pretrained:
        pictures += [_pretraining(pretrained), _rows(pretrained)]
    return pictures


def _first(cells: Mapping[int, Scores]) -> Scores:
    return next(iter(cells.values()))


def _zero_shot(finished: Finished) -> Picture:
    from matplotlib.figure import Figure

    tables = {arm: [scores.samples["zero_shot"] for scores in cells.values()] for arm, cells in finished.items()}
    tasks = list(next(iter(tables.values()))[0])
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    axes = figure.subplots()
    places, width = np.arange(len(tasks)), 0.8 / len(tables)
    for index, (arm, of_arm) in enumerate(tables.items()):
        bits = np.mean([[table[task]["bits"] for task in tasks] for table in of_arm], axis=0)
        axes.bar(places - 0.4 + (index + 0.5) * width, bits, width, color=COLOURS[arm], label=arm)
    every_table = [table for of_arm in tables.values() for table in of_arm]
    for order in range(min(_MARKOV_ORDERS, len(every_table[0][tasks[0]]["markov"]))):
        rival = np.mean([[table[task]["markov"][order] for task in tasks] for table in every_table], axis=0)
        axes.plot(places, rival, linestyle="none", marker="ov^"[order], color="#16181d", markersize=5, zorder=3)
        axes.plot(
            [], [], linestyle="none", marker="ov^"[order], color="#16181d", label=f"in-context Markov, order {order}"
        )
    bounds = [every_table[0][task]["lower_bound"] for task in tasks]
    axes.plot(
        places,
        [np.nan if bound is None else bound for bound in bounds],
        "_",
        color="#16181d",
        markersize=18,
        markeredgewidth=2,
        zorder=3,
        label="lower bound",
    )
    axes.axhline(8, color="#16181d", linestyle="--", linewidth=1, label="8 bits: a uniform guess")
    axes.set(ylabel="bits per byte", ylim=(0, None))
    axes.set_xticks(places, tasks, rotation=40, ha="right")
    _finish(axes, legend=False)
    figure.legend(loc="outside upper center", frameon=False, fontsize=8, ncols=3)
    return Picture("zero-shot", "Zero-shot bits per byte", _zero_shot_caption(finished, len(tasks)), figure)


def _zero_shot_caption(finished: Finished, num_tasks: int) -> str:
    caption = "Bits per byte on tasks and texts that no arm was trained on, mean over seeds."
    if "mixture" not in finished:
        return caption
    won = np.mean([scores.metrics["markov/tasks_won"] for scores in finished["mixture"].values()])
    uniform = np.mean([scores.metrics["uniform/tasks_won"] for scores in finished["mixture"].values()])
    return (
        f"{caption} The mixture arm needs less than 8 bits on {uniform:.3g} of {num_tasks}, and less than the best "
        f"Markov model fitted on the same window on {won:.3g}."
    )


def _pretraining(pretrained: Finished) -> Picture:
    from matplotlib.figure import Figure

    known = _first(next(iter(pretrained.values()))).curves
    tasks = [task for task in _CURVES if f"pretraining/zero_shot/{task}" in known]
    figure = Figure(figsize=(9.6, 2.6 * -(-len(tasks) // 3)), layout="constrained")
    grid = figure.subplots(-(-len(tasks) // 3), 3, squeeze=False)
    for axes in grid.flat[len(tasks) :]:
        axes.axis("off")
    for axes, task in zip(grid.flat, tasks, strict=False):
        for arm, cells in pretrained.items():
            _draw_curves(axes, [scores.curves[f"pretraining/zero_shot/{task}"] for scores in cells.values()], arm)
        axes.axhline(8, color="#16181d", linestyle="--", linewidth=0.8)
        axes.set_title(task, fontsize=10)
        _finish(axes, legend=task == tasks[0])
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


def _finetuning(finished: Finished, config: Mapping[str, Any]) -> Picture:
    from matplotlib.figure import Figure

    settings = config["finetuning"]
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for arm, cells in finished.items():
        for axes, name in ((left, "held_out"), (right, "retention")):
            _draw_curves(axes, [scores.curves[f"finetuning/{name}/bits"] for scores in cells.values()], arm)
    left.axhline(settings["target_bits"], color="#16181d", linestyle=":", linewidth=1)
    left.set(ylabel="bits per byte", title=f"{settings['source']}, held out", xlabel="steps of fine-tuning")
    right.set(title=f"{settings['retention_task']}, not trained on", xlabel="steps of fine-tuning")
    _finish(left)
    _finish(right, legend=False)
    return Picture("finetuning", "Fine-tuning on real bytes", _finetuning_caption(finished), figure)


def _finetuning_caption(finished: Finished) -> str:
    caption = "All arms see the same batches. Dotted: the target. Thin: one seed; thick: mean."
    if not {"scratch", "mixture"} <= set(finished):
        return caption
    scratch, mixture = (
        np.mean([scores.metrics["finetuning/steps_to_target"] for scores in finished[arm].values()])
        for arm in ("scratch", "mixture")
    )
    costs = _first(finished["mixture"]).metrics
    saved = costs["cost/finetuning_teraflops"] * (scratch - mixture) / _last_step(_first(finished["mixture"]))
    spent = costs["cost/pretraining_teraflops"] + costs["cost/generation_teraflops"]
    verdict = "is repaid at once" if saved > spent else "is not repaid by one fine-tuning of this size"
    return (
        f"{caption} To the target: {scratch:.0f} steps from scratch, {mixture:.0f} from the mixture. That saves "
        f"{saved:.3g} teraFLOPs; pre-training took {spent:.3g}, which {verdict}."
    )


def _last_step(scores: Scores) -> float:
    return scores.curves["finetuning/held_out/bits"][-1][0]


def _rows(pretrained: Finished) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 2.2 * len(pretrained)), layout="constrained")
    grid = figure.subplots(len(pretrained), 2, squeeze=False)
    for both, (arm, cells) in zip(grid, pretrained.items(), strict=True):
        for axes, (name, rows) in zip(both, _first(cells).samples["rows"].items(), strict=True):
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


def _draw_curves(axes: Any, curves: Sequence[Sequence[tuple[float, float]]], arm: str) -> None:
    arrays = [np.array(curve) for curve in curves]
    for curve in arrays if len(arrays) > 1 else ():
        axes.plot(curve[:, 0], curve[:, 1], color=COLOURS[arm], alpha=0.35, linewidth=1)
    common = min(len(curve) for curve in arrays)
    mean = np.mean([curve[:common] for curve in arrays], axis=0)
    axes.plot(mean[:, 0], mean[:, 1], color=COLOURS[arm], linewidth=2, label=arm)


def _finish(axes: Any, *, legend: bool = True) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False, fontsize=8)
