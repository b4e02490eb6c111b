"""``tenfold report [RUN…]``: write report.html and report.json of runs again, finished or not.

With ``--publish`` a run's numbers go into ``results/<paper>.json`` of the repository in the current directory,
and the tables of its READMEs are written from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from tenfold.core.errors import UserError


@dataclass(frozen=True)
class ReportCommand:
    """Judge runs again and write their reports; prints the table and the verdicts."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Run directories; the newest run when none is named."""
    publish: bool = False
    """Also write results/<paper>.json and refresh the tables in the READMEs of the current repository."""


def main(arguments: Sequence[str]) -> int:
    """Rebuild, print and, if asked to, publish."""
    from tenfold.cli.published import print_published
    from tenfold.core.report import print_report
    from tenfold.core.runner import rebuild_report

    command = tyro.cli(ReportCommand, args=arguments, prog="tenfold report")
    console = Console()
    for path in command.runs or (_newest_run(),):
        report = rebuild_report(path)
        print_report(report, console)
        print_published(report, console)
        console.print(f"\nReport: {path / 'report.html'}", soft_wrap=True, highlight=False)
        if command.publish:
            from tenfold.core.results import publish

            for written in publish(path, Path.cwd()):
                console.print(f"Published: {written}", soft_wrap=True, highlight=False)
    return 0


def _newest_run() -> Path:
    from tenfold.core.directory import is_run, runs_root

    root = runs_root()
    runs = [path for path in root.iterdir() if is_run(path)] if root.is_dir() else []
    if not runs:
        raise UserError(f"there is no run in {root}; name a run directory")
    return max(runs, key=lambda path: (path / "run.json").stat().st_mtime)
