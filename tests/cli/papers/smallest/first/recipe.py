"""A number moves towards a target; nothing is learned."""

from collections.abc import Mapping
from dataclasses import dataclass

from tenfold.core.cell import Cell
from tenfold.core.types import Claim, Picture, Plan, Report, Scores
from tenfold.papers.smallest.first.config import Config
from tenfold.study.stages import json_made_once


@dataclass(frozen=True)
class Arm:
    """What an arm is."""

    text: str
    rate: str


ARMS = {"slow": Arm("small steps", "slow"), "fast": Arm("large steps", "fast")}
CLAIMS = (
    Claim(
        "near",
        "Fast ends nearer.",
        "superiority",
        "test/gap",
        "test",
        "fast",
        "slow",
        "lower",
        0.0,
        "steps",
        source="no difference",
        headline=True,
    ),
)
CHOSEN_ON = (1000,)
PLAN = Plan(laptop=(10, 11, 12, 13, 14), why="five, the fewest")
GRID = {"rates.slow": (0.1, 0.2), "rates.fast": (0.3, 0.6)}


def moved(config: Config, rate: float, start: float, target: float) -> float:
    """Where the number is after all steps."""
    value = start
    for _ in range(config.steps):
        value += rate * (target - value)
    return value


def start_of(cell: Cell) -> float:
    """Where all arms begin; made once."""
    return float(json_made_once(cell, "start", lambda stage: stage.seed / 10))


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Move, and measure the gap."""
    value = moved(config, getattr(config.rates, ARMS[arm].rate), start_of(cell), config.target)
    cell.log(config.steps, {"train/value": value})
    return Scores({"test/gap": abs(config.target - value)}, curves=cell.curves())


def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]:
    """The gap at the rate of a field."""
    value = moved(config, getattr(config.rates, field.rpartition(".")[2]), start_of(cell), config.target)
    return {"validation/gap": abs(config.target - value)}


def figures(report: Report) -> list[Picture]:
    """None."""
    return []


def estimate(config: Config) -> dict[str, float]:
    """Next to nothing."""
    return {"parameters": 1.0, "memory_bytes": 8.0, "seconds": 0.001}
