"""Configuration of paper_name: its fields, its presets, and the source of every published value. Imports no torch."""

from dataclasses import dataclass, field

from tenfold.core.errors import UserError


@dataclass(frozen=True)
class DataConfig:
    """The data that a linear model is fitted to."""

    num_train: int = 40
    """Number of training rows."""
    num_test: int = 1000
    """Number of held-out rows; as many again are used for choosing rates."""
    num_features: int = 30
    """Number of columns of the data."""
    noise: float = 1.0
    """Standard deviation of the noise on the target."""

    def __post_init__(self) -> None:
        """Refuse sizes that no data set has."""
        for name in ("num_train", "num_test", "num_features"):
            if getattr(self, name) < 1:
                raise UserError(f"data.{name} is {getattr(self, name)}; allowed: at least 1")


@dataclass(frozen=True)
class TrainingConfig:
    """How it is fitted; the same for both arms but for the weight decay."""

    steps: int = 300
    """Optimizer steps."""
    batch_size: int = 20
    """Rows of a step."""
    weight_decay: float = 0.3
    """The factor λ of the weight decay in the arm `decayed`."""
    log_every: int = 10
    """Optimizer steps between logged losses."""
    checkpoint_every: int = 50
    """Optimizer steps between checkpoints."""


@dataclass(frozen=True)
class RatesConfig:
    """Each arm's learning rate; `tenfold tune` tries the same grid for both."""

    plain: float = 0.05
    """Learning rate of the arm `plain`, which has no weight decay."""
    decayed: float = 0.05
    """Learning rate of the arm `decayed`, which has weight decay."""


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers, beside the seed."""

    data: DataConfig = field(default_factory=DataConfig)
    """The data that the model is fitted to."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How the model is fitted."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rates of the arms."""


def smoke() -> Config:
    """For tests: a second or two."""
    return Config(training=TrainingConfig(steps=20, log_every=2, checkpoint_every=5))


def laptop() -> Config:
    """For a reader who wants to see the claim."""
    return Config()


def gpu() -> Config:
    """More of the same; this example needs no GPU."""
    return Config(data=DataConfig(num_test=100_000))


TASKS = ("synthetic",)


def paper(task: str = "synthetic") -> Config:
    """The published setting of a task."""
    return {"synthetic": Config()}[task]


# task -> field -> section or table of the publication; what no entry names is shown as ours
SOURCES = {"synthetic": {"training.weight_decay": "replace with a section of the publication"}}
