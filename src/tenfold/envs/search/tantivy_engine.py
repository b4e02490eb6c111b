"""Search by words with tantivy (extra ``tantivy``): English stemming, and an index on disk that is mapped, not read.

It finds ``wrote`` with ``writing``'s stem where BM25 of bm25s asks for the same word, and its memory does not grow
with the corpus's vocabulary. Scores are tantivy's BM25 (k1 = 1.2, b = 0.75). One thread writes one segment, so that
equal corpora give equal results.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.extras import require_extras
from tenfold.data.passages import Passage, corpus_hash
from tenfold.envs.search.bm25 import indexed_text
from tenfold.envs.search.retriever import check_corpus, check_k, scored
from tenfold.envs.search.words import words

WRITER_BYTES = 256 * 2**20
"""Memory of the writer: a corpus whose inverted lists fit becomes one segment."""


class Tantivy:
    """Ranks passages by tantivy's BM25 over stemmed English words.

    Args:
        passages: the corpus.
        folder: where the index is written; without one it is in memory.

    Raises:
        UserError: the package tantivy is missing, or the corpus is empty or repeats an id.

    Example:
        >>> corpus = [Passage("1", "", "She was writing novels."), Passage("2", "", "He painted.")]
        >>> [[passage.id for passage in found] for found in Tantivy(corpus).search(["novel", "city"], k=1)]
        [['1'], []]
    """

    def __init__(self, passages: Sequence[Passage], *, folder: Path | None = None) -> None:
        check_corpus(passages)
        tantivy = _tantivy()
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("body", tokenizer_name="en_stem")
        builder.add_unsigned_field("position", stored=True, indexed=False)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        index = tantivy.Index(builder.build(), path=None if folder is None else str(folder))
        writer = index.writer(WRITER_BYTES, 1)
        for position, passage in enumerate(passages):
            document = tantivy.Document(body=" ".join(words(indexed_text(passage))))
            document.add_unsigned("position", position)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self._set(index, passages)

    def _set(self, index: Any, passages: Sequence[Passage]) -> None:
        index.reload()
        self.passages = tuple(passages)
        self.corpus_hash = corpus_hash(passages)
        self._index = index
        self._searcher = index.searcher()

    @classmethod
    def load(cls, folder: Path, passages: Sequence[Passage]) -> "Tantivy":
        """The index in a folder, over the same passages.

        Raises:
            UserError: the package tantivy is missing, or the index is over another number of passages.
        """
        loaded = cls.__new__(cls)
        loaded._set(_tantivy().Index.open(str(folder)), passages)
        if loaded._searcher.num_docs != len(passages):
            raise UserError(
                f"{folder}: holds an index of {loaded._searcher.num_docs} passages, but the corpus has {len(passages)}"
            )
        return loaded

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The ``k`` best passages for each query; fewer where fewer share a word stem with it."""
        check_k(k)
        return [self._search_one(query, k) for query in queries]

    def _search_one(self, query: str, k: int) -> list[Passage]:
        plain = " ".join(words(query))  # letters, digits and spaces alone: nothing of the query language is left
        if not plain:
            return []
        hits = self._searcher.search(self._index.parse_query(plain, ["body"]), k).hits
        positions = [self._searcher.doc(address)["position"][0] for _, address in hits]
        return scored(self.passages, positions, [score for score, _ in hits])


def _tantivy() -> Any:
    require_extras(["tantivy"], "this search engine")
    import tantivy

    return tantivy
