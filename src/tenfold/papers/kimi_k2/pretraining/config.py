"""Configuration of the Kimi K2 experiments (pre-training half): text, two models, four parts, and the presets.

A training (:class:`PartConfig`) whose phases have no steps is left out; what it would measure is then not a number.
Imports no torch.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from tenfold.core.config import leaves, refuse_idle
from tenfold.core.errors import UserError
from tenfold.papers.kimi_k2.pretraining.phases import BATCH_TOKENS, in_steps
from tenfold.papers.kimi_k2.pretraining.sources import SOURCES as SOURCES
from tenfold.papers.kimi_k2.pretraining.sources import TASKS as TASKS

_PARTS = ("dense", "experts", "stress", "calm")
_PHASES = ("warmup_steps", "stable_steps", "decay_steps", "anneal_steps")
_LEAST = (
    ("data", "context", 2),
    ("data", "vocab_size", 2),
    ("data", "validation_windows", 1),
    ("data", "test_windows", 1),
    ("optimization", "gradient_accumulation", 1),
    ("optimization", "log_every", 1),
    ("optimization", "checkpoint_every", 1),
    ("optimization", "ns_steps", 1),
)
"""Group, field and its least value; a context below 2 has nothing to predict."""


@dataclass(frozen=True)
class DataConfig:
    """Which bytes are learned from, in windows that are the same for every arm."""

    source: str = "python"
    """"python" (standard library), "licences", or the path of a file or folder."""
    limit: int = 1_000_000
    """Most bytes to read."""
    held_out: float = 0.1
    """Share of the bytes held out at the end: its first half for curves and rates, its second half for the test."""
    vocab_size: int = 128
    """Number of tokens of both models; a byte that is too large becomes the largest token."""
    context: int = 64
    """Bytes of a window."""
    validation_windows: int = 128
    """Number of windows for curves and for choosing rates."""
    test_windows: int = 512
    """Number of windows that the results are measured on."""


@dataclass(frozen=True)
class DenseModelConfig:
    """The byte-level transformer with ordinary attention."""

    width: int = 128
    """Width of the residual stream."""
    layers: int = 2
    """Number of transformer blocks."""
    heads: int = 4
    """Number of attention heads of a block."""


@dataclass(frozen=True)
class ExpertModelConfig:
    """The model with Kimi K2's structure: multi-head latent attention and a sparse mixture of experts."""

    scale: Literal["tiny", "small", "full"] = "tiny"
    """Size of the model: 0.1 M, 140 M or 1 T parameters, see ``tenfold.models.kimi_k2_config``."""
    bias_rate: float = 1e-3
    """Size u of a step of the routers' biases, which keep the experts balanced."""
    bias_form: Literal["deepseek", "moonlight"] = "moonlight"
    """Form of a step of the routers' biases; moonlight's leaves the sum of the biases as it is."""
    control: bool = True
    """Also train the model of the last arm with u = 0, to see the experts without balance."""


@dataclass(frozen=True)
class PartConfig:
    """One part of an experiment: the phases of its training, its batch, and the learning rate of each arm."""

    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from 0."""
    stable_steps: int = 0
    """Steps at the arm's full learning rate, after the warm-up."""
    decay_steps: int = 0
    """Steps over which the learning rate falls along a cosine to ``decay_floor``."""
    anneal_steps: int = 0
    """Steps over which the learning rate falls linearly to ``anneal_floor``, after the decay."""
    decay_floor: float = 0.1
    """Share of the learning rate that is left at the end of the decay."""
    anneal_floor: float = 0.035
    """Share of the learning rate that is left at the end of the anneal."""
    batch_size: int = 8
    """Windows of a step, over all processes and accumulated pieces."""
    weight_decay: float = 0.1
    """Decoupled weight decay of all parameters, gains of norms included."""
    tau: float = 100.0
    """QK-Clip's threshold on the largest attention logit of a head."""
    adamw_rate: float = 1e-3
    """Learning rate of the arm adamw."""
    muon_rate: float = 1e-2
    """Learning rate of the arm muon, for all its parameters."""
    muonclip_rate: float = 1e-2
    """Learning rate of the arm muonclip, for all its parameters."""

    @property
    def steps(self) -> int:
        """Optimizer steps of all phases."""
        return self.warmup_steps + self.stable_steps + self.decay_steps + self.anneal_steps


