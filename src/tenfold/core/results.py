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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tenfold.core.checkout import is_checkout
from tenfold.core.claims import judge_all, what_it_says
from tenfold.core.damage import read_json
from tenfold.core.directory import RunDirectory
from tenfold.core.discovery import find_study, studies
from tenfold.core.entries import (
    NEEDED,
    SINCE_PLANS,
    Run,
    claim_entry,
    judgement_of,
    published_here,
    read,
    results_path,
    validate,
    without_places,
    write,
)
from tenfold.core.errors import UserError
from tenfold.core.files import number
from tenfold.core.stated import stated_at, stated_by
from tenfold.core.types import FEWEST_PLANNED, Claim, Judgement, Looks, Scores
from tenfold.core.wording import preset_text


@dataclass(frozen=True)
class Shown:
    """One or several entries as they are shown: joined where they hold seeds of one plan.

    Args:
        run: the entry, with the seeds, values, seconds and commands of all that are joined in it.
        judgements: its claims: as they were judged, or judged anew where entries are joined.
        parts: the names of the runs that are joined in it; none for an entry of the time before plans.
        superseded: what the entry that took its place says has changed; empty where none has.
    """

    run: Run
    judgements: Sequence[Judgement]
    parts: tuple[str, ...] = ()
    superseded: str = ""

    @property
    def planned(self) -> bool:
        """Whether the run followed a plan that was recorded."""
        return bool(self.run.get("plan"))

    @property
    def complete(self) -> bool:
        """Whether every claim that is judged has its verdict."""
        return bool(self.judgements) and all(judged.look > 0 for judged in self.judgements)


def publish(run_directory: Path, repository: Path, supersedes: str | None = None) -> list[Path]:
    """Add a run to the published ones, keep what its report is drawn from, and refresh the READMEs.

    Args:
        run_directory: a run with a report; of its planned seeds, those that all arms have finished are published.
        repository: the root of a source checkout: its ``pyproject.toml`` has the name tenfold.
        supersedes: what changed in the code since the planned run whose place this one takes.

    Returns:
        The files that were written; none where the run is published already and every table is up to date.

    Raises:
        UserError: the run has no report or a cell is missing; the commit it began with did not hold its plan; it needs
            ``supersedes`` or cannot have it; ``repository`` is no checkout; or a README has no place for the tables.
    """
    from tenfold.core.stored import store
    from tenfold.core.tables import refresh_readmes, refuse_without_places

    if not is_checkout(repository):
        raise UserError(f"{repository} has no pyproject.toml of tenfold: publishing writes into a source checkout")
    run = run_from_directory(run_directory)
    _refuse_unstated_plan(run)
    path = results_path(repository, run["paper"])
    runs = read(path)
    added = added_to(runs, run | {"supersedes": (supersedes or "").strip() or None})
    refuse_without_places(repository, run["paper"])
    if added == runs:
        return refresh_readmes(repository)
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
    report = read_json(json_path, "write it again with `tenfold report`")
    if report.get("changed", {}) is None:
        raise UserError(f"{run_directory}: paper {report['paper']!r} has no preset here to compare the run with")
    report["report_sha256"] = hashlib.sha256(html_path.read_bytes()).hexdigest()
    run = {key: report[key] for key in (*NEEDED, *SINCE_PLANS) if key in report}
    if "run" not in run:
        raise UserError(f"{run_directory} was run before there were plans; run it again to publish it")
    run = _finished_part(run, report["seeds_finished"], run_directory)
    run["hits"] = _hits(run, run_directory)
    run["command"] = without_places(run["command"])
    validate([run], str(json_path))
    return run


def added_to(runs: Sequence[Run], new: Run) -> list[Run]:
    """``runs`` with ``new`` at the end; as they were when it is there already.

    Raises:
        UserError: fewer seeds of the run are given than are published, or planned seeds that another part of the plan
            holds; a planned run of other code or under another plan is there, and ``new`` does not say what changed;
            or it says so and there is none.
    """
    same = [run for run in runs if run.get("run") == new["run"]]
    if same and same[-1]["seeds"] == new["seeds"] and same[-1]["arms"] == new["arms"]:
        return list(runs)
    if same and not set(same[-1]["seeds"]) <= set(new["seeds"]):
        raise UserError(f"seeds {same[-1]['seeds']} of this run are published; one with {new['seeds']} lacks some")
    _refuse_seeds_twice(runs, new)
    rivals = [run for run in runs if _needs_a_word(run, new)]
    setting = preset_text(new["preset"], new["changed"])
    if rivals and not new["supersedes"]:
        raise UserError(
            f"a planned run of {setting}, of {rivals[-1]['date'][:10]}, is published, with another plan, settings, "
            "source, claims or arms; say what has changed since, with --supersedes TEXT"
        )
    if new["supersedes"] and not rivals:
        raise UserError(f"--supersedes is given, but no planned run of {setting} is published that this one replaces")
    return [*runs, new]


