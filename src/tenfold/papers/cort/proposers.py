"""Who says where hints go: a file of places chosen by hand, a heuristic, or a language model.

All have one interface, ``propose(text, trace) -> list of Proposal``, in characters of the trace's text. The paper tried
three large models for this, judged them not precise enough, and placed its 30 traces by hand: what the heuristic or a
model proposes is a suggestion to review (``tenfold hints cort``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.core.seeding import numpy_generator
from tenfold.data.json_lines import read_json_lines
from tenfold.papers.cort.detectors import DEFAULT_STEPS, computation, recheck, require_steps, segments
from tenfold.papers.cort.formats import END_OF_THINK
from tenfold.papers.cort.hints import HintInjector, Place
from tenfold.papers.cort.method import HINTS, HintSpec, Kind
from tenfold.papers.cort.traces import Trace, token_offset
from tenfold.policies.stopping import turn_text

Hints = Mapping[Kind, HintSpec]


@dataclass(frozen=True)
class Proposal:
    """A place for a hint.

    Args:
        at: character of the trace's text before which the hint goes; what follows is cut.
        kind: of the hint.
        decided_by: who proposes it.
    """

    at: int
    kind: Kind
    decided_by: str


class Proposer(Protocol):
    """Proposes places in a trace's text; the trace has its key and the hints that it has already.

    ``rereads``: whether it reads each text that it is shown, and so what follows a hint, too; else its places refer to
    the text before any hint.
    """

    @property
    def rereads(self) -> bool: ...  # noqa: D102
    def propose(self, text: str, trace: Trace) -> list[Proposal]: ...  # noqa: D102


@dataclass(frozen=True)
class Heuristic:
    """Places where the detectors' habits begin: manual computation before a program, a re-check after an output.

    Args:
        num_steps: k, arithmetic steps that make a computation.

    Raises:
        UserError: k is below 1.

    Example:
        >>> text = "Two factors. Let me multiply by hand. 6*7=42. 42+1=43.</think>"
        >>> [(text[found.at :][:6], found.kind) for found in Heuristic().propose(text)]
        [('Let me', 'compute')]
    """

    num_steps: int = DEFAULT_STEPS
    rereads: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_steps(self.num_steps)

    def propose(self, text: str, trace: Trace | None = None) -> list[Proposal]:
        """The first computation of each stretch of prose before any output, and each re-check after one."""
        found = []
        after_output = False
        for part in segments(text.split(END_OF_THINK)[0]):
            if part.kind == "output":
                after_output = True
            elif part.kind == "prose":
                begins = (recheck if after_output else computation)(part.text, self.num_steps)
                if begins is not None:
                    kind: Kind = "trust" if after_output else "compute"
                    found.append(Proposal(part.start + begins, kind, "heuristic"))
        return found


@dataclass(frozen=True)
class ManualPlace:
    """A place that a person chose in one draft.

    Args:
        at: character of the draft's text before which the hint goes; what follows is cut.
        kind: of the hint.
        quote: the words of the draft from there on, a few of them: they tell a place of another text.
        decided_by: who chose it.
    """

    at: int
    kind: Kind
    quote: str
    decided_by: str = "manual"


@dataclass(frozen=True)
class Manual:
    """Places from a file, chosen or reviewed by a person; each refers to the text of one draft and is used once.

    A draft has one place at most, since a hint cuts what comes behind it: for a second hint review the hinted trace.

    Args:
        by_key: key of a draft to its place; ``None`` for one that was reviewed and gets no hint.
        source: the name of the file in messages.
    """

    by_key: Mapping[str, ManualPlace | None]
    source: str = "places"
    rereads: ClassVar[bool] = False

    @classmethod
    def read(cls, file: Path) -> "Manual":
        """The places of a file: JSON lines with ``key``, ``at``, ``kind``, ``quote`` and, at will, ``decided_by``.

        Where ``at`` is null the draft was reviewed and gets no hint.

        Raises:
            UserError: the file is missing or empty, or a row is no place; with the row, counted from 1.
        """
        by_key: dict[str, ManualPlace | None] = {}
        for number, row in enumerate(read_json_lines(file, ("key", "at")), start=1):
            key = str(row["key"])
            if key in by_key:
                raise UserError(f"{file}, row {number}: key is {key!r} again; allowed: one place for each draft")
            by_key[key] = None if row["at"] is None else _manual_place(row, f"{file}, row {number}")
        return cls(by_key, str(file))

    def write(self, file: Path) -> None:
        """Store the places as :meth:`read` takes them."""
        rows = [{"key": key} | ({"at": None} if place is None else asdict(place)) for key, place in self.by_key.items()]
        write_atomically(file, "".join(to_json(row) + "\n" for row in rows))

    def require_fit(self, drafts: Sequence[Trace], tokenizer: Any) -> None:
        """Check that each place is one of these drafts.

        Raises:
            UserError: a key is none of theirs, or a place is not in the text or has other words than its quote; with
                the row, counted from 1.
        """
        by_key = {draft.key: draft for draft in drafts}
        for number, (key, place) in enumerate(self.by_key.items(), start=1):
            where = f"{self.source}, row {number}"
            if key not in by_key:
                raise UserError(f"{where}: key is {key!r}; allowed: keys of the drafts, such as {drafts[0].key!r}")
            if place is not None:
                _require_fit(place, by_key[key], tokenizer, where)

    def propose(self, text: str, trace: Trace) -> list[Proposal]:
        """The place stored for this trace, if any."""
        place = self.by_key.get(trace.key)
        return [] if place is None else [Proposal(place.at, place.kind, place.decided_by)]


def _manual_place(row: Mapping[str, Any], where: str) -> ManualPlace:
    at, kind, quote = row["at"], row.get("kind", ""), row.get("quote")
    if isinstance(at, bool) or not isinstance(at, int) or at < 0:
        raise UserError(f"{where}: at is {at!r}; allowed: a number of characters, or null for no hint")
    if kind not in HINTS:
        raise UserError(f"{where}: kind is {kind!r}; allowed: {', '.join(HINTS)}")
    if not isinstance(quote, str):
        raise UserError(f"{where}: quote is {quote!r}; allowed: the words of the draft from the place on")
    return ManualPlace(at, kind, quote, str(row.get("decided_by", "manual")))


def _require_fit(place: ManualPlace, draft: Trace, tokenizer: Any, where: str) -> None:
    text = draft.text(tokenizer)
    if place.at > len(text):
        raise UserError(f"{where}: at is {place.at}; allowed: up to {len(text)}, the characters of the draft")
    if not text.startswith(place.quote, place.at) or (not place.quote and place.at < len(text)):
        there = text[place.at :][: max(20, len(place.quote))]
        raise UserError(f"{where}: quote is {place.quote!r}, but the draft has {there!r} there; review these drafts")
    at = token_offset(tokenizer, draft.trajectory.token_ids, place.at)
    if what := draft.foreign(at):
        raise UserError(f"{where}: at is {place.at}, within {what}; allowed: before or after it")


@dataclass(frozen=True)
class LanguageModel:
    """Places that a language model names.

    Args:
        ask: a trace's text to rows with ``kind`` and ``quote``, the exact words before which the hint goes.
    """

    ask: Callable[[str], Sequence[Mapping[str, Any]]]
    rereads: ClassVar[bool] = True

    def propose(self, text: str, trace: Trace) -> list[Proposal]:
        """The places whose words are in the text exactly once; others are no places and are left out."""
        rows = [row for row in self.ask(text) if row.get("kind") in HINTS and text.count(str(row.get("quote"))) == 1]
        found = [Proposal(text.index(str(row["quote"])), row["kind"], "llm") for row in rows]
        return sorted(found, key=lambda place: place.at)


@dataclass(frozen=True)
class Random:
    """A control: given kinds of hints for each trace, each anywhere in the prose of the thinking behind the last hint.

    Args:
        kinds: key of a trace to the kinds of its hints, in order, such as those that another proposer placed.
        tokenizer: of the policy, to see where the last hint ends.
        seed: of the places.
    """

    kinds: Mapping[str, Sequence[Kind]]
    tokenizer: Any
    seed: int = 0
    rereads: ClassVar[bool] = True

    def propose(self, text: str, trace: Trace) -> list[Proposal]:
        """A place for the next kind; none when all are placed or no prose is left."""
        placed = [hint for hint in trace.hints if hint.decided_by != "start"]
        kinds = self.kinds.get(trace.key, ())
        num_before = trace.hints[-1].at + trace.hints[-1].num_tokens if trace.hints else 0
        behind = len(turn_text(self.tokenizer, trace.trajectory.token_ids[:num_before]))
        prose = [part for part in segments(text.split(END_OF_THINK)[0]) if part.kind == "prose" and part.end > behind]
        if len(placed) >= len(kinds) or not prose:
            return []
        choices = np.concatenate([np.arange(max(part.start, behind), part.end) for part in prose])
        at = int(numpy_generator(self.seed, "random places", trace.key, len(placed)).choice(choices))
        return [Proposal(at, kinds[len(placed)], "random")]


def hint_all(
    injector: HintInjector,
    traces: Sequence[Trace],
    proposer: Proposer,
    *,
    hints: Hints = HINTS,
    max_hints: int = 4,
) -> list[Trace]:
    """Hint, resume, and look again at what the policy went on to say, until nothing more is proposed.

    A proposer that does not reread is asked once.

    Args:
        injector: who injects and resumes.
        traces: to be hinted; none is changed.
        proposer: of places; of one that rereads only those behind a trace's last hint are used.
        hints: the words of each kind.
        max_hints: most rounds.

    Raises:
        UserError: a place that a person chose is none of its trace.
    """
    current = list(traces)
    if isinstance(proposer, Manual):
        proposer.require_fit(traces, injector.policy.tokenizer)
    for _ in range(max_hints if proposer.rereads else 1):
        places = [_next_place(injector.policy.tokenizer, trace, proposer, hints) for trace in current]
        if not any(places):
            break
        current = injector.insert_all(current, places)
    return current


def _next_place(tokenizer: Any, trace: Trace, proposer: Proposer, hints: Hints) -> Place | None:
    begin, end = (trace.hints[-1].at, trace.hints[-1].at + trace.hints[-1].num_tokens) if trace.hints else (0, 0)
    for proposal in proposer.propose(trace.fenced_text(tokenizer), trace):
        at = token_offset(tokenizer, trace.trajectory.token_ids, proposal.at)
        if not proposer.rereads:
            return Place(at, hints[proposal.kind], proposal.decided_by)
        if begin <= at < end:
            at = end  # the sentence of a hint without a full stop goes on behind it
        if at >= end and not trace.foreign(at):
            return Place(at, hints[proposal.kind], proposal.decided_by)
    return None
