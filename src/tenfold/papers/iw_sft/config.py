"""What the studies of iw-SFT set: weights for all; stages, networks and baselines for the control studies.

:class:`IWSFTConfig` is also what ``IWSFTTrainer`` takes for a language model of one's own. Imports no torch.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError

LossOver = Literal["steps", "trajectories"]

_IDLE = {
    "iw": (),
    "dft": ("level", "temperature", "weight_clip", "ref"),
    "rwr": ("level", "weight_clip", "q_ema", "ref"),
    "awr": ("level", "q_ema", "ref"),
    "none": ("level", "temperature", "weight_clip", "normalize", "q_ema", "ref"),
}


@dataclass(frozen=True)
class IWSFTConfig:
    """Which weight a kept trajectory or token gets."""

    weight_fn: Literal["iw", "dft", "rwr", "awr", "none"] = "iw"
    """What the weights are. iw: q / reference; dft: each token's own probability; rwr, awr: exp(return or advantage /
    temperature)."""
    level: Literal["trajectory", "step"] = "trajectory"
    """iw: one weight for a trajectory, or one for each step."""
    log_ratio: Literal["mean", "sum"] | None = None
    """iw: take the mean of the log-ratio over a trajectory's steps (authors' code), or the sum (theory). To be chosen,
    except for weights of single steps: at temperature 1 a mean is hardly a weight, see temperature."""
    temperature: float = 1.0
    """iw: factor on the log-ratio; for a mean the effective exponent is temperature / steps. rwr, awr: divides the
    return or the advantage."""
    weight_clip: tuple[float, float] | None = None
    """Least and largest weight. none: (0, 16), or (0.2, 1.8) for weights of single steps. awr: the least one is 0."""
    normalize: Literal["none", "batch_mean", "batch_sum"] = "batch_mean"
    """Divide the weights by their mean (or sum) over the global batch; none for dft, whose weights are as they are."""
    q_ema: float = 0.0
    """iw: share of the old q that stays in q <- q_ema q + (1 - q_ema) policy after each step; 0 makes q the policy
    itself."""
    ref: Literal["initial", "model", "column"] = "initial"
    """iw: what the reference is: the model before training, another model, or a column ``ref_log_probs`` of the
    data."""
    quality_column: str | None = None
    """Name of the column with a quality score >= 0 for each row; none: all rows count alike."""
    quality: Literal["sample", "weight"] = "sample"
    """Whether the quality score of a row decides how often it is drawn, or multiplies its loss."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, and what does nothing beside the weight that is chosen."""
        low, high = self.clip
        if not 0 <= low < high:
            raise UserError(f"weight_clip = {self.weight_clip}: allowed: two numbers with 0 <= least < largest")
        if not 0 <= self.q_ema < 1:
            raise UserError(f"q_ema = {self.q_ema}: allowed: from 0 to below 1")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UserError(f"temperature = {self.temperature}: allowed: finite and above 0")
        if self.weight_fn == "dft" and (self.normalize, self.q_ema) != ("none", 0.0):
            raise UserError(
                f"weight_fn = dft with normalize = {self.normalize}, q_ema = {self.q_ema}: DFT's weight is the trained "
                "policy's own probability as it is; allowed: normalize = none, q_ema = 0"
            )
        refuse_idle(self, _IDLE[self.weight_fn], acts="weight_fn = iw (in a study: weighting.weight_fn)")
        if self.log_ratio is not None and (self.weight_fn, self.level) != ("iw", "trajectory"):
            raise UserError(
                f"log_ratio = {self.log_ratio} with weight_fn = {self.weight_fn}, level = {self.level}: does not act "
                "here; allowed: None (in a study: --weighting.log-ratio None)"
            )
        if self.weight_fn == "awr" and low:
            raise UserError(
                f"weight_clip = {self.weight_clip}: awr has no least weight; allowed: 0 as the first number"
            )

    @property
    def clip(self) -> tuple[float, float]:
        """Least and largest weight.

        Example:
            >>> IWSFTConfig().clip, IWSFTConfig(level="step").clip
            ((0.0, 16.0), (0.2, 1.8))
        """
        return self.weight_clip or {"trajectory": (0.0, 16.0), "step": (0.2, 1.8)}[self.level]

    def require_log_ratio(self) -> None:
        """Refuse weights of trajectories that leave open the most important choice: the exponent on q / reference.

        Raises:
            UserError: with what each choice means.
        """
        if self.weight_fn == "iw" and self.level == "trajectory" and self.log_ratio is None:
            raise UserError(
                "log_ratio = None: iw-SFT needs a choice; allowed: sum, which at temperature 1 is the weight "
                "q / reference of the theory; or mean, as in the authors' code, whose exponent temperature / tokens is "
                "next to plain SFT at temperature 1 (in a study and in tenfold train: weighting.log_ratio, with "
                "weighting.temperature)"
            )


