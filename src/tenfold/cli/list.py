"""``tenfold list``: the papers, two lines each, so that they fit a narrow terminal. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ListCommand:
    """The papers: whether each can be run yet, the time it takes on a laptop, and its claim in one line."""


def main(arguments: Sequence[str]) -> int:
    """Print the papers; takes no options."""
    import tyro

    from tenfold.core.discovery import papers

    tyro.cli(ListCommand, args=arguments, prog="tenfold list")
    found = papers()
    names = [paper.name for paper in found] + [study.name for paper in found for study in paper.studies]
    width = max(map(len, names))
    for paper in sorted(found, key=lambda paper: not paper.available):
        if not paper.available:
            print(f"{paper.name:<{width}}  announced\n    {paper.claim}")
        for study in paper.studies:
            laptop = f"laptop: {study.times['laptop']}" if "laptop" in study.times else ""
            print(f"{study.name:<{width}}  available  {laptop}".rstrip())
            print(f"    {study.claim}")
    return 0
