"""Configuration of the experiments on universal pre-training: generator, model, training, evaluation, presets.

The paper's letters (K rows of a buffer, n rows rewritten by one source) stand beside our names in the docstrings.
Imports no torch.
"""

from dataclasses import dataclass, field
from math import log
from typing import Literal

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.papers.universal_pretraining.sources import SOURCES as SOURCES
from tenfold.papers.universal_pretraining.sources import TASKS as TASKS

SYNTHETIC_TASKS = (
    "rep-1",
    "rep-3",
    "rep-10",
    "champ",
    "dyck",
    "ndfa",
    "toy",
    "toy2",
    "bits",
    "bitsrep",
    "bitsflip",
    "aut",
)


@dataclass(frozen=True)
class GeneratorConfig:
    """Random computation: the LSTM that is drawn anew for every source, the buffer it iterates, and the mixture."""

    hidden: int = 128
    """Width h of the random LSTM."""
    layers: int = 4
    """Number of layers of the random LSTM."""
    gain_low: float = 0.8
    """Least multiplier of all weights and biases of a random LSTM."""
    gain_high: float = 6.0
    """Largest multiplier of all weights and biases of a random LSTM; it is drawn uniformly from the least to the
    largest."""
    gain_power: int = 1
    """How often the multiplier of a random LSTM is applied; the authors' helper applies it once per layer."""
    embed_scale: float = 1.0
    """Multiplier of the embedding of a random LSTM."""
    temperature: float = 0.0
    """Temperature at which a random LSTM writes; 0 takes the arg-max, larger ones sample from the softmax."""
    compiled: bool = False
    """Run the LSTM's steps through ``torch.compile``: worth it on a GPU, where launching a kernel costs more than its
    work."""
    buffer_rows: int = 640
    """Number K of rows of the iteration buffer."""
    rows_per_source: int = 32
    """Number n of rows of the buffer that one source rewrites."""
    reset_constant: int = 50
    """Number of rows of the buffer overwritten by a repeated random byte before each source."""
    reset_noise: int = 50
    """Number of rows of the buffer overwritten by uniform noise before each source."""
    seed_length: int = 8
    """Number of tokens that start what a source writes."""
    source_every: int = 1
    """Number of training batches for which one source is used."""
    pointwise_share: float = 0.25
    """Mixture: share of rows that are independent draws from one Dirichlet distribution each."""
    automata_share: float = 0.25
    """Mixture: share of rows that come from random automata; rows of neither share come from the buffer."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if not 0 <= self.gain_low <= self.gain_high:
            raise UserError(
                f"gain_low = {self.gain_low}, gain_high = {self.gain_high}: must be 0 <= low <= high in generator"
            )
        if self.rows_per_source > self.buffer_rows or self.reset_constant + self.reset_noise > self.buffer_rows:
            raise UserError(
                f"buffer_rows = {self.buffer_rows}: must be at least rows_per_source = {self.rows_per_source} and "
                f"reset_constant + reset_noise = {self.reset_constant + self.reset_noise} in generator"
            )
        if self.pointwise_share < 0 or self.automata_share < 0 or self.pointwise_share + self.automata_share > 1:
            raise UserError(
                f"pointwise_share = {self.pointwise_share}, automata_share = {self.automata_share}: "
                "must not be negative, nor more than 1 together, in generator"
            )
        _at_least_one(self, "generator", "source_every")


@dataclass(frozen=True)
class ModelConfig:
    """The byte-level transformer that is trained; a class of transformers either way."""

    architecture: Literal["modern", "post_norm"] = "modern"
    """modern: RMSNorm first, rotary positions, GELU; post_norm: the paper's blocks, learned positions, ReLU."""
    width: int = 160
    """Width of the residual stream."""
    layers: int = 3
    """Number of transformer blocks."""
    heads: int = 4
    """Number of attention heads of a block."""
    context: int = 128
    """Bytes of a window."""
    dropout: float = 0.0
    """post_norm: probability of dropout on embeddings, attention and residual branches."""


@dataclass(frozen=True)
class PretrainingConfig:
    """Optimization on random computation; the same for every arm that is pre-trained."""

    steps: int = 500
    """Optimizer steps."""
    batch_size: int = 16
    """Windows in a step, over all processes and accumulated pieces."""
    gradient_accumulation: int = 1
    """Pieces that a process splits its part of a batch into; each piece keeps a buffer of its own."""
    warmup_steps: int = 20
    """Steps over which the learning rate rises linearly."""
    beta2: float = 0.95
    """AdamW's decay of the second moment, in pre-training and fine-tuning."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay, in pre-training and fine-tuning."""
    clip: float = 1.0
    """Largest norm of the gradient, in pre-training and fine-tuning."""
    mup: bool = False
    """In pre-training and fine-tuning, scale the rate of matrices in blocks and of the head by ``mup_base_width`` /
    width."""
    mup_base_width: int = 640
    """With ``mup``: the width at which the rates were tuned."""
    log_every: int = 20
    """Optimizer steps between logged losses."""
    evaluate_every: int = 100
    """Optimizer steps between zero-shot evaluations; 0 for the start and the end only."""
    checkpoint_every: int = 100
    """Optimizer steps between checkpoints."""

    def __post_init__(self) -> None:
        """Refuse counts below 1."""
        _at_least_one(
            self, "pretraining", "steps", "batch_size", "gradient_accumulation", "log_every", "checkpoint_every"
        )


