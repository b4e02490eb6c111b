"""Published numbers: ``results/<study>.json`` and the tables in the READMEs that are made from it.

A study is called by its paper's name, and by both where it is not the default one: ``results/kimi_k2.json``,
``results/kimi_k2/agentic.json``.

A file holds a list of runs. Publishing a run replaces the one with the same preset, changed fields, hardware
and arms, unless that has more seeds; so each machine's newest numbers stand beside the others, and a shortened
run never takes the place of a preset's own. The tables are text between two comments, and are never written by hand:

    <!-- results:hrm -->  …  <!-- /results:hrm -->     in the paper's README: metrics and verdicts of each run
    <!-- results -->      …  <!-- /results -->         in the repository's README: one line for each study
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenfold.core.claims import count_of_seeds, verdict_text
from tenfold.core.errors import UserError
from tenfold.core.files import number, to_json, write_atomically
from tenfold.core.types import Claim, Judgement
from tenfold.core.wording import (
    VERDICTS,
    count_verdicts,
    duration,
    effect_text,
    entry_of,
    interval_note,
    needed_text,
    preset_text,
)

RUN_KEYS: Mapping[str, type | tuple[type, ...]] = {
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
CLAIM_KEYS = ("id", "text", "kind", "metric", "arm", "baseline", "margin", "effect", "interval", "verdict")

Run = dict[str, Any]
PAPERS = "src/tenfold/papers"
"""Where papers are in the repository."""


def publish(run_directory: Path, repository: Path) -> list[Path]:
    """Put a finished run among the published ones and refresh both READMEs.

    Args:
        run_directory: a run with a report and no cell missing.
        repository: the root of a source checkout: its ``pyproject.toml`` has the name tenfold.

    Returns:
        The files that were written.

    Raises:
        UserError: the run has no report or unfinished cells, a published one of its kind has more seeds,
            ``repository`` is no checkout, or a README has no place for the tables.
    """
    if not _is_checkout(repository):
        raise UserError(f"{repository} has no pyproject.toml of tenfold: publishing writes into a source checkout")
    run = run_from_directory(run_directory)
    path = results_path(repository, run["paper"])
    write(path, merge(read(path), run))
    return [path, *refresh_readmes(repository)]


def results_path(repository: Path, paper: str) -> Path:
    """Where the numbers of a study are: ``results/<study>.json``."""
    return repository / "results" / f"{paper}.json"


def run_from_directory(run_directory: Path) -> Run:
    """The entry for ``results/<study>.json`` that a finished run directory makes.

    Raises:
        UserError: the run has no report or an outdated one, a cell is missing, or its paper has no folder here.
    """
    json_path, html_path = run_directory / "report.json", run_directory / "report.html"
    if not json_path.is_file() or not html_path.is_file():
        raise UserError(f"{run_directory} has no report: finish the run, or write one with `tenfold report`")
    report = json.loads(json_path.read_text())
    for arm, seeds in report["seeds_finished"].items():
        if seeds != report["seeds"]:
            raise UserError(f"{run_directory}: arm {arm} finished seeds {seeds} of {report['seeds']}; all are needed")
    if report.get("changed", {}) is None:
        raise UserError(f"{run_directory}: paper {report['paper']!r} has no preset here to compare the run with")
    digest = hashlib.sha256(html_path.read_bytes()).hexdigest()
    report["report_sha256"] = digest
    run = {key: report[key] for key in RUN_KEYS if key in report}
    validate([run], str(json_path))
    return run


def read(path: Path) -> list[Run]:
    """The published runs of a paper; none when there is no file.

    Raises:
        UserError: the file does not follow the schema.
    """
    if not path.exists():
        return []
    runs = json.loads(path.read_text())
    validate(runs, str(path))
    return list(runs)


def write(path: Path, runs: Sequence[Run]) -> None:
    """Write the published runs of a paper."""
    write_atomically(path, to_json(list(runs), indent=1) + "\n")


def merge(runs: Sequence[Run], new: Run) -> list[Run]:
    """``runs`` with ``new`` in place of the one with its preset, changes, hardware and arms, or at the end.

    Raises:
        UserError: the one in its place has more seeds.
    """

    def key(run: Run) -> tuple[Any, ...]:
        return run["preset"], run["changed"], run["hardware"], tuple(run["arms"])

    for run in runs:
        if key(run) == key(new) and len(run["seeds"]) > len(new["seeds"]):
            setting = preset_text(new["preset"], new["changed"])
            published, given = count_of_seeds(len(run["seeds"])), count_of_seeds(len(new["seeds"]))
            raise UserError(f"the published run of {setting} has {published}; one with {given} cannot replace it")
    replaced = [new if key(run) == key(new) else run for run in runs]
    return replaced if new in replaced else [*replaced, new]


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


def render_tables(runs: Sequence[Run]) -> str:
    """The published runs of one paper as Markdown: for each run its metrics, verdicts and command."""
    return "\n\n".join(_render_run(run) for run in runs)


def render_summary(runs_by_paper: Mapping[str, Sequence[Run]]) -> str:
    """One line for each study with published runs: the run with the most seeds, a plain preset, the newest."""
    lines = ["| paper | run | claims | time |", "|---|---|---|---|"]
    for paper, runs in sorted(runs_by_paper.items()):
        run = max(runs, key=lambda run: (len(run["seeds"]), not run["changed"], run["date"]))
        outcome = count_verdicts([claim["verdict"] for claim in run["claims"]])
        setting = preset_text(run["preset"], run["changed"])
        described = f"{setting}, {count_of_seeds(len(run['seeds']))}, {run['hardware']}"
        link = f"[{paper}]({PAPERS}/{_folder(paper)}/README.md)"
        lines.append(f"| {link} | {_cell(described)} | {outcome} | {duration(run['seconds'])} |")
    return "\n".join(lines)


def update_readme(path: Path, marker: str, markdown: str) -> None:
    """Replace the text between ``<!-- marker -->`` and ``<!-- /marker -->``.

    Args:
        path: the README.
        marker: such as ``results:hrm``.
        markdown: the new text.

    Raises:
        UserError: the file or one of the two comments is missing.
    """
    write_atomically(path, _replaced(path, marker, markdown))


def refresh_readmes(repository: Path) -> list[Path]:
    """Bring every README up to date with the published results; returns those that changed."""
    outdated = _outdated(repository)
    for path, text in outdated.items():
        write_atomically(path, text)
    return list(outdated)


def stale(repository: Path) -> list[Path]:
    """The READMEs whose tables differ from what ``results/`` says."""
    return list(_outdated(repository))


def claims_of(run: Run) -> list[Judgement]:
    """The judged claims of a published run."""
    return [_judgement(entry) for entry in run["claims"]]


def _folder(study: str) -> str:
    """The folder of a study's paper."""
    return study.partition("/")[0]


