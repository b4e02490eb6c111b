"""Published numbers: ``results/<study>.json``, one entry for each run that was published, and none ever taken away.

A study is called by its paper's name, and by both where it is not the default one: ``results/kimi_k2.json``,
``results/kimi_k2/agentic.json``. Beside it, ``results/<study>/<date>-<preset>.json.gz`` keeps what the report of an
entry is drawn from (see ``core.stored``), and ``core.tables`` makes the READMEs' tables.

Finished seeds of a plan may be published before the others; entries that ran the same are *joined* when shown, and have
a verdict once the plan is complete. Joining is no look. A planned run of other code, or under another plan, says what
changed: it *supersedes* the ones before, which stay in the file and count as looks at their claims. Entries that were
made before there were plans say "no plan recorded" and keep the verdicts of their time.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.core.claims import FEWEST_PLANNED, judge_all
from tenfold.core.discovery import find_study
from tenfold.core.entries import (
    NEEDED,
    SINCE_PLANS,
    Run,
    claim_entry,
    judgement_of,
    read,
    results_path,
    validate,
    write,
)
from tenfold.core.errors import UserError
from tenfold.core.files import number
from tenfold.core.stated import stated_at
from tenfold.core.types import Judgement, Looks, Scores
from tenfold.core.wording import preset_text


@dataclass(frozen=True)
class Shown:
    """One or several entries as they are shown: joined where they hold seeds of one plan.

    Args:
        run: the entry, with the seeds, values, seconds and commands of all that are joined in it.
        judgements: its claims: as they were judged, or judged anew where entries are joined.
        superseded: what the entry that took its place says has changed; empty where none has.
    """

    run: Run
    judgements: Sequence[Judgement]
    superseded: str = ""

    @property
    def planned(self) -> bool:
        """Whether the run followed a plan that was recorded."""
        return bool(self.run.get("plan"))


def publish(run_directory: Path, repository: Path, supersedes: str | None = None) -> list[Path]:
    """Add a run to the published ones, keep what its report is drawn from, and refresh the READMEs.

    Args:
        run_directory: a run with a report; of its planned seeds, those that all arms have finished are published.
        repository: the root of a source checkout: its ``pyproject.toml`` has the name tenfold.
        supersedes: what changed in the code since the planned run whose place this one takes.

    Returns:
        The files that were written.

    Raises:
        UserError: the run has no report or a cell is missing; the commit it began with did not hold its plan; it needs
            ``supersedes`` or cannot have it; ``repository`` is no checkout; or a README has no place for the tables.
    """
    from tenfold.core.stored import store
    from tenfold.core.tables import refresh_readmes

    if not _is_checkout(repository):
        raise UserError(f"{repository} has no pyproject.toml of tenfold: publishing writes into a source checkout")
    run = run_from_directory(run_directory)
    _refuse_unstated_plan(run)
    path = results_path(repository, run["paper"])
    runs = read(path)
    added = added_to(runs, run | {"supersedes": supersedes})
    if added == runs:
        return [path, *refresh_readmes(repository)]
    stored = store(run_directory, repository, run)
    write(path, added)
    return [path, stored, *refresh_readmes(repository)]


def run_from_directory(run_directory: Path) -> Run:
    """The entry for ``results/<study>.json`` that a run directory makes.

    Raises:
        UserError: the run has no report or an outdated one, a cell is missing, or its paper has no folder here.
    """
    json_path, html_path = run_directory / "report.json", run_directory / "report.html"
    if not json_path.is_file() or not html_path.is_file():
        raise UserError(f"{run_directory} has no report: finish the run, or write one with `tenfold report`")
    report = json.loads(json_path.read_text())
    if report.get("changed", {}) is None:
        raise UserError(f"{run_directory}: paper {report['paper']!r} has no preset here to compare the run with")
    report["report_sha256"] = hashlib.sha256(html_path.read_bytes()).hexdigest()
    run = {key: report[key] for key in (*NEEDED, *SINCE_PLANS) if key in report}
    run = _finished_part(run, report["seeds_finished"], run_directory)
    validate([run], str(json_path))
    return run


def added_to(runs: Sequence[Run], new: Run) -> list[Run]:
    """``runs`` with ``new`` at the end; as they were when it is there already.

    Raises:
        UserError: a planned run of other code or under another plan is there, and ``new`` does not say what changed;
            or it says so and there is none.
    """
    same = [run for run in runs if run.get("run") == new["run"] and run["seeds"] == new["seeds"]]
    if same:
        return list(runs)
    rivals = [run for run in runs if _needs_a_word(run, new)]
    setting = preset_text(new["preset"], new["changed"])
    if rivals and not new["supersedes"]:
        raise UserError(
            f"a planned run of {setting}, of {rivals[-1]['date'][:10]}, is published, with another plan, configuration "
            f"or source; say what has changed since, with --supersedes TEXT"
        )
    if new["supersedes"] and not rivals:
        raise UserError(f"--supersedes is given, but no planned run of {setting} is published that this one replaces")
    return [*runs, new]


def shown(runs: Sequence[Run]) -> list[Shown]:
    """The published runs as they are shown, oldest first: grown ones once, seeds of one plan joined, each judged."""
    groups: list[list[Run]] = []
    for run in runs:
        grown = [group for group in groups if run.get("run") and group[-1].get("run") == run["run"]]
        joins = [group for group in groups if all(_joins(other, run) for other in group)]
        if grown:
            grown[0][-1] = run
        elif joins:
            joins[0].append(run)
        else:
            groups.append([run])
    found: list[Shown] = []
    for place, group in enumerate(groups):
        later = [run for other in groups[place + 1 :] for run in other if run.get("supersedes")]
        superseded = next((run["supersedes"] for run in later if _needs_a_word(group[0], run)), "")
        joined = _joined(group)
        found.append(Shown(joined, _judged(group, joined, earlier_looks(found, joined["preset"])), superseded))
    return found


def earlier_looks(before: Sequence[Shown], preset: str) -> dict[str, int]:
    """Claim to how often it has been judged, over planned runs of a preset.

    Args:
        before: published runs, those that came before.
        preset: the preset, with its task.
    """
    looks: dict[str, int] = {}
    for one in before:
        if one.planned and one.run["preset"] == preset:
            for judged in one.judgements:
                looks[judged.claim.id] = max(looks.get(judged.claim.id, 0), judged.look)
    return looks


def looks_before(runs: Sequence[Run], preset: str, run: str, date: str) -> dict[str, int]:
    """Claim to how often published runs that began before ``date`` have judged it, without the run called ``run``."""
    others = [other for other in runs if other.get("run") != run and other["date"] < date]
    return earlier_looks(shown(others), preset)


def planned_and_published(runs: Sequence[Run], facts: Mapping[str, Any]) -> list[int]:
    """The seeds of a plan that are published from runs that a run with these facts would be joined with.

    Args:
        runs: the published runs.
        facts: ``preset``, ``changed``, ``plan``, ``method_source``, ``config_sha256`` and ``arms`` of the run.
    """
    return sorted({seed for run in runs if _ran_the_same(run, facts) for seed in run["seeds"]})


def _finished_part(run: Run, finished: Mapping[str, Sequence[int]], run_directory: Path) -> Run:
    """The entry with the seeds that every arm has finished: all of them, or some of a plan."""
    whole = [seed for seed in run["seeds"] if all(seed in seeds for seeds in finished.values())]
    if whole == run["seeds"]:
        return run
    if not whole or not run.get("plan"):
        arm, seeds = min(finished.items(), key=lambda item: len(item[1]))
        raise UserError(
            f"{run_directory}: arm {arm} finished seeds {list(seeds)} of {run['seeds']}; allowed are a whole run, and "
            f"those seeds of a plan that every arm has finished"
        )
    arms = {
        arm: {name: [values[list(finished[arm]).index(seed)] for seed in whole] for name, values in row.items()}
        for arm, row in run["arms"].items()
    }
    part = run | {"seeds": whole, "arms": arms}
    claims = [judgement_of(entry).claim for entry in run["claims"]]
    judged = judge_all(claims, _scores(part), Looks(tuple(run["plan"]["seeds"])))
    return part | {"claims": [claim_entry(judgement) for judgement in judged]}


def _is_checkout(repository: Path) -> bool:
    path = repository / "pyproject.toml"
    return path.is_file() and tomllib.loads(path.read_text()).get("project", {}).get("name") == "tenfold"


def _refuse_unstated_plan(run: Run) -> None:
    """A plan counts only if the code that the run began with held it: it was stated before."""
    plan = run.get("plan")
    if not plan:
        return
    stated = None if run["commit"] is None else stated_at(run["commit"], find_study(run["paper"]))
    held = () if stated is None or stated.plan is None else stated.plan.seeds(run["preset"])
    if list(held) != plan["seeds"]:
        where = "outside of a repository" if run["commit"] is None else f"at commit {run['commit'][:10]}"
        raise UserError(
            f"the run began {where}, whose recipe does not hold its plan of seeds {plan['seeds']}; "
            f"commit the plan first, then begin the run"
        )


SAME_RUN = ("preset", "changed", "plan", "method_source", "config_sha256")


def _ran_the_same(run: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two runs measured the same thing under the same plan."""
    known = run.get("plan") and run.get("method_source")
    return bool(known) and all(run[key] == other[key] for key in SAME_RUN) and list(run["arms"]) == list(other["arms"])


