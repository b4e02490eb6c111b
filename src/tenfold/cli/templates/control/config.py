"""Configuration of paper_name: its fields, its presets, and the source of every published value. Imports no torch."""

from dataclasses import dataclass, field

from tenfold.core.errors import UserError


@dataclass(frozen=True)
class WorldConfig:
    """Where a policy acts, and what it is shown."""

    num_demonstrations: int = 30
    """Number of episodes of the expert."""
    horizon: int = 25
    """Number of steps of an episode."""
    wind: float = 0.3
    """Standard deviation of the wind in test episodes."""
    disturbance: float = 1.0
    """Standard deviation of the wind in demonstrations, of the arm `disturbed` alone."""
    num_test: int = 500
    """Number of test episodes; as many again are used for choosing rates."""

    def __post_init__(self) -> None:
        """Refuse worlds without episodes."""
        for name in ("num_demonstrations", "horizon", "num_test"):
            if getattr(self, name) < 1:
                raise UserError(f"world.{name} is {getattr(self, name)}; allowed: at least 1")


@dataclass(frozen=True)
class TrainingConfig:
    """How the policy is cloned; the same for both arms."""

    steps: int = 400
    """Optimizer steps."""
    batch_size: int = 64
    """States of a step."""
    hidden_size: int = 32
    """Width of the policy's only hidden layer."""
    log_every: int = 20
    """Optimizer steps between logged losses."""
    checkpoint_every: int = 100
    """Optimizer steps between checkpoints."""


@dataclass(frozen=True)
class RatesConfig:
    """Each arm's learning rate; `tenfold tune` tries the same grid for both."""

    clean: float = 3e-3
    """Learning rate of the arm `clean`, whose demonstrations have no mistakes."""
    disturbed: float = 3e-3
    """Learning rate of the arm `disturbed`, whose expert is pushed about."""


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers, beside the seed."""

    world: WorldConfig = field(default_factory=WorldConfig)
    """Where the policy acts, and what it is shown."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How the policy is cloned."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Learning rates of the arms."""


def smoke() -> Config:
    """For tests: a second or two."""
    return Config(
        world=WorldConfig(num_demonstrations=5, num_test=20),
        training=TrainingConfig(steps=20, batch_size=16, log_every=2, checkpoint_every=5),
    )


def laptop() -> Config:
    """For a reader who wants to see the claim."""
    return Config()


def gpu() -> Config:
    """More of the same; this example needs no GPU."""
    return Config(world=WorldConfig(num_test=10_000))


TASKS = ("point",)


def paper(task: str = "point") -> Config:
    """The published setting of a task."""
    return {"point": Config()}[task]


# task -> field -> section or table of the publication; what no entry names is shown as ours
SOURCES = {"point": {"world.horizon": "replace with a section of the publication"}}
