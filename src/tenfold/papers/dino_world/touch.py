"""DINO-world's tab: a clip, its features, what the model foresaw, what copying the last frame says; and plans, acted.

What is drawn is what the run stored: a held-out clip with the forecast of one call, and the episodes of its planner.
"""

import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.core.directory import RunDirectory
from tenfold.core.errors import UserError
from tenfold.core.touch import Choice, Tab, figure, first_finished
from tenfold.papers.dino_world.pictures import draw_plan, unpacked

FORECAST, ACTING = "dino_world", "finetune"
SHOWN = {"a clip, foreseen": FORECAST, "plans in the wall world": ACTING}


def act(run: Path, what: str) -> Iterator[str]:
    """The clip, or the plans, a moment more in each piece.

    Args:
        run: a run directory.
        what: one of :data:`SHOWN`.
    """
    if what not in SHOWN:
        raise UserError(f"what is shown is {what!r}; allowed: {', '.join(SHOWN)}")
    arm = SHOWN[what]
    _, seed = first_finished(run, arm)
    samples = RunDirectory.open(run).scores(arm, seed).samples
    about = f"<p>Arm {arm}, seed {seed} of {html.escape(run.name)}.</p>"
    pieces = _clip(samples["strip"]) if arm == FORECAST else _plans(samples["plan"])
    for piece in pieces:
        yield piece + about


def _clip(strip: Mapping[str, Any]) -> Iterator[str]:
    frames, present, forecast = (unpacked(strip[name]) for name in ("frames", "present", "forecast"))
    context, times = strip["context"], strip["times"]
    for step, foreseen in enumerate(forecast):
        ahead = times[context + step] - times[context - 1]
        drawn = draw(
            np.moveaxis(frames[context + step], 0, -1), present[context + step], foreseen, present[context - 1]
        )
        picture = figure(drawn, "a frame, its features, the forecast and the last features seen")
        yield f"<p>{ahead:.1f} seconds after the last frame that was seen</p>{picture}"


def draw(frame: np.ndarray, truth: np.ndarray, foreseen: np.ndarray, last: np.ndarray) -> Any:
    """Four images side by side: frame, its features, the model's forecast, and copy-last's.

    Args:
        frame: ``[h, w, 3]``.
        truth: features in the colours of three principal components, ``[rows, columns, 3]``.
        foreseen: the same of the forecast.
        last: the same of the last frame that was seen.
    """
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(8, 2.4), layout="constrained")
    titles = ("what happened", "its features", "DINO-world's forecast", "copy-last's")
    for axes, image, title in zip(drawn.subplots(1, 4), (frame, truth, foreseen, last), titles, strict=True):
        axes.imshow(image, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9)
    return drawn


def _plans(plan: Mapping[str, Any]) -> Iterator[str]:
    steps = max(len(path) for path in plan["paths"])
    for until in range(1, steps + 1):
        so_far = {**plan, "paths": [path[:until] for path in plan["paths"]]}
        reached = sum(map(bool, plan["reached"]))
        picture = figure(draw_plan(so_far), "episodes in the wall world: start, path so far, goal")
        yield f"<p>After {until - 1} steps; {reached} of {len(plan['paths'])} end at their goal.</p>{picture}"


TAB = Tab(
    title="DINO-world",
    about="A world model in the features of a frozen encoder: what it foresees beside what happens, and plans that it "
    "was used for. Both are replayed from the run.",
    button="Show",
    fields={"what": Choice("Show", tuple(SHOWN))},
    act=act,
    study="dino_world",
    arms=(FORECAST, ACTING),
)
