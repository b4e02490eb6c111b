"""DINO-world on videos of a ball and in a world with a wall: forecasting, surprise and planning in frozen features.

Forecasting arms see clips of a ball between walls; the first two train nothing and are the bounds that every number
stands beside. Acting arms learn what actions do from the same few labelled clips and plan with the same planner.
Before any seed of a verdict it is fixed what a claim is read from: losses from one call, the probe at the mid horizon
from a roll-out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tenfold.core.cell import Cell
from tenfold.core.types import Claim, Direction, Picture, Plan, Report, Scores
from tenfold.models.frame_encoder import FrameEncoder
from tenfold.papers.dino_world import acting, measures, pictures, stages
from tenfold.papers.dino_world.actions import Mode
from tenfold.papers.dino_world.config import Config
from tenfold.papers.dino_world.forecasters import CopyLast, FixedSpacing, Forecaster, FrameNumbers, Seconds
from tenfold.papers.dino_world.method import Predictor, num_parameters
from tenfold.papers.dino_world.saving import WorldModel, save_world_model
from tenfold.papers.dino_world.stages import Study
from tenfold.study.memory import training_bytes

MakeForecaster = Callable[[Study, FrameEncoder], Forecaster]


@dataclass(frozen=True)
class Forecasting:
    """What forecasts balls.

    Args:
        make: the forecaster, trained if it is trained at all.
        encoder: whose features it forecasts.
        encoder_name: tells probes of different encoders apart.
        trains: it has a training of its own; what does not is measured at once.
        knows_times: it can be asked for any time, so that it can be surprised by a video at another spacing.
    """

    make: MakeForecaster
    encoder: Callable[[Study], FrameEncoder] = stages.trained_encoder
    encoder_name: str = "trained"
    trains: bool = False
    knows_times: bool = True


@dataclass(frozen=True)
class Acting:
    """What learns to act.

    Args:
        mode: what it starts from and trains.
        rate: the field of ``rates`` that holds its learning rate.
    """

    mode: Mode
    rate: str


@dataclass(frozen=True)
class Arm:
    """What an arm is, and what it does: it forecasts, or it acts."""

    text: str
    does: Forecasting | Acting


def _trained(study: Study, encoder: FrameEncoder, rate: str, early_median: bool = False) -> Forecaster:
    rate_of_arm = getattr(study.config.rates, rate)
    return Seconds(stages.train_on_balls(study, encoder, rate_of_arm, early_median=early_median))


def _dino_wm(study: Study, encoder: FrameEncoder) -> Forecaster:
    model = stages.train_dino_wm(study, encoder, study.config.rates.dino_wm)
    return FixedSpacing(model, study.config.evaluation.spacing)


ARMS: Mapping[str, Arm] = {
    "copy_last": Arm("a bound: the last frame stays", Forecasting(lambda study, encoder: CopyLast())),
    "mean": Arm("a bound: the mean of each place", Forecasting(measures.mean_feature)),
    "dino_world": Arm(
        "cross-attention to the past, times in seconds",
        Forecasting(lambda study, encoder: Seconds(stages.ball_predictor(study))),
    ),
    "frame_numbers": Arm(
        "ablation: the same trained model, told frame numbers in place of seconds",
        Forecasting(lambda study, encoder: FrameNumbers(stages.ball_predictor(study), study.config.evaluation.spacing)),
    ),
    "early_median": Arm(
        "ablation: the last, small beta of the loss from the first step on",
        Forecasting(partial(_trained, rate="early_median", early_median=True), trains=True),
    ),
    "random_encoder": Arm(
        "control: features of an untrained encoder",
        Forecasting(
            partial(_trained, rate="random_encoder"),
            encoder=stages.random_encoder,
            encoder_name="random",
            trains=True,
        ),
    ),
    "dino_wm": Arm(
        "DINO-WM's predictor, trained at the spacing at which it is asked",
        Forecasting(_dino_wm, trains=True, knows_times=False),
    ),
    "scratch": Arm("learns to act from random weights", Acting("scratch", "scratch")),
    "action_only": Arm("learns to act: action blocks on a frozen video model", Acting("action_only", "action_only")),
    "finetune": Arm("learns to act: everything, from the video model on", Acting("finetune", "finetune")),
}
_GRID = (1e-3, 2e-3, 4e-3)
GRID = {
    f"rates.{name}": _GRID
    for name in ("dino_world", "early_median", "random_encoder", "dino_wm", "scratch", "action_only", "finetune")
}

_FORECAST = "equal steps, batches and clips; one rate for DINO-world's predictors, a prototype's, hardly tuned"
_ACTED = "the same labelled clips, steps, rate, planner and episodes; the rate is a prototype's, not tuned"


def _threshold(
    id: str,
    text: str,
    metric: str,
    arm: str,
    margin: float,
    source: str,
    budget: str = _FORECAST,
    direction: Direction = "higher",
) -> Claim:
    return Claim(id, text, "threshold", metric, "test", arm, None, direction, margin, budget, source)


def _superiority(id: str, text: str, metric: str, arm: str, baseline: str, direction: Direction, budget: str) -> Claim:
    return Claim(id, text, "superiority", metric, "test", arm, baseline, direction, 0.0, budget, "no difference")


_PROTOTYPE = "a prototype's seeds 0 to 2"
_PROBE = "one probe, trained on present features"
_PAIRS = "the same pairs of videos, equal up to the event"
CLAIMS = (
    Claim(
        id="short",
        text="0.2 s ahead, the loss is at least 18 % below that of the better of copy-last and the mean feature.",
        kind="threshold",
        metric="forecast/gain_short",
        split="test",
        arm="dino_world",
        baseline=None,
        direction="higher",
        margin=0.18,
        budget=_FORECAST,
        source=f"{_PROTOTYPE}: 24 to 28 %; the specification's check B1 asks for 10 %",
        headline=True,
    ),
    _threshold(
        "mid",
        "0.6 s ahead, by one call, the loss is at least 10 % below that of the better of both.",
        "forecast/gain_mid",
        "dino_world",
        0.10,
        f"the specification's check B1; {_PROTOTYPE}: 16 to 18 %",
    ),
    _superiority(
        "place_short",
        "A linear probe finds the ball in forecasts of 0.2 s nearer to where it is than in the last frame.",
        "probe/distance_short",
        "dino_world",
        "copy_last",
        "lower",
        _PROBE,
    ),
    _superiority(
        "place_mid",
        "So it does in forecasts of 0.6 s, by a roll-out of three steps.",
        "probe/distance_mid",
        "dino_world",
        "copy_last",
        "lower",
        _PROBE,
    ),
    _threshold(
        "seconds",
        "Told frame numbers in place of seconds, the model's loss at least doubles (loss minus twice the other).",
        "forecast/excess_over_twice_seconds",
        "frame_numbers",
        0.0,
        "a prototype's seed 0: four times",
        "one trained model, asked in two ways",
    ),
    _threshold(
        "vanish",
        "A video in which the ball vanishes surprises more than its twin in more than 85 % of pairs.",
        "surprise/vanish",
        "dino_world",
        0.85,
        f"the specification's check B4; {_PROTOTYPE}: 98 and 99 %",
        _PAIRS,
    ),
    _threshold(
        "turn",
        "So does one in which it turns in free space at equal speed, in more than 70 %: as much moves as before.",
        "surprise/turn",
        "dino_world",
        0.7,
        "ours, before any run: clearly above chance",
        _PAIRS,
    ),
    _threshold(
        "vanish_by_copying",
        "Copy-last, to which a picture that stands still is as expected as can be, is right in less than 30 %.",
        "surprise/vanish",
        "copy_last",
        0.3,
        "a prototype's seed 0: 13 %",
        _PAIRS,
        "lower",
    ),
    _threshold(
        "vanish_soon",
        "Judged until one frame after the ball has vanished, when as much has moved in the twin, it is more than 80 %.",
        "surprise/vanish_soon",
        "dino_world",
        0.8,
        "the specification's check B4, which wants the energy of motion matched",
        _PAIRS,
    ),
    _threshold(
        "vanish_soon_by_copying",
        "Until then copy-last, which knows nothing but how much moves, is right in less than 60 %.",
        "surprise/vanish_soon",
        "copy_last",
        0.6,
        "the specification's check B4: near chance; 42 and 47 % on seeds 51 and 50",
        _PAIRS,
        "lower",
    ),
    _threshold(
        "planning",
        "Fine-tuned, plans reach the goal at least three times as often as random ones (share minus 3 times theirs).",
        "planning/above_three_times_random",
        "finetune",
        0.0,
        "the specification's check B5",
        _ACTED,
    ),
    _superiority(
        "video_helps",
        "A model fine-tuned from video reaches more goals than one that learned from the labelled clips alone.",
        "planning/success",
        "finetune",
        "scratch",
        "higher",
        _ACTED,
    ),
)
CHOSEN_ON = (0, 1, 2, 50, 51, 1000)
"""Margins on a prototype's seeds 0 to 2; sizes, steps, what is judged of an event, and rates on 0, 50, 51 and 1000."""
PLAN = Plan(
    laptop=(10, 11, 12, 13, 14),
    why="five, the fewest: with 1200 steps the headline stood at 0.28, 0.31 and 0.24 on seeds 0, 50 and 51, and with "
    "800 at 0.22 on 1000; a deviation of 0.04 leaves it above 0.18 in nearly all runs",
)


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Train one arm with one seed and measure it."""
    study, does = Study(config, cell), ARMS[arm].does
    return forecast(study, does) if isinstance(does, Forecasting) else act(study, does)


def forecast(study: Study, does: Forecasting) -> Scores:
    """Forecasts of held-out clips, what a probe reads in them, and what surprises."""
    encoder = does.encoder(study)
    forecaster = does.make(study, encoder)
    if not does.trains:
        stages.stop_here(study.cell)
    clips, probe = measures.held_out(study, encoder), stages.probe_of(study, encoder, does.encoder_name)
    metrics, items = measures.forecast_metrics(study, forecaster, clips, probe)
    samples: dict[str, Any] = {"horizon_curve": measures.horizon_curve(study, forecaster, clips)}
    if isinstance(forecaster, FrameNumbers):
        seconds, _ = measures.forecast_metrics(study, Seconds(forecaster.model), clips, probe)
        loss = metrics["forecast/loss_short"]
        metrics["forecast/excess_over_twice_seconds"] = loss - 2 * seconds["forecast/loss_short"]
    elif does.knows_times:
        surprises, course = measures.surprise_metrics(study, forecaster, encoder)
        metrics |= surprises
        samples["surprise"] = course
    if isinstance(forecaster, Seconds):
        samples["strip"] = pictures.strip_of(forecaster, clips)
        _save(study, forecaster.model, encoder)
    model = getattr(forecaster, "model", None)
    metrics["cost/parameters"] = float(num_parameters(model)) if isinstance(model, torch.nn.Module) else 0.0
    return Scores(metrics=metrics, items=items, curves=study.cell.curves(), samples=samples)


def act(study: Study, does: Acting) -> Scores:
    """Learn from labelled clips what actions do, and plan."""
    model, encoder = acting.train_to_act(study, does.mode, getattr(study.config.rates, does.rate))
    _save(study, model, encoder)
    metrics, outcome = acting.acting_metrics(study, model, encoder)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    costs = {"cost/parameters": float(num_parameters(model)), "cost/trained_parameters": float(trained)}
    return Scores(
        metrics=metrics | costs,
        items={"planning/success": outcome.success[-1].astype(float).tolist()},
        curves=study.cell.curves(),
        samples={"plan": pictures.plan_of(outcome)},
    )


def _save(study: Study, model: Predictor, encoder: FrameEncoder) -> None:
    if study.cell.is_main:
        save_world_model(WorldModel(model, encoder, study.config.balls.size), study.cell.directory / "model")


def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]:
    """The last loss on validation clips of the arm whose rate stands at ``field``; for choosing rates."""
    rate, study = field.removeprefix("rates."), Study(config, cell)
    does = ARMS[rate].does
    if isinstance(does, Acting):
        acting.train_to_act(study, does.mode, getattr(config.rates, rate))
        curves = cell.curves()
    elif does.trains:
        does.make(study, does.encoder(study))
        curves = cell.curves()
    else:
        stages.train_on_balls(study, does.encoder(study), getattr(config.rates, rate))
        curves = cell.curves()
    return {"validation/loss": curves["validation/loss"][-1][1]}


def figures(report: Report) -> list[Picture]:
    """Frames with forecast features, horizon curves, surprise over time, plans, learning curves."""
    return pictures.draw(report, list(ARMS))


def estimate(config: Config) -> dict[str, float]:
    """Rough size and time of a seed of all arms, for ``--dry-run``; seconds on one core at the laptop's size.

    Memory: that of a training, whose tokens are context and queries, and what clips and the encoder take.
    """
    dim = config.encoder.width if not config.encoder.model else 768
    with torch.device("meta"):
        size = num_parameters(Predictor(config.predictor, dim))
    c, e = config.control, config.planner
    patches = (config.balls.size // config.encoder.patch) ** 2
    tokens = 4 * config.training.steps * config.training.batch_size * config.clips.frames * patches
    tokens += c.video_training.steps * c.video_training.batch_size * c.video.frames * patches
    tokens += 3 * c.training.steps * c.training.batch_size * c.frames * patches
    imagined = 3 * c.episodes * c.rounds * e.samples * e.iterations * e.horizon * patches
    flops = size * (6.0 * tokens + 2.0 * imagined)
    trainings = ((config.training, config.clips.frames), (c.video_training, c.video.frames), (c.training, c.frames))
    frames = max(t.batch_size / t.gradient_accumulation * number for t, number in trainings)
    training = training_bytes(size, 2 * frames * patches, config.predictor.width, config.predictor.blocks)
    return {
        "parameters": float(size),
        "memory_bytes": training + 1.5e9,
        "seconds": flops / _FLOPS_A_SECOND + 60.0 * config.encoder.steps / 120,
    }


_FLOPS_A_SECOND = 8e9