@dataclass(frozen=True)
class FinetuningConfig:
    """Optimization on real bytes: every arm sees the same batches in the same order."""

    source: str = "python"
    """Corpus of fine-tuning: ``python``, ``licences``, or a file or folder of yours."""
    limit: int = 1_000_000
    """Most bytes of the corpus that are read."""
    steps: int = 150
    """Optimizer steps."""
    batch_size: int = 16
    """Windows in a step, over all processes and accumulated pieces."""
    gradient_accumulation: int = 1
    """Pieces that a process splits its part of a batch into."""
    warmup_steps: int = 10
    """Steps over which the learning rate rises linearly."""
    target_bits: float = 3.5
    """Bits per byte on held-out text that fine-tuning should reach; the arms are compared by the steps they need."""
    evaluate_every: int = 10
    """Optimizer steps between evaluations on held-out text and on ``retention_task``."""
    checkpoint_every: int = 50
    """Optimizer steps between checkpoints."""
    retention_task: str = "dyck"
    """Synthetic task that fine-tuning does not train on, and that is measured while it runs."""

    def __post_init__(self) -> None:
        """Refuse counts below 1."""
        _at_least_one(
            self, "finetuning", "steps", "batch_size", "gradient_accumulation", "evaluate_every", "checkpoint_every"
        )


@dataclass(frozen=True)
class EvaluationConfig:
    """How bits per byte are measured, without training."""

    tasks: tuple[str, ...] = SYNTHETIC_TASKS
    """Names of the synthetic tasks that bits per byte are measured on."""
    corpora: tuple[str, ...] = ("python", "licences")
    """Real bytes that bits per byte are measured on: names or paths, as for fine-tuning."""
    windows: int = 64
    """Windows of each task and corpus that are measured at the end of a training run, and in the curves of
    fine-tuning."""
    curve_windows: int = 16
    """Windows of each task and corpus that are measured for the curves of pre-training."""
    positions: Literal["last", "all", "second_half"] = "all"
    """Which positions of a window count; repetition tasks always count all, unless it is the second half."""
    batch_size: int = 64
    """Number of windows in a forward pass."""
    markov_order: int = 5
    """Highest order of the in-context Markov models, which are measured on the same windows as the model."""

    def __post_init__(self) -> None:
        """Refuse counts below 1."""
        _at_least_one(self, "evaluation", "windows", "curve_windows", "batch_size")


@dataclass(frozen=True)
class RatesConfig:
    """AdamW's learning rates after the warm-up: one of pre-training, and one of fine-tuning for each arm."""

    pretraining: float = 1e-3
    """Learning rate of pre-training, the same for every pre-trained arm."""
    scratch: float = 1e-3
    """Learning rate of fine-tuning in the arm scratch, which is not pre-trained."""
    lstm: float = 1e-3
    """Learning rate of fine-tuning in the arm lstm, pre-trained on the iterated LSTM alone."""
    mixture: float = 1e-3
    """Learning rate of fine-tuning in the arm mixture, pre-trained on the mixture."""
    noniterated: float = 1e-3
    """Learning rate of fine-tuning in the arm noniterated, whose LSTM read fresh noise and constants instead of its own
    output."""


@dataclass(frozen=True)
class Config:
    """One experiment."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """Where the data of pre-training come from."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Sizes of the model that is trained."""
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    """Settings of training on random computation."""
    finetuning: FinetuningConfig = field(default_factory=FinetuningConfig)
    """Settings of training on real bytes."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How bits per byte are measured."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rates of pre-training and fine-tuning; what the arms are trained on is in ``recipe.ARMS``."""

    def __post_init__(self) -> None:
        """Refuse settings that would do nothing."""
        if self.model.architecture == "modern":
            refuse_idle(self, ["model.dropout"], acts="model.architecture = post_norm")
        if not self.pretraining.mup:
            refuse_idle(self, ["pretraining.mup_base_width"], acts="pretraining.mup")


