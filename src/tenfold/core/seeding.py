"""Random streams keyed by what they are for, so that no draw depends on what else was drawn before it.

A key is any sequence of strings and integers, such as ``(seed, "exploration", step)``. Equal keys give
equal streams on every machine and in every process; a resumed run needs no generator state.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Key = int | str


def key_to_seed(*key: Key) -> int:
    """A 63-bit seed from a key, by a hash that does not change between Python processes."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_generator(*key: Key) -> np.random.Generator:
    """A numpy generator for ``key``.

    Example:
        >>> int(numpy_generator(0, "demo").integers(100)) == int(numpy_generator(0, "demo").integers(100))
        True
    """
    return np.random.default_rng(key_to_seed(*key))


def torch_generator(*key: Key) -> "torch.Generator":
    """A CPU ``torch.Generator`` for ``key``: draw on the CPU and move, so that every device sees the same numbers."""
    import torch

    return torch.Generator().manual_seed(key_to_seed(*key))
