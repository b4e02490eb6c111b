"""One (arm, seed) of a run: where it writes, what it logs, and whether it was asked to stop.

The runner makes a cell, a recipe hands it to its training loop. ``metrics.jsonl`` is append-only: a process
killed in mid-write leaves at most one torn last line, which is ignored on reading and cut off before the
next write. Training that goes on from a checkpoint calls :meth:`Cell.rewind` with the checkpoint's step,
so that the lines logged after it are not there twice. Only the main process (rank 0) writes.

A cell that trains several times (pre-training, then fine-tuning) gives each training one of its :meth:`Cell.parts`.
What all arms of a seed start from (a warm start, a set of drafts) is a stage of the seed and belongs to no arm: it is
made within :meth:`Cell.shared`, which stops the clock of the arm. ``tenfold.study.stages`` makes each stage once.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tenfold.core.damage import damaged, read_json
from tenfold.core.errors import UserError
from tenfold.core.files import cut_torn_line, number, to_json, write_atomically
from tenfold.core.types import Stage

SECONDS_BETWEEN_SAVES = 5.0
FINISHED = "done.json"
"""In the folder of a stage; written last."""


def is_main_process() -> bool:
    """Whether this process is rank 0, which alone writes; true when nothing launched several processes."""
    return int(os.environ.get("RANK", "0")) == 0


@dataclass
class StopFlag:
    """Set by a signal handler, read by training between two steps."""

    requested: bool = False


class Display(Protocol):
    """What shows the progress of a cell; ``core.progress`` has the one that the runner uses."""

    def update(self, step: int, total: int, metrics: Mapping[str, float], rate: tuple[float, str]) -> None:
        """Show where the current cell is."""

    def begin_stage(self, name: str) -> None:
        """What follows is a stage of the seed, until it ends."""

    def end_stage(self) -> None:
        """The cell goes on."""


class Tracker(Protocol):
    """What streams metrics elsewhere while training goes on; ``train.tracking`` has the one of the command line."""

    def log(self, directory: Path, step: int, metrics: Mapping[str, float]) -> None:
        """Pass on what the training in ``directory`` logs."""


class Cell:
    """The surroundings of one training: directory, device, log, progress and stop request.

    Args:
        arm: name of the arm.
        seed: the seed; every random stream of the cell is keyed by it.
        directory: ``cells/<arm>/seed-<k>`` of the run directory.
        shared_directory: ``shared/seed-<k>`` of the run directory, where the stages of the seed are; by default the
            folder ``shared`` within ``directory``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        dtype: ``"float32"`` or ``"bfloat16"``.
        is_main: whether this process writes; by default true on rank 0.
        display: shows progress; ``None`` shows nothing.
        stop: shared by all cells of a run.
        tracker: is told whatever is logged, of this training, its parts and stages.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     cell = Cell(arm="baseline", seed=0, directory=Path(folder))
        ...     cell.log(1, {"train/loss": 0.5})
        ...     cell.curves()
        {'train/loss': [(1.0, 0.5)]}
    """

    def __init__(
        self,
        *,
        arm: str,
        seed: int,
        directory: Path,
        shared_directory: Path | None = None,
        device: str = "auto",
        dtype: str = "float32",
        is_main: bool | None = None,
        display: Display | None = None,
        stop: StopFlag | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        self.arm = arm
        self.seed = seed
        self.directory = directory
        self.shared_directory = directory / "shared" if shared_directory is None else shared_directory
        self.stage: str | None = None
        self.device = device
        self.dtype = dtype
        self.is_main = is_main_process() if is_main is None else is_main
        self._display = display
        self._stop = StopFlag() if stop is None else stop
        self._tracker = tracker
        self._log_checked = False
        self._parts: dict[str, Cell] = {}
        self._whole: Cell | None = None
        self._seconds_before = read_seconds(directory)
        self._running_since: float | None = time.monotonic()
        self._saved = time.monotonic()

    def parts(self, steps: Mapping[str, int]) -> dict[str, "Cell"]:
        """The training runs of this cell: each has a folder, log and checkpoints of its own; they share a progress bar.

        Their curves are among those of the whole cell, as ``name/group/metric``.

        Args:
            steps: name of each training, which is its folder, to its optimizer steps, in the order of training.

        Example:
            >>> whole = Cell(arm="baseline", seed=0, directory=Path("run/cells/baseline/seed-0"))
            >>> parts = whole.parts({"pre-training": 500, "fine-tuning": 100})
            >>> parts["fine-tuning"].directory.name
            'fine-tuning'
        """
        steps_before, total_steps = 0, sum(steps.values())
        for name, steps_of_part in steps.items():
            display = _PartOfDisplay(self, steps_before, total_steps)
            self._parts[name] = self._beside(self.directory / name, display)
            self._parts[name]._whole = self
            steps_before += steps_of_part
        return {name: self._parts[name] for name in steps}

    @contextmanager
    def shared(self, name: str) -> Iterator["Cell"]:
        """A stage of the seed, in a folder that all arms of the seed see; while it is made, this cell's clock stands.

        The seconds of a stage are those of making it: finding it finished costs nobody anything. Log and seconds are
        stored once, and are reported beside the arms, not among their curves. Stages may be made within each other.

        Args:
            name: unique within the seed; its folder.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> with TemporaryDirectory() as folder:
            ...     cell = Cell(arm="baseline", seed=0, directory=Path(folder) / "cells")
            ...     with cell.shared("warm-start") as stage:
            ...         stage.log(1, {"train/loss": 0.5})
            ...         stage.finish()
            ...     list(read_stages(cell.shared_directory))
            ['warm-start']
        """
        self._pause()
        stage = self._beside(self.shared_directory / name, self._display)
        stage.stage = name
        was_finished = stage.is_finished()
        if self._display is not None and not was_finished:
            self._display.begin_stage(name)
        try:
            yield stage
        finally:
            if not was_finished:
                stage.save_seconds()
                if self._display is not None:
                    self._display.end_stage()
            self._resume()

    def is_finished(self) -> bool:
        """Whether this stage was finished, in this run or before it was interrupted."""
        return (self.directory / FINISHED).is_file()

    def finish(self, facts: Mapping[str, Any] | None = None) -> None:
        """Mark this stage as finished, after all that it leaves is written, its seconds among it.

        Args:
            facts: JSON-able, kept in the mark.
        """
        if self.is_main and not self.is_finished():
            self.save_seconds()
            write_atomically(self.directory / FINISHED, to_json(dict(facts or {})))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line ``{"step": step, name: value, …}`` to ``metrics.jsonl``.

        Args:
            step: the optimizer step after which the values hold.
            metrics: ``group/name`` to number; several calls for one step are fine.
        """
        if not self.is_main:
            return
        if not self._log_checked:
            self._cut_torn_line()
            self._log_checked = True
        line = to_json({"step": int(step)} | {name: float(value) for name, value in metrics.items()}) + "\n"
        with open(self._log_path, "ab") as stream:
            stream.write(line.encode())
        if self._tracker is not None:
            self._tracker.log(self.directory, step, metrics)

    def rewind(self, step: int) -> None:
        """Drop the lines logged after ``step``; a training that starts anew calls it with 0.

        Args:
            step: the step of the checkpoint from which training goes on.
        """
        if not self.is_main or not self._log_path.exists():
            return
        kept = [to_json(line) + "\n" for line in self._lines() if line["step"] <= step]
        write_atomically(self._log_path, "".join(kept))

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """``metrics.jsonl`` as curves: metric to ``(step, value)`` in increasing step.

        Where a step was logged again, the later line counts and what had followed the earlier one is dropped. The
        curves of parts follow, with the part's name in front.
        """
        curves: dict[str, list[tuple[float, float]]] = {}
        for line in self._lines():
            step = float(line.pop("step"))
            for name, value in line.items():
                points = curves.setdefault(name, [])
                while points and points[-1][0] >= step:
                    points.pop()
                points.append((step, number(value)))
        for part, cell in self._parts.items():
            curves |= {f"{part}/{name}": points for name, points in cell.curves().items()}
        return curves

    def progress(self, step: int, total: int, metrics: Mapping[str, float], rate: tuple[float, str]) -> None:
        """Tell the display where training is; cheap enough to call after each step.

        Args:
            step: steps done.
            total: steps in all.
            metrics: what to show beside the bar, ``group/name`` to number.
            rate: throughput and its unit, such as ``(210.0, "puzzles/s")``.
        """
        if not self.is_main:
            return
        if self._display is not None:
            self._display.update(step, total, metrics, rate)
        if time.monotonic() - self._saved >= SECONDS_BETWEEN_SAVES:
            self.save_seconds()

    def stop_requested(self) -> bool:
        """Whether SIGINT or SIGTERM was seen: save a checkpoint and raise ``Interrupted``."""
        return self._stop.requested

    def request_stop(self) -> None:
        """Ask this run to stop at its next safe point, as Ctrl-C does."""
        self._stop.requested = True

    def seconds(self) -> float:
        """Wall-clock seconds spent on this cell, earlier interrupted attempts included, stages of the seed not."""
        running = 0.0 if self._running_since is None else time.monotonic() - self._running_since
        return self._seconds_before + running

    def save_seconds(self) -> None:
        """Store :meth:`seconds`, so that a killed attempt is not forgotten."""
        self._saved = time.monotonic()
        if self.is_main:
            write_atomically(self.directory / "seconds.json", to_json({"seconds": round(self.seconds(), 3)}))

    def _beside(self, directory: Path, display: Display | None) -> "Cell":
        """A cell of the same arm, seed and run in another folder."""
        return Cell(
            arm=self.arm,
            seed=self.seed,
            directory=directory,
            shared_directory=self.shared_directory,
            device=self.device,
            dtype=self.dtype,
            is_main=self.is_main,
            display=display,
            stop=self._stop,
            tracker=self._tracker,
        )

    def _pause(self) -> None:
        self._seconds_before, self._running_since = self.seconds(), None
        if self._whole is not None:
            self._whole._pause()

    def _resume(self) -> None:
        self._running_since = time.monotonic()
        if self._whole is not None:
            self._whole._resume()

    @property
    def _log_path(self) -> Path:
        return self.directory / "metrics.jsonl"

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self._log_path.exists():
            return
        whole = self._log_path.read_bytes().split(b"\n")[:-1]  # what follows the last newline is torn
        for place, text in enumerate(whole, 1):
            try:
                line = json.loads(text)
                read = {"step": int(line.pop("step"))} | {name: number(value) for name, value in line.items()}
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                advice = "delete that line, whose values are then missing among the curves"
                raise damaged(self._log_path, f"line {place} is no step with its metrics", advice) from None
            yield read

    def _cut_torn_line(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._log_path.exists():
            cut_torn_line(self._log_path)


@dataclass(frozen=True)
class _PartOfDisplay:
    """Shows the steps of a part as those of the whole cell."""

    cell: Cell
    steps_before: int
    total_steps: int

    def update(self, step: int, total: int, metrics: Mapping[str, float], rate: tuple[float, str]) -> None:
        self.cell.progress(self.steps_before + step, self.total_steps, metrics, rate)

    def begin_stage(self, name: str) -> None:
        if self.cell._display is not None:
            self.cell._display.begin_stage(name)

    def end_stage(self) -> None:
        if self.cell._display is not None:
            self.cell._display.end_stage()


def read_seconds(directory: Path) -> float:
    """The seconds stored for the cell in ``directory``; 0 for a cell that was never begun."""
    path = directory / "seconds.json"
    if not path.exists():
        return 0.0
    advice = "delete it; the time that was spent until then is not counted any more"
    try:
        return float(read_json(path, advice)["seconds"])
    except (TypeError, KeyError, ValueError) as error:
        raise (error if isinstance(error, UserError) else damaged(path, "it holds no seconds", advice)) from None


def read_stages(shared_directory: Path) -> dict[str, Stage]:
    """The stages of a seed, by name: what making each has cost, and what it logged.

    Args:
        shared_directory: ``shared/seed-<k>`` of a run directory; may be missing.
    """
    if not shared_directory.is_dir():
        return {}
    found: dict[str, Stage] = {}
    for folder in sorted(path for path in shared_directory.iterdir() if (path / "seconds.json").is_file()):
        stage = Cell(arm="", seed=0, directory=folder, is_main=False)
        found[folder.name] = Stage(seconds=read_seconds(folder), curves=stage.curves())
    return found