def smoke() -> Config:
    """A tiny model for some steps: shows that everything runs, proves nothing about transfer."""
    return Config(
        generator=GeneratorConfig(
            hidden=16, layers=2, buffer_rows=64, rows_per_source=16, reset_constant=5, reset_noise=5, source_every=2
        ),
        model=ModelConfig(width=32, layers=2, heads=2, context=64),
        pretraining=PretrainingConfig(
            steps=30, batch_size=8, warmup_steps=5, log_every=10, evaluate_every=15, checkpoint_every=10
        ),
        finetuning=FinetuningConfig(
            limit=100_000,
            steps=20,
            batch_size=8,
            warmup_steps=5,
            target_bits=7.0,
            evaluate_every=5,
            checkpoint_every=10,
        ),
        evaluation=EvaluationConfig(windows=8, curve_windows=4, markov_order=2),
        rates=RatesConfig(*(3e-3,) * 5),
    )


def laptop() -> Config:
    """A byte transformer of 1 M parameters: four arms of one seed in minutes on two CPU cores.

    Rates, by ``tenfold tune universal_pretraining`` on seed 1000. Pre-training, on the mixture: 2e-3 and 4e-3 alike on
    the synthetic tasks, 2e-3 better on real bytes. Fine-tuning, of 1e-3, 2e-3 and 4e-3, bits at the last step: scratch
    3.375, 3.216, 3.228; mixture 3.17, 3.04, 3.07. The other two arms, whose fine-tuning no claim compares, take the
    mixture's. The target is where scratch is, at its best rate, after two fifths of its steps on that seed.
    """
    return Config(
        generator=GeneratorConfig(hidden=96, reset_constant=10, reset_noise=10, source_every=2),
        finetuning=FinetuningConfig(target_bits=3.7),
        rates=RatesConfig(*(2e-3,) * 5),
    )


def gpu() -> Config:
    """A 25 M-parameter transformer on 10^8 tokens for each pre-trained arm, for half an hour on one GPU; untimed.

    A source rewrites 512 rows on the GPU in one go, by a compiled step; a batch of 256 windows is taken for each.
    """
    return Config(
        generator=GeneratorConfig(buffer_rows=10_240, rows_per_source=512, compiled=True),
        model=ModelConfig(width=512, layers=8, heads=8, context=512),
        pretraining=PretrainingConfig(
            steps=800, batch_size=256, warmup_steps=50, evaluate_every=100, checkpoint_every=100
        ),
        finetuning=FinetuningConfig(
            limit=20_000_000, steps=400, batch_size=64, warmup_steps=20, target_bits=3.0, evaluate_every=20
        ),
        evaluation=EvaluationConfig(windows=256, curve_windows=64, batch_size=64),
        rates=RatesConfig(*(6e-4,) * 5),
    )


def paper(task: str = "width-384") -> Config:
    """The published setting at a width; every value has its source in ``SOURCES``.

    Fine-tuning wants the file ``enwik8`` in the working directory, or another one with ``--finetuning.source``.
    """
    if task not in TASKS:
        raise UserError(f"task = {task!r}: must be one of {', '.join(TASKS)}")
    width = int(task.removeprefix("width-"))
    return Config(
        generator=GeneratorConfig(
            gain_low=1.0,
            gain_high=3.5,
            gain_power=4,
            embed_scale=1e-8,
        ),
        model=ModelConfig(
            architecture="post_norm",
            width=width,
            layers=published_depth(width),
            heads=max(width // 128, 16),
            context=512,
            dropout=0.1,
        ),
        pretraining=PretrainingConfig(
            steps=40_000,
            batch_size=256,
            gradient_accumulation=16,
            warmup_steps=391,
            beta2=0.999,
            mup=True,
            log_every=100,
            evaluate_every=1953,
            checkpoint_every=15_625,
        ),
        finetuning=FinetuningConfig(
            source="enwik8",
            limit=100_000_000,
            steps=37_500,
            batch_size=256,
            gradient_accumulation=16,
            warmup_steps=391,
            target_bits=3.0,
            evaluate_every=1953,
            checkpoint_every=3750,
        ),
        evaluation=EvaluationConfig(
            corpora=("enwik8",), windows=10_000, curve_windows=256, positions="last", batch_size=32
        ),
        rates=RatesConfig(*(3e-4,) * 5),
    )


def _at_least_one(config: object, group: str, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise UserError(f"{name} = {getattr(config, name)}: must be at least 1 in {group}")


def published_depth(width: int) -> int:
    """Blocks for a width, by the rule of Levine et al. that the authors use: round((ln width - 5.039) / 0.0555).

    Example:
        >>> [published_depth(width) for width in (384, 512, 768, 1024, 1536)]
        [16, 22, 29, 34, 41]
    """
    return round((log(width) - 5.039) / 0.0555)
