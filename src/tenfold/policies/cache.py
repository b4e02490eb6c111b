"""Keys and values of a batch whose rows have unequal lengths, in places that rows can take and leave.

A row's token at position p is in column p of the row's place: no padding on the left and no holes, so columns are
positions, and a row may be ahead of another by any number of tokens. What a column holds beyond a row's length is
garbage, hidden by the mask and overwritten when the row gets there. Models see it through the cache interface of
transformers; mask and positions are passed to them explicitly (``tenfold.policies.decoding``).

Attention reads all columns that there are, up to a few more than the longest row needs: memory that is read without
gaps is much faster on a CPU than the same with gaps, and room for a few tokens more makes growing rare.

Serves layers of full and of sliding-window attention; columns that a window has passed are kept, so a window saves no
memory here. Recurrent layers have no such cache.

Shapes: B rows of a forward pass, R places, C columns, Q new tokens of a row, H heads of keys and values, D the size of
one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

_ROOM = 16  # a sixteenth of the columns is room to grow


class _Aim:
    """Where the next forward pass writes and what it reads; shared by all layers."""

    def __init__(self, num_places: int) -> None:
        self.num_places = num_places
        self.num_columns = 0
        self.places: int | Tensor = 0
        self.rows_B = torch.empty(0, dtype=torch.int64)
        self.columns_BQ = torch.empty(0, 0, dtype=torch.int64)
        self.lines: dict[int, Tensor] = {}

    def lines_of(self, num_heads: int) -> Tensor:
        """Indices of the new tokens in the storage seen as [R H C, D], int64 [B H Q]; the same for most layers."""
        if num_heads not in self.lines:
            heads_H = torch.arange(num_heads, device=self.rows_B.device)
            blocks_BH1 = (self.rows_B[:, None] * num_heads + heads_H)[..., None]
            self.lines[num_heads] = (blocks_BH1 * self.num_columns + self.columns_BQ[:, None]).flatten()
        return self.lines[num_heads]


class _SlotLayer(CacheLayerMixin):
    """The keys and values of one layer, each [R, H, C, D]."""

    keys: Tensor
    values: Tensor

    def __init__(self, aim: _Aim) -> None:
        super().__init__()
        self._aim = aim

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Make room once the sizes of the heads are known."""
        self.keys, self.values = (
            states.new_zeros(self._aim.num_places, states.shape[1], 0, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the new keys and values [B, H, Q, D] and return those of the batch, [B, H, C, D].

        Both are kept in the values' type. Under autocast the rotation of positions widens the keys again, and kept so
        they would take twice the room, and be narrowed by each layer, all of them, at every token.
        """
        key_states = key_states.to(value_states.dtype)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.keys.shape[2] != self._aim.num_columns:
            self.keys, self.values = (_resized(kept, self._aim.num_columns) for kept in (self.keys, self.values))
        return _write_and_read(self.keys, key_states, self._aim), _write_and_read(self.values, value_states, self._aim)

    def copy(self, sources: Tensor, targets: Tensor, num_columns: int) -> None:
        """Copy the first columns of some places to others; a place may be both."""
        self.keys[targets, :, :num_columns] = self.keys[sources, :, :num_columns]
        self.values[targets, :, :num_columns] = self.values[sources, :, :num_columns]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of columns, and where they begin."""
        return self._aim.num_columns, 0

    def get_seq_length(self) -> int:
        """Rows differ, so there is no such number, and no model may rely on it: it is the number of columns."""
        return self._aim.num_columns

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
        >>> cache.reserve(2)
        >>> cache.aim(torch.tensor([2, 0]), torch.tensor([[0, 1], [0, 1]]))
        >>> keys, values = cache.update(torch.ones(2, 3, 2, 8), torch.ones(2, 3, 2, 8), 0)
        >>> keys.shape == (2, 3, cache.num_columns, 8)
        True
    """

    def __init__(self, num_layers: int, num_places: int) -> None:
        self._aim = _Aim(num_places)
        self._slots = [_SlotLayer(self._aim) for _ in range(num_layers)]
        super().__init__(layers=list(self._slots))

    @property
    def num_columns(self) -> int:
        """C, the columns that attention reads."""
        return self._aim.num_columns

    def reserve(self, length: int) -> None:
        """Have room for rows of ``length`` tokens; columns beyond, if there are many, are given up."""
        wanted = -(-(length + length // _ROOM) // 8) * 8
        if not length <= self._aim.num_columns <= 2 * wanted:
            self._aim.num_columns = wanted

    def aim(self, places: int | Tensor, positions_BQ: Tensor) -> None:
        """Say what the rows of the next forward pass are.

        Args:
            places: int64 [B], the place of each row; or a number n for the first n places, which are then read
                without a copy.
            positions_BQ: int64, where the new tokens go; those beyond the columns (padding) go to the last one.
        """
        aim = self._aim
        aim.places = places
        aim.rows_B = places if isinstance(places, Tensor) else torch.arange(places, device=positions_BQ.device)
        aim.columns_BQ = positions_BQ.clamp(max=aim.num_columns - 1)
        aim.lines = {}

    def copy(self, sources: Sequence[int], targets: Sequence[int], num_columns: int) -> None:
        """Copy the first ``num_columns`` columns of places onto other places, in all layers."""
        if not sources or not num_columns:
            return
        from_, to = (torch.tensor(places, device=self._aim.rows_B.device) for places in (sources, targets))
        for layer in self._slots:
            layer.copy(from_, to, num_columns)


def _resized(kept: Tensor, num_columns: int) -> Tensor:
    """The same [R, H, C, D] with another number of columns."""
    # Zeros, not empty: a masked value is multiplied by zero, and not-a-number would survive that.
    resized = kept.new_zeros(*kept.shape[:2], num_columns, kept.shape[3])
    common = min(num_columns, kept.shape[2])
    resized[:, :, :common] = kept[:, :, :common]
    return resized


def _write_and_read(kept: Tensor, states: Tensor, aim: _Aim) -> Tensor:
    """Put states [B, H, Q, D] where the aim says and give the batch's rows back, [B, H, C, D]."""
    kept.flatten(0, 2).index_copy_(0, aim.lines_of(kept.shape[1]), states.flatten(0, 2))
    return kept[aim.places] if isinstance(aim.places, Tensor) else kept[: aim.places]