def _joins(run: Run, other: Run) -> bool:
    """Whether the seeds of two entries belong together: the same run in parts, each with planned seeds of its own."""
    if not _ran_the_same(run, other) or run["data"] != other["data"] or set(run["seeds"]) & set(other["seeds"]):
        return False
    return {*run["seeds"], *other["seeds"]} <= set(run["plan"]["seeds"])


def _needs_a_word(run: Run, new: Run) -> bool:
    """Whether ``new`` takes the place of ``run``: both are planned runs of a setting, of other code or other plans."""
    if not run.get("plan") or not new.get("plan") or run.get("run") == new["run"]:
        return False
    same_setting = all(run[key] == new[key] for key in ("preset", "changed")) and set(run["arms"]) == set(new["arms"])
    return same_setting and not _ran_the_same(run, new)


def _joined(group: Sequence[Run]) -> Run:
    """The entries of a group as one."""
    if len(group) == 1:
        return group[0]
    places = sorted((seed, part, place) for part, run in enumerate(group) for place, seed in enumerate(run["seeds"]))
    arms: dict[str, dict[str, list[float]]] = {}
    for arm in group[0]["arms"]:
        rows = [run["arms"][arm] for run in group]
        names = [name for name in rows[0] if all(name in row for row in rows)]
        arms[arm] = {name: [rows[part][name][place] for _, part, place in places] for name in names}
    return group[-1] | {
        "seeds": [seed for seed, _, _ in places],
        "arms": arms,
        "seconds": sum(run["seconds"] for run in group),
        "command": "\n".join(run["command"] for run in group),
    }


