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
    """The headline claim of a study and its verdict, as the front page has them; the claim alone elsewhere."""
    from tenfold.core.stated import stated_by
    from tenfold.core.tables import front_page

    if study.name not in (rows := front_page()):
        sentence = stated_by(study).sentence
        return f"{sentence} Not measured yet." if sentence else ""
    claim, verdict, run = rows[study.name]
    remark = " No plan was recorded." if "no plan recorded" in run else ""
    return f"{claim} {verdict.capitalize()}.{remark}"


def _print_part(label: str, text: str) -> None:
    width = min(100, shutil.get_terminal_size().columns)
    print(textwrap.fill(f"{label}: {text}", width=width, initial_indent=" " * 4, subsequent_indent=" " * 8))
