"""Configuration of DINO-world: fields, presets, and the source of every published value. Imports no torch."""

from dataclasses import dataclass
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
    """Cross-attention blocks."""
    width: int = 768
    """Of the predictor."""
    heads: int = 12
    """Of the attention; a head needs at least 6 numbers, and turns more finely with 48 or 64."""
    mlp_ratio: float = 4.0
    """Inner width of the feed-forward layers over the width."""
    layer_scale: float = 1e-5
    """Start of the factors on each branch; 0 for no factors."""
    context_proj: bool = True
    """Project the features to the predictor's width once, where the two differ; else every block reads them raw."""
    residual_output: bool = False
    """Predict the change since the last frame, which starts at none: for a camera that stands still."""
    attention: Literal["sdpa", "flex"] = "sdpa"
    """Fused attention with a boolean mask, or FlexAttention, which skips what the mask hides; made for GPUs."""

    def __post_init__(self) -> None:
        """Refuse sizes that no predictor has."""
        _at_least(1, self, "blocks", "width", "heads")
        _above_0(self, "mlp_ratio")
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
    """Transformer layers."""
    heads: int = 16
    """Of the attention."""
    head_dim: int = 64
    """Size of a head."""
    mlp_width: int = 2048
    """Inner width of the feed-forward layers."""
    history: int = 3
    """Most frames that are seen."""
    action_embedding: int = 10
    """Numbers that an action is embedded in and that join every patch token."""
    dropout: float = 0.1
    """In attention output and feed-forward layers."""

    def __post_init__(self) -> None:
        """Refuse sizes that no predictor has."""
        _at_least(1, self, "depth", "heads", "head_dim", "mlp_width", "history", "action_embedding")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout = {self.dropout:g}: allowed: from 0 to below 1")


@dataclass(frozen=True)
class EncoderConfig:
    """The frozen image encoder: one that is loaded, or a small one that is trained on single pictures first."""

    width: int = 48
    """Of the small encoder's features."""
    blocks: int = 3
    """Its transformer blocks."""
    heads: int = 4
    """Of its attention."""
    patch: int = 8
    """Its patches, in pixels."""
    registers: int = 2
    """Its register tokens, which are dropped from the features, as its class token is."""
    mask_share: float = 0.6
    """Of the patches that it learns to fill in."""
    steps: int = 120
    """Optimizer steps of its training."""
    batch_size: int = 128
    """Pictures of a step."""
    log_every: int = 20
    """Steps between logged losses."""

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
    """Frames of a clip."""
    shortest: float = 1 / 25
    """Least gap between two of them, in seconds."""
    longest: float = 0.65
    """Largest gap, in seconds; what is to be foreseen by one call must not be farther."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _at_least(2, self, "frames")
        _above_0(self, "shortest", "longest")
        if self.shortest > self.longest:
            raise UserError(f"shortest = {self.shortest:g}: allowed: up to longest = {self.longest:g}")


@dataclass(frozen=True)
class TrainingConfig:
    """A training of a predictor; its learning rate is that of the arm."""

    steps: int = 1200
    """Optimizer steps."""
    batch_size: int = 16
    """Clips of a step."""
    warmup: int = 50
    """First part of the steps, in which the rate rises."""
    rate_floor: float = 0.02
    """What the cosine leaves of the rate in the end; 1 for a constant rate."""
    beta_first: float = 1.0
    """Of smooth-L1 in the first part: errors below it count squared, so that the mean is foreseen."""
    beta_last: float = 0.1
    """Of smooth-L1 in the rest, as published."""
    first_share: float = 0.6
    """Share of the steps with the first beta."""
    weight_decay: float = 0.05
    """Decoupled, on matrices."""
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