def shown(runs: Sequence[Run]) -> list[Shown]:
    """The published runs as they are shown, in the order of publication: each judged, seeds of one plan joined.

    Of a run that grew, the newest entry is shown; a plan that was run in parts stands where its last part does.
    """
    newest_of = {run.get("run") or f"entry {place}": place for place, run in enumerate(runs)}
    groups: list[list[int]] = []
    for place in sorted(newest_of.values()):
        joins = [group for group in groups if all(_joins(runs[other], runs[place]) for other in group)]
        if joins:
            joins[0].append(place)
        else:
            groups.append([place])
    found: list[Shown] = []
    for group in sorted(groups, key=lambda group: group[-1]):
        parts = [runs[place] for place in group]
        run = _joined(parts)
        names = tuple(part["run"] for part in parts if part.get("run"))
        others = [other for other in runs[: group[-1]] if other.get("run") not in names]
        before = looks_before(others, run["preset"], "") if len(parts) > 1 else {}
        later = [other for other in runs[group[-1] + 1 :] if other.get("supersedes") and _needs_a_word(parts[0], other)]
        superseded = str(later[0]["supersedes"]) if later else ""
        found.append(Shown(run, _judged(parts, run, before), names, superseded))
    return found


def looks_before(runs: Sequence[Run], preset: str, run: str) -> dict[str, int]:
    """What claims say to how often that has been judged, over the published planned runs of a preset.

    Args:
        runs: the published runs, in the order of publication. All of them count, but for those that were published
            after the run itself.
        preset: the preset, with its task.
        run: the name of the run that is judged; its own looks are in its folder.
    """
    places = [place for place, other in enumerate(runs) if other.get("run") == run]
    others = [other for other in runs[: places[0] if places else len(runs)] if other.get("run") != run]
    looks: dict[str, int] = {}
    for one in shown(others) if others else []:
        if one.planned and one.run["preset"] == preset:
            for judged in one.judgements:
                says = what_it_says(judged.claim)
                looks[says] = max(looks.get(says, 0), judged.look)
    return looks


def looks_of_run(runs: Sequence[Run], run: str) -> list[list[int]]:
    """The sets of seeds, with more than the plan, that a run is published with; copies of its folder are one run."""
    own = [other for other in runs if other.get("run") == run and other.get("plan")]
    return [other["seeds"] for other in own if set(other["plan"]["seeds"]) < set(other["seeds"])]


def planned_and_published(runs: Sequence[Run], facts: Mapping[str, Any]) -> list[int]:
    """The seeds of a plan that are published from runs that a run with these facts would be joined with.

    Args:
        runs: the published runs.
        facts: ``preset``, ``changed``, ``plan``, ``method_source``, ``claims_sha256``, ``config_sha256``, ``dtype`` and
            ``arms`` of the run.
    """
    return sorted({seed for run in runs if _ran_the_same(run, facts) for seed in run["seeds"]})


def _finished_part(run: Run, finished: Mapping[str, Sequence[int]], run_directory: Path) -> Run:
    """The entry with the seeds that every arm has finished: all of them, or some of a plan."""
    whole = [seed for seed in run["seeds"] if all(seed in seeds for seeds in finished.values())]
    if whole == run["seeds"]:
        return run
    plan = run["plan"]["seeds"] if run.get("plan") else []
    if set(plan) < set(run["seeds"]):  # an extension counts once it is whole
        whole = [seed for seed in whole if seed in plan]
    if not whole or not set(whole) <= set(plan):
        arm, seeds = min(finished.items(), key=lambda item: len(item[1]))
        raise UserError(
            f"{run_directory}: arm {arm} finished seeds {list(seeds)} of {run['seeds']}; allowed are a whole run, and "
            f"those seeds of a plan that every arm has finished"
        )
    arms = {
        arm: {name: [values[list(finished[arm]).index(seed)] for seed in whole] for name, values in row.items()}
        for arm, row in run["arms"].items()
    }
    part, directory = run | {"seeds": whole, "arms": arms}, RunDirectory.open(run_directory)
    scores = {arm: {seed: directory.scores(arm, seed) for seed in whole} for arm in arms}
    claims = [judgement_of(entry).claim for entry in run["claims"]]
    earlier = looks_before(published_here(run["paper"]), run["preset"], run["run"])
    judged = judge_all(claims, scores, Looks(tuple(plan), earlier, void=run["void"]))
    return part | {"claims": [claim_entry(judgement) for judgement in judged]}


def _hits(run: Run, run_directory: Path) -> dict[str, dict[str, list[list[int]]]]:
    """Arm to metric of a claim to hits and number of its items for each seed, where all items are 0 or 1.

    Joined parts need them where a metric is at its bound.
    """
    directory, found = RunDirectory.open(run_directory), {}
    for arm in run["arms"]:
        rows = [directory.scores(arm, seed).items for seed in run["seeds"]]
        names = [claim["metric"] for claim in run["claims"] if all(claim["metric"] in row for row in rows)]
        found[arm] = {
            name: [[int(sum(row[name])), len(row[name])] for row in rows]
            for name in dict.fromkeys(names)
            if all(value in (0.0, 1.0) for row in rows for value in row[name])
        }
    return found


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


