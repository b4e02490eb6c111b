"""The parts of DINO-world's configuration: models, data, trainings, measurements, planning. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from tenfold.core.errors import UserError


def _at_least(least: float, config: object, *names: str) -> None:
    for name in names:
        if not least <= getattr(config, name) < float("inf"):
            raise UserError(f"{name} = {getattr(config, name)}: allowed: finite numbers from {least} on")


def _above_0(config: object, *names: str) -> None:
    for name in names:
        if not 0 < getattr(config, name) < float("inf"):
            raise UserError(f"{name} = {getattr(config, name)}: allowed: finite numbers above 0")


@dataclass(frozen=True)
class PredictorConfig:
    """Size and options of the predictor; the defaults are those of the re-implementation in deltatok, size Base."""

    blocks: int = 12
    """Number of cross-attention blocks."""
    width: int = 768
    """Width of the predictor."""
    heads: int = 12
    """Attention heads; a head needs at least 6 numbers, and turns more finely with 48 or 64."""
    mlp_ratio: float = 4.0
    """Inner width of the feed-forward layers over the width."""
    layer_scale: float = 1e-5
    """Initial value of the factors on each branch; 0 for no factors."""
    context_proj: bool = True
    """Project the features to the predictor's width once, where the two differ; else every block reads them raw."""
    residual_output: bool = False
    """Predict the change since the last frame, which starts at none: for a camera that stands still."""
    action_norm: Literal["joint", "query"] = "joint"
    """What is normalised in an action block: query and action together, as published, or the query alone."""
    init_std: float = 0.02
    """Deviation of the initial weights; narrow predictors need larger ones to begin to learn."""
    attention: Literal["sdpa", "flex"] = "sdpa"
    """Fused attention with a boolean mask, or FlexAttention, which skips what the mask hides; made for GPUs."""

    def __post_init__(self) -> None:
        """Refuse sizes that no predictor has."""
        _at_least(1, self, "blocks", "width", "heads")
        _above_0(self, "mlp_ratio", "init_std")
        _at_least(0, self, "layer_scale")
        if self.width % self.heads or self.width // self.heads < 6:
            raise UserError(
                f"heads = {self.heads}: allowed: divisors of width = {self.width} with heads of at least 6 numbers"
            )


SIZES = {
    "tiny": (4, 192, 6),
    "small": (6, 384, 6),
    "base": (12, 768, 12),
    "large": (24, 1024, 16),
    "giant": (40, 1536, 24),
}
"""Blocks, width and heads; Base, Large and Giant are the paper's ablation, Giant its model."""


def predictor_of_size(size: str) -> PredictorConfig:
    """The predictor of one of :data:`SIZES`.

    Example:
        >>> predictor_of_size("giant").blocks
        40
    """
    if size not in SIZES:
        raise UserError(f"size = {size}: allowed: {', '.join(SIZES)}")
    blocks, width, heads = SIZES[size]
    return PredictorConfig(blocks=blocks, width=width, heads=heads)


@dataclass(frozen=True)
class DinoWMConfig:
    """DINO-WM's predictor; the defaults are those of its code."""

    depth: int = 6
    """Number of transformer layers."""
    heads: int = 16
    """Attention heads."""
    head_dim: int = 64
    """Size of an attention head."""
    mlp_width: int = 2048
    """Inner width of the feed-forward layers."""
    history: int = 3
    """Most frames that the predictor sees."""
    action_embedding: int = 10
    """Numbers that an action is embedded in and that join every patch token."""
    dropout: float = 0.1
    """Dropout in the attention's output and the feed-forward layers."""

    def __post_init__(self) -> None:
        """Refuse sizes that no predictor has."""
        _at_least(1, self, "depth", "heads", "head_dim", "mlp_width", "history", "action_embedding")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout = {self.dropout:g}: allowed: from 0 to below 1")


