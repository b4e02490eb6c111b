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
    width = max(len(paper.name) for paper in found)
    for paper in sorted(found, key=lambda paper: not paper.available):
        status = "available" if paper.available else "announced"
        laptop = f"laptop: {paper.times['laptop']}" if "laptop" in paper.times else ""
        print(f"{paper.name:<{width}}  {status}  {laptop}".rstrip())
        print(f"    {paper.claim}")
    return 0
