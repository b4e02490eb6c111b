"""``tenfold compare RUN RUN…``: the metrics of runs side by side, and how they differ over their common seeds.

The first run is the reference. For every further run and each arm that both have, the difference is taken seed
by seed (a paired comparison: the seed fixes data, start and exploration in both) and shown with Student's 95 %
interval over the seeds that both have finished; a single common seed has no interval. ``*`` marks intervals
that exclude 0. With many metrics a few such marks are expected by chance alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from tenfold.core.errors import UserError
from tenfold.core.types import Scores


@dataclass(frozen=True)
class CompareCommand:
    """The metrics of runs side by side, with differences from the first run over common seeds."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run directories; the first is the reference."""
    metrics: tuple[str, ...] = ()
    """The metrics to show; all of them when none is named."""


@dataclass(frozen=True)
class Difference:
    """The paired difference of one metric between two runs.

    Args:
        seeds: how many common seeds entered.
        mean: mean of the differences, in the metric's own sign.
        interval: 95 % interval over the seeds; ``None`` below two.
    """

    seeds: int
    mean: float
    interval: tuple[float, float] | None


def main(arguments: Sequence[str]) -> int:
    """Print a table for each arm that the runs share."""
    command = tyro.cli(CompareCommand, args=arguments, prog="tenfold compare")
    if len(command.runs) < 2:
        raise UserError(f"compare needs at least 2 runs, not {len(command.runs)}")
    runs = {str(path): _scores(path) for path in command.runs}
    if len(runs) < len(command.runs):
        raise UserError("compare was given one run twice; name each run once")
    shared = [arm for arm in next(iter(runs.values())) if all(arm in scores for scores in runs.values())]
    if not shared:
        raise UserError("the runs have no finished arm in common")
    console = Console()
    for letter, path in zip(_letters(len(runs)), runs, strict=True):
        console.print(f"{letter}  {path}", highlight=False, soft_wrap=True, markup=False)
    for arm in shared:
        console.print(_table(arm, [scores[arm] for scores in runs.values()], command.metrics))
    return 0


def paired_difference(reference: Mapping[int, Scores], other: Mapping[int, Scores], metric: str) -> Difference:
    """How ``metric`` of ``other`` differs from ``reference``, over the seeds that both have.

    Example:
        >>> before = {0: Scores({"test/exact": 0.50}), 1: Scores({"test/exact": 0.60})}
        >>> after = {0: Scores({"test/exact": 0.55}), 1: Scores({"test/exact": 0.63}), 2: Scores({"test/exact": 1.0})}
        >>> difference = paired_difference(before, after, "test/exact")
        >>> difference.seeds, round(difference.mean, 3)
        (2, 0.04)
    """
    from tenfold.core.claims import mean_interval

    seeds = [seed for seed in reference if seed in other]
    pairs = [(reference[seed].metrics.get(metric), other[seed].metrics.get(metric)) for seed in seeds]
    gains = [after - before for before, after in pairs if before is not None and after is not None]
    if not gains:
        return Difference(0, math.nan, None)
    return Difference(len(gains), sum(gains) / len(gains), mean_interval(gains) if len(gains) > 1 else None)


def _scores(path: Path) -> dict[str, dict[int, Scores]]:
    """Arm to seed to scores of the finished cells of a run."""
    from tenfold.core.directory import RunDirectory

    run = RunDirectory.open(path)
    found: dict[str, dict[int, Scores]] = {}
    for arm, seed in run.finished():
        found.setdefault(arm, {})[seed] = run.scores(arm, seed)
    return found


def _letters(count: int) -> list[str]:
    return [f"run {chr(ord('A') + index)}" for index in range(count)]


def _table(arm: str, runs: Sequence[Mapping[int, Scores]], wanted: Sequence[str]) -> Table:
    from tenfold.core.wording import readable

    names = list(dict.fromkeys(name for scores in runs for cell in scores.values() for name in cell.metrics))
    for name in wanted:
        if name not in names:
            raise UserError(f"--metrics names {name!r}; allowed: {', '.join(names)}")
    letters = _letters(len(runs))
    table = Table(title=f"arm {arm}", title_justify="left", title_style="bold")
    table.add_column("metric", overflow="fold")
    for letter in letters:
        table.add_column(letter, justify="right")
    for letter in letters[1:]:
        table.add_column(f"{letter.split()[1]} − A [95 %]", justify="right")
    for name in wanted or names:
        means = [_mean([cell.metrics[name] for cell in scores.values() if name in cell.metrics]) for scores in runs]
        differences = [paired_difference(runs[0], other, name) for other in runs[1:]]
        table.add_row(name, *(readable(mean) for mean in means), *(_words(difference) for difference in differences))
    return table


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _words(difference: Difference) -> str:
    from tenfold.core.wording import readable

    if not difference.seeds:
        return "no common seed"
    text = ("+" if difference.mean > 0 else "") + readable(difference.mean)
    if difference.interval is None:
        return f"{text} (1 seed)"
    low, high = difference.interval
    mark = " *" if low > 0 or high < 0 else ""
    return f"{text} [{readable(low)}, {readable(high)}]{mark}"
