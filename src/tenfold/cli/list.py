"""``tenfold list``: the papers, with the headline claim of each and what became of it here. Imports no torch."""

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenfold.core.discovery import Study


@dataclass(frozen=True)
class ListCommand:
    """The papers: what each says, what was claimed here and what became of the claim, and how long a laptop takes."""


def main(arguments: Sequence[str]) -> int:
    """Print the papers; takes no options."""
    import tyro

    from tenfold.core.discovery import papers
    from tenfold.core.timing import time_of

    tyro.cli(ListCommand, args=arguments, prog="tenfold list")
    found = papers()
    names = [paper.name for paper in found] + [study.name for paper in found for study in paper.studies]
    width = max(map(len, names))
    for paper in sorted(found, key=lambda paper: not paper.available):
        if not paper.available:
            print(f"{paper.name:<{width}}  announced")
            _print_part("the paper", paper.claim)
        for study in paper.studies:
            time = time_of(study, "laptop")
            print(f"{study.name:<{width}}  available  {f'laptop: {time}' if time else ''}".rstrip())
            _print_part("the paper", study.claim)
            if headline := headline_text(study):
                _print_part("here", headline)
    return 0


def headline_text(study: "Study") -> str:
    """The headline claim of a study and its verdict, in a line; the claim alone where nothing is published."""
    from tenfold.core.claims import verdict_text
    from tenfold.core.entries import published_here
    from tenfold.core.results import shown
    from tenfold.core.stated import stated_by
    from tenfold.core.tables import headline_of, newest

    runs = published_here(study.name)
    if not runs:
        sentence = stated_by(study).sentence
        return f"{sentence} Not measured yet." if sentence else ""
    one = newest(shown(runs))
    judged = headline_of(study.name, one)
    if judged is None:
        return ""
    verdict = f"{judged.claim.text} {verdict_text(judged).capitalize()}."
    return verdict if one.planned else f"{verdict} No plan was recorded."


def _print_part(label: str, text: str) -> None:
    width = min(100, shutil.get_terminal_size().columns)
    print(textwrap.fill(f"{label}: {text}", width=width, initial_indent=" " * 4, subsequent_indent=" " * 8))
