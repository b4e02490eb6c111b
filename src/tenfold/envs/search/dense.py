"""Search by vectors: any encoder, and the exact largest inner products.

The products of a batch are computed at once in 32 bits, by numpy or, on a device that is named, by torch. That alone
would let the last bits of a score, and so the order of near ties, depend on the other queries of the batch. So every
passage whose product is within the error bound of the k-th largest is scored again in 64 bits, one query at a time:
what is returned is exact, and the same on every device. There is no approximate index: it would be faster from some
millions of passages on, and would find fewer of the nearest ones.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.core.errors import UserError
from tenfold.data.passages import Passage, corpus_hash
from tenfold.envs.search.bm25 import indexed_text
from tenfold.envs.search.retriever import best, check_corpus, check_k, scored

Encoder = Callable[[Sequence[str]], Any]
"""Texts to vectors: n texts to an array or tensor of shape (n, D), in any floating type."""

VECTORS_FILE = "vectors.npy"
PRODUCTS_AT_ONCE = 2**25
"""How many products are in memory at a time: 128 MiB of 32-bit numbers."""


class Dense:
    """Ranks passages by the inner product of their vectors with the query's.

    Args:
        passages: the corpus, N passages; title and text are encoded together.
        encode: texts to vectors. That batches don't matter holds for an encoder for which they don't.
        encode_queries: the same for queries, where they are encoded in another way; default ``encode``.
        batch_size: texts given to the encoder at a time.
        normalize: divide every vector by its length, so that scores are cosines.
        device: where torch computes the products, such as ``"cuda"``; default: numpy, on the CPU.

    Raises:
        UserError: the corpus is empty or repeats an id, or the encoder's vectors are not (n, D) finite numbers.

    Example:
        >>> corpus = [Passage("1", "", "aa"), Passage("2", "", "ab"), Passage("3", "", "bb")]
        >>> letters = lambda texts: np.array([[text.count("a"), text.count("b")] for text in texts], float)
        >>> [[passage.id for passage in found] for found in Dense(corpus, letters).search(["aab", "b"], k=2)]
        [['2', '1'], ['3', '2']]
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        encode: Encoder,
        *,
        encode_queries: Encoder | None = None,
        batch_size: int = 256,
        normalize: bool = True,
        device: str | None = None,
    ) -> None:
        check_corpus(passages)
        if batch_size < 1:
            raise UserError(f"batch_size = {batch_size}; allowed: 1 or more")
        texts = [indexed_text(passage) for passage in passages]
        batches = [_vectors(encode, texts[i : i + batch_size], normalize) for i in range(0, len(texts), batch_size)]
        self._set(passages, np.concatenate(batches), encode_queries or encode, batch_size, normalize, device)

    def _set(
        self,
        passages: Sequence[Passage],
        vectors_ND: NDArray[np.float32],
        encode_queries: Encoder,
        batch_size: int,
        normalize: bool,
        device: str | None,
    ) -> None:
        self.passages = tuple(passages)
        self.corpus_hash = corpus_hash(passages)
        self.vectors_ND = vectors_ND
        self._encode_queries, self._batch_size, self._normalize = encode_queries, batch_size, normalize
        self._products = _torch_products(vectors_ND, device) if device else lambda queries_QD: queries_QD @ vectors_ND.T
        lengths_N = np.linalg.norm(vectors_ND, axis=1)
        # Rounding of a sum of D products is at most D roundings of numbers below the product of the lengths; the
        # factor 4 leaves room for any order of summation on both sides.
        self._error_bound = 4 * vectors_ND.shape[1] * 2.0**-24 * float(lengths_N.max())

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The ``k`` passages with the largest inner products for each query."""
        check_k(k)
        per_batch = max(1, min(self._batch_size, PRODUCTS_AT_ONCE // len(self.passages)))
        batches = [queries[i : i + per_batch] for i in range(0, len(queries), per_batch)]
        return [found for batch in batches for found in self._search_batch(batch, k)]

    def _search_batch(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        queries_QD = _vectors(self._encode_queries, queries, self._normalize)
        if queries_QD.shape[1] != self.vectors_ND.shape[1]:
            raise UserError(f"encode: {queries_QD.shape[1]} numbers a query; allowed: {self.vectors_ND.shape[1]}")
        products_QN = self._products(queries_QD)
        return [
            self._exact(query_D, products_N, k) for query_D, products_N in zip(queries_QD, products_QN, strict=True)
        ]

    def _exact(self, query_D: NDArray[np.float32], products_N: NDArray[np.float32], k: int) -> list[Passage]:
        margin = self._error_bound * float(np.linalg.norm(query_D))
        size = min(k, len(products_N))
        threshold = float(np.partition(products_N, -size)[-size])
        candidates = np.flatnonzero(products_N >= threshold - 2 * margin)
        exact = (self.vectors_ND[candidates].astype(np.float64) * query_D.astype(np.float64)).sum(axis=1)
        chosen = best(exact, k)
        return scored(self.passages, candidates[chosen].tolist(), exact[chosen].tolist())

    def save(self, folder: Path) -> None:
        """Write the vectors, without the passages and the encoder, into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / VECTORS_FILE, self.vectors_ND, allow_pickle=False)

    @classmethod
    def load(
        cls,
        folder: Path,
        passages: Sequence[Passage],
        encode_queries: Encoder,
        *,
        batch_size: int = 256,
        normalize: bool = True,
        device: str | None = None,
    ) -> "Dense":
        """The vectors that ``save`` wrote, over the same passages.

        Args:
            folder: where they are.
            passages: the corpus that they were made from.
            encode_queries: queries to vectors.
            batch_size: queries at a time.
            normalize: as when the vectors were made.
            device: as for a new one.

        Raises:
            UserError: the folder has vectors of another number of passages.
        """
        vectors_ND = np.load(folder / VECTORS_FILE, allow_pickle=False)
        if len(vectors_ND) != len(passages):
            raise UserError(
                f"{folder}: holds an index of {len(vectors_ND)} passages, but the corpus has {len(passages)}"
            )
        loaded = cls.__new__(cls)
        loaded._set(passages, vectors_ND, encode_queries, batch_size, normalize, device)
        return loaded


def _vectors(encode: Encoder, texts: Sequence[str], normalize: bool) -> NDArray[np.float32]:
    """The encoder's vectors, (n, D), checked."""
    vectors = encode(texts)
    if hasattr(vectors, "detach"):  # a tensor, on whatever device; asked so, torch need not be imported
        vectors = vectors.detach().float().cpu().numpy()
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts) or vectors.shape[1] == 0:
        raise UserError(f"encode: shape {vectors.shape} for {len(texts)} texts; allowed: ({len(texts)}, D)")
    if not np.isfinite(vectors).all():
        raise UserError("encode: a number is not finite; allowed: finite numbers")
    if normalize:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.where(lengths > 0, lengths, 1)
    return np.ascontiguousarray(vectors)


def _torch_products(vectors_ND: NDArray[np.float32], device: str) -> Callable[[Any], Any]:
    import torch

    transposed_DN = torch.from_numpy(vectors_ND).to(device).T

    def products(queries_QD: NDArray[np.float32]) -> NDArray[np.float32]:
        products_QN: NDArray[np.float32] = (torch.from_numpy(queries_QD).to(device) @ transposed_DN).cpu().numpy()
        return products_QN

    return products
