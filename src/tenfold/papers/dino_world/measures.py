"""What a forecaster of balls is judged by: loss at two horizons beside its bounds, where a probe reads the ball,
and whether impossible videos surprise it. All on held-out clips that every arm of a seed shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.core.seeding import numpy_generator
from tenfold.data.video.balls import Event, event_pairs
from tenfold.models.frame_encoder import FrameEncoder
from tenfold.papers.dino_world.forecasters import CopyLast, Forecaster, MeanFeature
from tenfold.papers.dino_world.probe import PositionProbe, distances
from tenfold.papers.dino_world.stages import Filmed, Study
from tenfold.papers.dino_world.surprise import relative_accuracy, surprise
from tenfold.papers.dino_world.training import forecasting_loss

EVENTS: Sequence[Event] = ("vanish", "jump", "turn")


@dataclass(frozen=True)
class HeldOut:
    """Held-out clips: a context, the times that are asked for, and what is true then.

    Args:
        x: [B, T, H, W, D] features of the context.
        tau: [B, T] seconds.
        horizons: [Q] seconds after the context's end, rising.
        targets: [B, Q, H, W, D] features.
        positions: [B, Q, 2] of the ball.
        filmed: all of it, as videos.
    """

    x: Tensor
    tau: Tensor
    horizons: Sequence[float]
    targets: Tensor
    positions: Tensor
    filmed: Filmed

    def asked(self, horizons: Sequence[float]) -> Tensor:
        """Times so long after the context's end, [B, len(horizons)]."""
        return self.tau[:, -1:] + torch.tensor(horizons, dtype=self.tau.dtype, device=self.tau.device)

    def truth(self, horizon: float) -> Tensor:
        """Features at a horizon, [B, H, W, D]."""
        return self.targets[:, self._index(horizon)]

    def places(self, horizon: float) -> Tensor:
        """Positions at a horizon, [B, 2]."""
        return self.positions[:, self._index(horizon)]

    def _index(self, horizon: float) -> int:
        return int(np.abs(np.asarray(self.horizons) - horizon).argmin())


def held_out(study: Study, encoder: FrameEncoder) -> HeldOut:
    """The clips of a seed, seen by an encoder."""
    e = study.config.evaluation
    context = np.arange(e.context) * e.spacing
    horizons = sorted({*e.horizons, *roll_out_horizons(study)})
    times = np.concatenate([context, context[-1] + np.asarray(horizons)])
    generator = numpy_generator(study.seed, "held out")
    filmed = study.ball_clips(encoder, np.tile(times, (e.clips, 1)), generator)
    features, tau = filmed.clips.features, filmed.clips.times
    positions = torch.from_numpy(filmed.balls.positions).float().to(study.device)
    return HeldOut(
        features[:, : e.context],
        tau[:, : e.context],
        horizons,
        features[:, e.context :],
        positions[:, e.context :],
        filmed,
    )


def roll_out_horizons(study: Study) -> list[float]:
    """The short horizon and its multiples up to the mid one."""
    e = study.config.evaluation
    return [round(e.spacing * step, 6) for step in range(1, e.ahead + 1)]


def mean_feature(study: Study, encoder: FrameEncoder) -> MeanFeature:
    """The mean over the held-out clips' contexts, for each place."""
    return MeanFeature(held_out(study, encoder).x.mean((0, 1)))


@torch.no_grad()
def forecast_metrics(
    study: Study, forecaster: Forecaster, clips: HeldOut, probe: PositionProbe
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Losses, gains over the better bound, and the probe's distances; metrics, and distances by clip."""
    steps = roll_out_horizons(study)
    short, mid = steps[0], steps[-1]
    bounds: Sequence[Forecaster] = (CopyLast(), MeanFeature(clips.x.mean((0, 1))))
    direct = forecaster.direct(clips.x, clips.tau, clips.asked([short, mid]))
    rolled = forecaster.rolled(clips.x, clips.tau, clips.asked(steps))[:, -1]

    def loss(predicted: Tensor, horizon: float) -> float:
        return float(forecasting_loss(predicted, clips.truth(horizon), study.config.training.beta_last))

    def bound(horizon: float) -> float:
        asked = clips.asked([horizon])
        return min(loss(found.direct(clips.x, clips.tau, asked)[:, 0], horizon) for found in bounds)

    far_short, far_mid = (
        distances(probe, x, clips.places(horizon)) for x, horizon in ((direct[:, 0], short), (rolled, mid))
    )
    losses = {
        "forecast/loss_short": loss(direct[:, 0], short),
        "forecast/loss_mid": loss(direct[:, 1], mid),
        "forecast/loss_mid_rolled": loss(rolled, mid),
    }
    metrics = {
        **losses,
        "forecast/gain_short": 1 - losses["forecast/loss_short"] / bound(short),
        "forecast/gain_mid": 1 - losses["forecast/loss_mid"] / bound(mid),
        "forecast/gain_mid_rolled": 1 - losses["forecast/loss_mid_rolled"] / bound(mid),
        "probe/distance_short": float(far_short.mean()),
        "probe/distance_mid": float(far_mid.mean()),
        "probe/distance_mid_direct": float(distances(probe, direct[:, 1], clips.places(mid)).mean()),
        "probe/distance_present": float(distances(probe, clips.truth(short), clips.places(short)).mean()),
    }
    items = {"probe/distance_short": far_short.tolist(), "probe/distance_mid": far_mid.tolist()}
    return metrics, items


@torch.no_grad()
def horizon_curve(study: Study, forecaster: Forecaster, clips: HeldOut) -> list[tuple[float, float]]:
    """The loss of one call at each horizon."""
    predicted = forecaster.direct(clips.x, clips.tau, clips.asked(clips.horizons))
    beta = study.config.training.beta_last
    return [
        (horizon, float(forecasting_loss(predicted[:, number], clips.targets[:, number], beta)))
        for number, horizon in enumerate(clips.horizons)
    ]


def surprise_metrics(
    study: Study, forecaster: Forecaster, encoder: FrameEncoder
) -> tuple[dict[str, float], Mapping[str, Any]]:
    """Relative accuracy for each event, by mean (over all frames, and until soon after the event) and maximum over
    time; and the course of surprise."""
    e = study.config.evaluation
    times_T = np.arange(e.pair_frames) * e.pair_spacing
    metrics: dict[str, float] = {}
    course: dict[str, Any] = {}
    for event in EVENTS:
        generator = numpy_generator(study.seed, "pairs", event)
        pair = event_pairs(study.balls, event, times_T, e.event_frame, generator, e.pairs)
        tau = torch.from_numpy(np.tile(times_T, (e.pairs, 1))).to(study.device)
        possible, impossible = (
            surprise(forecaster.direct, study.encoded(encoder, balls.frames), tau, e.context) for balls in pair
        )
        metrics[f"surprise/{event}"] = relative_accuracy(possible.mean(1), impossible.mean(1))
        soon = slice(e.soon_frames - 1)  # the first frame has no surprise
        metrics[f"surprise/{event}_soon"] = relative_accuracy(possible[:, soon].mean(1), impossible[:, soon].mean(1))
        metrics[f"surprise/{event}_by_maximum"] = relative_accuracy(possible.amax(1), impossible.amax(1))
        course[event] = {"possible": possible.mean(0).tolist(), "impossible": impossible.mean(0).tolist()}
    return metrics, course
