"""The tables of the READMEs, made from ``results/``: text between two comments, never written by hand.

<!-- results:hrm -->  …  <!-- /results:hrm -->     in the paper's README: metrics and verdicts of each run
<!-- results -->      …  <!-- /results -->         in the repository's README: the headline of each study
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tenfold.core.checkout import ROOT
from tenfold.core.claims import count_of_seeds, verdict_text
from tenfold.core.entries import Run, read
from tenfold.core.errors import UserError
from tenfold.core.files import number, write_atomically
from tenfold.core.results import Shown, headline_today, shown
from tenfold.core.types import Judgement
from tenfold.core.wording import (
    duration,
    effect_text,
    entry_of,
    interval_note,
    needed_text,
    preset_text,
    together_text,
)

PAPERS = "src/tenfold/papers"
"""Where papers are in the repository."""


def newest(runs: Sequence[Shown]) -> Shown:
    """The run that speaks for a study: planned before unplanned, not superseded, a plain preset, with verdicts on the
    most claims, the newest.

    Among runs without a plan it is the one with the most seeds.
    """
    planned = [(place, one) for place, one in enumerate(runs) if one.planned and not one.superseded]
    if planned:
        rank = {place: (not one.run["changed"], one.complete, len(one.judgements), place) for place, one in planned}
        return max(planned, key=lambda item: rank[item[0]])[1]
    return max(runs, key=lambda one: (len(one.run["seeds"]), not one.run["changed"], one.run["date"]))


def headline_of(paper: str, one: Shown) -> Judgement | None:
    """The headline claim of a run: the one marked as such, else the one that the recipe of today marks."""
    marked = next((judged for judged in one.judgements if judged.claim.headline), None)
    if marked is not None:
        return marked
    today = headline_today(paper)
    return next((judged for judged in one.judgements if judged.claim.id == today), None)


def render_tables(runs: Sequence[Run]) -> str:
    """The published runs of one study as Markdown: the one that speaks for it first, the others folded away."""
    found = shown(runs)
    first = newest(found)
    rest = [one for one in reversed(found) if one is not first]
    parts = [_render_run(first)]
    if rest:
        count = f"{len(rest)} other published run{'s' if len(rest) > 1 else ''}"
        folded = "\n\n".join(_render_run(one) for one in rest)
        parts.append(f"<details>\n<summary>{count}</summary>\n\n{folded}\n\n</details>")
    return "\n\n".join(parts)


def render_summary(runs_by_paper: Mapping[str, Sequence[Run]]) -> str:
    """One line for each study with published runs: its headline with the verdict, and what else held or did not."""
    lines = ["| paper | headline claim | verdict | the other claims | run |", "|---|---|---|---|---|"]
    for paper, runs in sorted(runs_by_paper.items()):
        found = shown(runs)
        one = newest(found)
        run, headline = one.run, headline_of(paper, one)
        others = [judged for judged in one.judgements if judged is not headline]
        cells = (
            f"[{paper}]({PAPERS}/{_folder(paper)}/README.md)",
            "–" if headline is None else headline.claim.text,
            "–" if headline is None else f"**{verdict_text(headline)}**",
            _named(others),
            f"{preset_text(run['preset'], run['changed'])}, {count_of_seeds(len(run['seeds']))}, "
            f"{duration(run['seconds'])}, {_plan_text(one, found)}",
        )
        lines.append(f"| {' | '.join(_cell(cell) if place else cell for place, cell in enumerate(cells))} |")
    return "\n".join(lines)


def front_page(repository: Path | None = None) -> dict[str, tuple[str, str, str]]:
    """The headline, its verdict and the run of each study, as they stand in the repository's README.

    Reading them there needs no statistics. The table is generated, and a test finds it stale.

    Args:
        repository: the root of a source checkout; by default the one that this package runs from.

    Returns:
        Study to texts; nothing where the package is installed.
    """
    root = ROOT if repository is None else repository
    readme = root / "README.md"
    if not (root / "results").is_dir() or not readme.is_file():
        return {}
    block = readme.read_text(encoding="utf-8").partition("<!-- results -->")[2].partition("<!-- /results -->")[0]
    found = {}
    for line in block.splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 5 and cells[0].startswith("["):
            found[cells[0][1:].partition("]")[0]] = (cells[1], cells[2].strip("*"), cells[4])
    return found


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


def refuse_without_places(repository: Path, paper: str) -> None:
    """Refuse READMEs that have no place for the tables of a study, before anything is written.

    Raises:
        UserError: a README is missing, or one of the comments.
    """
    _replaced(repository / "README.md", "results", "")
    _replaced(repository / PAPERS / _folder(paper) / "README.md", f"results:{paper}", "")


def stale(repository: Path) -> list[Path]:
    """The READMEs whose tables differ from what ``results/`` says."""
    return list(_outdated(repository))


def published(repository: Path) -> dict[str, list[Run]]:
    """Study to its published runs, for every study that has some."""
    root = repository / "results"
    files = sorted([*root.glob("*.json"), *root.glob("*/*.json")])
    found = {path.relative_to(root).with_suffix("").as_posix(): read(path) for path in files}
    return {paper: runs for paper, runs in found.items() if runs}


def _folder(study: str) -> str:
    """The folder of a study's paper."""
    return study.partition("/")[0]


