"""One page of all papers: what each claims, what held here, a picture, and how to try it; made from ``results/``.

The page holds everything it shows. A copy in two languages stands in ``docs/digest``, with the picture of each paper as
a file of its own for the front page; both carry a hash of what they were made from, so that a stale copy is found.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tenfold
from tenfold.core.catalogue import LANGUAGES, Words, said, verdict_in
from tenfold.core.discovery import Paper, papers, recipe_module
from tenfold.core.entries import Run
from tenfold.core.errors import UserError
from tenfold.core.files import number, write_atomically
from tenfold.core.pages import inside, page_environment, svg_of
from tenfold.core.report import TEMPLATES
from tenfold.core.results import Shown, shown
from tenfold.core.rows import strip_of, values_text
from tenfold.core.stored import stored_report
from tenfold.core.tables import headline_of, newest, published
from tenfold.core.types import Judgement, Picture
from tenfold.core.wording import duration, effect_text, entry_of, needed_text, preset_text

FOLDER = Path("docs") / "digest"
MARK = re.compile(r'<meta name="made-from" content="([0-9a-f]*)">')
VERDICTS = ("supported", "not supported", "undecided")


@dataclass(frozen=True)
class Entry:
    """A paper with what is known of it here.

    Args:
        paper: its facts.
        one: the published run that speaks for its default study; ``None`` before there is any.
        headline: the claim that the paper is known for; ``None`` where the run has none.
        others: its other claims.
        picture: that shows the idea, drawn from the run's stored data; ``None`` where none are stored.
        svg: the picture.
    """

    paper: Paper
    one: Shown | None
    headline: Judgement | None = None
    others: tuple[Judgement, ...] = ()
    picture: Picture | None = None
    svg: bytes = b""


def write_digest(repository: Path, folder: Path | None = None) -> list[Path]:
    """Write the page in each language, and the picture of each paper.

    Args:
        repository: the root of a source checkout.
        folder: where to; by default ``docs/digest``.

    Returns:
        The files.
    """
    folder = repository / FOLDER if folder is None else folder
    entries, mark, written = entries_of(repository), made_from(repository), []
    for entry in entries:
        if entry.svg:
            written.append(folder / f"{entry.paper.name}.svg")
            write_atomically(written[-1], entry.svg)
    for language, words in LANGUAGES.items():
        written.append(folder / ("index.html" if language == "en" else f"index.{language}.html"))
        write_atomically(written[-1], render_digest(entries, words, mark))
    return written


def is_stale(page: Path, repository: Path) -> bool:
    """Whether a page was made from other results, or other facts of papers, than those that are there."""
    mark = MARK.search(page.read_text(encoding="utf-8")) if page.is_file() else None
    return mark is None or mark[1] != made_from(repository)


def made_from(repository: Path) -> str:
    """A hash of the results and of what papers say of themselves."""
    found = {paper.name: (paper.title, paper.claim, paper.place, dict(paper.korean)) for paper in _in_order()}
    content = json.dumps([published(repository), found], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def entries_of(repository: Path) -> list[Entry]:
    """The papers in the order of the digest, each with the run that speaks for it."""
    runs = published(repository)
    return [_entry(paper, runs.get(paper.name, ()), repository) for paper in _in_order()]


def render_digest(entries: Sequence[Entry], words: Words, mark: str) -> str:
    """The page in one language, as one HTML document.

    Args:
        entries: of :func:`entries_of`.
        words: the language.
        mark: what it was made from, as :func:`made_from` says it.
    """
    judged = [(entry, judgement) for entry in entries for judgement in (entry.headline, *entry.others) if judgement]
    counts = {verdict: sum(one.verdict == verdict for _, one in judged) for verdict in VERDICTS}
    return (
        page_environment(TEMPLATES)
        .get_template("digest.html.j2")
        .render(
            words=words,
            made_from=mark,
            version=tenfold.__version__,
            entries=[_row(entry, words) for entry in entries],
            claims=[_claim(entry, judgement, words) for entry, judgement in judged],
            counted=", ".join(f"{count} {words.verdicts[verdict]}" for verdict, count in counts.items() if count),
            num_papers=len({entry.paper.name for entry, _ in judged}),
            styles=[(verdict.replace(" ", "-"), words.verdicts[verdict]) for verdict in VERDICTS if counts[verdict]],
        )
    )


def _in_order() -> list[Paper]:
    return sorted((paper for paper in papers() if paper.place), key=lambda paper: paper.place)


def _entry(paper: Paper, runs: Sequence[Run], repository: Path) -> Entry:
    if not runs:
        return Entry(paper, None)
    one = newest(shown(runs))
    headline = headline_of(paper.name, one)
    entry = Entry(paper, one, headline, tuple(judged for judged in one.judgements if judged is not headline))
    try:
        report = stored_report(repository, paper.name, runs)
    except UserError:  # it was published before reports were kept
        return entry
    pictures = recipe_module(paper.name).figures(report)
    return replace(entry, picture=pictures[0], svg=svg_of(pictures[0].figure)) if pictures else entry


def _row(entry: Entry, words: Words) -> dict[str, Any]:
    """What the page shows of a paper."""
    paper = entry.paper
    return {
        "paper": paper,
        "claim": _translated(paper, "claim", paper.claim, words),
        "command": f"tenfold run {paper.name}" if paper.available else "",
        "is_published": entry.one is not None,
        "headline": _claim(entry, entry.headline, words) if entry.headline else None,
        "others": [_claim(entry, judged, words) for judged in entry.others],
        "took": _took(entry.one.run, words) if entry.one else "",
        "picture": entry.picture,
        "image": inside("svg+xml", entry.svg),
        "table": _table(entry) if entry.picture is None else None,
    }


def _claim(entry: Entry, judged: Judgement, words: Words) -> dict[str, Any]:
    """A judged claim in the page's language."""
    key = "headline" if judged is entry.headline else judged.claim.id
    over = "held-out items" if judged.interval_over == "items" else words.seeds_of.format(count=judged.seeds)
    interval = words.interval.format(percent=f"{100 * judged.confidence:.4g}", over=said(over, words))
    return {
        "paper": entry.paper,
        "is_headline": judged is entry.headline,
        "text": _translated(entry.paper, key, judged.claim.text, words),
        "verdict": verdict_in(judged, words),
        "style": judged.verdict.replace(" ", "-"),
        "effect": effect_text(judged),
        "over": interval if judged.interval is not None else words.seeds_of.format(count=judged.seeds),
        "needed": words.needed.format(needed=said(needed_text(judged.claim), words)),
        "strip": strip_of(judged),
        "seeds": values_text(judged),
    }


def _translated(paper: Paper, key: str, text: str, words: Words) -> str:
    """A text of a paper in the page's language; in English where nobody has translated it."""
    return paper.korean.get(key, text) if words.language == "ko" else text


def _took(run: Run, words: Words) -> str:
    return words.took.format(
        setting=preset_text(run["preset"], run["changed"]),
        seeds=words.seeds_of.format(count=len(run["seeds"])),
        duration=duration(run["seconds"]),
        hardware=run["hardware"],
        date=run["date"][:10],
    )


def _table(entry: Entry) -> dict[str, Any] | None:
    """Arms and the metrics that claims are read from, each with its mean."""
    if entry.one is None:
        return None
    arms = entry.one.run["arms"]
    claimed = dict.fromkeys(judged.claim.metric for judged in (entry.headline, *entry.others) if judged)
    names = [name for name in claimed if any(name in row for row in arms.values())]
    rows = {}
    for arm, row in arms.items():
        if any(name in row for name in names):
            rows[arm] = {name: entry_of([number(value) for value in row.get(name, [])]).mean for name in names}
    return {"names": names, "arms": rows}
