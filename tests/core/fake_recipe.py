"""A recipe without a model: a number walks towards a target, one checkpoint every few steps.

The walk is random, keyed by (seed, step), so that an interrupted and resumed cell must end at the very number
of an uninterrupted one.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted
from tenfold.core.files import write_atomically
from tenfold.core.seeding import numpy_generator
from tenfold.core.types import Claim, Picture, Plan, Report, Scores


@dataclass(frozen=True)
class Training:
    steps: int = 20
    save_every: int = 5
    pause: float = 0.0


@dataclass(frozen=True)
class Config:
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Arm:
    text: str
    pace: float


ARMS: Mapping[str, Arm] = {"slow": Arm("a tenth of the way at each step", 0.1), "fast": Arm("three tenths of it", 0.3)}
CLAIMS = (
    Claim(
        id="gain",
        text="Fast ends nearer.",
        kind="superiority",
        metric="test/near",
        split="test",
        arm="fast",
        baseline="slow",
        direction="higher",
        margin=0.0,
        budget="steps",
        source="no difference",
        headline=True,
    ),
    Claim(
        "level", "Fast gets above 0.5.", "threshold", "test/near", "test", "fast", None, "higher", 0.5, "steps", "ours"
    ),
)
CHOSEN_ON = (100,)
PLAN = Plan(laptop=(0, 1, 2, 3, 4), why="five, the fewest")


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    state_path = cell.directory / "checkpoints" / "state.json"
    state = json.loads(state_path.read_text()) if state_path.exists() else {"step": 0, "value": 0.0}
    cell.rewind(state["step"])
    for step in range(state["step"] + 1, config.training.steps + 1):
        noise = float(numpy_generator(seed, "noise", step).normal(scale=0.01))
        state = {"step": step, "value": state["value"] + ARMS[arm].pace * (1.0 - state["value"]) + noise}
        cell.log(step, {"train/value": state["value"]})
        cell.progress(step, config.training.steps, {"train/value": state["value"]}, (1.0, "steps/s"))
        time.sleep(config.training.pause)
        if step % config.training.save_every == 0 or cell.stop_requested():
            write_atomically(state_path, json.dumps(state))
        if cell.stop_requested():
            raise Interrupted(step, state_path)
    near = [state["value"] + 0.01 * position for position in range(-2, 3)]
    return Scores(
        {"test/near": state["value"], "cost/steps": state["step"]}, items={"test/near": near}, curves=cell.curves()
    )


def figures(report: Report) -> list[Picture]:
    return []


def arguments(directory: Path) -> dict:
    """What ``execute`` needs besides seeds, for a run of this recipe in ``directory``."""
    import sys

    return {
        "paper": "fake",
        "recipe": sys.modules[__name__],
        "config": Config(),
        "preset": "laptop",
        "arms": list(ARMS),
        "directory": directory,
        "command": "tenfold run fake",
        "device": "cpu",
        "dtype": "float32",
    }