@dataclass(frozen=True)
class OptimizationConfig:
    """What all parts and arms share."""

    beta1: float = 0.9
    """AdamW's decay of the first moment, also for what Muon leaves to AdamW."""
    beta2: float = 0.95
    """AdamW's decay of the second moment, also for what Muon leaves to AdamW."""
    momentum: float = 0.95
    """Decay of Muon's momentum."""
    nesterov: bool = True
    """Orthogonalise one step of momentum ahead, as Moonlight's Muon does; otherwise the momentum itself, as in K2's
    text."""
    ns_steps: int = 5
    """Newton–Schulz iterations in a step of Muon."""
    ns_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the Newton–Schulz iterations; auto is bfloat16 where the device multiplies it natively."""
    gradient_accumulation: int = 1
    """Pieces that a process splits its part of a batch into."""
    log_every: int = 10
    """Optimizer steps between logged training metrics; the stress test logs each step."""
    evaluate_every: int = 50
    """Optimizer steps between evaluations on the validation windows; 0 for the end only."""
    checkpoint_every: int = 200
    """Optimizer steps between checkpoints."""


@dataclass(frozen=True)
class Config:
    """One experiment: each arm trains each part."""

    dense: PartConfig
    """Training run of the dense byte model at the arm's best rate."""
    experts: PartConfig
    """Training run of the model with Kimi K2's structure at the arm's best rate, with balanced experts in every arm."""
    stress: PartConfig
    """Training run of the dense byte model at a rate far too high, so that attention logits explode."""
    calm: PartConfig
    """Training run of the dense byte model where nothing explodes, by the arm muonclip with the clip and without it."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which bytes the models are trained on."""
    dense_model: DenseModelConfig = field(default_factory=DenseModelConfig)
    """Model of the parts dense, stress and calm."""
    expert_model: ExpertModelConfig = field(default_factory=ExpertModelConfig)
    """Model of the part experts."""
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    """Settings of the optimizers that all parts and arms share."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be, and what no training uses."""
        for group, name, least in _LEAST:
            value = getattr(getattr(self, group), name)
            if value < least:
                raise UserError(f"{group}.{name} = {value}: must be at least {least}")
        for part in _PARTS:
            self._refuse_in(part)
        refuse_idle(self, ("calm.adamw_rate", "calm.muon_rate"), acts="calm.muonclip_rate, whose arm alone trains it")
        if not (self.dense.steps or self.stress.steps or self.calm.steps):
            refuse_idle(self, ("dense_model",), acts="steps of the parts dense, stress or calm")
        if not self.experts.steps:
            refuse_idle(self, ("expert_model",), acts="steps of the part experts")

    def _refuse_in(self, part: str) -> None:
        """Raise for the first field of a part that cannot be, or that does nothing."""
        training: PartConfig = getattr(self, part)
        for name in _PHASES:
            if getattr(training, name) < 0:
                raise UserError(f"{part}.{name} = {getattr(training, name)}: must not be negative")
        if training.batch_size < 1:
            raise UserError(f"{part}.batch_size = {training.batch_size}: must be at least 1")
        if not training.steps:
            others = [f"{part}.{name}" for name in leaves(training) if name not in _PHASES]
            refuse_idle(self, others, acts=f"a number of steps of {part} first: without any the part is left out")


def smoke() -> Config:
    """A few steps of everything: shows that it runs, proves nothing. Tau is so low that the clip has work to do."""
    short = PartConfig(warmup_steps=4, decay_steps=16, adamw_rate=3e-3)
    return Config(
        dense=short,
        experts=short,
        stress=replace(_stress(steps=20, warmup_steps=4), tau=0.2),
        calm=PartConfig(warmup_steps=4, stable_steps=6, tau=30.0, muonclip_rate=3e-3),
        data=DataConfig(limit=100_000, context=32, validation_windows=16, test_windows=32),
        dense_model=DenseModelConfig(width=32),
        expert_model=ExpertModelConfig(bias_rate=0.01),
        optimization=OptimizationConfig(ns_dtype="float32", log_every=5, evaluate_every=10, checkpoint_every=5),
    )


