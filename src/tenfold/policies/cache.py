"""Keys and values of a batch whose rows have unequal lengths, in places that rows can take and leave.

A row's token at position p is in column p of the row's place: no padding on the left and no holes, so columns are
positions, and a row may be ahead of another by any number of tokens. What a column holds beyond a row's length is
garbage, hidden by the mask and overwritten when the row gets there. Models see it through the cache interface of
transformers; mask and positions are passed to them explicitly (``tenfold.policies.decoding``).

Serves layers of full and of sliding-window attention; columns that a window has passed are kept, so a window saves no
memory here. Recurrent layers have no such cache.

Shapes: B rows of a forward pass, R places, C columns, Q new tokens of a row, L columns that are looked at, H heads of
keys and values, D the size of one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

_COLUMNS = 64  # capacity grows to a multiple of this, and by half at least


class _Aim:
    """Where the next forward pass writes and what it reads; shared by all layers."""

    def __init__(self) -> None:
        self.places: int | Tensor = 0
        self.positions_BQ = torch.empty(0, 0, dtype=torch.int64)
        self.length = 0


class _SlotLayer(CacheLayerMixin):
    """The keys and values of one layer, each [R, C, H, D]: a row's token is contiguous, so writing copies few lines."""

    keys: Tensor
    values: Tensor

    def __init__(self, num_places: int, aim: _Aim) -> None:
        super().__init__()
        self._num_places = num_places
        self._aim = aim

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Make room once the sizes of the heads are known."""
        # Zeros, not empty: a masked value is multiplied by zero, and not-a-number would survive that.
        self.keys = key_states.new_zeros(self._num_places, 0, key_states.shape[1], key_states.shape[3])
        self.values = value_states.new_zeros(self._num_places, 0, value_states.shape[1], value_states.shape[3])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the new keys and values [B, H, Q, D] and return those of the batch, [B, H, L, D]."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        aim = self._aim
        if self.keys.shape[1] < aim.length:
            self.keys, self.values = (_grown(kept, aim.length) for kept in (self.keys, self.values))
        rows_B = aim.places if isinstance(aim.places, Tensor) else torch.arange(aim.places, device=self.keys.device)
        lines = (rows_B[:, None] * self.keys.shape[1] + aim.positions_BQ).flatten()
        return _write_and_read(self.keys, key_states, lines, aim), _write_and_read(
            self.values, value_states, lines, aim
        )

    def copy(self, sources: Tensor, targets: Tensor, num_columns: int) -> None:
        """Copy the first columns of some places to others; a place may be both."""
        self.keys[targets, :num_columns] = self.keys[sources, :num_columns]
        self.values[targets, :num_columns] = self.values[sources, :num_columns]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of columns looked at, and where they begin."""
        return self._aim.length, 0

    def get_seq_length(self) -> int:
        """Columns that are in use before this forward pass: rows differ, so no model may rely on it."""
        return self._aim.length - self._aim.positions_BQ.shape[1]

    def get_max_length(self) -> int:
        """No maximum."""
        return -1


class SlotCache(Cache):
    """A transformers cache over places; see the module's docstring.

    Args:
        num_layers: layers of the model.
        num_places: most rows at a time.

    Example:
        >>> cache = SlotCache(num_layers=1, num_places=4)
        >>> cache.aim(torch.tensor([2, 0]), torch.tensor([[0, 1], [0, 1]]), length=2)
        >>> keys, values = cache.update(torch.ones(2, 3, 2, 8), torch.ones(2, 3, 2, 8), 0)
        >>> keys.shape
        torch.Size([2, 3, 2, 8])
    """

    def __init__(self, num_layers: int, num_places: int) -> None:
        self._aim = _Aim()
        self._slots = [_SlotLayer(num_places, self._aim) for _ in range(num_layers)]
        super().__init__(layers=list(self._slots))

    def aim(self, places: int | Tensor, positions_BQ: Tensor, length: int) -> None:
        """Say what the rows of the next forward pass are.

        Args:
            places: int64 [B], the place of each row; or a number n for the first n places, which are then read
                without a copy.
            positions_BQ: int64, the columns of the new tokens.
            length: L, above every position of a token that counts.
        """
        self._aim.places, self._aim.positions_BQ, self._aim.length = places, positions_BQ, length

    def copy(self, sources: Sequence[int], targets: Sequence[int], num_columns: int) -> None:
        """Copy the first ``num_columns`` columns of places onto other places, in all layers."""
        if not sources:
            return
        device = self._aim.positions_BQ.device
        from_, to = (torch.tensor(places, device=device) for places in (sources, targets))
        for layer in self._slots:
            layer.copy(from_, to, num_columns)


def _grown(kept: Tensor, length: int) -> Tensor:
    """The same with at least ``length`` columns."""
    num_columns = max(length, kept.shape[1] * 3 // 2)
    num_columns = -(-num_columns // _COLUMNS) * _COLUMNS
    grown = kept.new_zeros(kept.shape[0], num_columns, *kept.shape[2:])
    grown[:, : kept.shape[1]] = kept
    return grown


def _write_and_read(kept: Tensor, states: Tensor, lines: Tensor, aim: _Aim) -> Tensor:
    """Put states [B, H, Q, D] into ``lines`` (place times capacity plus column) and give [B, H, L, D] back."""
    kept.flatten(0, 1).index_copy_(0, lines, states.transpose(1, 2).flatten(0, 1))
    rows = kept[aim.places] if isinstance(aim.places, Tensor) else kept[: aim.places]
    return rows[:, : aim.length].transpose(1, 2)
