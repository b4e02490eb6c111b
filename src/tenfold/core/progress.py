"""How far a run is: a live display on a terminal, a plain line every ten seconds anywhere else.

One object serves all cells of a run. It shows the current cell (step, metrics, throughput, time left of the
cell) and the run (cells done, time left). Time left of a cell comes from the steps done in this attempt; the
cells still to come are taken to last as long as the mean of those done, or as the current one before any is.
A cell's first plain line comes once its speed is known; a cell shorter than that has the line at its end alone.
"""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_FRAMES = 0.2


class RunProgress:
    """Shows the progress of a run; a context manager.

    Args:
        paper: shown in front of every cell.
        total_cells: cells that this attempt has to do.
        console: where to show it; by default standard output.

    Example:
        >>> with RunProgress("hrm", total_cells=1, console=Console(quiet=True)) as display:
        ...     display.start_cell("plain", seed=0)
        ...     display.update(1, 10, {"train/loss": 0.5}, (200.0, "puzzles/s"))
        ...     display.finish_cell({"test/exact": 0.25}, seconds=1.0)
    """

    def __init__(self, paper: str, total_cells: int, console: Console | None = None) -> None:
        self.console = Console() if console is None else console
        self._paper = paper
        self._total_cells = total_cells
        self._durations: list[float] = []
        self._cell = ""
        self._cell_started = self._shown = time.monotonic()
        self._first_step: int | None = None
        self._stage_started, self._stage_seconds = 0.0, 0.0
        self._stages: list[str] = []
        self._bars = self._make_bars() if self.console.is_terminal and not self.console.is_dumb_terminal else None
        if self._bars is not None:
            self._run_bar = self._bars.add_task(paper, total=total_cells, facts="")
        self._cell_bar: TaskID | None = None

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def start_cell(self, arm: str, seed: int) -> None:
        """A cell begins."""
        self._cell = f"{self._paper} · {arm} · seed {seed}"
        self._cell_started = time.monotonic()
        self._shown = self._cell_started if self._bars is None else 0.0
        self._first_step, self._stage_seconds = None, 0.0
        if self._bars is not None:
            self._cell_bar = self._bars.add_task(self._short_label, total=None, facts="")

    def begin_stage(self, name: str) -> None:
        """What follows is made once for all arms of the seed; stages may be made within each other."""
        if not self._stages:
            self._stage_started = time.monotonic()
        self._stages.append(name)
        self._show_label()

    def end_stage(self) -> None:
        """The stage that was begun last is made."""
        self._stages.pop()
        if not self._stages:  # other cells do not make it again: it says nothing about how long they take
            self._stage_seconds += time.monotonic() - self._stage_started
        self._show_label()

    def _show_label(self) -> None:
        self._first_step = None  # the speed of what follows is another
        if self._bars is not None and self._cell_bar is not None:
            self._bars.update(self._cell_bar, description=self._short_label)

    @property
    def _label(self) -> str:
        return f"{self._cell} · {self._stages[-1]}, shared by all arms" if self._stages else self._cell

    @property
    def _short_label(self) -> str:
        """Beside a bar there is no room for the paper, which stands beside the bar of the run."""
        return self._label.removeprefix(f"{self._paper} · ").removesuffix(", shared by all arms")

    def update(self, step: int, total: int, metrics: Mapping[str, float], rate: tuple[float, str]) -> None:
        """Training is at ``step`` of ``total``; shown at most every few tenths of a second, or every ten seconds.

        Args:
            step: steps done.
            total: steps in all.
            metrics: values to show.
            rate: throughput and its unit.
        """
        now = time.monotonic()
        if self._first_step is None:
            self._first_step, self._first_time = step, now
        if now - self._shown < (SECONDS_BETWEEN_LINES if self._bars is None else SECONDS_BETWEEN_FRAMES):
            return
        left = self._seconds_left(now, step, total)
        if self._bars is None and left is None:
            return
        self._shown = now
        values = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        speed = f"{rate[0]:.4g} {rate[1]}"
        cell_left, run_left = (clock(left), clock(self._run_left(now, left))) if left is not None else ("?", "?")
        if self._bars is None:
            self.say(f"{self._label}  step {step}/{total}  {values}  {speed}  left {cell_left}, run {run_left}")
        elif self._cell_bar is not None:
            self._bars.update(
                self._cell_bar,
                completed=step,
                total=total,
                facts=f"{step}/{total}  {cell_left} left  {speed}  {values}",
            )
            done = len(self._durations)
            run_facts = f"{done}/{self._total_cells} cells  {run_left} left"
            share = 0.0 if self._stages else step / total
            self._bars.update(self._run_bar, completed=done + share, facts=run_facts)

    def finish_cell(self, metrics: Mapping[str, float], seconds: float) -> None:
        """A cell ended.

        Args:
            metrics: its final metrics.
            seconds: what it took in all, earlier attempts included.
        """
        self._durations.append(time.monotonic() - self._cell_started - self._stage_seconds)
        if self._bars is not None and self._cell_bar is not None:
            self._bars.remove_task(self._cell_bar)
            self._cell_bar = None
            done = len(self._durations)
            self._bars.update(self._run_bar, completed=done, facts=f"{done}/{self._total_cells} cells")
        values = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self.say(f"{self._cell}  done in {clock(seconds)}  {values}")

    def say(self, text: str) -> None:
        """One line of text, above the display where there is one."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _make_bars(self) -> Progress:
        def column(**limits: int) -> Column:
            return Column(no_wrap=True, overflow="ellipsis", **limits)  # type: ignore[arg-type]

        label = TextColumn("{task.description}", markup=False, table_column=column(max_width=36))
        facts = TextColumn("{task.fields[facts]}", markup=False, table_column=column(ratio=1))
        columns = (label, BarColumn(bar_width=16), facts)  # expanded: the facts are cut, the bar stays
        return Progress(*columns, console=self.console, refresh_per_second=5, transient=True, expand=True)

    def _seconds_left(self, now: float, step: int, total: int) -> float | None:
        """Seconds left of this cell, or ``None`` before a second step was seen."""
        if self._first_step is None or step <= self._first_step:
            return None
        return (now - self._first_time) / (step - self._first_step) * (total - step)

    def _run_left(self, now: float, cell_left: float) -> float:
        known = self._durations or [now - self._cell_started + cell_left]
        to_come = self._total_cells - len(self._durations) - 1
        return cell_left + to_come * sum(known) / len(known)


def clock(seconds: float) -> str:
    """Seconds as a reader likes them.

    Example:
        >>> clock(8.4), clock(75), clock(3700)
        ('8 s', '1:15', '1:01:40')
    """
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, remainder = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02}:{remainder:02}"
    return f"{minutes}:{remainder:02}" if minutes else f"{remainder} s"
