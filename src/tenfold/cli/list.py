"""``tenfold list``: the papers, with the headline claim of each and what became of it here. Imports no torch."""

import shutil
import textwrap
from collections.abc import Mapping, Sequence
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
    from tenfold.core.tables import front_page
    from tenfold.core.timing import time_of

    tyro.cli(ListCommand, args=arguments, prog="tenfold list")
    found, rows = papers(), front_page()
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
            if headline := headline_text(study, rows):
                _print_part("here", headline)
    return 0


def headline_text(study: "Study", rows: Mapping[str, tuple[str, str, str]]) -> str:
    """The headline claim of a study and its verdict, as the rows of the front page have them; elsewhere the claim."""
    from tenfold.core.stated import stated_by

    if study.name not in rows:
        sentence = stated_by(study).sentence
        return f"{sentence} Not measured yet." if sentence else ""
    claim, verdict, run = rows[study.name]
    remark = " No plan was recorded." if "no plan recorded" in run else ""
    return f"{claim} {verdict.capitalize()}.{remark}"


def _print_part(label: str, text: str) -> None:
    width = min(100, shutil.get_terminal_size().columns)
    print(textwrap.fill(f"{label}: {text}", width=width, initial_indent=" " * 4, subsequent_indent=" " * 8))
