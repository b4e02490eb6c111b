"""What every retriever promises, and how scores become the best passages.

A retriever answers a batch of queries at once. Whether a query comes alone or among others changes nothing in its
answer: neither the passages, nor their order, nor their scores. Equal scores are told apart by the order of the
corpus, so that results are the same everywhere. Searching only reads: many threads may search at once.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.core.errors import UserError
from tenfold.data.passages import Passage


class RetrievalError(Exception):
    """A search that could not be done, in one sentence: the server is down, slow, or says what nobody understands."""


class Retriever(Protocol):
    """Finds passages for queries."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The best passages for each query, best first, with their scores.

        Args:
            queries: any text; what a query without a known word finds is up to the retriever.
            k: most passages per query; fewer when the corpus, or what fits, is smaller.

        Raises:
            RetrievalError: the search could not be done.
        """
        ...


def check_corpus(passages: Sequence[Passage]) -> None:
    """Refuse a corpus that cannot be searched.

    Raises:
        UserError: there is no passage, or two have the same id.

    Example:
        >>> check_corpus([Passage("1", "", "one")])
    """
    if not passages:
        raise UserError("passages = []; allowed: at least one passage")
    seen: set[str] = set()
    for passage in passages:
        if passage.id in seen:
            raise UserError(f"passages: id {passage.id!r} occurs twice; allowed: each id once")
        seen.add(passage.id)


def check_k(k: int) -> None:
    """Refuse a number of passages that is not positive.

    Raises:
        UserError: ``k`` is below 1.

    Example:
        >>> check_k(5)
    """
    if k < 1:
        raise UserError(f"k = {k}; allowed: 1 or more passages per query")


def best(scores_N: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """Positions of the ``k`` largest of N scores, largest first; of equal scores the earlier position comes first.

    Example:
        >>> best(np.array([0.1, 0.9, 0.5, 0.9, 0.5]), 3).tolist()
        [1, 3, 2]
    """
    if k < len(scores_N):
        threshold = np.partition(scores_N, -k)[-k]
        candidates = np.flatnonzero(scores_N >= threshold)
    else:
        candidates = np.arange(len(scores_N))
    return candidates[np.argsort(-scores_N[candidates], kind="stable")][:k]


def scored(passages: Sequence[Passage], positions: Sequence[int], scores: Sequence[float]) -> list[Passage]:
    """The passages at some positions of a corpus, each with its score.

    Example:
        >>> scored([Passage("a", "", "A"), Passage("b", "", "B")], [1], [0.5])
        [Passage(id='b', title='', text='B', score=0.5)]
    """
    chosen = [passages[position] for position in positions]
    return [Passage(each.id, each.title, each.text, score) for each, score in zip(chosen, scores, strict=True)]
