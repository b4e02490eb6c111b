"""Configuration of paper_name: its fields, its presets, and the source of every published value. Imports no torch."""

from dataclasses import dataclass

from tenfold.core.config import leaves
from tenfold.core.errors import UserError


@dataclass(frozen=True)
class DataConfig:
    """The data that a linear model is fitted to."""

    num_train: int = 40
    """Training rows."""
    num_test: int = 1000
    """Held-out rows."""
    num_features: int = 30
    """Columns."""
    noise: float = 1.0
    """Standard deviation of the noise on the target."""

    def __post_init__(self) -> None:
        """Refuse sizes that no data set has."""
        for name in ("num_train", "num_test", "num_features"):
            if getattr(self, name) < 1:
                raise UserError(f"data.{name} is {getattr(self, name)}; allowed: at least 1")


@dataclass(frozen=True)
class TrainingConfig:
    """How it is fitted; the same for both arms but for the weight decay, which the baseline does not use."""

    steps: int = 400
    """Steps of gradient descent."""
    learning_rate: float = 0.1
    """The rate η."""
    weight_decay: float = 0.3
    """The decay λ of the arm `decayed`."""
    save_every: int = 100
    """Steps between checkpoints."""


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers, beside the seed."""

    data: DataConfig = DataConfig()
    """The data."""
    training: TrainingConfig = TrainingConfig()
    """The training."""


def smoke() -> Config:
    """For tests: well under a second."""
    return Config(training=TrainingConfig(steps=100, save_every=10))


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


# task -> field -> section or table of the publication, or "unstated: ours (why)"
SOURCES = {"synthetic": {field: "unstated: ours (example)" for field in leaves(paper("synthetic"))}}
