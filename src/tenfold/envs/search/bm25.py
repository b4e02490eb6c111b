"""Search by words: BM25 by the package bm25s (extra ``search``), embedded, in memory, deterministic.

Title and text are indexed together. A passage is found only if it shares a word with the query: nothing is returned
with a score of zero. Words are runs of letters and digits, in small letters, without the most frequent English ones;
there is no stemming. For languages that put no spaces between words, give a ``tokenize`` of your own.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bm25s

from tenfold.core.errors import UserError
from tenfold.data.passages import Passage, corpus_hash
from tenfold.envs.search.retriever import best, check_corpus, check_k, scored

WORD = re.compile(r"\w+")
LUCENE_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to
was will with
"""
STOP_WORDS = frozenset(LUCENE_STOP_WORDS.split())


def words(text: str) -> list[str]:
    """The words that BM25 compares: Unicode-normalised, case folded, without Lucene's list of English stop words.

    Example:
        >>> words("The ﬁrst Café of Rome, no. 1")
        ['first', 'café', 'rome', '1']
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return [word for word in WORD.findall(plain) if word not in STOP_WORDS]


def indexed_text(passage: Passage) -> str:
    """What is searched of a passage: its title, if it has one, above its text.

    Example:
        >>> indexed_text(Passage("1", "Rome", "A city."))
        'Rome\\nA city.'
    """
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


class BM25:
    """Ranks passages by BM25 in Lucene's variant, with the two numbers that Anserini has for passages.

    Args:
        passages: the corpus.
        k1: how slowly the weight of a word saturates when it is repeated in a passage.
        b: how far long passages are marked down, from 0 (not at all) to 1.
        tokenize: text to the words that are compared, for passages and queries alike.

    Raises:
        UserError: the corpus is empty, repeats an id or has no words, or a number is out of range.

    Example:
        >>> corpus = [Passage("1", "Rome", "Rome is on the Tiber."), Passage("2", "Paris", "Paris is on the Seine.")]
        >>> [[passage.id for passage in found] for found in BM25(corpus).search(["Tiber", "which city?"], k=1)]
        [['1'], []]
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        *,
        k1: float = 0.9,
        b: float = 0.4,
        tokenize: Callable[[str], list[str]] = words,
    ) -> None:
        check_corpus(passages)
        if k1 < 0 or not 0 <= b <= 1:
            raise UserError(f"k1 = {k1}, b = {b}; allowed: k1 of 0 or more, b from 0 to 1")
        self.passages = tuple(passages)
        self.corpus_hash = corpus_hash(passages)
        self.k1, self.b = k1, b
        self._tokenize = tokenize
        self._scorer = bm25s.BM25(k1=k1, b=b, method="lucene")
        documents = [tokenize(indexed_text(passage)) for passage in passages]
        if not any(documents):
            raise UserError(f"passages: none of the {len(passages)} has a word; allowed: at least one with a word")
        self._scorer.index(documents, show_progress=False)

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The ``k`` best passages for each query; fewer where fewer share a word with it."""
        check_k(k)
        return [self._search_one(query, k) for query in queries]

    def _search_one(self, query: str, k: int) -> list[Passage]:
        token_ids = self._scorer.get_tokens_ids(self._tokenize(query))
        if not token_ids:
            return []
        scores_N = self._scorer.get_scores_from_ids(token_ids)
        positions = best(scores_N, k)
        positions = positions[scores_N[positions] > 0]
        return scored(self.passages, positions.tolist(), scores_N[positions].tolist())

    def save(self, folder: Path) -> None:
        """Write the index, without the passages, into a folder.

        Raises:
            UserError: it was made with a ``tokenize`` of your own, which a file cannot hold.
        """
        if self._tokenize is not words:
            raise UserError("tokenize: an index with a tokenizer of your own cannot be saved; allowed: the default")
        self._scorer.save(folder, show_progress=False)

    @classmethod
    def load(cls, folder: Path, passages: Sequence[Passage]) -> "BM25":
        """The index that ``save`` wrote, over the same passages.

        Raises:
            UserError: the index is over another number of passages.
        """
        scorer: Any = bm25s.BM25.load(folder, show_progress=False)
        if scorer.scores["num_docs"] != len(passages):
            raise UserError(
                f"{folder}: holds an index of {scorer.scores['num_docs']} passages, but the corpus has {len(passages)}"
            )
        loaded = cls.__new__(cls)
        loaded.passages = tuple(passages)
        loaded.corpus_hash = corpus_hash(passages)
        loaded.k1, loaded.b = scorer.k1, scorer.b
        loaded._tokenize, loaded._scorer = words, scorer
        return loaded