@dataclass(frozen=True)
class RatesConfig:
    """Learning rates: one of stage 1, and one of the second training of each arm, chosen over one grid."""

    cloning: float = 1e-3
    """Learning rate of stage 1, which all arms share."""
    bc: float = 5e-4
    """Learning rate of stage 2 of the arm bc, which clones everything for longer."""
    sft: float = 5e-4
    """Learning rate of stage 2 of the arm sft, plain fine-tuning on what is kept."""
    iw_sft: float = 5e-4
    """Learning rate of stage 2 of the arm iw_sft."""
    iw_sft_mean: float = 5e-4
    """Learning rate of stage 2 of the arm iw_sft_mean, iw-SFT with the mean ratio at temperature 1."""
    sft_quality: float = 5e-4
    """Learning rate of stage 2 of the arm sft_quality, plain fine-tuning by quality."""
    iw_sft_quality: float = 5e-4
    """Learning rate of stage 2 of the arm iw_sft_quality, iw-SFT by quality."""
    awr: float = 5e-4
    """Learning rate of stage 2 of the arm awr, advantage-weighted regression on everything."""


@dataclass(frozen=True)
class ExtractionConfig:
    """The weights by which a policy is extracted from advantages."""

    awr_temperature: float = 0.2
    """What divides the advantage in exp(advantage / temperature); control: advantages are in units of the returns'
    standard deviation."""
    largest_weight: float = 20.0
    """Largest weight exp(advantage / temperature); larger ones are cut to it."""


# ------------------------------------------------------------------------------------------- the control studies alone


@dataclass(frozen=True)
class StageConfig:
    """One stage of training of a control study."""

    steps: int
    """Optimizer steps."""
    batch_size: int
    """Trajectories of a step, over all processes."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly."""
    rate_floor: float = 1.0
    """Fraction of the learning rate that a cosine ends at; 1 keeps the rate constant."""
    log_every: int = 20
    """Optimizer steps between logged training metrics."""
    evaluate_every: int = 100
    """Optimizer steps between evaluations on validation episodes; 0 for the end only."""
    checkpoint_every: int = 200
    """Optimizer steps between checkpoints."""


@dataclass(frozen=True)
class NetworkConfig:
    """The policy of a control study; values have networks of the same size."""

    kind: Literal["mixture", "gaussian"] = "mixture"
    """Distribution of an action given the state: a mixture of Gaussians, or one Gaussian with a tanh mean and free
    deviation, as in the authors' code."""
    num_components: int = 2
    """Number of Gaussians in the mixture."""
    hidden_size: int = 64
    """Width of the hidden layers: tanh in the mixture, ReLU in the authors' policy and in values."""
    layers: int = 2
    """Number of hidden layers."""


@dataclass(frozen=True)
class ControlRatesConfig(RatesConfig):
    """Learning rates of the arms of the control studies, iql among them, which needs rewards step by step."""

    iql: float = 5e-4
    """Learning rate of stage 2 of the arm iql, which extracts the policy from all trajectories."""


@dataclass(frozen=True)
class BaselinesConfig(ExtractionConfig):
    """Settings that only AWR and IQL have."""

    value_steps: int = 600
    """Optimizer steps of training the values, before the policy."""
    value_rate: float = 3e-3
    """Learning rate of training the values."""
    expectile: float = 0.7
    """IQL: expectile of the regression of V on Q."""
    discount: float = 1.0
    """IQL: discount of later rewards, for each step."""
    target_decay: float = 0.9
    """IQL: decay of the average of Q that V is regressed on."""


@dataclass(frozen=True)
class ControlConfig:
    """What both control studies set."""

    cloning: StageConfig = StageConfig(600, 64)
    """Stage 1: cloning of all trajectories."""
    fine_tuning: StageConfig = StageConfig(400, 64)
    """Stage 2: fine-tuning on the kept trajectories."""
    loss_over: LossOver = "steps"
    """What the loss of both stages is a mean over. steps: all steps of the batch, so that a long trajectory counts for
    more. trajectories: each trajectory's mean over its own steps counts alike (authors' code)."""
    weighting: IWSFTConfig = field(default_factory=lambda: IWSFTConfig(log_ratio="sum"))
    """Weights of iw-SFT; each of the other arms changes one thing about them."""
    rates: ControlRatesConfig = field(default_factory=ControlRatesConfig)
    """Learning rates of both stages."""
    policy: NetworkConfig = field(default_factory=NetworkConfig)
    """Networks of the policy; values have networks of the same size."""
    baselines: BaselinesConfig = field(default_factory=BaselinesConfig)
    """Settings of AWR and IQL."""

    def __post_init__(self) -> None:
        """Refuse weights that these arms don't have, and what the arms decide."""
        if self.policy.kind == "gaussian":
            refuse_idle(self, ("policy.num_components",), acts="policy.kind = mixture")
        require_weights(self.weighting, ("iw", "dft", "rwr"))
        self.weighting.require_log_ratio()
        if self.weighting.ref != "initial":
            raise UserError(
                f"weighting.ref = {self.weighting.ref}: does not act here; the reference is the policy after stage 1; "
                "allowed: initial"
            )


def require_weights(weighting: IWSFTConfig, allowed: tuple[str, ...]) -> None:
    """Refuse weights under which an arm of iw-SFT would be another one, in the configuration of a study.

    Args:
        weighting: the field ``weighting`` of the study.
        allowed: the values of ``weight_fn``.

    Raises:
        UserError: for another weight, or a column of quality, which the arms choose.
    """
    if weighting.weight_fn not in allowed:
        raise UserError(
            f"weighting.weight_fn = {weighting.weight_fn}: the arms sft and awr have those weights; allowed: "
            f"{', '.join(allowed)}"
        )
    if weighting.quality_column is not None:
        raise UserError(
            f"weighting.quality_column = {weighting.quality_column}: does not act here; only the arms sft_quality and "
            "iw_sft_quality use quality"
        )
