"""What the report of DINO-world shows: frames with forecast features in colours, the loss over horizons with its
bounds, surprise over time, plans in their worlds, learning curves, and a small animation.

Features become colours by their first three principal components, fitted on features of the context alone.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.core.types import Picture, Report
from tenfold.papers.dino_world.control import Outcome
from tenfold.papers.dino_world.forecasters import Forecaster
from tenfold.papers.dino_world.measures import HeldOut
from tenfold.study.pictures import (
    INK,
    PAPER,
    Finished,
    colours,
    draw_bars,
    draw_curves,
    finish,
    finished,
    first,
    named,
    one_panel,
    panels,
)

SHOWN_PIXELS = 64
"""Of a frame's side in the stored samples, at most."""
PLANS_SHOWN = 4


# ------------------------------------------------------------------------------------------ material from a cell


def components(features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean [D], first three principal directions [D, 3], and the 2 % and 98 % quantiles of each, of [..., D]."""
    rows = features.flatten(0, -2).float()
    mean = rows.mean(0)
    directions = torch.linalg.svd(rows - mean, full_matrices=False).Vh[:3].T
    projected = (rows - mean) @ directions
    return mean, directions, projected.quantile(0.02, dim=0), projected.quantile(0.98, dim=0)


def in_colours(features: Tensor, fitted: tuple[Tensor, Tensor, Tensor, Tensor]) -> np.ndarray:
    """[..., D] features to [..., 3] colours in [0, 1]."""
    mean, directions, low, high = fitted
    shown = ((features.float() - mean) @ directions - low) / (high - low).clamp(min=1e-6)
    return shown.clamp(0, 1).cpu().numpy()


def packed(array: np.ndarray) -> dict[str, Any]:
    """uint8 numbers as JSON-able text."""
    return {"shape": list(array.shape), "bytes": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()}


def unpacked(stored: Mapping[str, Any]) -> np.ndarray:
    """What :func:`packed` stored.

    Example:
        >>> unpacked(packed(np.arange(6, dtype=np.uint8).reshape(2, 3))).tolist()
        [[0, 1, 2], [3, 4, 5]]
    """
    return np.frombuffer(base64.b64decode(stored["bytes"]), np.uint8).reshape(stored["shape"])


@torch.no_grad()
def strip_of(forecaster: Forecaster, clips: HeldOut) -> dict[str, Any]:
    """One held-out clip: its frames, present features and forecasts by one call, as colours; small and JSON-able."""
    predicted = forecaster.direct(clips.x[:1], clips.tau[:1], clips.asked(clips.horizons)[:1])[0]
    fitted = components(clips.x)
    frames = clips.filmed.balls.frames[0]
    skip = -(-frames.shape[-1] // SHOWN_PIXELS)
    context = clips.x.shape[1]
    return {
        "times": clips.filmed.balls.times[0].tolist(),
        "context": context,
        "frames": packed(frames[..., ::skip, ::skip]),
        "present": packed(as_uint8(in_colours(torch.cat([clips.x[0], clips.targets[0]]), fitted))),
        "forecast": packed(as_uint8(in_colours(predicted, fitted))),
    }


def as_uint8(colours_in_01: np.ndarray) -> np.ndarray:
    """Colours as bytes."""
    return (colours_in_01 * 255 + 0.5).astype(np.uint8)


def plan_of(outcome: Outcome) -> dict[str, Any]:
    """A few far episodes: where the dot went, its walls and its goal."""
    order = np.argsort(~outcome.far, kind="stable")[:PLANS_SHOWN]
    return {
        "paths": outcome.path[:, order].transpose(1, 0, 2).round(2).tolist(),
        "walls": outcome.walls[order].round(2).tolist(),
        "goals": outcome.goals[order].round(2).tolist(),
        "reached": outcome.success[-1][order].tolist(),
    }


# --------------------------------------------------------------------------------------------------- the report


def draw(report: Report, arms: Sequence[str]) -> list[Picture]:
    """The pictures of a report; what no finished cell has is left out."""
    cells, colour_of = finished(report), colours(arms)
    if not cells:
        return []
    pictures = [_learning_curves(report, cells, colour_of)]
    if any("horizon_curve" in first(of_arm).samples for of_arm in cells.values()):
        pictures.insert(0, _horizons(cells, colour_of))
    for arm, of_arm in cells.items():
        samples = first(of_arm).samples
        if "strip" in samples:
            pictures.append(_strip(arm, samples["strip"]))
        if "plan" in samples:
            pictures.append(_plan(arm, samples["plan"]))
    surprised = {arm: first(of_arm).samples["surprise"] for arm, of_arm in cells.items() if has_surprise(of_arm)}
    if surprised:
        pictures.append(_surprise(surprised, colour_of))
    if any("planning/success" in first(of_arm).metrics for of_arm in cells.values()):
        pictures.append(_success(cells, colour_of))
    return pictures


def has_surprise(of_arm: Mapping[int, Any]) -> bool:
    """Whether an arm measured surprise."""
    return "surprise" in first(of_arm).samples


def _horizons(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, axes = one_panel()
    draw_curves(axes, cells, lambda scores: scores.samples.get("horizon_curve"), colour_of)
    axes.set(xlabel="seconds ahead", ylabel="smooth-L1 of one call", ylim=(0, None))
    finish(axes, legend=True)
    caption = (
        "Loss on held-out clips over the horizon, from four frames 0.2 s apart. A forecast is worth something where it "
        "lies below both bounds, copy_last and mean. DINO-WM's predictor goes by steps of its own."
    )
    return Picture("horizons", "How far the forecast reaches", caption, figure)


def _learning_curves(report: Report, cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    figure, ((left, right),) = panels(2)
    draw_curves(left, cells, named("validation/loss"), colour_of)
    left.set(xlabel="steps", ylabel="loss on validation clips")
    stages = {name: stage.curves for of_seed in report.stages.values() for name, stage in of_seed.items()}
    for name, curves in stages.items():
        points = np.asarray(curves.get("train/loss", ()), dtype=float)
        if len(points):
            right.plot(points[:, 0], points[:, 1] / points[0, 1], label=name, linewidth=1.6)
    right.set(xlabel="steps", ylabel="training loss over its first value", yscale="log")
    for axes in (left, right):
        finish(axes, legend=bool(axes.lines))
    caption = "Left: arms with a training of their own. Right: what arms share; the loss changes where its beta does."
    return Picture("learning", "Learning", caption, figure)


def _strip(arm: str, strip: Mapping[str, Any]) -> Picture:
    caption = (
        "One held-out clip. Second row: features of each frame; third row: features forecast by one call from the "
        "frames up to 0 s. Colours are three principal components, fitted on contexts."
    )
    return Picture(f"strip-{arm}", f"A forecast ({arm})", caption, draw_strip(strip), animation=animated(strip))


def draw_strip(strip: Mapping[str, Any]) -> Any:
    """A figure with the frames of a clip, their features, and the forecast ones, in three rows."""
    frames, present, forecast = (unpacked(strip[name]) for name in ("frames", "present", "forecast"))
    count, context = len(frames), strip["context"]
    figure, grid = panels(count, 3, width=0.95, height=1.05)
    for column in range(count):
        rows = [np.moveaxis(frames[column], 0, -1), present[column], None]
        rows[2] = forecast[column - context] if column >= context else None
        for axes, image in zip(grid[:, column], rows, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if image is not None:
                axes.imshow(image, interpolation="nearest")
        grid[0, column].set_title(f"{strip['times'][column] - strip['times'][context - 1]:+.1f} s", fontsize=7)
    for axes, name in zip(grid[:, 0], ("frame", "its features", "forecast"), strict=True):
        axes.set_ylabel(name, fontsize=7)
    return figure


def animated(strip: Mapping[str, Any]) -> bytes:
    """Frame, features and forecast side by side as a GIF, a picture every 0.4 s."""
    from PIL import Image

    frames, present, forecast = (unpacked(strip[name]) for name in ("frames", "present", "forecast"))
    context, side, pictures = strip["context"], 96, []
    for number, frame in enumerate(frames):
        foreseen = forecast[number - context] if number >= context else present[number]
        images = (np.moveaxis(frame, 0, -1), present[number], foreseen)
        row = Image.new("RGB", (3 * side + 8, side), "white")
        for place, image in enumerate(images):
            row.paste(
                Image.fromarray(np.ascontiguousarray(image)).resize((side, side), Image.Resampling.NEAREST),
                (place * (side + 4), 0),
            )
        pictures.append(row)
    stream = io.BytesIO()
    pictures[0].save(stream, format="GIF", save_all=True, append_images=pictures[1:], duration=400, loop=0)
    return stream.getvalue()


def _surprise(surprised: Mapping[str, Mapping[str, Any]], colour_of: Mapping[str, str]) -> Picture:
    events = list(next(iter(surprised.values())))
    figure, (row,) = panels(len(events), width=3.6, height=3.2)
    for axes, event in zip(row, events, strict=True):
        for arm, course in surprised.items():
            frames = range(2, len(course[event]["possible"]) + 2)
            axes.plot(frames, course[event]["impossible"], color=colour_of[arm], linewidth=2, label=arm)
            axes.plot(frames, course[event]["possible"], color=colour_of[arm], linewidth=1.2, linestyle="--")
        axes.set(xlabel="frame", title=f"the ball {event}s" if event != "vanish" else "the ball vanishes")
        finish(axes, legend=axes is row[0])
    row[0].set_ylabel("mean |forecast - features|")
    caption = (
        "Surprise over time, mean over pairs: solid for the impossible video, dashed for its possible twin. A jump "
        "moves more than any possible video, so copy-last sees it as well; a turn in free space moves as much."
    )
    return Picture("surprise", "What surprises", caption, figure)


def _plan(arm: str, plan: Mapping[str, Any]) -> Picture:
    caption = "Episodes whose goal (circle) is far from the start (blue): where the planned actions led."
    return Picture(f"plan-{arm}", f"Plans that were acted ({arm})", caption, draw_plan(plan))


def draw_plan(plan: Mapping[str, Any]) -> Any:
    """A figure with some episodes: walls, start, goal, and the path."""
    from matplotlib.patches import Circle, Rectangle

    count = len(plan["paths"])
    figure, (row,) = panels(count, width=2.3, height=2.5)
    size = max(wall[3] for walls in plan["walls"] for wall in walls)
    for axes, path, walls, goal, reached in zip(
        row, plan["paths"], plan["walls"], plan["goals"], plan["reached"], strict=True
    ):
        for left, top, right, bottom in walls:
            axes.add_patch(Rectangle((left, top), right - left, bottom - top, color=PAPER))
        axes.add_patch(Circle(goal, 0.07 * size, fill=False, color="#d1603d", linewidth=2))
        across, down = np.asarray(path).T
        axes.plot(across, down, "-o", color=INK, markersize=3, linewidth=1.2)
        axes.plot(across[0], down[0], "o", color="#1f6f8b", markersize=8)
        axes.set(xlim=(0, size), ylim=(size, 0), xticks=[], yticks=[], aspect="equal")
        axes.set_title("reached" if reached else "missed", fontsize=9)
    return figure


def _success(cells: Finished, colour_of: Mapping[str, str]) -> Picture:
    acting = {arm: of_arm for arm, of_arm in cells.items() if "planning/success" in first(of_arm).metrics}
    figure, axes = one_panel(height=2.6)
    draw_bars(axes, acting, "planning/success", colour_of)
    by_chance = np.mean([first(of_arm).metrics["planning/success_of_random_plans"] for of_arm in acting.values()])
    axes.axvline(by_chance, color=INK, linestyle=":", label="random plans")
    axes.set(xlabel="share of episodes whose goal was reached", xlim=(0, 1))
    finish(axes, legend=True)
    return Picture("success", "Planning", "Bars: mean over seeds; dots: single seeds.", figure)