SAME_RUN = ("preset", "changed", "plan", "method_source", "claims_sha256", "config_sha256", "dtype")


def _ran_the_same(run: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two runs measured the same thing under the same plan."""
    known = run.get("plan") and run.get("method_source") and not run.get("void")
    return bool(known) and all(run[key] == other[key] for key in SAME_RUN) and list(run["arms"]) == list(other["arms"])


def _joins(run: Run, other: Run) -> bool:
    """Whether the seeds of two entries belong together: the same run in parts, each with planned seeds of its own."""
    if not _ran_the_same(run, other) or other.get("void") or run["data"] != other["data"]:
        return False
    apart = not set(run["seeds"]) & set(other["seeds"])
    return apart and {*run["seeds"], *other["seeds"]} <= set(run["plan"]["seeds"])


def _refuse_seeds_twice(runs: Sequence[Run], new: Run) -> None:
    """A part of a plan must not hold seeds of another part, or they could never be joined."""
    plan = set(new["plan"]["seeds"]) if new.get("plan") else set()
    if not set(new["seeds"]) < plan:
        return
    others = [run for run in runs if run.get("run") != new["run"] and _ran_the_same(run, new)]
    held = sorted({seed for run in others for seed in run["seeds"]} & set(new["seeds"]))
    if held:
        raise UserError(f"the planned seeds {held} are published from another run; a part of a plan must have others")


def _needs_a_word(run: Run, new: Run) -> bool:
    """Whether ``new`` takes the place of ``run``: both are planned runs of a setting, of other code or other plans."""
    if not run.get("plan") or not new.get("plan") or run.get("run") == new["run"]:
        return False
    same_setting = all(run[key] == new[key] for key in ("preset", "changed"))
    return same_setting and not _ran_the_same(run, new)


def _joined(group: Sequence[Run]) -> Run:
    """The entries of a group as one."""
    if len(group) == 1:
        return group[0]
    places = sorted((seed, part, place) for part, run in enumerate(group) for place, seed in enumerate(run["seeds"]))

    def together(key: str) -> dict[str, dict[str, list[Any]]]:
        found: dict[str, dict[str, list[Any]]] = {}
        for arm in group[0]["arms"]:
            rows = [run[key].get(arm, {}) for run in group]
            names = [name for name in rows[0] if all(name in row for row in rows)]
            found[arm] = {name: [rows[part][name][place] for _, part, place in places] for name in names}
        return found

    return group[-1] | {
        "seeds": [seed for seed, _, _ in places],
        "arms": together("arms"),
        "hits": together("hits"),
        "seconds": sum(run["seconds"] for run in group),
        "command": "\n".join(run["command"] for run in group),
        "commits": list(dict.fromkeys(run["commit"] for run in group if run["commit"])),
        "hardware": " and ".join(dict.fromkeys(run["hardware"] for run in group)),
        "tree_clean": all(run["tree_clean"] is not False for run in group),
    }


def _judged(group: Sequence[Run], run: Run, earlier: Mapping[str, int]) -> tuple[Judgement, ...]:
    """The claims of an entry as they were judged; judged from its values where it is joined or older than plans."""
    claims = [judgement_of(entry) for entry in run["claims"]]
    if "run" not in run:
        headline = headline_today(run["paper"])
        old = [replace(judged.claim, headline=judged.claim.id == headline) for judged in claims]
        return judge_all(old, _scores(run), _looks_without_a_plan(run, old))
    if len(group) == 1:
        return tuple(claims)
    looks = Looks(tuple(run["plan"]["seeds"]), earlier)
    judged = judge_all([one.claim for one in claims], _scores(run), looks)
    return tuple(one if one.look else replace(one, interval=None, interval_over="nothing") for one in judged)


def headline_today(paper: str) -> str:
    """The claim that the recipe of today marks as the headline; empty where there is no such study here."""
    study = next((study for study in studies() if study.name == paper), None)
    return "" if study is None else stated_by(study).headline


def _looks_without_a_plan(run: Run, claims: Sequence[Claim]) -> Looks:
    """What stands for a plan where none was recorded: at least five seeds, and each command of the run as a look."""
    missing = max(0, FEWEST_PLANNED - len(run["seeds"]))
    plan = (*run["seeds"], *(-1 - place for place in range(missing)))
    commands = run["command"].count("\n")
    return Looks(plan, {what_it_says(claim): commands for claim in claims})


def _scores(run: Run) -> dict[str, dict[int, Scores]]:
    """Arm to seed to the published metrics, with as many items that hit and miss as the entry counts."""
    found: dict[str, dict[int, Scores]] = {}
    for arm, row in run["arms"].items():
        counts = run.get("hits", {}).get(arm, {})
        found[arm] = {
            seed: Scores(
                {name: number(values[place]) for name, values in row.items()},
                {
                    name: [1.0] * rows[place][0] + [0.0] * (rows[place][1] - rows[place][0])
                    for name, rows in counts.items()
                },
            )
            for place, seed in enumerate(run["seeds"])
        }
    return found
