"""Configuration of DINO-world: its parts, presets, and the source of every published value. Imports no torch."""

from dataclasses import dataclass, field, replace

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.papers.dino_world.settings import (
    BallsConfig,
    ClipsConfig,
    ControlConfig,
    DinoWMConfig,
    EncoderConfig,
    EvaluationConfig,
    PlannerConfig,
    PredictorConfig,
    RatesConfig,
    TrainingConfig,
    predictor_of_size,
)
from tenfold.papers.dino_world.sources import SOURCES as SOURCES
from tenfold.papers.dino_world.sources import TASKS as TASKS


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers, beside the seed."""

    balls: BallsConfig = field(default_factory=BallsConfig)
    """What is forecast."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The frozen encoder."""
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    """DINO-world's predictor, of balls and of the world that is acted in."""
    dino_wm: DinoWMConfig = field(default_factory=DinoWMConfig)
    """DINO-WM's predictor, on balls."""
    clips: ClipsConfig = field(default_factory=ClipsConfig)
    """Which frames clips of balls take."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How all predictors of balls are trained."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Forecasts and surprise."""
    control: ControlConfig = field(default_factory=ControlConfig)
    """Learning to act."""
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    """How plans are found."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rates."""

    def __post_init__(self) -> None:
        """Refuse parts that do not fit each other, and what no arm has a use for."""
        refuse_idle(self, ("dino_wm.action_embedding",), acts="other fields: DINO-WM forecasts balls, without actions")
        if self.encoder.model:
            small = ("width", "blocks", "heads", "registers", "mask_share", "steps", "batch_size", "log_every")
            refuse_idle(self, [f"encoder.{name}" for name in small], acts="encoder.model empty")
            refuse_idle(self, ("rates.encoder",), acts="encoder.model empty")
        if self.balls.size % self.encoder.patch:
            raise UserError(
                f"balls.size = {self.balls.size}: allowed: multiples of encoder.patch = {self.encoder.patch}"
            )


_SMALL_PREDICTOR = PredictorConfig(blocks=3, width=96, heads=2, layer_scale=0.0, action_norm="query", init_std=0.08)
"""Two heads of 48: smaller ones see too few frequencies of a grid of 4 x 4."""
_SMALL_DINO_WM = DinoWMConfig(depth=3, heads=4, head_dim=24, mlp_width=192, dropout=0.0)


def laptop() -> Config:
    """A ball and a wall world at 32 pixels, and an encoder that is trained first; minutes on a CPU."""
    return Config(
        predictor=_SMALL_PREDICTOR,
        dino_wm=_SMALL_DINO_WM,
        planner=PlannerConfig(samples=32, elites=6, iterations=3, horizon=4, deviation=0.8),
    )


def smoke() -> Config:
    """For tests: every part, and nothing is learned."""
    few = TrainingConfig(steps=6, batch_size=4, warmup=2, log_every=2, evaluate_every=3, checkpoint_every=2)
    full = laptop()
    return replace(
        full,
        encoder=EncoderConfig(width=24, blocks=1, heads=2, steps=4, batch_size=8, log_every=2),
        predictor=replace(full.predictor, blocks=2, width=48, heads=1),
        dino_wm=replace(full.dino_wm, depth=1, heads=2, mlp_width=32),
        clips=ClipsConfig(frames=4),
        training=few,
        evaluation=EvaluationConfig(clips=6, horizons=(0.4,), probe_clips=8, probe_updates=5, pairs=4),
        control=ControlConfig(
            video=ClipsConfig(frames=4, longest=0.28),
            video_training=few,
            training=few,
            labelled=6,
            validation=4,
            episodes=3,
            rounds=1,
        ),
        planner=PlannerConfig(samples=6, elites=2, iterations=2, horizon=2, deviation=0.8),
    )


def gpu() -> Config:
    """The Base predictor on features of a loaded DINOv2 with registers, at 224 pixels, with FlexAttention."""
    training = TrainingConfig(
        steps=4000, batch_size=32, gradient_accumulation=4, warmup=500, weight_decay=0.05, evaluate_every=1000
    )
    return Config(
        balls=BallsConfig(size=224, radius=24.0, slowest=35.0, fastest=160.0),
        encoder=EncoderConfig(model="facebook/dinov2-with-registers-base", standardise=False, patch=14),
        predictor=replace(predictor_of_size("base"), attention="flex"),
        clips=ClipsConfig(frames=8),
        training=training,
        control=ControlConfig(
            video_training=replace(training, steps=2000, beta_first=0.1, first_share=0.0),
            training=replace(training, steps=1000, beta_first=0.1, first_share=0.0),
        ),
        planner=PlannerConfig(samples=64, elites=8, iterations=10, deviation=0.8),
        rates=RatesConfig(**dict.fromkeys(RATES_OF_PREDICTORS, 1e-4)),
    )


RATES_OF_PREDICTORS = tuple(name for name in RatesConfig.__dataclass_fields__ if name != "encoder")


def paper(task: str = "video") -> Config:
    """The published setting of a task, on the worlds that are here: the published videos are not public.

    ``video``: the predictor of 1.1 B parameters on video without actions. ``wall`` and ``maze``: the Base predictor,
    fine-tuned to act.
    """
    published = TrainingConfig(
        steps=300_000,
        batch_size=1024,
        warmup=5000,
        rate_floor=1.0,
        beta_first=0.1,
        first_share=0.0,
        weight_decay=0.4,
        clip=0.0,
        evaluate_every=10_000,
        checkpoint_every=5000,
    )
    size = "giant" if task == "video" else "base"
    acting = replace(published, steps=25_000, batch_size=32, warmup=500)
    return Config(
        balls=BallsConfig(size=224, radius=24.0, slowest=35.0, fastest=160.0),
        encoder=EncoderConfig(model="facebook/dinov2-with-registers-base", standardise=False, patch=14),
        predictor=replace(predictor_of_size(size), attention="flex"),
        clips=ClipsConfig(frames=8, longest=1 / 3),
        training=published,
        control=ControlConfig(
            world="maze" if task == "maze" else "wall",
            video=ClipsConfig(frames=8, longest=1 / 3),
            video_training=published,
            training=acting,
            labelled=100_000,
            episodes=512,
        ),
        planner=PlannerConfig(iterations=10),
        rates=RatesConfig(**dict.fromkeys(RATES_OF_PREDICTORS, 1e-4)),
    )
