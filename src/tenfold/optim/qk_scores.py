"""The largest attention logit of each head, measured from queries and keys (Kimi K2, section 2.1).

    S_max^h = max over the batch and all pairs (i, j) that enter the softmax of  scale · q_i^h · k_j^h

in chunks of query rows, so that no [T, T] matrix of all heads exists at once. Products are in float32, under autocast
too (on a GPU in TF32 where torch is told that it may). Nothing is copied between host and device, but for the rows of
a sample, once. Axes: B sequences, H query heads, K key heads (H / K query heads share a key head), T query rows, S
keys, D width of a head.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

Hidden = Callable[[Tensor, int], Tensor]
HIDES = -1e3  # what a mask adds at most to a logit whose key shall not be seen; e^-1000 is 0 in every precision


class Visibility(NamedTuple):
    """Which pairs of a query row and a key enter the softmax.

    Args:
        causal: row i sees the keys 0..i at most.
        hidden: ``(rows [c], stop) -> bool [B or 1, H or 1, c, stop]``, true where a key below ``stop`` is not seen.
        rows: bool ``[B or 1, T]``, false for padding: such rows count for nothing.
    """

    causal: bool
    hidden: Hidden | None = None
    rows: Tensor | None = None


def visibility(mask: Any, causal: bool, query: Tensor, key: Tensor) -> Visibility:
    """What an attention mask lets each row see.

    Args:
        mask: None, bool ``[B or 1, H or 1, T, S]`` (true = seen), a mask of that shape that is added to the logits
            (and hides where it is -1000 or less), or a ``BlockMask`` of flex attention. A token that does not see
            itself is taken for padding.
        causal: whether the kernel itself hides later keys when there is no mask.
        query: ``[B, H, T, D]``.
        key: ``[B, K, S, D]``.
    """
    if mask is None:
        return Visibility(causal and query.shape[2] > 1)
    if not isinstance(mask, Tensor):
        return _of_block_mask(mask, query, key)
    num_rows, num_keys = query.shape[2], key.shape[2]
    mask = mask[:, :, :, :num_keys]
    if mask.dtype != torch.bool:
        mask = mask > HIDES
    rows = mask.diagonal(offset=num_keys - num_rows, dim1=2, dim2=3).any(dim=1)
    return Visibility(False, lambda wanted, stop: ~mask[:, :, wanted, :stop], rows)


def _of_block_mask(mask: Any, query: Tensor, key: Tensor) -> Visibility:
    batch, heads, num_rows = query.shape[:3]
    sequences = torch.arange(batch, device=query.device)[:, None, None, None]
    numbers = torch.arange(heads, device=query.device)[None, :, None, None]

    def hidden(wanted: Tensor, stop: int) -> Tensor:
        keys = torch.arange(stop, device=query.device)
        return ~mask.mask_mod(sequences, numbers, wanted[:, None], keys).broadcast_to(batch, heads, len(wanted), stop)

    every = torch.arange(num_rows, device=query.device)
    itself = mask.mask_mod(sequences[..., 0], numbers[..., 0], every, every + key.shape[2] - num_rows)
    return Visibility(False, hidden, itself.broadcast_to(batch, heads, num_rows).any(dim=1))


@torch.no_grad()
def largest_logits(
    query: Tensor,
    key: Tensor,
    scaling: float,
    visible: Visibility,
    *,
    rows: Tensor | None = None,
    chunk_rows: int = 128,
) -> Tensor:
    """S_max of each query head, ``[H]`` in float32; minus infinity where nothing is visible.

    Args:
        query: ``[B, H, T, D]``, after rotary embedding.
        key: ``[B, K, S, D]``.
        scaling: positive factor on the products.
        visible: pairs that count.
        rows: increasing row numbers ``[r]`` on the CPU to look at, for a lower bound; all by default.
        chunk_rows: rows at a time.

    Example:
        >>> q = torch.tensor([[[[1.0], [2.0]]]])
        >>> largest_logits(q, -q, 0.5, Visibility(causal=True))  # 1·-1, 2·-1 and 2·-2, halved
        tensor([-0.5000])
    """
    batch, heads, num_rows, width = query.shape
    key_heads, num_keys = key.shape[1], key.shape[2]
    largest = torch.full((heads,), -torch.inf, device=query.device)
    if 0 in (batch, num_rows, num_keys):
        return largest
    grouped = query.unflatten(1, (key_heads, heads // key_heads))
    with _without_autocast(query.device):
        keys = key.reshape(batch * key_heads, num_keys, width).float().mT
        for wanted, first, last in _chunks(num_rows, rows, chunk_rows, query.device):
            stop = min(last + 1, num_keys) if visible.causal else num_keys
            some = grouped[:, :, :, first : last + 1] if rows is None else grouped[:, :, :, wanted]
            logits = torch.bmm(some.reshape(batch * key_heads, -1, width).float(), keys[..., :stop])
            logits = logits.view(batch, key_heads, -1, len(wanted), stop)
            if visible.causal:
                later = torch.arange(first, stop, device=query.device) > wanted[:, None]
                logits[..., first:].masked_fill_(later, -torch.inf)
            if visible.hidden is not None:
                hidden = visible.hidden(wanted, stop)
                logits.masked_fill_(_by_key_head(hidden, key_heads), -torch.inf)
            if visible.rows is not None:
                logits.masked_fill_(~visible.rows[:, None, None, wanted, None], -torch.inf)
            largest = torch.maximum(largest, logits.amax(dim=-1).amax(dim=(0, 3)).flatten())
    return largest * scaling


def _chunks(num_rows: int, rows: Tensor | None, size: int, device: torch.device) -> Iterator[tuple[Tensor, int, int]]:
    """Row numbers on the device, some at a time, with the first and the last of them, which the host knows."""
    if rows is None:
        for first in range(0, num_rows, size):
            last = min(first + size, num_rows) - 1
            yield torch.arange(first, last + 1, device=device), first, last
        return
    # Memory that stays in its place is copied without making the host wait.
    source = rows.pin_memory() if device.type == "cuda" else rows
    numbers = rows.tolist()
    for start, wanted in zip(
        range(0, len(numbers), size), source.to(device, non_blocking=True).split(size), strict=True
    ):
        yield wanted, numbers[start], numbers[start + len(wanted) - 1]


def _without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _by_key_head(hidden: Tensor, key_heads: int) -> Tensor:
    """``[B, H or 1, c, S]`` as ``[B, K or 1, H / K or 1, c, S]``."""
    return hidden[:, :, None] if hidden.shape[1] == 1 else hidden.unflatten(1, (key_heads, -1))


@torch.no_grad()
def bound_logits(query: Tensor, key: Tensor, scaling: float, visible: Visibility) -> Tensor:
    """An upper bound of S_max by Cauchy–Schwarz, ``[H]``: scale · max ‖q_i‖ · max ‖k_j‖, the largest over the batch.

    Costs O(T D) instead of O(T S D). Arguments as for :func:`largest_logits`; padding counts for nothing.

    Example:
        >>> q = torch.tensor([[[[3.0, 4.0], [0.0, 1.0]]]])
        >>> bound_logits(q, q, 1.0, Visibility(causal=True))
        tensor([25.])
    """
    if 0 in (query.shape[0], query.shape[2], key.shape[2]):
        return torch.full((query.shape[1],), -torch.inf, device=query.device)
    queries, keys = _norms(query), _norms(key)
    if visible.rows is not None:
        queries = queries.masked_fill(~visible.rows[:, None], 0)
        if key.shape[2] == query.shape[2]:
            keys = keys.masked_fill(~visible.rows[:, None], 0)
    largest_key = keys.amax(dim=2).repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    return (queries.amax(dim=2) * largest_key).amax(dim=0) * scaling


def _norms(vectors: Tensor) -> Tensor:
    """In float32, without a copy of the vectors in it."""
    precision = torch.promote_types(vectors.dtype, torch.float32)
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=precision).float()
