"""What the Kimi K2 report shows: loss curves, largest logits of each head, heads clipped, loads of experts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report, Scores
from tenfold.papers.kimi_k2.pretraining import Outcome

Finished = Mapping[str, Mapping[int, Scores]]
"""Arm to seed to scores; no arm without a seed."""
COLOURS = {"adamw": "#8a8f98", "muon": "#d1603d", "muonclip": "#1f6f8b"}
TITLES = {"dense": "dense byte model", "experts": "Kimi K2's structure"}


def material(outcomes: Mapping[str, Outcome], tau: float) -> dict[str, Any]:
    """What :func:`draw` needs beside the curves: the threshold, and loads of experts on the test windows.

    Args:
        outcomes: name of the part to what it left.
        tau: threshold of the stress test.
    """
    data: dict[str, Any] = {"tau": tau}
    if "experts" in outcomes:
        data["loads"] = {"before": outcomes["experts"].loads_before, "balanced": outcomes["experts"].loads}
    if "unbalanced" in outcomes:
        data["loads"]["without bias"] = outcomes["unbalanced"].loads
    return data


def draw(report: Report) -> list[Picture]:
    """The pictures of a report; arms without finished cells and parts that were left out are left out."""
    finished = {arm: cells for arm, cells in report.scores.items() if cells}
    pictures = [_loss_curves(finished, part) for part in TITLES if _has(finished, f"{part}/validation/loss")]
    if _has(finished, "stress/qk_clip/max_logit"):
        pictures += [_logits_of_heads(finished), _heads_clipped(finished)]
    shown = {arm: next(iter(cells.values())).samples for arm, cells in finished.items()}
    with_loads = [arm for arm, samples in shown.items() if "loads" in samples]
    if with_loads:
        pictures += [_violation_curves(finished), _loads(with_loads[-1], shown[with_loads[-1]]["loads"])]
    return pictures


def _has(finished: Finished, curve: str) -> bool:
    return any(curve in scores.curves for cells in finished.values() for scores in cells.values())


def _loss_curves(finished: Finished, part: str) -> Picture:
    figure, axes = _axes()
    _curves_of_arms(axes, finished, f"{part}/validation/loss")
    axes.set(xlabel="optimizer steps", ylabel="validation loss (nats per byte)")
    _finish(axes)
    return Picture(
        f"loss-{part}",
        f"Loss: {TITLES[part]}",
        "Loss on the validation windows, each arm at its own best rate. Thin: one seed; thick: mean.",
        figure,
    )


def _violation_curves(finished: Finished) -> Picture:
    figure, axes = _axes()
    _curves_of_arms(axes, finished, "experts/validation/load_violation")
    if _has(finished, "unbalanced/validation/load_violation"):
        _curves_of_arms(axes, finished, "unbalanced/validation/load_violation", "no bias updates", linestyle="--")
    axes.set(xlabel="optimizer steps", ylabel="max load / mean load − 1", ylim=(0, None))
    _finish(axes)
    return Picture(
        "load-violation",
        "Balance of experts over training",
        "Load violation on the validation windows, mean over the layers. Dashed: the same model and optimizer without "
        "bias updates. There is no auxiliary loss.",
        figure,
    )


def _curves_of_arms(axes: Any, finished: Finished, name: str, label: str = "", linestyle: str = "-") -> None:
    for arm, cells in finished.items():
        curves = [np.array(scores.curves[name]) for scores in cells.values() if name in scores.curves]
        if not curves:
            continue
        for curve in curves:
            axes.plot(curve[:, 0], curve[:, 1], color=COLOURS[arm], alpha=0.3, linewidth=1, linestyle=linestyle)
        average = np.mean(curves, axis=0)
        text = f"{arm}, {label}" if label else arm
        axes.plot(average[:, 0], average[:, 1], color=COLOURS[arm], linewidth=2.2, linestyle=linestyle, label=text)


def _logits_of_heads(finished: Finished) -> Picture:
    """One panel for each arm, one line for each head, of the first finished seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(finished), 3.6), layout="constrained")
    panels = figure.subplots(1, len(finished), squeeze=False, sharey=True)[0]
    for axes, (arm, cells) in zip(panels, finished.items(), strict=True):
        scores = next(iter(cells.values()))
        for name, curve in scores.curves.items():
            if name.startswith("stress/logits/"):
                values = np.array(curve)
                layer = int(name.removeprefix("stress/logits/").split(".")[0])
                axes.plot(values[:, 0], values[:, 1], color=COLOURS[arm], alpha=max(0.3, 0.9 - 0.3 * layer))
        tau = scores.samples["tau"]
        axes.axhline(tau, color="#16181d", linestyle="--", linewidth=1)
        axes.annotate("τ", (0, tau), textcoords="offset points", xytext=(2, 3))
        axes.set(title=arm, xlabel="optimizer steps")
        axes.set_yscale("log", nonpositive="mask")  # all logits of a head may be negative
        _finish(axes, legend=False)
    panels[0].set_ylabel("largest logit of a head")
    return Picture(
        "logits-of-heads",
        "Stress test: the largest logit of each head",
        "One line for each head (deeper layers paler), logarithmic, one seed, at one rate far too high for all arms. "
        "The clip regulates to about τ; it does not forbid larger logits.",
        figure,
    )


def _heads_clipped(finished: Finished) -> Picture:
    figure, axes = _axes()
    _curves_of_arms(axes, finished, "stress/qk_clip/fraction_clipped")
    axes.set(xlabel="optimizer steps", ylabel="share of heads clipped", ylim=(-0.02, 1.02))
    _finish(axes)
    return Picture(
        "heads-clipped",
        "Stress test: heads clipped",
        "Share of heads whose weights were scaled after a step; 0 in the arms without the clip. Thin: one seed; "
        "thick: mean.",
        figure,
    )


def _loads(arm: str, loads: Mapping[str, Mapping[str, Sequence[int]]]) -> Picture:
    """One panel for each router, a bar for each expert, most loaded first, before and after training."""
    from matplotlib.figure import Figure

    layers = list(loads["before"])
    columns = min(3, len(layers))
    rows = -(-len(layers) // columns)
    figure = Figure(figsize=(max(5.0, 3.4 * columns), 2.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    colours = {"before": "#c9ccd1", "without bias": "#8a8f98", "balanced": COLOURS["muonclip"]}
    kinds = [kind for kind in colours if kind in loads]
    for axes in grid.flat[len(layers) :]:
        axes.axis("off")
    for axes, layer in zip(grid.flat, layers, strict=False):
        for position, kind in enumerate(kinds):
            share = np.sort(np.array(loads[kind][layer]))[::-1] / np.mean(loads[kind][layer])
            at = np.arange(len(share)) + (position - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
            axes.bar(at, share, width=0.8 / len(kinds), color=colours[kind], label=kind)
        axes.axhline(1.0, color="#16181d", linestyle="--", linewidth=1)
        axes.set(title=layer, xlabel="experts, most loaded first", ylabel="load / mean load")
        _finish(axes)
    return Picture(
        "loads",
        f"Loads of experts ({arm})",
        "Tokens of each expert on the test windows, in units of the mean: before training, after training without bias "
        "updates (if trained), and after training with them. One seed.",
        figure,
    )


def _axes() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    return figure, figure.subplots()


def _finish(axes: Any, legend: bool = True) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False)
