"""The verdicts of a run beside those that are published for its paper in this source tree.

A short run (one seed, few steps) leaves its claims undecided; the published run shows what more seeds said. It is
one of the same preset with the same changes where there is one; else the title says in which fields the two differ.
An installed package carries no results, and nothing is shown there.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenfold.core.checkout import ROOT
from tenfold.core.claims import count_of_seeds, verdict_text
from tenfold.core.entries import Run, read, results_path
from tenfold.core.report import ABSENT, changed_fields, field_values, preset_fields
from tenfold.core.results import Shown, shown
from tenfold.core.types import Report
from tenfold.core.wording import effect_text, preset_text, setting_text


def print_published(report: Report, console: Console, repository: Path | None = None) -> None:
    """Print the published verdicts beside those of ``report``; nothing when none are published.

    Args:
        report: the run that has just ended.
        console: where to.
        repository: the root of a source checkout; by default the one that this package runs from.
    """
    runs = read(results_path(ROOT if repository is None else repository, report.paper))
    if not runs:
        return
    one = _most_telling(shown(runs), report)
    published = one.run
    setting = preset_text(published["preset"], published["changed"])
    seeds = count_of_seeds(len(published["seeds"]))
    title = f"beside the published run: {setting}, {seeds}, {published['hardware']}, {published['date'][:10]}"
    differing = differences_text(report, published)
    console.print(Text(f"{title}\n{differing}".strip(), style="bold"))
    console.print(_table(report, one))


def differences_text(report: Report, published: Run) -> str:
    """In which preset or fields a published run differs from this one; empty where it has the same configuration.

    Returns:
        A line such as ``published with training.steps 1500, this run 500``.
    """
    if published["preset"] != report.preset:
        this = preset_text(report.preset, changed_fields(report) or {})
        return f"published with preset {preset_text(published['preset'], published['changed'])}, this run {this}"
    ours = field_values(report.config)
    theirs = (preset_fields(report.paper, report.preset) or {}) | published["changed"]
    pairs = {name: (theirs.get(name, ABSENT), ours.get(name, ABSENT)) for name in {**ours, **theirs}}
    parts = [
        f"{name} {setting_text(there)}, this run {setting_text(here)}"
        for name, (there, here) in pairs.items()
        if there != here
    ]
    return f"published with {'; '.join(parts)}" if parts else ""


def _most_telling(runs: Sequence[Shown], report: Report) -> Shown:
    """The run of the same preset and changes, else of the same preset; planned, most seeds, unchanged, the newest."""
    changed = changed_fields(report)

    def rank(one: Shown) -> tuple[bool, bool, bool, int, bool, str]:
        run = one.run
        same_preset = run["preset"] == report.preset
        same_changes = same_preset and run["changed"] == changed
        current = one.planned and not one.superseded
        return same_changes, same_preset, current, len(run["seeds"]), not run["changed"], run["date"]

    return max(runs, key=rank)


def _table(report: Report, published: Shown) -> Table:
    table = Table()
    for heading in ("claim", "this run", "published", "effect there"):
        table.add_column(heading, overflow="fold")
    ours = {judgement.claim.id: verdict_text(judgement) for judgement in report.judgements}
    for judgement in published.judgements:
        name = judgement.claim.id
        table.add_row(name, ours.get(name, "–"), verdict_text(judgement), effect_text(judgement))
    return table
