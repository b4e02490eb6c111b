"""An arm as data: what its second training learns from, with which weights, and at which of the learning rates.

Stage 1 is the same in every arm, so that this is all in which arms differ.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from tenfold.papers.iw_sft.config import ExtractionConfig, IWSFTConfig
from tenfold.papers.iw_sft.method import effective_exponent

QUALITY = "quality"
"""The column that holds it."""

RATES = (2.5e-4, 5e-4, 1e-3, 2e-3)
"""What every arm's second training has to choose from."""

WeightsOf = Callable[[IWSFTConfig, ExtractionConfig], IWSFTConfig]
"""The weights of an arm, from those that the configuration names."""


def without_weights(chosen: IWSFTConfig, extraction: ExtractionConfig) -> IWSFTConfig:
    """Every row counts alike: SFT, or cloning."""
    return IWSFTConfig(weight_fn="none")


def as_chosen(chosen: IWSFTConfig, extraction: ExtractionConfig) -> IWSFTConfig:
    """The configuration's own: iw-SFT."""
    return chosen


def mean_at_temperature_1(chosen: IWSFTConfig, extraction: ExtractionConfig) -> IWSFTConfig:
    """The exponent of the authors' code for language models: 1 / steps."""
    return replace(chosen, log_ratio="mean", temperature=1.0)


def by_advantage(chosen: IWSFTConfig, extraction: ExtractionConfig) -> IWSFTConfig:
    """Those that extract a policy from advantages."""
    clip = (0.0, extraction.largest_weight)
    return IWSFTConfig(weight_fn="awr", temperature=extraction.awr_temperature, weight_clip=clip)


@dataclass(frozen=True)
class Arm:
    """One arm.

    Args:
        text: what it is, in a sentence.
        rate: field of the configuration's ``rates`` with the learning rate of its second training.
        weights: of its second training.
        learns_from: the trajectories (or solutions) that are kept, or all of them.
        by_quality: whether rows are drawn, or weighted, by a graded quality.
        advantages: what makes the advantage of every step, in a training of its own.
    """

    text: str
    rate: str
    weights: WeightsOf
    learns_from: Literal["kept", "all"] = "kept"
    by_quality: bool = False
    advantages: Callable[..., Tensor] | None = None


def grid_of(arms: Mapping[str, Arm]) -> dict[str, tuple[float, ...]]:
    """The same rates for each arm, as ``tenfold tune`` takes them."""
    return {f"rates.{arm.rate}": RATES for arm in arms.values()}


def weighting(arm: Arm, chosen: IWSFTConfig, extraction: ExtractionConfig) -> IWSFTConfig:
    """The scientific difference between the arms.

    Args:
        arm: which.
        chosen: the configuration's weights.
        extraction: the configuration's weights by advantage.

    Example:
        >>> sft_quality = Arm("drawn by quality", "sft_quality", without_weights, by_quality=True)
        >>> found = weighting(sft_quality, IWSFTConfig(temperature=20.0), ExtractionConfig())
        >>> found.weight_fn, found.quality_column
        ('none', 'quality')
    """
    weights = arm.weights(chosen, extraction)
    if arm.by_quality:
        return replace(weights, quality_column=QUALITY, quality=chosen.quality)
    return replace(weights, quality="sample")


def exponent(weights: IWSFTConfig, num_steps: float) -> float:
    """The exponent on q / reference of a trajectory of so many steps; 0 for weights of another kind.

    Example:
        >>> exponent(IWSFTConfig(temperature=20.0), 40), exponent(IWSFTConfig(weight_fn="none"), 40)
        (0.5, 0.0)
    """
    if weights.weight_fn != "iw":
        return 0.0
    log_ratio = "sum" if weights.level == "step" else weights.log_ratio
    return effective_exponent(log_ratio, weights.temperature, num_steps)
