"""One run: every (arm, seed) of a recipe, in order, resumable at any moment, ending in a judged report.

The runner owns what is the same for all papers. A recipe owns the science and gives ``ARMS``, ``CLAIMS``, ``PLAN``,
``run(config, arm, seed, cell) -> Scores`` and ``figures(report)``. The plan is stored when a run begins.
Cells with stored scores are skipped; an unfinished one is handed to the recipe again, whose training goes on from its
newest complete checkpoint.

Under ``accelerate launch`` each process calls :func:`execute`: all train, rank 0 alone writes. Which cells are
to do is read once, at the start; no rank can finish a cell before all have begun it, so the ranks agree.
"""

import hashlib
import json
import os
import random
import secrets
import shlex
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, cast

import numpy as np
import yaml
from rich.console import Console

from tenfold.core import machine
from tenfold.core.cell import Cell, StopFlag, Tracker, is_main_process, read_stages
from tenfold.core.claims import judge_all
from tenfold.core.config import to_plain, to_yaml
from tenfold.core.directory import RunDirectory, cell_order, is_run, resuming, scores_from_plain, scores_to_plain
from tenfold.core.discovery import recipe_module, studies
from tenfold.core.entries import published_here
from tenfold.core.errors import Interrupted, UserError
from tenfold.core.files import to_json
from tenfold.core.progress import RunProgress
from tenfold.core.report import write_report
from tenfold.core.results import looks_before, looks_of_run
from tenfold.core.seeding import key_to_seed
from tenfold.core.stated import claims_hash, method_source
from tenfold.core.types import Claim, Looks, Picture, Plan, Report, Scores
from tenfold.core.writing import writing_to

OTHER_CODE, OTHER_CLAIMS = "the code changed within the run", "the claims changed after the run began"


class Recipe(Protocol):
    """What the runner needs of a paper's ``recipe.py``."""

    ARMS: Mapping[str, Any]
    CLAIMS: tuple[Claim, ...]
    PLAN: Plan

    def run(self, config: Any, arm: str, seed: int, cell: Cell) -> Scores:
        """Train and evaluate one arm with one seed."""

    def figures(self, report: Report) -> list[Picture]:
        """The pictures of the report."""


def execute(
    *,
    paper: str,
    recipe: Recipe,
    config: Any,
    preset: str,
    seeds: Sequence[int],
    arms: Sequence[str],
    directory: Path,
    command: str,
    device: str,
    dtype: str,
    console: Console | None = None,
    tracker: Tracker | None = None,
) -> Report:
    """Run what is not finished yet of a run, and write its report.

    A directory that holds a run already is continued: its paper, configuration and dtype must be the same, and
    its seeds and arms are joined with those given.

    Args:
        paper: folder name of the paper.
        recipe: the recipe module (see :class:`Recipe`).
        config: the resolved configuration, a dataclass.
        preset: name of the preset it started from.
        seeds: the seeds.
        arms: names of arms; they run in the order of ``recipe.ARMS``.
        directory: the run directory: new, empty, or a run.
        command: the command line that repeats this run.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        dtype: ``"float32"`` or ``"bfloat16"``.
        console: where progress is shown; by default standard output.
        tracker: is told whatever the cells log.

    Returns:
        The report; rank 0 has written it as ``report.html`` and ``report.json``.

    Raises:
        UserError: an unknown arm, a directory with something else in it, or a run of something else; another process
            that writes to the directory; a directory that is damaged, full, removed or cannot be written to.
        Interrupted: a stop was requested; everything is saved and a message has said how to go on.
    """
    asked = {"paper": paper, "preset": preset, "seeds": list(seeds), "arms": list(arms)}
    session = _session_facts(command, device, dtype)
    resume = resuming(directory, paper)
    with writing_to(directory, f"once it can be written to, go on with `{resume}`, or give another --out"):
        return _execute(RunDirectory(directory), asked, session, recipe, config, console or Console(), tracker)


