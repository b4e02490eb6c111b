"""An arm as data: what its second training learns from, with which weights, and at which of the learning rates.

Stage 1 is the same in every arm, so that this is all in which arms differ.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from tenfold.papers.iw_sft.config import ExtractionConfig, IWSFTConfig
from tenfold.papers.iw_sft.method import effective_exponent

QUALITY = "quality"
"""The column that holds it."""

WEAK_EXPONENT = 0.1
"""Below it weights are so close to 1 that the training is one of SFT."""

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
    return replace(chosen, weight_fn="iw", level="trajectory", log_ratio="mean", temperature=1.0)


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
        >>> found = weighting(sft_quality, IWSFTConfig(log_ratio="sum"), ExtractionConfig())
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
        >>> exponent(IWSFTConfig(log_ratio="mean", temperature=20.0), 40), exponent(IWSFTConfig(weight_fn="none"), 40)
        (0.5, 0.0)
    """
    if weights.weight_fn != "iw":
        return 0.0
    log_ratio = weights.log_ratio or "sum"  # weights of single steps leave it out: their exponent is the temperature
    return effective_exponent(log_ratio, weights.temperature, num_steps)


def tell_exponent(weights: IWSFTConfig, tokens: float) -> None:
    """Print the effective exponent, and warn where it is so close to 0 that all weights are close to 1.

    Args:
        weights: of iw-SFT; of others there is nothing to tell.
        tokens: of a completion, on average.

    Example:
        >>> tell_exponent(IWSFTConfig(log_ratio="sum"), 500.0)
        effective exponent on q / reference: 1 (completions of 500 tokens on average)
    """
    if weights.weight_fn != "iw":
        return
    found = exponent(weights, tokens)
    print(f"effective exponent on q / reference: {found:.3g} (completions of {tokens:.0f} tokens on average)")
    if found < WEAK_EXPONENT:
        advice = f"a temperature of {tokens:.0f}, or log_ratio = sum at temperature 1,"
        if weights.log_ratio != "mean":
            advice = "a temperature of 1"
        warnings.warn(
            f"temperature = {weights.temperature:g}, log_ratio = {weights.log_ratio}: an effective exponent of "
            f"{found:.3g} makes weights that are close to 1, which is plain SFT; {advice} is the theory's exponent 1",
            stacklevel=2,
        )
