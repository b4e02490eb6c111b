"""Searching when something other than the policy decides: always, or when its stated confidence is low.

The policy writes the query and reads the result as ever; only the opening ``<search>`` is the environment's. Two arms
are made of this: naive retrieval, which always searches, and the composition with RLCR, "search when unsure", where the
policy states a confidence after its first answer and a threshold decides.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tenfold.core.types import Reply, Session, Trajectory, Turn
from tenfold.papers.sem.environment import SearchEnvironment
from tenfold.papers.sem.grammar import Response, inserted_by, parse_trajectory, pieces_of, text_without_end
from tenfold.rewards import parse_tagged

ANSWERED, STATED, OPENING = "</answer>", "</confidence>", "<search>"
_CONFIDENCE = re.compile(r"</answer>\s*<confidence>[^<]*</confidence>")


def always(text: str) -> bool:
    """Search whatever was said."""
    return True


def when_unsure(below: float) -> Callable[[str], bool]:
    """Search where the confidence of a turn is below a threshold, or cannot be read.

    Example:
        >>> decide = when_unsure(0.5)
        >>> said = "<think></think><answer>Po</answer><confidence>0.3</confidence>"
        >>> decide(said), decide(said.replace("0.3", "0.9"))
        (True, False)
    """

    def decide(text: str) -> bool:
        confidence = parse_tagged(text, "tac").confidence
        return confidence is None or confidence < below

    return decide


@dataclass(frozen=True)
class DecidedSearch:
    """A search environment in which ``decide`` opens the first search: an ``Environment``.

    Args:
        search: answers queries.
        after: the tag at which it is decided, :data:`ANSWERED` or :data:`STATED`.
        decide: the turn's text to whether to search; where not, the response ends.
    """

    search: SearchEnvironment
    after: str
    decide: Callable[[str], bool]

    @property
    def stop(self) -> tuple[str, ...]:
        """The tag of the decision and that of a search."""
        return (self.after, *self.search.stop)

    def open(self, prompt: int, sample: int) -> "_Decided":
        """One response."""
        return _Decided(self, self.search.open(prompt, sample))


class _Decided:
    """A :class:`tenfold.core.types.Session`."""

    def __init__(self, environment: DecidedSearch, session: Session) -> None:
        self._environment, self._session = environment, session
        self._decided = self._opened = False

    def respond(self, turn: Turn) -> Reply | None:
        """Decide once; then answer queries, until the tag of the decision comes again or the policy ends."""
        if turn.stop != self._environment.after:
            # The tag that the environment opened is no part of the policy's turn, and without it there is no query.
            text = OPENING + turn.text if self._opened else turn.text
            self._opened = False
            return self._session.respond(replace(turn, text=text))
        if self._decided or not self._environment.decide(turn.text):
            return None
        self._decided = self._opened = True
        return Reply(_missing(turn.text.partition(self._environment.after)[2]))

    def close(self) -> None:
        """Close the search."""
        self._session.close()


def _missing(tail: str) -> str:
    """What of the opening tag the policy has not said: a token such as ``><`` reaches over the end of a turn."""
    said = tail.lstrip()
    return OPENING.removeprefix(said) if OPENING.startswith(said) else OPENING


def read_decided(trajectory: Trajectory, tokenizer: Any) -> Response:
    """The response without the confidences that the policy stated after its answers, which the grammar does not have.

    What the environment inserted stays as it is, and so does a confidence in any other place, which is malformed.
    """
    pieces = pieces_of(text_without_end(trajectory, tokenizer), inserted_by(trajectory))
    pieces[::2] = [_CONFIDENCE.sub(ANSWERED, piece) for piece in pieces[::2]]
    return parse_trajectory("".join(pieces), trajectory)