def _execute(
    run: RunDirectory,
    asked: Mapping[str, Any],
    session: Mapping[str, Any],
    recipe: Recipe,
    config: Any,
    console: Console,
    tracker: Tracker | None,
) -> Report:
    paper, directory = asked["paper"], run.path
    facts = _planned_facts(run, {**asked, **session}, config, recipe)
    cells = cell_order(facts["arms"], facts["seeds"])
    scores = {cell: run.scores(*cell) for cell in cells if run.is_finished(*cell)}
    pending = [cell for cell in cells if cell not in scores]
    if is_run(directory) and pending:
        facts = _with_resumption(facts, session)
    if is_main_process():
        _store_plan(run, facts, config)
    try:
        scores |= _run_cells(run, facts, pending, recipe, config, console, tracker)
    except (Interrupted, KeyboardInterrupt) as stopped:
        if is_main_process():
            reason = str(stopped) or "stopped at once; a resumed run continues from the newest checkpoint"
            message = f"{reason}\nTo continue: {resuming(directory, paper)}"
            console.print(message, markup=False, highlight=False, soft_wrap=True)
        raise
    if not pending and is_main_process():
        console.print(f"All {len(cells)} cells of this run are finished; its report is written again.", highlight=False)
    facts |= run.cost(cells) | {"data": _data_of(scores), "looks": _looks_of_its_own(facts)}
    report = _report(run, facts, recipe, scores, to_plain(config))
    if is_main_process():
        run.write_facts(facts)
        _write_or_say(report, recipe, directory, console)
    return report


def _write_or_say(report: Report, recipe: Recipe, directory: Path, console: Console) -> None:
    """Write the report; where Ctrl-C cuts it short, nothing that was measured is lost, and that is said."""
    try:
        write_report(report, recipe.figures(report), directory)
    except KeyboardInterrupt:
        command = shlex.join(["tenfold", "report", str(directory)])
        message = f"All cells are finished; only the report was cut short. To write it: {command}"
        console.print(message, markup=False, highlight=False, soft_wrap=True)
        raise


def partial_report(directory: Path, recipe: Recipe | None = None) -> Report:
    """The report of whatever is finished in a run directory; nothing is written.

    Args:
        directory: the run directory.
        recipe: the recipe module; by default that of the paper named in ``run.json``.

    Raises:
        UserError: ``directory`` is not a run.
    """
    run = RunDirectory.open(directory)
    facts = run.facts()
    recipe = _recipe_of(run) if recipe is None else recipe
    facts |= run.cost(run.cells())
    return _report(run, facts, recipe, {cell: run.scores(*cell) for cell in run.finished()}, run.config())


