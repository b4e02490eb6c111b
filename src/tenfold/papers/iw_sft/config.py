"""Configuration of the iw-SFT experiments: weights, control task, trainings, language task, and the presets.

:class:`IWSFTConfig` is also what ``IWSFTTrainer`` takes for a language model of one's own. Imports no torch.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from tenfold.core.errors import UserError
from tenfold.papers.iw_sft.sources import SOURCES as SOURCES
from tenfold.papers.iw_sft.sources import TASKS as TASKS
from tenfold.train.settings import LoraSettings, OptimizerSettings, SFTSettings


@dataclass(frozen=True)
class IWSFTConfig:
    """Which weight a kept trajectory or token gets."""

    weight_fn: Literal["iw", "dft", "rwr", "awr", "none"] = "iw"
    """iw: q / reference; dft: each token's own probability; rwr, awr: exp(return or advantage / temperature)."""
    level: Literal["trajectory", "step"] = "trajectory"
    """iw: one weight for a trajectory, or one for each step."""
    log_ratio: Literal["mean", "sum"] = "mean"
    """iw: mean over a trajectory's steps (authors' code) or their sum (theory)."""
    temperature: float = 1.0
    """iw: factor on the log-ratio; the effective exponent is temperature / steps for a mean. rwr, awr: divides."""
    weight_clip: tuple[float, float] | None = None
    """Least and largest weight; none: (0, 16), or (0.2, 1.8) at the level of steps. awr: the largest one counts."""
    normalize: Literal["none", "batch_mean", "batch_sum"] = "batch_mean"
    """Divide the weights by their mean (or sum) over the global batch; none for dft, whose weights are as they are."""
    q_ema: float = 0.0
    """iw: q lags behind the policy: q <- q_ema q + (1 - q_ema) policy after each step; 0 for the policy itself."""
    ref: Literal["initial", "model", "column"] = "initial"
    """Reference: the model before training, another model, or a column ``ref_log_probs`` of the data."""
    quality_column: str | None = None
    """Column with a score >= 0 for each row; none: all rows count alike."""
    quality: Literal["sample", "weight"] = "sample"
    """Scores decide how often a row is drawn, or multiply its loss."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
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

    @property
    def clip(self) -> tuple[float, float]:
        """Least and largest weight.

        Example:
            >>> IWSFTConfig().clip, IWSFTConfig(level="step").clip
            ((0.0, 16.0), (0.2, 1.8))
        """
        return self.weight_clip or {"trajectory": (0.0, 16.0), "step": (0.2, 1.8)}[self.level]


@dataclass(frozen=True)
class ControlConfig:
    """The control task, its data, and what counts as curated."""

    env_id: str = "Pendulum-v1"
    """Gymnasium: the environment; generated data come from it, and policies are tested in it."""
    files: tuple[str, ...] = ()
    """Gymnasium: a D4RL file (.hdf5) or Minari data set (main_data.hdf5) in place of generated data."""
    num_trajectories: int = 600
    """Trajectories to generate."""
    percentiles: tuple[float, ...] = (90.0, 95.0, 98.0)
    """Gymnasium: kept are returns from each percentile on, concatenated, so that the best are there several times."""
    score_low: float | None = None
    """Return that scores 0; none: the mean return of the worst generated behaviour."""
    score_high: float | None = None
    """Return that scores 1; none: the mean return of the best generated behaviour."""
    num_test: int = 10_000
    """Test episodes."""
    num_validation: int = 2000
    """Validation episodes for curves and for choosing rates, with a noise of their own."""
    sample_actions: bool = True
    """Test with sampled actions; else with the mean."""


@dataclass(frozen=True)
class PolicyConfig:
    """Networks of the control task."""

    kind: Literal["mixture", "gaussian"] = "mixture"
    """Mixture of Gaussians given the state; or one with a tanh mean and free deviation, as in the authors' code."""
    num_components: int = 2
    """Gaussians of the mixture."""
    hidden_size: int = 64
    """Width of the hidden layers: tanh in the mixture, ReLU in the authors' policy and in values."""
    layers: int = 2
    """Hidden layers."""


