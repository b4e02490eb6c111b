"""Configuration of the smallest study."""

from dataclasses import dataclass, field

from tenfold.core.errors import UserError


@dataclass(frozen=True)
class RatesConfig:
    """Learning rates."""

    slow: float = 0.1
    """Of the arm slow."""
    fast: float = 0.3
    """Of the arm fast."""


@dataclass(frozen=True)
class Config:
    """Everything."""

    target: float = 1.0
    """Where to go."""
    steps: int = 4
    """Steps."""
    file: str = ""
    """Targets of one's own; empty for ``target``."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """The rates."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.steps < 1:
            raise UserError(f"steps = {self.steps}: must be at least 1")


def smoke() -> Config:
    """For tests."""
    return Config()


def laptop() -> Config:
    """The same, longer."""
    return Config(steps=8)


def own(data: str) -> Config:
    """Targets of a file."""
    return Config(file=data)