def rebuild_report(directory: Path, recipe: Recipe | None = None) -> Report:
    """Judge a run again and write its report again, whether or not all of it is finished.

    Args:
        directory: the run directory.
        recipe: the recipe module; by default that of the paper named in ``run.json``.

    Returns:
        The report that was written.

    Raises:
        UserError: ``directory`` is not a run.
    """
    recipe = _recipe_of(RunDirectory.open(directory)) if recipe is None else recipe
    report = partial_report(directory, recipe)
    write_report(report, recipe.figures(report), directory)
    return report


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch, alike for every arm of a seed."""
    import torch

    key = key_to_seed(seed, "global generators")
    random.seed(key)
    np.random.seed(key % 2**32)
    torch.manual_seed(key)


def _recipe_of(run: RunDirectory) -> Recipe:
    return cast(Recipe, recipe_module(run.facts()["paper"]))


def _session_facts(command: str, device: str, dtype: str) -> dict[str, Any]:
    date = datetime.now().astimezone().isoformat(timespec="seconds")
    asked = {"device": device, "device_used": machine.device_used(device), "dtype": dtype}
    return {"command": command, "date": date, **asked, **machine.describe(ask_torch=True)}


def _planned_facts(run: RunDirectory, asked: Mapping[str, Any], config: Any, recipe: Recipe) -> dict[str, Any]:
    """The facts asked for, or those of the stored run with new seeds and arms joined; something else is refused."""
    unknown = [arm for arm in asked["arms"] if arm not in recipe.ARMS]
    if unknown:
        raise UserError(f"--arms: there is no arm {unknown[0]!r}; allowed are {', '.join(recipe.ARMS)}")
    facts = dict(asked)
    if not is_run(run.path):
        facts |= stated_facts(facts["paper"], facts["preset"], recipe.PLAN, recipe.CLAIMS, config)
    else:
        facts = run.facts()
        for name in ("paper", "dtype"):
            if facts[name] != asked[name]:
                raise UserError(f"{run.path} is a run with {name} {facts[name]}; it cannot continue with {asked[name]}")
        if run.config() != yaml.safe_load(to_yaml(config)):
            raise UserError(f"{run.path} has another configuration than the one given; start a new run to change it")
    wanted = {*asked["arms"], *facts["arms"]}
    arms, seeds = [arm for arm in recipe.ARMS if arm in wanted], sorted({*asked["seeds"], *facts["seeds"]})
    if is_run(run.path) and (arms, seeds) != (facts["arms"], facts["seeds"]):
        facts["command"] += "\n" + asked["command"]  # it takes both to repeat the run
    return facts | {"arms": arms, "seeds": seeds}


def stated_facts(paper: str, preset: str, plan: Plan, claims: Sequence[Claim], config: Any) -> dict[str, Any]:
    """What is stated about a run before it begins.

    Args:
        paper: name of the study.
        preset: its preset, with the task.
        plan: the recipe's.
        claims: the recipe's.
        config: the resolved configuration.

    Returns:
        ``run``, a name that no other run has; ``plan``, the planned seeds and why there are so many, ``None`` where
        none are planned; ``looks``, the sets of more seeds it is judged on; ``void``, why nothing of it can be judged;
        ``claims_sha256``, ``config_sha256`` and ``method_source``, hashes of what decides about the claims, of the
        configuration and of the code that the numbers come from; ``data``, those of the machine's texts.
    """
    seeds = plan.seeds(preset)
    return {
        "run": secrets.token_hex(6),
        "plan": {"seeds": list(seeds), "why": plan.why} if seeds else None,
        "looks": [],
        "void": "",
        "claims_sha256": claims_hash(claims),
        "config_sha256": hashlib.sha256(to_yaml(config).encode()).hexdigest(),
        "method_source": _method_source(paper) if seeds else None,
        "data": {},
    }


def _method_source(paper: str) -> str | None:
    study = next((study for study in studies() if study.name == paper), None)
    return None if study is None else method_source(study)


def _with_resumption(facts: dict[str, Any], session: Mapping[str, Any]) -> dict[str, Any]:
    """Stored facts with this session noted; the tree counts as clean only if every session ran the same clean one."""
    noted = {key: session[key] for key in ("date", "command", "commit", "tree_clean", "hardware", "device")}
    same_source = session["commit"] == facts["commit"] and session["tree_clean"] is facts["tree_clean"]
    method = facts.get("method_source")
    same_method = method is not None and method == _method_source(facts["paper"])
    return facts | {
        "device": session["device"],
        "device_used": session["device_used"],
        "tree_clean": facts["tree_clean"] if same_source else False,
        "void": facts.get("void", "") or ("" if same_method or method is None else OTHER_CODE),
        "resumptions": [*facts.get("resumptions", []), noted],
    }


def _store_plan(run: RunDirectory, facts: Mapping[str, Any], config: Any) -> None:
    if is_run(run.path):
        run.write_facts(facts)
    else:
        RunDirectory.create(run.path, facts, to_yaml(config))


def _run_cells(
    run: RunDirectory,
    facts: Mapping[str, Any],
    pending: Sequence[tuple[str, int]],
    recipe: Recipe,
    config: Any,
    console: Console,
    tracker: Tracker | None,
) -> dict[tuple[str, int], Scores]:
    """Run the pending cells in order; every process returns the scores of all of them."""
    display = RunProgress(facts["paper"], len(pending), console) if is_main_process() else None
    single_process = int(os.environ.get("WORLD_SIZE", "1")) == 1
    stop = StopFlag()
    scores = {}
    with _signals_set(stop), display or nullcontext():
        for arm, seed in pending:
            if is_main_process():
                RunDirectory.open(run.path)  # it may have been removed meanwhile
            if stop.requested and single_process:  # several processes agree on a stop inside training
                raise Interrupted(0, run.path)
            cell = Cell(
                arm=arm,
                seed=seed,
                directory=run.cell(arm, seed),
                shared_directory=run.shared(seed),
                device=facts["device"],
                dtype=facts["dtype"],
                display=display,
                stop=stop,
                tracker=tracker,
            )
            scores[arm, seed] = _run_cell(cell, run, recipe, config, display)
    return scores


def _run_cell(cell: Cell, run: RunDirectory, recipe: Recipe, config: Any, display: RunProgress | None) -> Scores:
    if cell.is_main:  # another rank must not fill the new run directory before the main one has begun the run in it
        cell.directory.mkdir(parents=True, exist_ok=True)
    seed_everything(cell.seed)
    if display is not None:
        display.start_cell(cell.arm, cell.seed)
    try:
        measured = recipe.run(config, cell.arm, cell.seed, cell)
    finally:
        cell.save_seconds()
    scores = scores_from_plain(json.loads(to_json(scores_to_plain(measured))))  # as a resumed run will read them
    if cell.is_main:
        run.write_scores(cell.arm, cell.seed, scores)
    if display is not None:
        judged = {
            claim.metric: scores.metrics[claim.metric] for claim in recipe.CLAIMS if claim.metric in scores.metrics
        }
        display.finish_cell(judged, cell.seconds())
    return scores


@contextmanager
def _signals_set(stop: StopFlag) -> Iterator[None]:
    """SIGINT and SIGTERM set ``stop``; a second SIGINT raises ``KeyboardInterrupt``. Restored on leaving.

    Python allows handlers in the main thread alone; elsewhere nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.requested = True
        if is_main_process():
            os.write(2, b"\nStopping after this step; Ctrl-C once more stops at once.\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _data_of(scores: Mapping[tuple[str, int], Scores]) -> dict[str, str]:
    """Name to hash of the machine's texts, over all cells; several hashes of one name stand beside each other."""
    found: dict[str, list[str]] = {}
    for measured in scores.values():
        for name, digest in measured.data.items():
            if digest not in found.setdefault(name, []):
                found[name].append(digest)
    return {name: " and ".join(digests) for name, digests in found.items()}


def _looks_of_its_own(facts: Mapping[str, Any]) -> list[list[int]]:
    """The sets of more seeds than planned on which a finished run has been judged, with the present one."""
    before, seeds = facts.get("looks", []), list(facts["seeds"])
    plan = facts["plan"]["seeds"] if facts.get("plan") else seeds
    more_than_planned = set(plan) < set(seeds)
    return [*before, seeds] if more_than_planned and seeds not in before else before


def _looks(facts: Mapping[str, Any], recipe: Recipe) -> Looks:
    """What the claims of a run are judged by: its plan, the looks before it, and whether it can be judged at all."""
    if not facts.get("plan"):
        return Looks()
    published = published_here(facts["paper"])
    own = [*facts["looks"], *looks_of_run(published, facts["run"])]
    earlier = looks_before(published, facts["preset"], facts["run"])
    void = facts["void"] or ("" if claims_hash(recipe.CLAIMS) == facts["claims_sha256"] else OTHER_CLAIMS)
    return Looks(tuple(facts["plan"]["seeds"]), earlier, own, void)


def _judged_part(by_arm: Mapping[str, Mapping[int, Scores]], facts: Mapping[str, Any]) -> dict[str, dict[int, Scores]]:
    """What claims are judged on: all; of an unfinished extension of a plan the plan alone, or each seed were a look."""
    plan = set(facts["plan"]["seeds"]) if facts.get("plan") else set()
    is_whole = all(set(facts["seeds"]) <= set(row) for row in by_arm.values())
    extends = bool(plan) and plan < set(facts["seeds"])
    if is_whole or not extends:
        return {arm: dict(row) for arm, row in by_arm.items()}
    return {arm: {seed: scores for seed, scores in row.items() if seed in plan} for arm, row in by_arm.items()}


def _report(
    run: RunDirectory,
    facts: Mapping[str, Any],
    recipe: Recipe,
    scores: Mapping[tuple[str, int], Scores],
    config: Mapping[str, Any],
) -> Report:
    by_arm: dict[str, dict[int, Scores]] = {arm: {} for arm in facts["arms"]}
    for arm, seed in cell_order(facts["arms"], facts["seeds"]):
        if (arm, seed) in scores:
            by_arm[arm][seed] = scores[arm, seed]
    return Report(
        paper=facts["paper"],
        preset=facts["preset"],
        seeds=facts["seeds"],
        scores=by_arm,
        judgements=judge_all(recipe.CLAIMS, _judged_part(by_arm, facts), _looks(facts, recipe)),
        facts=facts,
        config=config,
        stages={seed: read_stages(run.shared(seed)) for seed in facts["seeds"]},
        arms={arm: recipe.ARMS[arm].text for arm in by_arm},
    )