def _judged(group: Sequence[Run], run: Run, earlier: Mapping[str, int]) -> tuple[Judgement, ...]:
    """The claims of an entry as they were judged; judged from its values where it is joined or has no plan."""
    if len(group) == 1 and run.get("plan"):
        return tuple(judgement_of(entry) for entry in run["claims"])
    claims = [judgement_of(entry).claim for entry in run["claims"]]
    looks = Looks(tuple(run["plan"]["seeds"]), earlier) if run.get("plan") else _looks_without_a_plan(run)
    return judge_all(claims, _scores(run), looks)


def _looks_without_a_plan(run: Run) -> Looks:
    """What stands for a plan where none was recorded: at least five seeds, and each command of the run as a look."""
    missing = max(0, FEWEST_PLANNED - len(run["seeds"]))
    plan = (*run["seeds"], *(-1 - place for place in range(missing)))
    commands = run["command"].count("\n")
    return Looks(plan, {entry["id"]: commands for entry in run["claims"]})


def _scores(run: Run) -> dict[str, dict[int, Scores]]:
    """Arm to seed to the published metrics."""
    return {
        arm: {
            seed: Scores({name: number(values[place]) for name, values in row.items()})
            for place, seed in enumerate(run["seeds"])
        }
        for arm, row in run["arms"].items()
    }
