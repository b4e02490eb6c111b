"""Configuration of the language study: solutions in text, by a tiny transformer or any causal model. Imports no torch.

:func:`own` is the preset of ``tenfold train iw_sft``.
"""

from dataclasses import dataclass, field, replace

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.papers.iw_sft.config import ExtractionConfig, IWSFTConfig, RatesConfig, require_weights
from tenfold.papers.iw_sft.sources import S1K
from tenfold.study.language import PolicyConfig
from tenfold.train.settings import LoraSettings, OptimizerSettings, SFTSettings

TASKS = ("s1k",)
SOURCES = {"s1k": S1K}


@dataclass(frozen=True)
class TaskConfig:
    """Solutions to learn from and problems to test on: generated sums, or files of one's own."""

    train_file: str = ""
    """JSON lines with prompt, completion and perhaps quality to learn from; empty: generated sums."""
    test_file: str = ""
    """JSON lines with prompt and answer to test on; empty: generated sums."""
    num_traces: int = 2000
    """Number of generated solutions to learn from."""
    num_test: int = 500
    """Number of held-out problems; generated ones share no problem with the training part."""
    digits: int = 2
    """Number of digits of the generated summands."""
    sloppy_share: float = 0.5
    """Share of the generated solutions that guess instead of working; half of the guesses are wrong."""
    max_new_tokens: int = 32
    """Most tokens of an answer."""


@dataclass(frozen=True)
class Config:
    """One experiment on solutions in text."""

    cloning: SFTSettings = field(default_factory=SFTSettings)
    """Stage 1: fine-tuning on all solutions; 0 steps leave the model as it is."""
    fine_tuning: SFTSettings = field(default_factory=SFTSettings)
    """Stage 2: fine-tuning on the kept solutions."""
    weighting: IWSFTConfig = field(default_factory=IWSFTConfig)
    """Weights of iw-SFT; each of the other arms changes one thing about them."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rates of both stages."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """The model that stage 1 starts from."""
    baselines: ExtractionConfig = field(default_factory=ExtractionConfig)
    """Settings of AWR; the advantage of a solution is its quality above the mean."""
    task: TaskConfig = field(default_factory=TaskConfig)
    """Which solutions are learned and which problems are tested."""

    def __post_init__(self) -> None:
        """Refuse what does nothing, and a start that knows nothing."""
        self._refuse_sums_beside_files()
        refuse_idle(self, ("cloning.optimizer.learning_rate", "fine_tuning.optimizer.learning_rate"), acts="rates")
        require_weights(self.weighting, ("iw", "dft", "rwr", "awr"))
        if self.weighting.ref == "model":
            raise UserError(
                "weighting.ref = model: a study has no other model to refer to; allowed: initial, the policy after "
                "stage 1, or column"
            )
        if self.has_stage_1:
            return
        refuse_idle(self, ("rates.cloning",), acts="cloning.steps above 0")
        if not self.policy.model:
            raise UserError(
                "cloning.steps = 0 with a tiny policy: made from scratch, it knows nothing to refer to; allowed: more "
                "steps, or a policy.model that is trained"
            )

    def _refuse_sums_beside_files(self) -> None:
        """Refuse what is said of generated sums where files take their place."""
        if self.task.train_file:
            described = ("task.num_traces", "task.sloppy_share")
            refuse_idle(self, described, acts="task.train_file to nothing, for generated sums")
        if self.task.train_file and self.task.test_file:
            refuse_idle(
                self, ("task.digits",), acts="task.train_file and task.test_file to nothing, for generated sums"
            )

    @property
    def has_stage_1(self) -> bool:
        """Whether there is a stage 1."""
        return bool(self.cloning.steps or self.cloning.epochs)


def smoke() -> Config:
    """Sums in seconds: shows that everything runs."""
    full = laptop()
    return replace(
        full,
        cloning=replace(full.cloning, steps=20),
        fine_tuning=replace(full.fine_tuning, steps=10),
        policy=replace(full.policy, width=16, layers=1),
        task=replace(full.task, num_traces=100, num_test=20),
    )


def laptop() -> Config:
    """Sums with worked solutions, by a transformer of 0.1M parameters from scratch.

    Weights and rates are those of the two-route task; none was chosen here.
    """
    stage = SFTSettings(steps=600, batch_size=32, max_length=48)
    return Config(
        cloning=stage,
        fine_tuning=replace(stage, steps=200),
        weighting=IWSFTConfig(log_ratio="mean", temperature=20.0, q_ema=0.99),
        rates=RatesConfig(awr=1e-3),
        policy=PolicyConfig(width=64, layers=2, context=112),
    )


def gpu() -> Config:
    """Sums with worked solutions by SmolLM2-135M with LoRA on one GPU; untimed.

    Temperature 20 on a mean of about 40 tokens is an exponent of about 0.5.
    """
    stage = SFTSettings(
        steps=300,
        batch_size=32,
        max_length=128,
        optimizer=OptimizerSettings(schedule="cosine", warmup_fraction=0.05, beta2=0.95),
        lora=LoraSettings(rank=16, alpha=32.0),
        checkpoint_every=100,
    )
    return Config(
        cloning=stage,
        fine_tuning=stage,
        weighting=IWSFTConfig(log_ratio="mean", temperature=20.0),
        rates=RatesConfig(*[5e-4] * 8),
        policy=PolicyConfig(model="smollm2-135m"),
        task=TaskConfig(digits=3, max_new_tokens=64),
    )


def paper(task: str = "s1k") -> Config:
    """The published setting: Qwen2.5-32B-Instruct on s1K-1.1, 1,000 rows, batch 8, 5 epochs; no stage 1.

    Every value has its source in ``SOURCES``.
    """
    if task not in TASKS:
        raise UserError(f"task = {task!r}: must be one of {', '.join(TASKS)}")
    return Config(
        cloning=SFTSettings(steps=0),
        fine_tuning=SFTSettings(
            steps=0,
            epochs=5.0,
            batch_size=8,
            max_length=22_000,
            mixed_precision="bf16",
            gradient_checkpointing=True,
            optimizer=OptimizerSettings(schedule="cosine", warmup_fraction=0.05, weight_decay=1e-4, beta2=0.95),
            log_every=1,
            checkpoint_every=125,
        ),
        weighting=IWSFTConfig(log_ratio="mean", weight_clip=(0.0, 16.0), normalize="none"),
        rates=_of_stage_2(1e-5),
        policy=PolicyConfig(model="Qwen/Qwen2.5-32B-Instruct"),
        task=TaskConfig(train_file="s1k-1.1.jsonl", test_file="aime24.jsonl", num_test=30, max_new_tokens=32_768),
    )


def own(data: str) -> Config:
    """Fine-tuning of SmolLM2-135M, or any other model, on JSON lines of one's own.

    The exponent of iw-SFT's weights is the user's to choose: weighting.log_ratio, with weighting.temperature.
    """
    return Config(
        cloning=SFTSettings(steps=0),
        fine_tuning=SFTSettings(
            optimizer=OptimizerSettings(schedule="cosine", warmup_fraction=0.05, beta2=0.95),
            log_every=1,
            checkpoint_every=25,
        ),
        rates=_of_stage_2(1e-5),
        policy=PolicyConfig(model="smollm2-135m"),
        task=TaskConfig(train_file=data),
    )


def _of_stage_2(rate: float) -> RatesConfig:
    """One rate for the second training of every arm, where there is no stage 1."""
    return RatesConfig(RatesConfig.cloning, *[rate] * 7)
