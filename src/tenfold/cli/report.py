"""``tenfold report [RUN…]``: write report.html and report.json of runs again, finished or not.

With ``--publish`` a run's numbers go into ``results/<paper>.json`` of the repository in the current directory,
and the tables of its READMEs are written from it. ``tenfold report results/<paper>`` draws the report of the published
run once more, from what is kept beside the numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from tenfold.core.errors import UserError
from tenfold.core.types import Report


@dataclass(frozen=True)
class ReportCommand:
    """Judge runs again and write their reports; prints the table and the verdicts."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Run directories, or results/PAPER for the published run of a paper; the newest run when none is named."""
    publish: bool = False
    """Also write results/<paper>.json and refresh the tables in the READMEs of the current repository."""
    supersedes: Annotated[str | None, tyro.conf.arg(metavar="TEXT", help_behavior_hint="(optional)")] = None
    """With --publish, if a planned run of the same setting is published already: what has changed in the code since."""


def main(arguments: Sequence[str]) -> int:
    """Rebuild, print and, if asked to, publish."""
    from tenfold.core.runner import rebuild_report

    command = tyro.cli(ReportCommand, args=arguments, prog="tenfold report")
    if command.supersedes is not None and not command.publish:
        raise UserError("--supersedes is given without --publish; it says what has changed when a run is published")
    console = Console()
    for path in command.runs or (_newest_run(),):
        if is_published(path):
            if command.publish:
                raise UserError(f"{path} is published already; --publish takes a run directory")
            report, folder = draw_published(path)
            _show(report, folder / "report.html", console)
            continue
        _show(rebuild_report(path), path / "report.html", console)
        if command.publish:
            from tenfold.core.results import publish

            for written in [*publish(path, Path.cwd(), command.supersedes), *_digest(Path.cwd())]:
                console.print(f"Published: {written}", soft_wrap=True, highlight=False, markup=False)
    return 0


def is_published(path: Path) -> bool:
    """Whether a path names the published runs of a study: ``results/hrm`` or ``results/hrm.json``."""
    from tenfold.core.directory import is_run

    return not is_run(path) and path.with_suffix(".json").is_file() and "results" in path.absolute().parts


def draw_published(path: Path) -> tuple[Report, Path]:
    """Draw the report of a published run again, in a folder of its own among the runs.

    Args:
        path: as :func:`is_published` knows it.

    Returns:
        The report, and the folder.

    Raises:
        UserError: the run was published before reports were kept.
    """
    from tenfold.core.directory import runs_root
    from tenfold.core.discovery import recipe_module
    from tenfold.core.entries import read
    from tenfold.core.report import write_report
    from tenfold.core.stored import stored_report

    table = path.with_suffix(".json").absolute()
    repository = next(folder.parent for folder in table.parents if folder.name == "results")
    study = table.relative_to(repository / "results").with_suffix("").as_posix()
    report = stored_report(repository, study, read(table))
    directory = runs_root() / f"published-{study.replace('/', '-')}"
    write_report(report, recipe_module(study).figures(report), directory)
    return report, directory


def _digest(repository: Path) -> list[Path]:
    """The pages of all papers, written again where the repository keeps them."""
    from tenfold.core.digest import FOLDER, write_digest

    return write_digest(repository) if (repository / FOLDER).is_dir() else []


def _show(report: Report, file: Path, console: Console) -> None:
    from tenfold.cli.published import print_published
    from tenfold.core.terminal import print_report

    print_report(report, console, file.parent)
    print_published(report, console)
    console.print(f"\nReport: {file}", soft_wrap=True, highlight=False, markup=False)


def _newest_run() -> Path:
    from tenfold.core.directory import is_run, runs_root

    root = runs_root()
    runs = [path for path in root.iterdir() if is_run(path)] if root.is_dir() else []
    if not runs:
        raise UserError(f"there is no run in {root}; name a run directory")
    return max(runs, key=lambda path: (path / "run.json").stat().st_mtime)