@dataclass(frozen=True)
class StageConfig:
    """One training of the control studies; the language study has ``SFTSettings``."""

    steps: int
    """Optimizer steps."""
    batch_size: int
    """Global batch, in trajectories."""
    warmup_steps: int = 0
    """Linear warm-up."""
    rate_floor: float = 1.0
    """Final fraction of the rate after a cosine; 1 keeps it constant."""
    log_every: int = 20
    """Steps between logged training metrics."""
    evaluate_every: int = 100
    """Steps between evaluations on validation episodes."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""


@dataclass(frozen=True)
class RatesConfig:
    """Learning rates: one of stage 1, and one of the second training of each arm, chosen over one grid."""

    cloning: float = 1e-3
    """Stage 1, which all arms share."""
    bc: float = 5e-4
    """Cloning all trajectories for longer."""
    sft: float = 5e-4
    """Plain fine-tuning on the kept trajectories."""
    iw_sft: float = 5e-4
    """iw-SFT."""
    iw_sft_mean: float = 5e-4
    """iw-SFT with the mean ratio at temperature 1."""
    sft_quality: float = 5e-4
    """Fine-tuning with trajectories drawn by quality."""
    iw_sft_quality: float = 5e-4
    """iw-SFT with trajectories drawn by quality."""
    awr: float = 5e-4
    """Advantage-weighted regression on all trajectories."""
    iql: float = 5e-4
    """Implicit Q-learning: the policy's extraction on all trajectories."""


@dataclass(frozen=True)
class BaselinesConfig:
    """Settings that only AWR and IQL have."""

    value_steps: int = 600
    """Steps of training the values before the policy."""
    value_rate: float = 3e-3
    """Their learning rate."""
    expectile: float = 0.7
    """IQL: of the regression of V on Q."""
    discount: float = 1.0
    """IQL."""
    target_decay: float = 0.9
    """IQL: decay of the average of Q that V is regressed on."""
    awr_temperature: float = 0.2
    """exp(advantage / temperature), advantages in units of the returns' standard deviation."""
    largest_weight: float = 20.0
    """Where those weights are cut."""


@dataclass(frozen=True)
class LanguageConfig:
    """The language task: generated sums with worked solutions of mixed quality, or files of one's own."""

    cloning: SFTSettings = field(default_factory=lambda: SFTSettings(steps=0))
    """Stage 1: all traces; no steps: the model as it is."""
    fine_tuning: SFTSettings = field(default_factory=SFTSettings)
    """Stage 2: the curated ones. Learning rates of both stages are those of ``rates``."""
    model: str = "tiny"
    """tiny: a transformer over characters, from scratch; else what load_policy takes, such as smollm2-135m."""
    width: int = 96
    """Tiny: width."""
    layers: int = 3
    """Tiny: blocks."""
    train_file: str = ""
    """JSON lines with prompt, completion and perhaps quality; empty: generated sums."""
    test_file: str = ""
    """JSON lines with prompt and answer; empty: generated sums."""
    num_traces: int = 2000
    """Generated solutions to learn from."""
    num_test: int = 500
    """Held-out problems; generated ones share no problem with the training part."""
    digits: int = 2
    """Digits of the summands."""
    sloppy_share: float = 0.5
    """Share of the solutions that guess in place of working; wrong half of the time."""
    max_new_tokens: int = 32
    """Tokens of an answer."""