@dataclass(frozen=True)
class EncoderConfig:
    """The frozen image encoder: one that is loaded, or a small one that is trained on single pictures first."""

    model: str = ""
    """A vision transformer of the hub or a folder; empty for the small encoder, which the following fields describe."""
    standardise: bool = True
    """Give each feature mean 0 and deviation 1 on frames of its world; the published encoder's are left as they are."""
    width: int = 48
    """Small encoder: width of its features."""
    blocks: int = 3
    """Small encoder: number of transformer blocks."""
    heads: int = 4
    """Small encoder: attention heads."""
    patch: int = 8
    """Side of a patch, in pixels; for a loaded encoder, the one it has."""
    registers: int = 2
    """Small encoder: register tokens, which are dropped from the features, as the class token is."""
    mask_share: float = 0.6
    """Small encoder: share of the patches that it learns to fill in."""
    steps: int = 120
    """Small encoder: optimizer steps of its training."""
    batch_size: int = 128
    """Small encoder: pictures in a training step."""
    log_every: int = 20
    """Small encoder: steps between logged losses."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(1, self, "width", "blocks", "heads", "patch", "steps", "batch_size", "log_every")
        _at_least(0, self, "registers")
        if not 0 < self.mask_share < 1:
            raise UserError(f"mask_share = {self.mask_share:g}: allowed: between 0 and 1")


@dataclass(frozen=True)
class ClipsConfig:
    """Which frames of a video a clip takes."""

    frames: int = 6
    """Number of frames in a clip."""
    shortest: float = 1 / 25
    """Least gap between two frames of a clip, in seconds."""
    longest: float = 0.65
    """Largest gap between two frames of a clip, in seconds; one call can foresee no farther."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(2, self, "frames")
        _above_0(self, "shortest", "longest")
        if self.shortest > self.longest:
            raise UserError(f"shortest = {self.shortest:g}: allowed: up to longest = {self.longest:g}")


@dataclass(frozen=True)
class TrainingConfig:
    """A training of a predictor; its learning rate is that of the arm."""

    steps: int = 1000
    """Optimizer steps."""
    batch_size: int = 16
    """Clips in a training step."""
    gradient_accumulation: int = 1
    """Pieces that a process splits its part of the clips of a step into."""
    warmup: int = 50
    """Steps in which the learning rate rises."""
    rate_floor: float = 0.02
    """Share of the learning rate that the cosine leaves in the end; 1 for a constant rate."""
    beta_first: float = 1.0
    """Beta of smooth-L1 in the first steps: errors below it count squared, so that the mean is foreseen."""
    beta_last: float = 0.1
    """Beta of smooth-L1 in the remaining steps, as published."""
    first_share: float = 0.6
    """Share of the steps with the first beta."""
    weight_decay: float = 0.05
    """Decoupled weight decay, on matrices."""
    clip: float = 1.0
    """Largest norm of a gradient; 0 for no clipping."""
    log_every: int = 20
    """Steps between logged losses."""
    evaluate_every: int = 200
    """Steps between measurements on held-out clips; 0 for the end only."""
    checkpoint_every: int = 400
    """Steps between checkpoints; 0 for the end only."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(1, self, "steps", "batch_size", "log_every")
        _at_least(0, self, "warmup", "weight_decay", "clip", "evaluate_every", "checkpoint_every")
        _above_0(self, "beta_first", "beta_last")
        for name in ("rate_floor", "first_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} = {getattr(self, name):g}: allowed: from 0 to 1")


@dataclass(frozen=True)
class BallsConfig:
    """Videos of a ball between elastic walls, drawn afresh for each clip."""

    size: int = 32
    """Pixels of a frame's side."""
    radius: float = 3.4
    """Radius of the ball, in pixels."""
    slowest: float = 5.0
    """Least speed of the ball, in pixels a second."""
    fastest: float = 23.0
    """Largest speed of the ball, in pixels a second."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(8, self, "size")
        _above_0(self, "radius", "fastest")
        _at_least(0, self, "slowest")
        if 2 * self.radius >= self.size or self.slowest > self.fastest:
            raise UserError(
                f"radius = {self.radius:g}, slowest = {self.slowest:g}: allowed: below half of size = {self.size}, and "
                f"up to fastest = {self.fastest:g}"
            )


@dataclass(frozen=True)
class EvaluationConfig:
    """How forecasts and surprise are measured, on clips that no training sees."""

    clips: int = 300
    """Number of held-out clips."""
    context: int = 4
    """Frames that are seen before a forecast, and before each frame whose surprise is measured."""
    spacing: float = 0.2
    """Seconds between two frames, and to the short horizon."""
    ahead: int = 3
    """The mid horizon as a multiple of the spacing: one call, or so many steps of a roll-out."""
    horizons: tuple[float, ...] = (0.1, 0.3, 0.4, 0.5, 0.8)
    """Seconds of further points of the horizon curve."""
    probe_clips: int = 600
    """Clips whose present features the position probe is trained on."""
    probe_updates: int = 800
    """Training steps of the position probe."""
    pairs: int = 200
    """Pairs of a possible and an impossible video, for each kind of event."""
    pair_frames: int = 8
    """Frames of a video of such a pair."""
    pair_spacing: float = 0.12
    """Seconds between two frames of a video of such a pair."""
    event_frame: int = 5
    """Number of the first frame that shows the impossible event."""
    soon_frames: int = 7
    """Frames that the accuracy soon after the event is judged by: so many that copy-last is near chance where the ball
    vanishes, for what moves in the possible video until then weighs as much as the vanishing."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(1, self, "clips", "context", "ahead", "probe_clips", "probe_updates", "pairs", "event_frame")
        _at_least(2, self, "pair_frames")
        _above_0(self, "spacing", "pair_spacing")
        if self.event_frame >= self.pair_frames:
            raise UserError(f"event_frame = {self.event_frame}: allowed: below pair_frames = {self.pair_frames}")
        if not self.event_frame < self.soon_frames <= self.pair_frames:
            raise UserError(
                f"soon_frames = {self.soon_frames}: allowed: above event_frame = {self.event_frame}, up to "
                f"pair_frames = {self.pair_frames}"
            )
        for horizon in self.horizons:
            if not 0 < horizon < float("inf"):
                raise UserError(f"horizons = {self.horizons}: allowed: finite numbers above 0")


