"""Ours beside a rival: runs that take turns in one process, medians, a table, and one JSON object per line.

Taking turns matters more than many repeats: what else the machine does then slows both sides alike, and a ratio of
medians means something even where the two rates themselves do not. Compare ratios, never rates of different days.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Side:
    """One side of a comparison: ``run`` does ``amount`` units of work."""

    name: str
    run: Callable[[], object]
    amount: float = 1.0


@dataclass(frozen=True)
class Comparison:
    """A line of the table; a ``ratio`` above 1 means that ours is better."""

    name: str
    ours: float
    rival: float
    rival_name: str
    unit: str
    ratio: float

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    def numbers(self) -> tuple[str, str]:
        """Ours and the rival's to three digits."""
        ours, rival = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in (self.ours, self.rival))
        return ours, rival


def rates(
    name: str,
    unit: str,
    ours: Side,
    rivals: Sequence[Side],
    *,
    repeats: int,
    synchronize: Callable[[], object] = lambda: None,
) -> list[Comparison]:
    """Units of work per second of ours beside each rival; a warm-up turn, then ``repeats`` turns in changing order."""
    sides = [ours, *rivals]
    seconds: list[list[float]] = [[] for _ in sides]
    for turn in range(repeats + 1):
        for index in range(len(sides)) if turn % 2 else reversed(range(len(sides))):
            spent = _seconds(sides[index].run, synchronize)
            if turn:
                seconds[index].append(spent)
    mine, *theirs = (side.amount / statistics.median(times) for side, times in zip(sides, seconds, strict=True))
    return [
        Comparison(name, mine, rate, rival.name, unit, mine / rate) for rate, rival in zip(theirs, rivals, strict=True)
    ]


def _seconds(run: Callable[[], object], synchronize: Callable[[], object]) -> float:
    synchronize()
    started = time.perf_counter()
    run()
    synchronize()
    return time.perf_counter() - started


def show(parts: Iterable[Sequence[Comparison]], *, as_json: bool, title: str) -> None:
    """Print each line as JSON as soon as it is measured, or all of them as one table."""
    table = Table(title=title, title_justify="left")
    for heading in ("what", "unit", "ours", "rival", "rival is", "ratio"):
        table.add_column(heading, justify="right" if heading in ("ours", "rival", "ratio") else "left", overflow="fold")
    for lines in parts:
        for line in lines:
            if as_json:
                print(line.as_json(), flush=True)
            table.add_row(line.name, line.unit, *line.numbers(), line.rival_name, f"{line.ratio:.3g}×")
    if not as_json:
        console = Console()
        Console(width=console.width if console.is_terminal else 150).print(table)