@dataclass(frozen=True)
class Config:
    """One iw-SFT experiment."""

    cloning: StageConfig = StageConfig(600, 64)
    """Control, stage 1: all trajectories."""
    fine_tuning: StageConfig = StageConfig(400, 64)
    """Control, stage 2: the curated ones."""
    study: Literal["two_route", "gymnasium", "language"] = "two_route"
    """Two routes to a goal; a Gymnasium environment; or solutions in text."""
    weighting: IWSFTConfig = field(default_factory=IWSFTConfig)
    """iw-SFT's weights; the other arms change one thing each."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rates."""
    control: ControlConfig = field(default_factory=ControlConfig)
    """Task and data of the control studies."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """Networks of the control studies."""
    baselines: BaselinesConfig = field(default_factory=BaselinesConfig)
    """AWR and IQL."""
    language: LanguageConfig = field(default_factory=LanguageConfig)
    """The language study."""


def smoke() -> Config:
    """The two-route task in seconds: shows that everything runs."""
    full = laptop()
    return replace(
        full,
        cloning=replace(full.cloning, steps=40, log_every=10, evaluate_every=20, checkpoint_every=10),
        fine_tuning=replace(full.fine_tuning, steps=20, log_every=5, evaluate_every=10, checkpoint_every=5),
        control=replace(full.control, num_trajectories=200, num_test=200, num_validation=100),
        policy=replace(full.policy, hidden_size=16),
        baselines=replace(full.baselines, value_steps=20),
        language=replace(
            full.language,
            cloning=replace(full.language.cloning, steps=20),
            fine_tuning=replace(full.language.fine_tuning, steps=10),
            width=16,
            layers=1,
            num_traces=100,
            num_test=20,
        ),
    )


def laptop() -> Config:
    """The two-route task: 600 trajectories, a mixture policy, exponent 1 (temperature 20 on a mean of 20 steps).

    Rates: ``tenfold tune iw_sft`` gave the second training of every arm 2.5e-4, 5e-4, 1e-3 and 2e-3, on the validation
    episodes of seed 1000. An arm has 5e-4 unless another rate was better by more than 0.02, which is the spread of
    one rate over seeds: only AWR's 1e-3 was (0.841 against 0.803). iw_sft, iw_sft_quality and iql scored 0.999 or more
    with every rate.

    With ``--study language`` a transformer of 0.1M parameters learns sums from scratch; its rates were not tuned.
    """
    texts = SFTSettings(steps=600, batch_size=32, max_length=48)
    return Config(
        cloning=StageConfig(steps=600, batch_size=64),
        fine_tuning=StageConfig(steps=400, batch_size=64, evaluate_every=50),
        weighting=IWSFTConfig(temperature=20.0, q_ema=0.99),
        rates=RatesConfig(awr=1e-3),
        language=LanguageConfig(cloning=texts, fine_tuning=replace(texts, steps=200), width=64, layers=2),
    )


def gpu() -> Config:
    """Sums with worked solutions by SmolLM2-135M with LoRA on one GPU; untimed.

    Temperature 20 on a mean of about 40 tokens is an exponent of about 0.5.
    """
    settings = SFTSettings(
        steps=300,
        batch_size=32,
        max_length=128,
        optimizer=OptimizerSettings(schedule="cosine", warmup_fraction=0.05, beta2=0.95),
        lora=LoraSettings(rank=16, alpha=32.0),
        checkpoint_every=100,
    )
    return Config(
        study="language",
        weighting=IWSFTConfig(temperature=20.0),
        rates=RatesConfig(*[5e-4] * 9),
        language=LanguageConfig(settings, settings, model="smollm2-135m", digits=3, max_new_tokens=64),
    )


def paper(task: str = "s1k") -> Config:
    """The published setting of a task; every value has its source in ``SOURCES``."""
    if task not in TASKS:
        raise UserError(f"task = {task!r}: must be one of {', '.join(TASKS)}")
    return _s1k() if task == "s1k" else _d4rl()


def _s1k() -> Config:
    """Qwen2.5-32B-Instruct on s1K-1.1: 1,000 rows, batch 8, 5 epochs; no stage 1."""
    settings = SFTSettings(
        steps=0,
        epochs=5.0,
        batch_size=8,
        max_length=22_000,
        mixed_precision="bf16",
        gradient_checkpointing=True,
        optimizer=OptimizerSettings(
            learning_rate=1e-5, schedule="cosine", warmup_fraction=0.05, weight_decay=1e-4, beta2=0.95
        ),
        log_every=1,
        checkpoint_every=125,
    )
    return Config(
        study="language",
        weighting=IWSFTConfig(weight_clip=(0.0, 16.0), normalize="none"),
        rates=RatesConfig(*[1e-5] * 9),
        language=LanguageConfig(
            fine_tuning=settings,
            model="Qwen/Qwen2.5-32B-Instruct",
            train_file="s1k-1.1.jsonl",
            test_file="aime24.jsonl",
            num_traces=1000,
            num_test=30,
            max_new_tokens=32_768,
        ),
    )


def _d4rl() -> Config:
    """A D4RL v2 medium-replay data set, the authors' networks and stages."""
    return Config(
        study="gymnasium",
        cloning=StageConfig(steps=10_000, batch_size=128, evaluate_every=1000, checkpoint_every=1000),
        fine_tuning=StageConfig(
            steps=2000, batch_size=256, warmup_steps=300, rate_floor=0.0, evaluate_every=200, checkpoint_every=500
        ),
        weighting=IWSFTConfig(temperature=10.0, weight_clip=(0.0, 1000.0), normalize="batch_sum", q_ema=0.9),
        rates=RatesConfig(1e-3, *[4e-5] * 8),
        control=ControlConfig(
            env_id="HalfCheetah-v5",
            files=("halfcheetah_medium_replay-v2.hdf5",),
            score_low=0.0,
            score_high=1.0,
            num_test=100,
            num_validation=10,
            sample_actions=False,
        ),
        policy=PolicyConfig(kind="gaussian", hidden_size=256, layers=3),
        baselines=BaselinesConfig(value_steps=10_000, value_rate=3e-4, discount=0.99, target_decay=0.995),
    )
