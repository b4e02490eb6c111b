"""The verdicts of a run beside those that are published for its paper in this source tree.

A short run (one seed, few steps) leaves its claims undecided; the published run shows what more seeds said.
An installed package carries no results, and nothing is shown there.
"""

from pathlib import Path

from rich.console import Console
from rich.table import Table

import tenfold
from tenfold.core.claims import count_of_seeds, verdict_text
from tenfold.core.results import Run, claims_of, read, results_path
from tenfold.core.types import Report
from tenfold.core.wording import effect_text


def print_published(report: Report, console: Console, repository: Path | None = None) -> None:
    """Print the published verdicts beside those of ``report``; nothing when none are published.

    Args:
        report: the run that has just ended.
        console: where to.
        repository: the root of a source checkout; by default the one that this package runs from.
    """
    root = Path(tenfold.__file__).parents[2] if repository is None else repository
    runs = read(results_path(root, report.paper))
    if not runs:
        return
    published = _most_telling(runs, report.preset)
    seeds = count_of_seeds(len(published["seeds"]))
    title = (
        f"beside the published run: {published['preset']}, {seeds}, {published['hardware']}, {published['date'][:10]}"
    )
    console.print(_table(report, published, title))


def _most_telling(runs: list[Run], preset: str) -> Run:
    """The run of the same preset, if there is one, with the most seeds, and the newest of these."""
    return max(runs, key=lambda run: (run["preset"] == preset, len(run["seeds"]), run["date"]))


def _table(report: Report, published: Run, title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("claim", "this run", "published", "effect there [95 %]"):
        table.add_column(heading, overflow="fold")
    ours = {judgement.claim.id: verdict_text(judgement) for judgement in report.judgements}
    for judgement in claims_of(published):
        name = judgement.claim.id
        table.add_row(name, ours.get(name, "–"), verdict_text(judgement), effect_text(judgement))
    return table
