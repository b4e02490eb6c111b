"""A text encoder that needs no weights: hashed words and their three-letter parts, counted.

It knows spelling, not meaning: ``Tiber`` is near ``Tibre``, not near ``river``. It is there for tests, for machines
without any model, and to be beaten by a real encoder, which goes in its place.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed
from tenfold.envs.search.words import words


def hashed_ngrams(dimension: int = 512) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """An encoder of n texts to an array (n, ``dimension``) in 32 bits, the same on every machine.

    Each word, and each three letters in a row of ``<word>``, adds 1 or -1 to one number, both chosen by a hash; a
    whole word counts as much as its parts together. Frequent words are not marked down.

    Raises:
        UserError: ``dimension`` is below 1.

    Example:
        >>> tiber, tibre, seine = hashed_ngrams()(["Tiber", "Tibre", "Seine"])
        >>> bool(tiber @ tibre > tiber @ seine)
        True
    """
    if dimension < 1:
        raise UserError(f"dimension = {dimension}; allowed: 1 or more")

    @lru_cache(maxsize=200_000)
    def features(word: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        framed = f"<{word}>"
        parts = [framed[i : i + 3] for i in range(len(framed) - 2)]
        seeds = np.array([key_to_seed("n-gram", part) for part in (framed, *parts)])
        weights = np.ones(len(seeds), dtype=np.float32)
        weights[0] = len(parts) ** 0.5  # its square is that of all of the parts together
        return seeds // 2 % dimension, np.where(seeds % 2, weights, -weights).astype(np.float32)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), dimension), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in words(text):
                np.add.at(vector, *features(word))
        return vectors

    return encode
