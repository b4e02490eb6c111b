"""What a published run's report is drawn from, kept beside the numbers: ``results/<study>/<date>-<preset>.json.gz``.

The file holds the run's facts, its resolved configuration, the scores of every cell and the shared stages. Curves are
thinned to 200 points, so that a run takes some kilobytes.
"""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tenfold.core.cell import read_stages
from tenfold.core.damage import damaged
from tenfold.core.directory import RunDirectory, cell_order, scores_from_plain, scores_to_plain
from tenfold.core.discovery import recipe_module, studies
from tenfold.core.entries import Run, without_places
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.core.results import shown
from tenfold.core.tables import newest
from tenfold.core.types import Report, Scores, Stage

POINTS = 200
Point = TypeVar("Point")


def store(run_directory: Path, repository: Path, run: Run) -> Path:
    """Write what the report of a run is drawn from.

    Args:
        run_directory: the run.
        repository: the root of a source checkout.
        run: its entry.

    Returns:
        The file; one of another run of that day keeps its name, and this one's ends in the run's own.
    """
    stem = f"{run['date'][:10]}-{run['preset'].replace(':', '-')}"
    folder = repository / "results" / run["paper"]
    path = folder / f"{stem}.json.gz"
    if path.exists() and _content(path)["facts"]["run"] != run["run"]:
        path = folder / f"{stem}-{run['run']}.json.gz"
    content = to_json(_plain(RunDirectory.open(run_directory), run["seeds"])) + "\n"
    write_atomically(path, gzip.compress(content.encode(), mtime=0))
    return path


def stored_report(repository: Path, study: str, runs: Sequence[Run]) -> Report:
    """The report of the published run that speaks for a study, as it was drawn when it was published.

    Args:
        repository: the root of a source checkout.
        study: the study's name.
        runs: its published runs.

    Raises:
        UserError: nothing but the table exists: the run was published before reports were kept.
    """
    if not runs:
        raise UserError(f"no run of {study} is published")
    one = newest(shown(runs))
    files = sorted((repository / "results" / study).glob("*.json.gz"))
    contents = [_content(file) for file in files]
    found = [content for content in contents if content["facts"].get("run") in one.parts]
    if len(found) < max(1, len(one.parts)):
        table = f"the table of its numbers is in {study.partition('/')[0]}'s README"
        raise UserError(f"the published run of {study} has no stored data to draw its report from; {table}")
    content = _merged(found)
    return Report(
        paper=study,
        preset=one.run["preset"],
        seeds=one.run["seeds"],
        scores={arm: {seed: row[seed] for seed in sorted(row)} for arm, row in _scores(content["scores"]).items()},
        judgements=one.judgements,
        facts=content["facts"],
        config=content["config"],
        stages=_stages(content["stages"]),
        arms=_arms(study, list(content["scores"])),
    )


def _merged(contents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The stored data of a plan that was run in parts, as if it had been run at once."""
    merged = dict(contents[-1])
    for name in ("scores", "stages"):
        merged[name] = {}
        for content in contents:
            for key, rows in content[name].items():
                merged[name][key] = {**merged[name].get(key, {}), **rows}
    cells: dict[str, dict[str, float]] = {}
    for content in contents:
        for arm, row in content["facts"]["cell_seconds"].items():
            cells[arm] = {**cells.get(arm, {}), **row}
    seconds = sum(content["facts"]["seconds"] for content in contents)
    merged["facts"] = merged["facts"] | {"cell_seconds": cells, "seconds": seconds}
    return merged


def thinned(points: Sequence[Point], most: int = POINTS) -> list[Point]:
    """At most ``most`` of the points, evenly spread, the first and the last among them.

    Example:
        >>> thinned(range(10), 4)
        [0, 3, 6, 9]
    """
    if len(points) <= most:
        return list(points)
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]


def _content(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(gzip.decompress(path.read_bytes())))
    except (OSError, EOFError, zlib.error, ValueError):
        raise damaged(path, "it is no whole archive", "put back the file as the repository has it") from None


def _plain(run: RunDirectory, seeds: Sequence[int]) -> dict[str, Any]:
    facts, scores = run.facts(), {}
    facts |= run.cost(cell_order(facts["arms"], seeds))  # a run that was stopped has not stored it
    facts["command"] = without_places(facts["command"])
    for noted in facts.get("resumptions", []):
        noted["command"] = without_places(noted["command"])
    for arm in facts["arms"]:
        scores[arm] = {str(seed): scores_to_plain(_thin(run.scores(arm, seed))) for seed in seeds}
    stages = {
        str(seed): {
            name: {"seconds": stage.seconds, "curves": _thin_curves(stage.curves)}
            for name, stage in read_stages(run.shared(seed)).items()
        }
        for seed in seeds
    }
    return {"facts": facts, "config": run.config(), "scores": scores, "stages": stages}


def _thin(scores: Scores) -> Scores:
    return replace(scores, curves=_thin_curves(scores.curves))


def _thin_curves(curves: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, list[tuple[float, float]]]:
    return {name: thinned(points) for name, points in curves.items()}


def _arms(study: str, names: Sequence[str]) -> dict[str, str]:
    """What the recipe of today says of arms; nothing where it has no folder here, or no such arm any more."""
    if study not in [one.name for one in studies()]:
        return {}
    arms = recipe_module(study).ARMS
    return {name: arms[name].text for name in names if name in arms}


def _scores(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[int, Scores]]:
    return {arm: {int(seed): scores_from_plain(one) for seed, one in row.items()} for arm, row in plain.items()}


def _stages(plain: Mapping[str, Mapping[str, Any]]) -> dict[int, dict[str, Stage]]:
    return {
        int(seed): {name: Stage(seconds=one["seconds"], curves=one["curves"]) for name, one in row.items()}
        for seed, row in plain.items()
    }
