"""Configuration of DINO-world. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from tenfold.core.errors import UserError


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
        for name in ("blocks", "width", "heads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: allowed: at least 1")
        if self.width % self.heads or self.width // self.heads < 6:
            raise UserError(
                f"heads = {self.heads}: allowed: divisors of width = {self.width} with heads of at least 6 numbers"
            )
        if self.mlp_ratio <= 0 or self.layer_scale < 0:
            raise UserError(
                f"mlp_ratio = {self.mlp_ratio:g}, layer_scale = {self.layer_scale:g}: allowed: above 0, and from 0 on"
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
        for name in ("depth", "heads", "head_dim", "mlp_width", "history", "action_embedding"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: allowed: at least 1")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout = {self.dropout:g}: allowed: from 0 to below 1")