def laptop() -> Config:
    """Models of 0.4 M and 0.1 M parameters on a megabyte of Python: all arms of one seed in minutes.

    Rates: ``tenfold tune kimi_k2`` gave every arm five rates for each model, on the validation windows with seed 1000:
    AdamW 1e-3, 2e-3, 3e-3, 4e-3, 5e-3; Muon and MuonClip 5e-3, 1e-2, 2e-2, 4e-2, 8e-2. The best of each are here.
    The biases of the routers move by 3e-3: of 1e-2, 3e-3 and 1e-3 it left the lowest load violation with the seeds 1000
    to 1002 (means 0.23, 0.08 and 0.16); 1e-2 is noise on the biases, 1e-3 does not get there in 600 steps.
    Newton-Schulz runs in float32, so that the numbers do not depend on whether the CPU multiplies bfloat16.
    """
    return Config(
        dense=PartConfig(
            warmup_steps=20, decay_steps=480, tau=30.0, adamw_rate=2e-3, muon_rate=1e-2, muonclip_rate=2e-2
        ),
        experts=PartConfig(
            warmup_steps=20, decay_steps=580, tau=30.0, adamw_rate=4e-3, muon_rate=4e-2, muonclip_rate=4e-2
        ),
        stress=_stress(steps=200, warmup_steps=20),
        calm=PartConfig(warmup_steps=20, stable_steps=100, tau=30.0, muonclip_rate=3e-3),
        expert_model=ExpertModelConfig(bias_rate=0.003),
        optimization=OptimizationConfig(ns_dtype="float32"),
    )


def _stress(steps: int, warmup_steps: int) -> PartConfig:
    """Rate 0.03 for every arm, constant after the warm-up, nothing that pulls weights back."""
    return PartConfig(
        warmup_steps=warmup_steps,
        stable_steps=steps - warmup_steps,
        weight_decay=0.0,
        tau=20.0,
        adamw_rate=0.03,
        muon_rate=0.03,
        muonclip_rate=0.03,
    )


def gpu() -> Config:
    """A sparse model of 140 M parameters (sparsity 48, as Kimi K2) on all bytes, sized for one GPU; untimed, untuned.

    Made for ``--dtype bfloat16``. Rates are those of ``laptop`` made smaller for the larger models.
    """
    half_hour = PartConfig(warmup_steps=100, batch_size=64, adamw_rate=1e-3, muon_rate=3e-3, muonclip_rate=3e-3)
    return Config(
        dense=replace(half_hour, decay_steps=1900),
        experts=replace(half_hour, decay_steps=900),
        stress=replace(_stress(steps=500, warmup_steps=50), batch_size=64),
        calm=PartConfig(warmup_steps=50, stable_steps=250, batch_size=64, muonclip_rate=3e-4),
        data=DataConfig(limit=100_000_000, vocab_size=256, context=512),
        dense_model=DenseModelConfig(width=512, layers=8, heads=8),
        expert_model=ExpertModelConfig(scale="small", bias_rate=1e-3),
        optimization=OptimizationConfig(evaluate_every=250, checkpoint_every=500),
    )


def paper(task: str = "k2") -> Config:
    """The published pre-training; every value has its source in ``SOURCES``. The other parts are left out."""
    if task not in TASKS:
        raise UserError(f"task = {task!r}: must be one of {', '.join(TASKS)}")
    warmup, stable, decay, *anneals = in_steps()
    peak = stable[2]
    left_out = PartConfig()
    return Config(
        dense=left_out,
        experts=PartConfig(
            warmup_steps=warmup[0],
            stable_steps=stable[0],
            decay_steps=decay[0],
            anneal_steps=sum(steps for steps, _, _ in anneals),
            decay_floor=decay[2] / peak,
            anneal_floor=anneals[-1][2] / peak,
            batch_size=BATCH_TOKENS // 4096,
            adamw_rate=peak,
            muon_rate=peak,
            muonclip_rate=peak,
        ),
        stress=left_out,
        calm=left_out,
        data=DataConfig(vocab_size=163_840, context=4096, limit=2**40, validation_windows=4, test_windows=4),
        expert_model=ExpertModelConfig(scale="full", control=False),
        optimization=OptimizationConfig(nesterov=False, log_every=100, evaluate_every=1000, checkpoint_every=1000),
    )
