"""CoRT's own verb: ``hints`` to review places for hints."""

from pathlib import Path
from typing import Annotated

import tyro


def hints(
    traces: Annotated[Path, tyro.conf.Positional],
    out: Path,
    num_steps: int = 2,
    accept: bool = False,
    context: int = 160,
) -> None:
    """Review the places that the heuristic proposes for hints, one by one, and keep those that you agree with.

    Automatic placement is imprecise, says the paper, and its traces were hinted by hand. Each place is shown with its
    surroundings: y keeps it and goes on to the next trace, since a hint cuts what comes behind it; n drops it; +12 or
    -12 moves it by so many characters; q, the end of the input and Ctrl-C end the review. Each decision is stored at
    once.

    Args:
        traces: JSON lines with key and text: the drafts.jsonl of ``tenfold train cort --arm drafts``, or the
            hinted.jsonl of arm hint_engineering for a further hint.
        out: the file of places; traces that it has already are not asked again.
        num_steps: number of arithmetic steps that the heuristic takes for a computation.
        accept: keep the first proposal of each trace without asking.
        context: number of characters that are shown on either side of a place.
    """
    from tenfold.papers.cort.review import review

    review(traces, out, num_steps, accept, context)
