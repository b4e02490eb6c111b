"""Pictures that the paper's verbs write: SVG figures and one GIF, from a user's own videos or a run's model."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tenfold.papers.dino_world.control import Outcome
from tenfold.papers.dino_world.own_video import Filmed, OwnSettings, Tested, tested_frames
from tenfold.papers.dino_world.pictures import (
    animated,
    as_uint8,
    components,
    draw_plan,
    draw_strip,
    in_colours,
    packed,
    plan_of,
)
from tenfold.papers.dino_world.saving import WorldModel
from tenfold.study.pictures import PALETTE, finish, one_panel, panels


def draw_own(
    model: WorldModel, filmed: Sequence[Filmed], tested: Sequence[Tested], settings: OwnSettings
) -> dict[str, bytes]:
    """A strip of frames with features in colours, the same moving, and the losses as bars; by file name."""
    strip = _strip(model, filmed[0], settings)
    return {
        "strip.svg": svg(draw_strip(strip)),
        "strip.gif": animated(strip),
        "losses.svg": svg(_bars(tested)),
    }


@torch.no_grad()
def _strip(model: WorldModel, film: Filmed, settings: OwnSettings) -> dict[str, Any]:
    """The tested clip in which most moves; colours are fitted on the part that was learned from."""
    candidates = tested_frames(film, settings, 50)
    last, target = (film.features[candidates[:, place]] for place in (settings.context - 1, -1))
    frames = candidates[int((target - last).abs().mean((1, 2, 3)).argmax())]
    x = film.features[frames][None]
    tau = torch.from_numpy(film.video.times[frames] - film.video.times[frames[0]])[None]
    seen, device = settings.context, next(model.predictor.parameters()).device
    predicted = model.predictor.predict(x[:, :seen].to(device), tau[:, :seen].to(device), tau[:, seen:].to(device))
    fitted = components(film.features[: film.cut])
    return {
        "times": tau[0].tolist(),
        "context": seen,
        "frames": packed(film.video.frames[frames]),
        "present": packed(as_uint8(in_colours(x[0], fitted))),
        "forecast": packed(as_uint8(in_colours(predicted[0].cpu(), fitted))),
    }


def _bars(tested: Sequence[Tested]) -> Any:
    figure, (row,) = panels(2, width=3.8, height=3.0)
    names = list(tested[0].rows)
    for part, (axes, title) in enumerate(zip(row, ("all tokens", "the tenth that moves most"), strict=True)):
        for number, name in enumerate(names):
            values = [at.losses()[name][part] for at in tested]
            places = np.arange(len(tested)) + 0.27 * (number - 1)
            axes.bar(places, values, width=0.25, color=PALETTE[(1, 0, 5)[number]], label=name)
        axes.set(title=title, xticks=range(len(tested)), xlabel="seconds ahead")
        axes.set_xticklabels([f"{at.horizon:g}" for at in tested])
        finish(axes, legend=part == 0)
    row[0].set_ylabel("smooth-L1")
    return figure


def plan_picture(arm: str, outcome: Outcome) -> bytes:
    """Episodes with what was acted, as SVG."""
    return svg(draw_plan(plan_of(outcome)))


def surprise_picture(courses: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> bytes:
    """Surprise over time, a line for each video, as SVG."""
    figure, axes = one_panel()
    for number, (name, (times, values)) in enumerate(courses.items()):
        axes.plot(times, values, label=name, color=PALETTE[number % len(PALETTE)], linewidth=1.6)
    axes.set(xlabel="seconds", ylabel="mean |forecast - features|", ylim=(0, None))
    finish(axes, legend=True)
    return svg(figure)


def svg(figure: Any) -> bytes:
    """A figure as a file's content."""
    stream = io.BytesIO()
    figure.savefig(stream, format="svg")
    return stream.getvalue()
