"""One (arm, seed) of a run: where it writes, what it logs, and whether it was asked to stop.

The runner makes a cell, a recipe hands it to its training loop. ``metrics.jsonl`` is append-only: a process
killed in mid-write leaves at most one torn last line, which is ignored on reading and cut off before the
next write. Training that goes on from a checkpoint calls :meth:`Cell.rewind` with the checkpoint's step,
so that the lines logged after it are not there twice. Only the main process (rank 0) writes. A cell that trains
several times (pre-training, then fine-tuning) gives each training a :meth:`Cell.part`.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tenfold.core.files import number, to_json, write_atomically

SECONDS_BETWEEN_SAVES = 5.0


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


class Cell:
    """The surroundings of one training: directory, device, log, progress and stop request.

    Args:
        arm: name of the arm.
        seed: the seed; every random stream of the cell is keyed by it.
        directory: ``cells/<arm>/seed-<k>`` of the run directory.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        dtype: ``"float32"`` or ``"bfloat16"``.
        is_main: whether this process writes; by default true on rank 0.
        display: shows progress; ``None`` shows nothing.
        stop: shared by all cells of a run.

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
        device: str = "auto",
        dtype: str = "float32",
        is_main: bool | None = None,
        display: Display | None = None,
        stop: StopFlag | None = None,
    ) -> None:
        self.arm = arm
        self.seed = seed
        self.directory = directory
        self.device = device
        self.dtype = dtype
        self.is_main = is_main_process() if is_main is None else is_main
        self._display = display
        self._stop = StopFlag() if stop is None else stop
        self._log_checked = False
        self._parts: dict[str, Cell] = {}
        self._seconds_before = read_seconds(directory)
        self._started = self._saved = time.monotonic()

    def part(self, name: str, *, steps_before: int, total_steps: int) -> "Cell":
        """One of several trainings of this cell: a folder, log and checkpoints of its own, and one progress bar.

        Its curves are among those of the whole cell, as ``name/group/metric``.

        Args:
            name: unique within the cell; its folder.
            steps_before: steps of the parts that come before.
            total_steps: steps of all parts.

        Example:
            >>> whole = Cell(arm="baseline", seed=0, directory=Path("run/cells/baseline/seed-0"))
            >>> whole.part("fine-tuning", steps_before=500, total_steps=600).directory.name
            'fine-tuning'
        """
        self._parts[name] = Cell(
            arm=self.arm,
            seed=self.seed,
            directory=self.directory / name,
            device=self.device,
            dtype=self.dtype,
            is_main=self.is_main,
            display=_PartOfDisplay(self, steps_before, total_steps),
            stop=self._stop,
        )
        return self._parts[name]

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
        """Wall-clock seconds spent on this cell, earlier interrupted attempts included."""
        return self._seconds_before + time.monotonic() - self._started

    def save_seconds(self) -> None:
        """Store :meth:`seconds`, so that a killed attempt is not forgotten."""
        self._saved = time.monotonic()
        if self.is_main:
            write_atomically(self.directory / "seconds.json", to_json({"seconds": round(self.seconds(), 3)}))

    @property
    def _log_path(self) -> Path:
        return self.directory / "metrics.jsonl"

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self._log_path.exists():
            return
        for line in self._log_path.read_bytes().split(b"\n")[:-1]:  # what follows the last newline is torn
            yield json.loads(line)

    def _cut_torn_line(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._log_path.exists():
            content = self._log_path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                write_atomically(self._log_path, whole)


@dataclass(frozen=True)
class _PartOfDisplay:
    """Shows the steps of a part as those of the whole cell."""

    cell: Cell
    steps_before: int
    total_steps: int

    def update(self, step: int, total: int, metrics: Mapping[str, float], rate: tuple[float, str]) -> None:
        self.cell.progress(self.steps_before + step, self.total_steps, metrics, rate)


def read_seconds(directory: Path) -> float:
    """The seconds stored for the cell in ``directory``; 0 for a cell that was never begun."""
    path = directory / "seconds.json"
    return float(json.loads(path.read_text())["seconds"]) if path.exists() else 0.0
