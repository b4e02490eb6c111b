"""Two ways to search by words that one would reach for first: rank-bm25, and full-text search in SQLite.

Both get the same words as ours, stop words left out, and return ids of the best passages, best first.
"""

import sqlite3
from collections.abc import Sequence

import numpy as np

from tenfold.data.passages import Passage
from tenfold.envs.search import indexed_text, words


class RankBM25:
    """The package rank-bm25, in pure Python and numpy, with the two numbers of ours."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        from rank_bm25 import BM25Okapi

        self.ids = [passage.id for passage in passages]
        self.scorer = BM25Okapi([words(indexed_text(passage)) for passage in passages], k1=0.9, b=0.4)

    def search(self, queries: Sequence[str], k: int) -> list[list[str]]:
        return [self._best(self.scorer.get_scores(words(query)), k) for query in queries]

    def _best(self, scores: np.ndarray, k: int) -> list[str]:
        candidates = np.argpartition(scores, -k)[-k:]
        return [self.ids[place] for place in candidates[np.argsort(-scores[candidates])]]


class FTS5:
    """A table of SQLite's FTS5 in memory; any word of the query may match, and its bm25 ranks."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.store = sqlite3.connect(":memory:")
        self.store.execute("CREATE VIRTUAL TABLE passages USING fts5(id UNINDEXED, body)")
        rows = [(passage.id, " ".join(words(indexed_text(passage)))) for passage in passages]
        self.store.executemany("INSERT INTO passages VALUES (?, ?)", rows)
        self.store.commit()

    def search(self, queries: Sequence[str], k: int) -> list[list[str]]:
        return [self._best(words(query), k) for query in queries]

    def _best(self, query: list[str], k: int) -> list[str]:
        matching = " OR ".join(f'"{word}"' for word in query)
        found = self.store.execute("SELECT id FROM passages WHERE body MATCH ? ORDER BY rank LIMIT ?", (matching, k))
        return [row[0] for row in found]

    def close(self) -> None:
        self.store.close()
