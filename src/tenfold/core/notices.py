"""What a reader must know before any number: that it means nothing, is not finished, or has no verdict yet."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tenfold.core.claims import count_of_seeds
from tenfold.core.directory import is_run
from tenfold.core.entries import published_here
from tenfold.core.results import planned_and_published
from tenfold.core.types import Report


@dataclass(frozen=True)
class Notice:
    """A remark above the numbers.

    Args:
        text: one or two sentences.
        command: what to type about it; empty where there is nothing to do.
    """

    text: str
    command: str = ""


def notices(report: Report, directory: Path) -> list[Notice]:
    """The remarks of a report, the most important one first.

    Args:
        report: what the run knows.
        directory: where it lies; a published run that is drawn again has no run directory.
    """
    found = []
    if is_smoke(report):
        found.append(Notice("This is a smoke run. Its numbers mean nothing: they only show that everything runs."))
    if missing := unfinished_cells(report):
        cells = len(report.scores) * len(report.seeds)
        text = f"This run is not finished: {missing} of {cells} cells (an arm with a seed) have no scores yet."
        found.append(Notice(text, _resumed(report, directory) if is_run(directory) else ""))
    if not is_smoke(report) and (about_plan := plan_notice(report, directory)) is not None:
        found.append(about_plan)
    return found


def _published_elsewhere(report: Report) -> set[int]:
    """Planned seeds that are published from runs which this one would be joined with."""
    from tenfold.core.report import changed_fields  # that module draws notices

    runs = [run for run in published_here(report.paper) if run.get("plan") and run["run"] != report.facts.get("run")]
    if not runs:
        return set()
    asked = {"preset": report.preset, "changed": changed_fields(report), "arms": list(report.scores)}
    return set(planned_and_published(runs, dict(report.facts) | asked))


def plan_notice(report: Report, directory: Path) -> Notice | None:
    """Why a run has no verdicts, and the command that gives them; ``None`` where it has all planned seeds."""
    plan = report.facts.get("plan")
    if not plan:
        return Notice(
            f"No seeds are planned for the preset {report.preset}, so this run gives no verdicts: its claims stay "
            "undecided, however many seeds it has."
        )
    planned, seeds = set(plan["seeds"]), set(report.seeds)
    if planned <= seeds:
        return None
    others = sorted(seeds - planned)
    text = (
        f"No verdicts yet: they are given on the {len(planned)} planned seeds, {seeds_text(plan['seeds'])}, of which "
        f"this run has {len(planned & seeds) or 'none'}."
    )
    if others:
        text += (
            f" Because it also has the {'seed' if len(others) == 1 else 'seeds'} {seeds_text(others)}, its claims will "
            "be judged more strictly than those of a run of the planned seeds alone."
        )
    held = _published_elsewhere(report) - seeds
    if held and planned <= seeds | held:
        also = f"{text} The others are published: this command publishes this run, and joins it with them:"
        return Notice(also, f"tenfold report {shlex.quote(str(directory))} --publish")
    if is_run(directory) and held:
        missing = "".join(f"{seed}," for seed in sorted(planned - seeds - held))
        also = f"{text} {seeds_text(sorted(held))} are published. This command runs the others:"
        return Notice(also, f"{_resumed(report, directory)} --seeds {missing}")
    if is_run(directory):
        return Notice(f"{text} This command runs the others:", f"{_resumed(report, directory)} --seeds plan")
    return Notice(f"{text} This command runs the others:", f"{_started(report)} --seeds plan")


def is_smoke(report: Report) -> bool:
    """Whether a run was only to show that everything runs."""
    return report.preset.partition(":")[0] == "smoke"


def unfinished_cells(report: Report) -> int:
    """How many (arm, seed) were asked for and have no scores yet."""
    return sum(len(report.seeds) - len(by_seed) for by_seed in report.scores.values())


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds in words, runs of three and more as ``first to last``.

    Example:
        >>> seeds_text([20, 21, 22, 23]), seeds_text([0, 1, 4]), seeds_text([7])
        ('20 to 23', '0, 1, 4', '7')
    """
    in_order = sorted(seeds)
    if len(in_order) > 2 and in_order == list(range(in_order[0], in_order[-1] + 1)):
        return f"{in_order[0]} to {in_order[-1]}"
    return ", ".join(str(seed) for seed in in_order)


def looks_text(looks: Sequence[Sequence[int]]) -> str:
    """On what a run has been judged beside its plan.

    Example:
        >>> looks_text([[0, 1, 2, 3, 4, 5]])
        'judged on more seeds than planned: 6 seeds (0 to 5)'
    """
    sets = "; ".join(f"{count_of_seeds(len(seeds))} ({seeds_text(seeds)})" for seeds in looks)
    return f"judged on more seeds than planned: {sets}"


def _resumed(report: Report, directory: Path) -> str:
    return f"tenfold run {report.paper} --resume {shlex.quote(str(directory))}"


def _started(report: Report) -> str:
    preset, _, task = report.preset.partition(":")
    return " ".join(["tenfold", "run", report.paper, "--preset", preset, *(["--task", task] if task else [])])
