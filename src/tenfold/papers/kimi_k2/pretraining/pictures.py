"""What the Kimi K2 report shows: loss curves, largest logits of each head, heads clipped, loads of experts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.types import Picture, Report
from tenfold.papers.kimi_k2.pretraining.training import Outcome
from tenfold.study.pictures import (
    INK,
    Finished,
    colours,
    draw_curves,
    draw_line,
    finish,
    finished,
    has_curve,
    named,
    one_panel,
    panels,
)

TITLES = {"dense": "dense byte model", "experts": "Kimi K2's structure"}
COLOUR_OF_LOADS = {"before": "#c9ccd1", "without bias": "#8a8f98", "balanced": "#1f6f8b"}


def drawn_from(outcomes: Mapping[str, Outcome], tau: float) -> dict[str, Any]:
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


def draw(report: Report, arms: Sequence[str]) -> list[Picture]:
    """The pictures of a report; arms without finished cells and parts that were left out are left out.

    Args:
        report: what the run knows.
        arms: all arms of the study, which tell the colours.
    """
    cells, colour_of = finished(report), colours(arms)
    pictures = [_loss_curves(cells, colour_of, part) for part in TITLES if has_curve(cells, f"{part}/validation/loss")]
    if has_curve(cells, "stress/qk_clip/max_logit"):
        pictures += [_logits_of_heads(cells, colour_of), _heads_clipped(cells, colour_of)]
    shown = {arm: next(iter(of_arm.values())).samples for arm, of_arm in cells.items()}
    with_loads = [arm for arm, samples in shown.items() if "loads" in samples]
    if with_loads:
        pictures += [_violation_curves(cells, colour_of), _loads(with_loads[-1], shown[with_loads[-1]]["loads"])]
    return pictures


def _loss_curves(cells: Finished, colour_of: Mapping[str, str], part: str) -> Picture:
    figure, axes = one_panel()
    draw_curves(axes, cells, named(f"{part}/validation/loss"), colour_of)
    axes.set(xlabel="optimizer steps", ylabel="validation loss (nats per byte)")
    finish(axes, legend=True)
    return Picture(
        f"loss-{part}",
        f"Loss: {TITLES[part]}",
        "Loss on the validation windows, each arm at its own best rate. Thin: one seed; thick: mean.",
        figure,
    )


def _violation_curves(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, axes = one_panel()
    draw_curves(axes, cells, named("experts/validation/load_violation"), colour_of)
    without = named("unbalanced/validation/load_violation")
    draw_curves(axes, cells, without, colour_of, label="no bias updates", style="--")
    axes.set(xlabel="optimizer steps", ylabel="max load / mean load − 1", ylim=(0, None))
    finish(axes, legend=True)
    return Picture(
        "load-violation",
        "Balance of experts over training",
        "Load violation on the validation windows, mean over the layers. Dashed: the same model and optimizer without "
        "bias updates. There is no auxiliary loss.",
        figure,
    )


def _logits_of_heads(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    """One panel for each arm, one line for each head, of the first finished seed."""
    figure, (row,) = panels(len(cells), width=3.4, share_y=True)
    for axes, (arm, of_arm) in zip(row, cells.items(), strict=True):
        scores = next(iter(of_arm.values()))
        for name, curve in scores.curves.items():
            if name.startswith("stress/logits/"):
                layer = int(name.removeprefix("stress/logits/").split(".")[0])
                draw_line(axes, curve, color=colour_of[arm], alpha=max(0.3, 0.9 - 0.3 * layer))
        tau = scores.samples["tau"]
        axes.axhline(tau, color=INK, linestyle="--", linewidth=1)
        axes.annotate("τ", (0, tau), textcoords="offset points", xytext=(2, 3))
        axes.set(title=arm, xlabel="optimizer steps")
        axes.set_yscale("log", nonpositive="mask")  # all logits of a head may be negative
        finish(axes)
    row[0].set_ylabel("largest logit of a head")
    return Picture(
        "logits-of-heads",
        "Stress test: the largest logit of each head",
        "One line for each head (deeper layers paler), on a logarithmic scale, of one seed; all arms train at one rate "
        "that is far too high. Dashed: the threshold τ of QK-Clip.",
        figure,
    )


def _heads_clipped(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, axes = one_panel()
    draw_curves(axes, cells, named("stress/qk_clip/fraction_clipped"), colour_of)
    axes.set(xlabel="optimizer steps", ylabel="share of heads clipped", ylim=(-0.02, 1.02))
    finish(axes, legend=True)
    return Picture(
        "heads-clipped",
        "Stress test: heads clipped",
        "Share of heads whose weights were scaled after a step. Thin: one seed; thick: mean.",
        figure,
    )


def _loads(arm: str, loads: Mapping[str, Mapping[str, Sequence[int]]]) -> Picture:
    """One panel for each router, a bar for each expert, most loaded first, before and after training."""
    layers = list(loads["before"])
    columns = min(3, len(layers))
    figure, grid = panels(columns, -(-len(layers) // columns), width=max(5.0 / columns, 3.4), height=2.8)
    kinds = [kind for kind in COLOUR_OF_LOADS if kind in loads]
    for axes in grid.flat[len(layers) :]:
        axes.axis("off")
    for axes, layer in zip(grid.flat, layers, strict=False):
        for position, kind in enumerate(kinds):
            share = np.sort(np.array(loads[kind][layer]))[::-1] / np.mean(loads[kind][layer])
            at = np.arange(len(share)) + (position - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
            axes.bar(at, share, width=0.8 / len(kinds), color=COLOUR_OF_LOADS[kind], label=kind)
        axes.axhline(1.0, color=INK, linestyle="--", linewidth=1)
        axes.set(title=layer, xlabel="experts, most loaded first", ylabel="load / mean load")
        finish(axes, legend=True)
    return Picture(
        "loads",
        f"Loads of experts ({arm})",
        "Tokens of each expert on the test windows, in units of the mean: before training, after training without bias "
        "updates (if trained), and after training with them. One seed.",
        figure,
    )
