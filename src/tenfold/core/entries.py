"""Entries of ``results/<study>.json``: their schema, and how a judged claim stands in them.

An entry is what one run measured, as plain data. Those that were made before there were plans lack the fields of
:data:`SINCE_PLANS`, stay readable, and are never edited.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tenfold.core.checkout import ROOT
from tenfold.core.damage import read_json
from tenfold.core.errors import UserError
from tenfold.core.files import number, to_json, write_atomically
from tenfold.core.types import Claim, Gate, Judgement
from tenfold.core.wording import VERDICTS

Run = dict[str, Any]

NEEDED: Mapping[str, type | tuple[type, ...]] = {
    "paper": str,
    "preset": str,
    "changed": dict,
    "seeds": list,
    "command": str,
    "commit": (str, type(None)),
    "tree_clean": (bool, type(None)),
    "date": str,
    "hardware": str,
    "versions": dict,
    "seconds": (int, float),
    "report_sha256": str,
    "arms": dict,
    "claims": list,
}
SINCE_PLANS: Mapping[str, type | tuple[type, ...]] = {
    "run": str,
    "plan": (dict, type(None)),
    "looks": list,
    "method_source": (str, type(None)),
    "config_sha256": str,
    "data": dict,
    "dtype": str,
    "claims_sha256": str,
    "void": str,
    "hits": dict,
    "supersedes": (str, type(None)),
}
"""What entries have since there are plans; older ones lack all of it."""
CLAIM_KEYS = ("id", "text", "kind", "metric", "arm", "baseline", "margin", "effect", "interval", "verdict")


def results_path(repository: Path, paper: str) -> Path:
    """Where the numbers of a study are: ``results/<study>.json``."""
    return repository / "results" / f"{paper}.json"


def published_here(paper: str) -> list[Run]:
    """The published runs of a study in the checkout that this package runs from; none where it is installed."""
    return read(results_path(ROOT, paper))


def read(path: Path) -> list[Run]:
    """The published runs of a study; none when there is no file.

    Raises:
        UserError: the file does not follow the schema.
    """
    if not path.exists():
        return []
    runs = read_json(path, "put back the file as the repository has it")
    validate(runs, str(path))
    return list(runs)


def write(path: Path, runs: Sequence[Run]) -> None:
    """Write the published runs of a study."""
    write_atomically(path, to_json(list(runs), indent=1) + "\n")


def validate(runs: Any, where: str) -> None:
    """Check runs against the schema.

    Args:
        runs: what was read.
        where: what to call it in messages.

    Raises:
        UserError: a field is missing or has a value that is not allowed.
    """
    if not isinstance(runs, list):
        raise UserError(f"{where}: the content must be a list of runs, not {type(runs).__name__}")
    for index, run in enumerate(runs):
        _validate_run(run, f"{where}: run {index}")


def claim_entry(judgement: Judgement) -> dict[str, Any]:
    """A judgement as it stands in ``report.json`` and in ``results/<study>.json``."""
    claim = judgement.claim
    return {
        "id": claim.id,
        "text": claim.text,
        "headline": claim.headline,
        "kind": claim.kind,
        "metric": claim.metric,
        "split": claim.split,
        "arm": claim.arm,
        "baseline": claim.baseline,
        "direction": claim.direction,
        "margin": claim.margin,
        "source": claim.source,
        "budget": claim.budget,
        "gate_needed": None if claim.gate is None else asdict(claim.gate),
        "effect": judgement.effect,
        "interval": None if judgement.interval is None else list(judgement.interval),
        "interval_over": judgement.interval_over,
        "confidence": judgement.confidence,
        "seeds": judgement.seeds,
        "planned": judgement.planned,
        "void": judgement.void,
        "on_plan": judgement.on_plan,
        "look": judgement.look,
        "gate": judgement.gate,
        "p": judgement.p,
        "verdict": judgement.verdict,
        "together": judgement.together,
        "note": judgement.note,
        "values": list(judgement.values),
    }


def judgement_of(entry: Mapping[str, Any]) -> Judgement:
    """A judged claim as its entry says, with what older entries do not know yet left at its default."""
    gate = entry.get("gate_needed")
    fields = {name: entry[name] for name in Claim.__dataclass_fields__ if name in entry and name != "gate"}
    interval = None if entry["interval"] is None else (float(entry["interval"][0]), float(entry["interval"][1]))
    since_plans = ("planned", "void", "on_plan", "look", "confidence", "gate", "p", "together")
    return Judgement(
        claim=Claim(**fields, gate=None if gate is None else Gate(**gate)),
        effect=number(entry["effect"]),
        interval=interval,
        interval_over=entry["interval_over"],
        seeds=entry["seeds"],
        verdict=entry["verdict"],
        note=entry["note"],
        values=tuple(number(value) for value in entry.get("values", ())),
        **{name: entry[name] for name in since_plans if name in entry},
    )


def _validate_run(run: Mapping[str, Any], where: str) -> None:
    needed = {**NEEDED, **(SINCE_PLANS if "run" in run else {})}
    for key, allowed in needed.items():
        if key in ("supersedes", "hits") and key not in run:  # known when the run is published
            continue
        if key not in run:
            raise UserError(f"{where} has no {key}")
        if not isinstance(run[key], allowed):
            raise UserError(f"{where}: {key} is {run[key]!r}, which is not of an allowed type")
    for arm, metrics in run["arms"].items():
        for name, values in metrics.items():
            if len(values) != len(run["seeds"]):
                raise UserError(f"{where}: {arm} has {len(values)} values of {name} for {len(run['seeds'])} seeds")
    for claim in run["claims"]:
        missing = [key for key in CLAIM_KEYS if key not in claim]
        if missing:
            raise UserError(f"{where}: a claim has no {missing[0]}")
        if claim["verdict"] not in VERDICTS:
            raise UserError(f"{where}: verdict is {claim['verdict']!r}; allowed are {', '.join(VERDICTS)}")


def without_places(command: str) -> str:
    """The commands of a run without the folder that it was in, which is its user's own affair.

    Args:
        command: one or several lines.

    Example:
        >>> print(without_places("tenfold run hrm --out /a/b --arms hrm\\ntenfold run hrm --resume=/a/b"))
        tenfold run hrm --arms hrm
        tenfold run hrm --resume RUN
    """
    return "\n".join(shlex.join(_without_places(shlex.split(line))) for line in command.splitlines())


def _without_places(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        flag, is_joined, _ = word.partition("=")
        if flag not in ("--out", "--resume"):
            kept.append(word)
            continue
        if not is_joined:
            next(rest, None)
        if flag == "--resume":
            kept += [flag, "RUN"]
    return kept