def _is_checkout(repository: Path) -> bool:
    path = repository / "pyproject.toml"
    return path.is_file() and tomllib.loads(path.read_text()).get("project", {}).get("name") == "tenfold"


def _outdated(repository: Path) -> dict[Path, str]:
    """README to its text as it should be, where that differs from what is there."""
    root = repository / "results"
    files = sorted([*root.glob("*.json"), *root.glob("*/*.json")])
    published = {path.relative_to(root).with_suffix("").as_posix(): read(path) for path in files}
    published = {paper: runs for paper, runs in published.items() if runs}
    if not published:
        return {}
    blocks = [(repository / "README.md", "results", render_summary(published))]
    for paper, runs in published.items():
        readme = repository / PAPERS / _folder(paper) / "README.md"
        blocks.append((readme, f"results:{paper}", render_tables(runs)))
    wanted = {path: _replaced(path, marker, markdown) for path, marker, markdown in blocks}
    return {path: text for path, text in wanted.items() if text != path.read_text()}


def _replaced(path: Path, marker: str, markdown: str) -> str:
    opening, closing = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    text = path.read_text() if path.exists() else ""
    before, found, rest = text.partition(opening)
    _, ended, after = rest.partition(closing)
    if not found or not ended:
        raise UserError(f"{path} has no place for the results: it needs the lines {opening} and {closing}")
    return f"{before}{opening}\n{markdown}\n{closing}{after}"


def _render_run(run: Run) -> str:
    seeds = count_of_seeds(len(run["seeds"]))
    commit = f"commit {run['commit'][:10]}" if run["commit"] else f"tenfold {run['versions'].get('tenfold', '?')}"
    state = " with uncommitted or mixed changes" if run["tree_clean"] is False else ""
    heading = f"**{preset_text(run['preset'], run['changed'])}, {seeds}**"
    origin = f"{run['date'][:10]}, {duration(run['seconds'])} on {run['hardware']}, {commit}{state}"
    parts = [f"{heading} ({origin}):", _metrics_markdown(run)]
    if run["claims"]:
        parts.append(_claims_markdown(run))
    parts.append(f"```\n{run['command']}\n```")
    return "\n\n".join(parts)


def _metrics_markdown(run: Run) -> str:
    arms = run["arms"]
    names = list(dict.fromkeys(name for row in arms.values() for name in row))
    lines = [f"| metric | {' | '.join(arms)} |", "|---|" + "---:|" * len(arms)]
    for name in names:
        entries = [entry_of([number(value) for value in row.get(name, [])]) for row in arms.values()]
        lines.append(f"| `{name}` | {' | '.join(f'{entry.mean} {entry.spread}'.strip() for entry in entries)} |")
    return "\n".join(lines)


def _claims_markdown(run: Run) -> str:
    lines = ["| claim | effect [95 % interval] | needed | verdict |", "|---|---|---|---|"]
    for judgement in claims_of(run):
        note = f" ({judgement.note})" if judgement.note and judgement.seeds >= 3 else ""
        effect = f"{effect_text(judgement)} {interval_note(judgement)}".strip()
        cells = (judgement.claim.text, effect, needed_text(judgement.claim))
        lines.append(f"| {' | '.join(map(_cell, cells))} | **{verdict_text(judgement)}**{note} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _judgement(entry: Mapping[str, Any]) -> Judgement:
    interval = None if entry["interval"] is None else (float(entry["interval"][0]), float(entry["interval"][1]))
    return Judgement(
        claim=Claim(**{name: entry[name] for name in Claim.__dataclass_fields__}),
        effect=number(entry["effect"]),
        interval=interval,
        interval_over=entry["interval_over"],
        seeds=entry["seeds"],
        verdict=entry["verdict"],
        note=entry["note"],
    )


def _validate_run(run: Mapping[str, Any], where: str) -> None:
    for key, allowed in RUN_KEYS.items():
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