def _outdated(repository: Path) -> dict[Path, str]:
    """README to its text as it should be, where that differs from what is there."""
    found = published(repository)
    if not found:
        return {}
    blocks = [(repository / "README.md", "results", render_summary(found))]
    for paper, runs in found.items():
        readme = repository / PAPERS / _folder(paper) / "README.md"
        blocks.append((readme, f"results:{paper}", render_tables(runs)))
    wanted: dict[Path, str] = {}
    for path, marker, markdown in blocks:  # a README may hold blocks of several studies
        wanted[path] = _replaced(path, marker, markdown, wanted.get(path))
    return {path: text for path, text in wanted.items() if text != path.read_text()}


def _replaced(path: Path, marker: str, markdown: str, text: str | None = None) -> str:
    """The text of a README, its own by default, with another text between the comments of a marker."""
    opening, closing = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    if text is None:
        text = path.read_text() if path.exists() else ""
    before, found, rest = text.partition(opening)
    _, ended, after = rest.partition(closing)
    if not found or not ended:
        raise UserError(f"{path} has no place for the results: it needs the lines {opening} and {closing}")
    return f"{before}{opening}\n{markdown}\n{closing}{after}"


def _named(others: Sequence[Judgement]) -> str:
    """How many claims are supported, and which are not, by name.

    A reader wants to know what failed, so these are named.
    """
    parts = []
    if held := sum(judged.verdict == "supported" for judged in others):
        parts.append(f"{held} supported")
    for verdict in ("not supported", "undecided"):
        if names := [judged.claim.id for judged in others if judged.verdict == verdict]:
            parts.append(f"{verdict}: {', '.join(names)}")
    return "; ".join(parts) or "–"


def _plan_text(one: Shown, found: Sequence[Shown]) -> str:
    earlier = sum(bool(other.superseded) and other.run["preset"] == one.run["preset"] for other in found)
    if not one.planned:
        return "no plan recorded"
    return f"planned, after {earlier} earlier plan{'s' if earlier > 1 else ''}" if earlier else "planned"


def _render_run(one: Shown) -> str:
    run, seeds = one.run, count_of_seeds(len(one.run["seeds"]))
    commits = run.get("commits") or ([run["commit"]] if run["commit"] else [])
    named = " and ".join(commit[:10] for commit in commits)
    commit = f"commit {named}" if commits else f"tenfold {run['versions'].get('tenfold', '?')}"
    state = " with uncommitted or mixed changes" if run["tree_clean"] is False else ""
    heading = f"**{preset_text(run['preset'], run['changed'])}, {seeds}**"
    origin = f"{run['date'][:10]}, {duration(run['seconds'])} on {run['hardware']}, {commit}{state}"
    parts = [f"{heading} ({origin}). {_about_the_plan(one)}", _metrics_markdown(run)]
    if run["claims"]:
        parts.append(_claims_markdown(one))
    if run.get("data"):
        hashes = ", ".join(f"{name} `{digest[:12]}`" for name, digest in run["data"].items())
        parts.append(f"Texts of that machine, by hash: {hashes}.")
    parts.append(f"```\n{run['command']}\n```")
    return "\n\n".join(parts)


def _about_the_plan(one: Shown) -> str:
    """What plan the run followed, in a sentence or two."""
    if not one.planned:
        if one.run.get("run"):
            return "No verdict is planned for this preset:"
        return "No plan was recorded for it. The first verdict is that of its time, the other that of today's rule:"
    plan = one.run["plan"]
    sentence = f"Planned: {count_of_seeds(len(plan['seeds']))} ({plan['why']})"
    if one.superseded:
        sentence += f". Superseded: {one.superseded}"
    return f"{sentence}:"


def _metrics_markdown(run: Run) -> str:
    arms = run["arms"]
    names = list(dict.fromkeys(name for row in arms.values() for name in row))
    lines = [f"| metric | {' | '.join(arms)} |", "|---|" + "---:|" * len(arms)]
    for name in names:
        entries = [entry_of([number(value) for value in row.get(name, [])]) for row in arms.values()]
        lines.append(f"| `{name}` | {' | '.join(f'{entry.mean} {entry.spread}'.strip() for entry in entries)} |")
    return "\n".join(lines)


def _claims_markdown(one: Shown) -> str:
    """Claims with their verdicts; without a recorded plan, that of its time stands before that of the rule."""
    first = {} if one.run.get("run") else {entry["id"]: entry["verdict"] for entry in one.run["claims"]}
    heads = ["claim", "effect [interval]", "needed", *(["first verdict"] if first else []), "verdict"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for judged in one.judgements:
        remarks = [remark for remark in (judged.note, together_text(judged)) if remark]
        verdict = f"**{verdict_text(judged)}**" + (f" ({'; '.join(remarks)})" if remarks else "")
        effect = f"{effect_text(judged)} {interval_note(judged)}".strip()
        cells = [judged.claim.text, effect, needed_text(judged.claim)]
        cells += [*([first[judged.claim.id]] if first else []), verdict]
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