@dataclass(frozen=True)
class ControlConfig:
    """Learning to act: video of a world without actions, a few labelled clips, and episodes to plan in."""

    world: Literal["wall", "maze"] = "wall"
    """The world: a wall with a door and a dot that is displaced, or a maze and a dot that is pushed."""
    quality: Literal["random", "smooth", "expert"] = "smooth"
    """Quality of the policy whose recordings are the labelled clips."""
    video: ClipsConfig = field(default_factory=lambda: ClipsConfig(longest=0.28))
    """Which frames the clips of video without actions take."""
    video_training: TrainingConfig = field(default_factory=lambda: TrainingConfig(steps=500))
    """How the predictor is trained on the video without actions."""
    labelled: int = 300
    """Number of clips with actions; they are the same ones for every arm."""
    frames: int = 4
    """Frames of a labelled clip."""
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(steps=400, batch_size=32))
    """How the predictor is trained on the labelled clips."""
    validation: int = 64
    """Further labelled clips, on which the training is watched."""
    context: int = 2
    """Frames that a plan starts from."""
    episodes: int = 100
    """Episodes to plan in: starts, each with a goal that a smooth plan leads to."""
    rounds: int = 2
    """Plans in an episode; each is acted to its end."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(1, self, "labelled", "validation", "context", "episodes", "rounds")
        _at_least(2, self, "frames")


@dataclass(frozen=True)
class PlannerConfig:
    """The cross-entropy method; the published setting is DINO-WM's."""

    samples: int = 300
    """Candidate plans in a round."""
    elites: int = 30
    """Number of the best candidates, which make the next mean."""
    iterations: int = 30
    """Rounds of the search."""
    horizon: int = 5
    """Actions in a plan."""
    deviation: float = 1.0
    """Deviation of the candidates in the first round; actions are cut to [-1, 1]."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(1, self, "samples", "iterations", "horizon")
        _above_0(self, "deviation")
        if not 1 < self.elites <= self.samples:
            raise UserError(f"elites = {self.elites}: allowed: from 2 to samples = {self.samples}")


@dataclass(frozen=True)
class RatesConfig:
    """Learning rates; those of arms from one grid."""

    encoder: float = 3e-3
    """Learning rate of the small encoder."""
    dino_world: float = 3e-3
    """Learning rate of the predictor on balls."""
    early_median: float = 3e-3
    """Learning rate of the predictor that trains with the last beta from the first step on."""
    random_encoder: float = 3e-3
    """Learning rate of the predictor on features of an untrained encoder."""
    dino_wm: float = 1e-3
    """Learning rate of DINO-WM's predictor on balls."""
    video: float = 3e-3
    """Learning rate of the predictor on video of the world that is acted in."""
    scratch: float = 2e-3
    """Learning rate of the training with actions from random weights."""
    action_only: float = 2e-3
    """Learning rate of the training of the action blocks alone."""
    finetune: float = 2e-3
    """Learning rate of the fine-tuning of all weights, from the video model on."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _above_0(self, *(name for name in self.__dataclass_fields__))
