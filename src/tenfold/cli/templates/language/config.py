"""Configuration of paper_name: its fields, its presets, and the source of every published value. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.study.language import PolicyConfig
from tenfold.train.settings import GRPOSettings, OptimizerSettings, SFTSettings


@dataclass(frozen=True)
class TaskConfig:
    """What is asked."""

    kind: Literal["sums", "own"] = "sums"
    """Sums, or for `tenfold train` questions of a user's own."""
    file: str = ""
    """Own: file of JSON lines with prompt and answer."""
    largest: int = 19
    """Sums: the largest summand."""
    num_validation: int = 50
    """Sums: number of questions for curves and for choosing rates."""
    num_test: int = 100
    """Sums: number of test questions; the policy is trained on all that are left."""

    def __post_init__(self) -> None:
        """Refuse settings of the other kind, and sizes that cannot be."""
        if self.kind == "own":
            refuse_idle(self, ("largest", "num_validation", "num_test"), acts="task.kind = sums")
        else:
            refuse_idle(self, ("file",), acts="task.kind = own, which tenfold train does")
        for name in ("largest", "num_validation", "num_test"):
            if getattr(self, name) < 1:
                raise UserError(f"task.{name} is {getattr(self, name)}; allowed: at least 1")
        num_held_out, num_sums = self.num_validation + self.num_test, (self.largest + 1) ** 2
        if num_held_out >= num_sums:
            raise UserError(
                f"task.num_test is {self.num_test}: {num_held_out} of {num_sums} sums are held out, not all"
            )


@dataclass(frozen=True)
class RatesConfig:
    """Each arm's learning rate; `tenfold tune` tries the same grid for both."""

    exact: float = 1e-4
    """Learning rate of the arm `exact`, which is paid for right answers alone."""
    graded: float = 1e-4
    """Learning rate of the arm `graded`, which is paid for nearly right answers, too."""


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers, beside the seed."""

    task: TaskConfig = field(default_factory=TaskConfig)
    """Which questions are asked."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """The language model."""
    warm_start: SFTSettings = field(default_factory=SFTSettings)
    """Supervised training that all arms of a seed share; 0 steps for none."""
    training: GRPOSettings = field(default_factory=GRPOSettings)
    """The reinforcement, the same for both arms but for the reward and the rate."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rates of the reinforcement."""

    def __post_init__(self) -> None:
        """Refuse what does nothing here."""
        refuse_idle(self, ("training.optimizer.learning_rate",), acts="the fields of rates")
        refuse_idle(self, ("training.reward_weights",), acts="another reward in ARMS; an arm has a single one")
        refuse_idle(self, ("warm_start.evaluate_every",), acts="training.evaluate_every; a warm start is not measured")


def _training(steps: int, prompts: int, checkpoint_every: int) -> GRPOSettings:
    return GRPOSettings(
        steps=steps,
        prompts_per_step=prompts,
        num_generations=4,
        max_completion_length=4,
        log_every=max(1, steps // 20),
        evaluate_every=max(1, steps // 4),
        checkpoint_every=checkpoint_every,
    )


def _warm_start(steps: int, checkpoint_every: int) -> SFTSettings:
    optimizer = OptimizerSettings(learning_rate=3e-3, schedule="cosine", warmup_steps=5)
    return SFTSettings(steps=steps, batch_size=32, optimizer=optimizer, checkpoint_every=checkpoint_every)


def smoke() -> Config:
    """For tests: a few seconds."""
    return Config(
        task=TaskConfig(largest=3, num_validation=4, num_test=8),
        policy=PolicyConfig(width=16, layers=1, heads=2, context=16),
        warm_start=_warm_start(6, checkpoint_every=2),
        training=_training(4, prompts=2, checkpoint_every=2),
    )


def laptop() -> Config:
    """For a reader who wants to see the claim."""
    return Config(
        policy=PolicyConfig(width=64, layers=2, heads=4, context=16),
        warm_start=_warm_start(400, checkpoint_every=100),
        training=_training(100, prompts=32, checkpoint_every=50),
    )


def own(data: str) -> Config:
    """Questions of one's own, by a model that exists."""
    return Config(
        task=TaskConfig(kind="own", file=data),
        policy=PolicyConfig(model="smollm2-135m"),
        warm_start=SFTSettings(steps=0),
        training=GRPOSettings(max_completion_length=64, log_every=1, checkpoint_every=25),
        rates=RatesConfig(1e-6, 1e-6),
    )


TASKS = ("sums",)


def gpu() -> Config:
    """The same with more questions; this example needs no GPU."""
    return laptop()


def paper(task: str = "sums") -> Config:
    """The published setting of a task."""
    return {"sums": laptop()}[task]


# task -> field -> section or table of the publication; what no entry names is shown as ours
SOURCES = {"sums": {"training.num_generations": "replace with a section of the publication"}}
