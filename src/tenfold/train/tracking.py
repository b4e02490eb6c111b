"""Metrics to trackio, Weights & Biases or TensorBoard while training goes on, by accelerate's own trackers.

Each training (an arm with a seed, a part of it, a stage of a seed) is one run of the tracker, named by its folder, in a
project that is named after the paper; for steps begin anew with each of them. A run is opened at the first line that is
logged, and goes on under its name when a training is resumed: steps made again are then logged again. The tracker sees
what ``metrics.jsonl`` gets, and nothing is read back from it.

trackio keeps everything on this machine. TensorBoard's files lie in the run directory, in ``tensorboard``. What
Weights & Biases does with metrics, its own environment variables say.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from accelerate import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from tenfold.core.cell import is_main_process
from tenfold.train.distributed import computes_on_cpu


class Trackers:
    """The runs of one tracker for all trainings of a run; close it, or use it as a context.

    Args:
        name: of the tracker; its package is installed.
        paper: what the project is named after.
        directory: the run directory, which names the runs of the tracker.
        config: the configuration as plain data.
        device: where is computed, ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Example:
        >>> with Trackers("tensorboard", "hrm", Path("runs/one"), {"steps": 3}, "cpu") as trackers:
        ...     trackers.project, trackers.run_name(Path("runs/one/cells/hrm/seed-0"))
        ('tenfold-hrm', 'one/hrm/seed-0')
    """

    def __init__(
        self,
        name: Literal["trackio", "wandb", "tensorboard"],
        paper: str,
        directory: Path,
        config: Mapping[str, Any],
        device: str,
    ) -> None:
        self.name, self.directory, self.config, self.device = name, directory, config, device
        self.project = f"tenfold-{paper.replace('/', '-')}"
        self._runs: dict[Path, GeneralTracker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def run_name(self, directory: Path) -> str:
        """What the tracker calls the training in a folder of the run directory."""
        inside = directory.relative_to(self.directory).parts
        return "/".join((self.directory.name, *(part for part in inside if part != "cells")))

    def log(self, directory: Path, step: int, metrics: Mapping[str, float]) -> None:
        """Pass on the metrics of a step of the training in ``directory``; on the main process alone."""
        if not is_main_process():
            return
        if directory not in self._runs:
            self._runs[directory] = self._open(self.run_name(directory))
        self._runs[directory].log({name: float(value) for name, value in metrics.items()}, step=step)

    def close(self) -> None:
        """End all runs, so that what is still under way arrives."""
        for run in self._runs.values():
            run.finish()
        self._runs.clear()

    def _open(self, name: str) -> GeneralTracker:
        PartialState(cpu=computes_on_cpu(self.device))  # trackers ask it which process is the main one
        kind = LOGGER_TYPE_TO_CLASS[self.name]
        if self.name == "tensorboard":
            run = kind(name, logging_dir=self.directory / "tensorboard")
        elif self.name == "trackio":
            run = kind(self.project, name=name, resume="allow", config=dict(self.config))
        else:
            options = {"id": name.replace("/", "-"), "resume": "allow", "reinit": "create_new"}
            run = kind(self.project, name=name, config=dict(self.config), **options)
        run.start()
        return run
