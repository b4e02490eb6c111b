"""The review of places for hints: each draft's proposals are shown with their surroundings until one is kept."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tenfold.core.errors import UserError
from tenfold.data.json_lines import read_json_lines
from tenfold.papers.cort.detectors import segments
from tenfold.papers.cort.proposers import Heuristic, Manual, ManualPlace, Proposal

_QUOTED = 40  # characters that are stored with a place, to tell it from one of another text


def review(traces: Path, out: Path, num_steps: int, accept: bool, context: int) -> None:
    """Ask about the drafts that ``out`` does not have, and store each answer at once.

    Raises:
        UserError: an option or a row cannot be used, or ``out`` has places of other drafts.
    """
    if context < 1:
        raise UserError(f"context = {context}: must be at least 1")
    heuristic = Heuristic(num_steps)
    drafts = read_texts(traces)
    reviewed = dict(Manual.read(out).by_key) if out.is_file() else {}
    _require_same_drafts(reviewed, drafts, out)
    num_before = len(reviewed)
    for key, text in drafts.items():
        if key in reviewed:
            continue
        proposals = heuristic.propose(text)
        try:
            kept = next(iter(proposals), None) if accept else _asked(key, text, proposals, context)
        except (EOFError, KeyboardInterrupt):  # of the keyboard, or q
            print()
            break
        reviewed[key] = None if kept is None else _place(kept, text)
        Manual(reviewed).write(out)
    num = sum(place is not None for place in reviewed.values())
    print(f"{out}: {num} places in {len(reviewed)} drafts, {len(reviewed) - num_before} of them reviewed now")


def read_texts(traces: Path) -> dict[str, str]:
    """Key to text of each draft.

    Raises:
        UserError: the file is missing or empty, a text is none, or a key is there twice; with the row.
    """
    drafts: dict[str, str] = {}
    for number, row in enumerate(read_json_lines(traces, ("key", "text")), start=1):
        key, text = str(row["key"]), row["text"]
        if not isinstance(text, str):
            raise UserError(f"{traces}, row {number}: text is {text!r}; allowed: the text of a trace")
        if key in drafts:
            raise UserError(f"{traces}, row {number}: key is {key!r} again; allowed: keys that differ")
        drafts[key] = text
    return drafts


def _require_same_drafts(reviewed: Mapping[str, ManualPlace | None], drafts: Mapping[str, str], out: Path) -> None:
    for number, (key, place) in enumerate(reviewed.items(), start=1):
        if key not in drafts or (place is not None and not drafts[key].startswith(place.quote, place.at)):
            raise UserError(f"{out}, row {number}: its place is in another draft {key!r}; give another --out")


def _asked(key: str, text: str, proposals: list[Proposal], context: int) -> Proposal | None:
    """The proposal that the reader keeps; ``None`` for none. An ``EOFError`` is the end of the review."""
    outputs = [part for part in segments(text) if part.kind == "output"]
    for proposal in proposals:
        while True:
            before, after = text[max(0, proposal.at - context) : proposal.at], text[proposal.at :][:context]
            print(f"\n{key}, {proposal.kind} at {proposal.at}\n...{before}  >>> HERE <<<  {after}...")
            said = input("keep it? [y/n/+N/-N/q] ").strip()
            if said == "q":
                raise EOFError
            if said == "n":
                break
            if said == "y" and any(part.start < proposal.at < part.end for part in outputs):
                print("this is within an output: move it before or behind")
            elif said == "y":
                return replace(proposal, decided_by="manual: reviewed")
            if said[:1] in ("+", "-") and said[1:].isdecimal():
                proposal = replace(proposal, at=min(max(proposal.at + int(said), 0), len(text)))
    return None


def _place(kept: Proposal, text: str) -> ManualPlace:
    return ManualPlace(kept.at, kept.kind, text[kept.at :][:_QUOTED], kept.decided_by)
