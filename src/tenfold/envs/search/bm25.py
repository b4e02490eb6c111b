"""Search by words: BM25 by the package bm25s (extra ``search``), embedded, in memory, deterministic.

Title and text are indexed together. A passage is found only if it shares a word with the query, or, in scripts without
spaces, a pair of characters (``tenfold.envs.search.words``): nothing is returned with a score of zero.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bm25s

from tenfold.core.errors import UserError
from tenfold.data.passages import Passage, corpus_hash
from tenfold.envs.search.retriever import best, check_corpus, check_k, scored
from tenfold.envs.search.words import BY_SCRIPT, TOKENIZERS, WORDS, Tokenizer, tokenizer_named

TOKENIZER = "tokenizer.txt"
"""The file of an index that names how its texts were taken apart; indexes without it are of words."""


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
        tokenize: how texts are taken apart: a ``Tokenizer``, its name (``script`` or ``words``), or a function from a
            text to what is compared, for passages and queries alike.

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
        tokenize: Tokenizer | str | Callable[[str], list[str]] = BY_SCRIPT,
    ) -> None:
        check_corpus(passages)
        if k1 < 0 or not 0 <= b <= 1:
            raise UserError(f"k1 = {k1}, b = {b}; allowed: k1 of 0 or more, b from 0 to 1")
        self.passages = tuple(passages)
        self.corpus_hash = corpus_hash(passages)
        self.k1, self.b = k1, b
        self.tokenizer = _tokenizer(tokenize)
        self._scorer = bm25s.BM25(k1=k1, b=b, method="lucene")
        documents = [self.tokenizer.passages(indexed_text(passage)) for passage in passages]
        if not any(documents):
            raise UserError(f"passages: none of the {len(passages)} has a word; allowed: at least one with a word")
        self._scorer.index(documents, show_progress=False)

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The ``k`` best passages for each query; fewer where fewer share a word with it."""
        check_k(k)
        return [self._search_one(query, k) for query in queries]

    def _search_one(self, query: str, k: int) -> list[Passage]:
        token_ids = self._scorer.get_tokens_ids(self.tokenizer.queries(query))
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
        if TOKENIZERS.get(self.tokenizer.name) is not self.tokenizer:
            known = " or ".join(TOKENIZERS)
            raise UserError(f"tokenize: an index with a tokenizer of your own cannot be saved; allowed: {known}")
        self._scorer.save(folder, show_progress=False)
        (folder / TOKENIZER).write_text(f"{self.tokenizer.name}\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, passages: Sequence[Passage]) -> "BM25":
        """The index that ``save`` wrote, over the same passages.

        Raises:
            UserError: the index is over another number of passages, or of a tokenizer that this version has not.
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
        named = folder / TOKENIZER
        loaded.tokenizer = tokenizer_named(named.read_text(encoding="utf-8").strip()) if named.is_file() else WORDS
        loaded._scorer = scorer
        return loaded


def _tokenizer(given: Tokenizer | str | Callable[[str], list[str]]) -> Tokenizer:
    if isinstance(given, Tokenizer):
        return given
    return tokenizer_named(given) if isinstance(given, str) else Tokenizer("own", given, given)
