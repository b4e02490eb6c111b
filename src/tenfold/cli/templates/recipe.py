"""One run of paper_name, top to bottom: data, training, evaluation. The arms differ in the weight decay alone.

Training saves its state every few steps and when it is asked to stop, and goes on from what was saved: a run
that was interrupted ends with the same numbers as one that was not.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted
from tenfold.core.files import write_atomically
from tenfold.core.seeding import numpy_generator
from tenfold.core.types import Claim, Picture, Report, Scores
from tenfold.papers.paper_name.config import Config
from tenfold.papers.paper_name.method import descend, draw_data, squared_errors


@dataclass(frozen=True)
class Arm:
    """What an arm is, and what it does differently."""

    text: str
    decays: bool


ARMS: Mapping[str, Arm] = {
    "plain": Arm("gradient descent alone", decays=False),
    "decayed": Arm("gradient descent with weight decay", decays=True),
}

CLAIMS = (
    Claim(
        id="decay",
        text="Weight decay lowers the error on held-out data.",
        kind="superiority",
        metric="test/error",
        split="test",
        arm="decayed",
        baseline="plain",
        direction="lower",
        margin=0.0,
        budget="equal steps and learning rate",
    ),
)


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Fit one arm with one seed and score it on held-out data.

    Args:
        config: the configuration.
        arm: a key of :data:`ARMS`.
        seed: keys the data; both arms of a seed see the same.
        cell: where to write, what to log to, whether to stop.

    Raises:
        Interrupted: a stop was requested; the state is saved.
    """
    generator = numpy_generator(seed, "data")
    truth = generator.normal(size=config.data.num_features) / np.sqrt(config.data.num_features)
    train = draw_data(generator, truth, config.data.num_train, config.data.noise)
    test = draw_data(generator, truth, config.data.num_test, config.data.noise)
    weights = fit(config, train, config.training.weight_decay if ARMS[arm].decays else 0.0, cell)
    errors = squared_errors(weights, *test)
    return Scores(
        metrics={"test/error": float(errors.mean()), "train/error": float(squared_errors(weights, *train).mean())},
        items={"test/error": errors.tolist()},
        curves=cell.curves(),
    )


def fit(config: Config, train: tuple[np.ndarray, np.ndarray], weight_decay: float, cell: Cell) -> np.ndarray:
    """The weights after gradient descent, from the newest saved state on; [D]."""
    step, weights = _load(cell, config.data.num_features)
    cell.rewind(step)
    while step < config.training.steps:
        weights = descend(weights, *train, config.training.learning_rate, weight_decay)
        step += 1
        error = {"train/error": float(squared_errors(weights, *train).mean())}
        cell.progress(step, config.training.steps, error, (step / cell.seconds(), "steps/s"))
        is_boundary = step % config.training.save_every == 0
        if is_boundary:
            cell.log(step, error)
        if is_boundary or cell.stop_requested():
            _save(cell, step, weights)
        if cell.stop_requested():
            raise Interrupted(step, _checkpoint(cell))
    return weights


def figures(report: Report) -> list[Picture]:
    """The held-out error of every seed, one line for each, from the first arm to the second."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3), layout="constrained")
    panel = figure.subplots()
    arms = [arm for arm in ARMS if report.scores.get(arm)]
    for seed in report.seeds:
        done = [arm for arm in arms if seed in report.scores[arm]]
        panel.plot(done, [report.scores[arm][seed].metrics["test/error"] for arm in done], marker="o")
    panel.set_ylabel("test/error")
    return [Picture("errors", "Held-out error", "One line for each seed.", figure)]


def estimate(config: Config) -> dict[str, float]:
    """Rough size of a run, for ``--dry-run``."""
    rows = config.data.num_train + config.data.num_test
    work = config.training.steps * config.data.num_train * config.data.num_features
    return {
        "parameters": config.data.num_features,
        "memory_bytes": 8.0 * rows * config.data.num_features,
        "seconds": 1e-5 * config.training.steps + 1e-9 * work,
    }


def _checkpoint(cell: Cell) -> Path:
    return cell.directory / "checkpoints" / "state.npz"


def _save(cell: Cell, step: int, weights: np.ndarray) -> None:
    if cell.is_main:
        stream = io.BytesIO()
        np.savez(stream, step=step, weights=weights)
        write_atomically(_checkpoint(cell), stream.getvalue())


def _load(cell: Cell, num_features: int) -> tuple[int, np.ndarray]:
    if not _checkpoint(cell).exists():
        return 0, np.zeros(num_features)
    with np.load(_checkpoint(cell)) as state:
        return int(state["step"]), state["weights"]
