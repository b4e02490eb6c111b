"""Answers that are remembered: by hash of the corpus, query and k, in memory or in a file that outlives the run.

A training run asks many queries again, in later epochs and in the other samples of a group. The hash in the key is
what keeps a file from answering for a corpus that has changed since. The store is SQLite, of the standard library.
"""

import json
import sqlite3
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.data.passages import Passage
from tenfold.envs.search.retriever import Retriever, check_k

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (corpus TEXT, query TEXT, k INTEGER, found TEXT, PRIMARY KEY (corpus, query, k))
"""
SECONDS_FOR_A_LOCK = 60.0
"""How long another process may be writing to the file."""


class CachedRetriever:
    """Asks a retriever only what it has not been asked yet; its failures are not remembered.

    Args:
        retriever: what is asked.
        corpus_hash: of the corpus behind it, such as ``BM25.corpus_hash``; for a server, whatever names its corpus.
        path: a file for the answers; without one they are in memory and go with this object. Retrievers that rank
            one corpus differently need files of their own.
        max_entries: when there are more, the oldest are dropped.

    Raises:
        UserError: ``max_entries`` is below 1, or the file is not one of these.

    Example:
        >>> from tenfold.envs.search.fake import FakeRetriever
        >>> retriever = FakeRetriever({"Tiber": [Passage("1", "Rome", "Rome is on the Tiber.")]})
        >>> cached = CachedRetriever(retriever, "corpus-1")
        >>> cached.search(["Tiber", "Tiber"], k=5) == cached.search(["Tiber", "Tiber"], k=5)
        True
        >>> retriever.asked, cached.num_hits, cached.num_misses
        ([(('Tiber',), 5)], 3, 1)
    """

    def __init__(
        self, retriever: Retriever, corpus_hash: str, *, path: Path | None = None, max_entries: int = 100_000
    ) -> None:
        if max_entries < 1:
            raise UserError(f"max_entries = {max_entries}; allowed: 1 or more")
        self.retriever, self.corpus_hash, self.max_entries = retriever, corpus_hash, max_entries
        self.num_hits = 0
        self.num_misses = 0
        self._lock = threading.Lock()
        self._store = _open(path)
        self.close = weakref.finalize(self, self._store.close)
        """Close the file; answers in memory are gone. Done by itself when this object goes."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The retriever's answers; each different query that is new is asked once, all of them in one batch."""
        check_k(k)
        distinct = list(dict.fromkeys(queries))
        with self._lock:
            known = {query: found for query in distinct if (found := self._known(query, k)) is not None}
        new = [query for query in distinct if query not in known]
        if new:  # not under the lock: other threads need not wait for a slow server
            answers = dict(zip(new, self.retriever.search(new, k), strict=True))
            with self._lock:
                self._remember(answers, k)
            known |= answers
        with self._lock:
            self.num_misses += len(new)
            self.num_hits += len(queries) - len(new)
        return [list(known[query]) for query in queries]

    def _known(self, query: str, k: int) -> list[Passage] | None:
        key = (self.corpus_hash, query, k)
        row = self._store.execute("SELECT found FROM answers WHERE corpus = ? AND query = ? AND k = ?", key).fetchone()
        return None if row is None else [Passage(*values) for values in json.loads(row[0])]

    def _remember(self, answers: dict[str, list[Passage]], k: int) -> None:
        rows: list[tuple[Any, ...]] = [
            (self.corpus_hash, query, k, json.dumps([[p.id, p.title, p.text, p.score] for p in found]))
            for query, found in answers.items()
        ]
        with self._store:  # one transaction
            self._store.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", rows)
            self._store.execute(
                "DELETE FROM answers WHERE rowid <= (SELECT max(rowid) FROM answers) - ?", (self.max_entries,)
            )


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    store = sqlite3.connect(path or ":memory:", timeout=SECONDS_FOR_A_LOCK, check_same_thread=False)
    try:
        store.execute(SCHEMA)
        return store
    except sqlite3.DatabaseError as error:
        store.close()
        raise UserError(f"{path}: {error}; allowed: a file of remembered searches, or a new one") from None
