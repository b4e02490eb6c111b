"""A retriever that answers from a table, for tests: it remembers what it was asked, and fails or waits on demand."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tenfold.data.passages import Passage
from tenfold.envs.search.retriever import check_k


@dataclass
class FakeRetriever:
    """Answers a query with the passages written down for it, and other queries with none.

    Args:
        answers: query to its passages, best first.
        error: raised by every search, when given.
        seconds: how long every search takes.
        asked: the batches of queries so far, each with its ``k``.

    Example:
        >>> retriever = FakeRetriever({"Tiber": [Passage("1", "Rome", "Rome is on the Tiber.")]})
        >>> [[passage.title for passage in found] for found in retriever.search(["Tiber", "Seine"], k=5)]
        [['Rome'], []]
        >>> retriever.asked
        [(('Tiber', 'Seine'), 5)]
    """

    answers: Mapping[str, Sequence[Passage]] = field(default_factory=dict)
    error: Exception | None = None
    seconds: float = 0.0
    asked: list[tuple[tuple[str, ...], int]] = field(default_factory=list)

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """At most ``k`` of the passages that were written down for each query."""
        check_k(k)
        self.asked.append((tuple(queries), k))
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return [list(self.answers.get(query, ()))[:k] for query in queries]
