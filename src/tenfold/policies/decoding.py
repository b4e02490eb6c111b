"""The decoder that runs a transformers model, one token for each row of a batch at a time.

- Rows that wait take places as places get free; finished rows leave at once, and the last rows of the batch move into
  their places, so that the batch is always the first n places and is read without a copy.
- Rows that wait for a reply move to the last places, where they keep their cache, and come back with it.
- The keys and values of a prompt are computed once and copied to the other rows with the same prompt.
- A step feeds the last token of each row. What a row has before it and the cache does not (a prompt, the reply of an
  environment) is fed first, for several rows at once, padded on the right: padding is never attended to.

Models must take a mask of four dimensions and explicit positions, as those of transformers with full or sliding-window
attention do; others are refused by name. Dropout is off during a step, and the model's mode is put back after it.

Shapes: B rows of a forward pass, Q new tokens, C columns of the cache, V vocabulary.
"""

import inspect
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import get_layer_types_and_kwargs
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask, sdpa_mask

from tenfold.core.errors import UserError
from tenfold.policies.cache import SlotCache
from tenfold.policies.rollout import Row
from tenfold.policies.sampling import Sampling, draw, uniforms

_PREFILL_TOKENS = 8192  # padded tokens of a prefill: bounds its activations, and keeps short prompts from long ones


class TransformersDecoder:
    """A :class:`~tenfold.policies.rollout.Decoder` over a model; see the module's docstring.

    Args:
        model: a causal model of transformers.
        rows: to be sampled, in the order in which they get places.
        sampling: temperature and top-p.
        batch_size: most rows in a step.

    Raises:
        UserError: if the model's attention has no cache of this kind.
    """

    def __init__(self, model: Any, rows: Sequence[Row], sampling: Sampling, batch_size: int) -> None:
        self._forward = _Forward(model, min(batch_size, len(rows)))
        self._model = model
        self._sampling = sampling
        self._num_places = min(batch_size, len(rows))
        self._waiting = deque(rows)
        self._rows: list[Row] = []  # place r holds row r, and the first cached[r] of its tokens
        self._cached: list[int] = []
        self._aside: dict[int, tuple[Row, int]] = {}  # rows that wait for a reply, with the same, by their places

    @torch.no_grad()
    def step(self) -> list[tuple[Row, int, float]]:
        """A token for each row in the batch."""
        with _no_dropout(self._model):
            self._close_ranks()
            self._let_in()
            if not self._rows:
                return []
            self._forward.cache.reserve(max(len(row.ids) for row in chain(self._rows, self._rows_aside())))
            self._catch_up()
            logits_BV = self._forward(len(self._rows), [[row.ids[-1]] for row in self._rows], self._cached)
        self._cached = [length + 1 for length in self._cached]
        tokens_B, log_probs_B = draw(
            logits_BV, self._noise(logits_BV.device), self._sampling.temperature, self._sampling.top_p
        )
        return list(zip(self._rows, tokens_B.tolist(), log_probs_B.tolist(), strict=True))

    def _noise(self, device: torch.device) -> Tensor:
        seeds_B = np.array([row.seed for row in self._rows], dtype=np.uint64)
        positions_B = np.array([len(row.loss_mask) for row in self._rows], dtype=np.uint64)
        return torch.from_numpy(uniforms(seeds_B, positions_B)).to(device)

    def _rows_aside(self) -> Iterator[Row]:
        return (row for row, _ in self._aside.values())

    def _close_ranks(self) -> None:
        """Finished rows leave, rows that wait stand aside, and others take their places."""
        if all(row.stop_reason is None and not row.waiting for row in self._rows) and all(
            row.waiting for row in self._rows_aside()
        ):
            return
        held = {place: held for place, held in enumerate(zip(self._rows, self._cached, strict=True))} | self._aside
        held = {place: (row, cached) for place, (row, cached) in held.items() if row.stop_reason is None}
        aside = [place for place, (row, _) in held.items() if row.waiting]
        batch = [place for place, (row, _) in held.items() if not row.waiting]
        sources = _placed(batch, range(len(batch))) | _placed(
            aside, range(self._num_places - len(aside), self._num_places)
        )
        moves = [(source, target) for target, source in sources.items() if source != target]
        self._forward.cache.copy(
            [source for source, _ in moves],
            [target for _, target in moves],
            max((held[source][1] for source, _ in moves), default=0),
        )
        self._rows = [held[sources[place]][0] for place in range(len(batch))]
        self._cached = [held[sources[place]][1] for place in range(len(batch))]
        self._aside = {place: held[source] for place, source in sources.items() if place >= len(batch)}

    def _let_in(self) -> None:
        """Waiting rows take free places, several at a time so that their prompts are encoded together."""
        num_usable = self._num_places - len(self._aside)
        num_free = num_usable - len(self._rows)
        if self._waiting and num_free and 4 * num_free >= num_usable:
            for _ in range(min(num_free, len(self._waiting))):
                self._rows.append(self._waiting.popleft())
                self._cached.append(0)

    def _catch_up(self) -> None:
        """Compute keys and values of all tokens but the last of each row."""
        behind = [place for place, row in enumerate(self._rows) if self._cached[place] < len(row.ids) - 1]
        if not behind:
            return
        # A prompt's cache is that of the first row that has it; the others copy. Rows with a reply differ anyway.
        known = {tuple(row.ids[: row.num_prompt]): place for place, row in self._fresh(have_prompt=True)}
        copies: list[tuple[int, int]] = []
        for place, row in self._fresh(have_prompt=False):
            source = known.setdefault(tuple(row.ids), place)
            if source != place:
                copies.append((source, place))
        copied = {target for _, target in copies}
        for places in self._prefills([place for place in behind if place not in copied]):
            chunks = [self._rows[place].ids[self._cached[place] : -1] for place in places]
            self._forward(places, chunks, [self._cached[place] for place in places])
            for place in places:
                self._cached[place] = len(self._rows[place].ids) - 1
        for _, target in copies:
            self._cached[target] = len(self._rows[target].ids) - 1
        self._forward.cache.copy(
            [source for source, _ in copies],
            [target for _, target in copies],
            max((self._cached[target] for _, target in copies), default=0),
        )

    def _fresh(self, *, have_prompt: bool) -> Iterator[tuple[int, Row]]:
        for place, row in enumerate(self._rows):
            if (self._cached[place] >= row.num_prompt - 1) == have_prompt:
                yield place, row

    def _prefills(self, places: Sequence[int]) -> Iterator[list[int]]:
        """Places in groups of similar lengths."""
        missing = {place: len(self._rows[place].ids) - 1 - self._cached[place] for place in places}
        group: list[int] = []
        for place in sorted(places, key=missing.__getitem__):
            if group and (len(group) + 1) * missing[place] > _PREFILL_TOKENS:
                yield group
                group = []
            group.append(place)
        if group:
            yield group


def _placed(places: Sequence[int], region: range) -> dict[int, int]:
    """Which of the given places goes where in a region of as many: those that are in it stay, others fill the gaps.

    Example:
        >>> _placed([0, 4, 2, 7], range(4))
        {0: 0, 2: 2, 1: 4, 3: 7}
    """
    stay = [place for place in places if place in region]
    gaps = sorted(set(region).difference(stay))
    others = [place for place in places if place not in region]
    return dict(zip(stay, stay, strict=True)) | dict(zip(gaps, others, strict=True))


class _Forward:
    """Forward passes over places of a cache."""

    def __init__(self, model: Any, num_places: int) -> None:
        self._model = model
        bare = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._config = bare.config.get_text_config(decoder=True)
        self._types = _layer_types(bare, self._config)
        self._device = next(model.parameters()).device
        self._dtype = bare.dtype
        self._options = _logits_option(bare)
        self.cache = SlotCache(len(self._types), num_places)

    def __call__(self, places: int | Sequence[int], tokens: Sequence[Sequence[int]], starts: Sequence[int]) -> Tensor:
        """Feed each row some tokens that begin at its position ``starts``; the logits of the last column, [B, V].

        Args:
            places: the first n places by their number, or a list.
            tokens: of each row, not necessarily equally many.
            starts: the position of the first of them.
        """
        longest = max(map(len, tokens))
        padded = [[*row, *[0] * (longest - len(row))] for row in tokens] if longest > 1 else tokens
        tokens_BQ = torch.tensor(padded, device=self._device)
        positions_BQ = torch.tensor(starts, device=self._device)[:, None]
        if longest > 1:
            positions_BQ = positions_BQ + torch.arange(longest, device=self._device)
        self.cache.aim(places if isinstance(places, int) else torch.tensor(places, device=self._device), positions_BQ)
        output = self._model(
            input_ids=tokens_BQ,
            # Padding at the end may lie beyond the positions that a model has.
            position_ids=positions_BQ.clamp(max=self._last_position) if longest > 1 else positions_BQ,
            attention_mask=self._mask(positions_BQ),
            past_key_values=self.cache,
            use_cache=True,
            **self._options,
        )
        return output.logits[:, -1]

    @property
    def _last_position(self) -> int:
        return (getattr(self._config, "max_position_embeddings", None) or 2**62) - 1

    def _mask(self, positions_BQ: Tensor) -> Tensor | dict[str, Tensor]:
        """What each new token sees, [B, 1, Q, C] for each type of attention that the model has."""
        columns_C = torch.arange(self.cache.num_columns, device=self._device)
        seen_BQC = columns_C <= positions_BQ[..., None]
        masks = {}
        for kind in set(self._types):
            if kind == "sliding_attention":
                within_BQC = columns_C > positions_BQ[..., None] - self._config.sliding_window
                masks[kind] = self._added((seen_BQC & within_BQC)[:, None])
            else:
                masks[kind] = self._added(seen_BQC[:, None])
        return masks if len(masks) > 1 else masks[self._types[0]]

    def _added(self, seen: Tensor) -> Tensor:
        """The mask as numbers to add, which both sdpa and eager attention take, made once for all layers."""
        hidden = torch.full((), torch.finfo(self._dtype).min, dtype=self._dtype, device=seen.device)
        return torch.where(seen, torch.zeros_like(hidden), hidden)


@contextmanager
def _no_dropout(model: Any) -> Iterator[None]:
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()


def _layer_types(model: Any, config: Any) -> list[str]:
    """The type of attention of each layer, if all are of those that the cache serves."""
    name = type(model).__name__
    if getattr(config, "alibi", False) or config.model_type in ("bloom", "mpt"):
        raise UserError(f"model = {name}: rollout serves models with positions, this one has ALiBi biases")
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise UserError(f"model = {name}: rollout serves models that take position_ids, this one doesn't")
    types, _ = get_layer_types_and_kwargs(config)
    if other := sorted(set(types) - {"full_attention", "sliding_attention"}):
        raise UserError(f"model = {name}: rollout serves full and sliding-window attention, this one has {other}")
    implementation = config._attn_implementation
    if ALL_MASK_ATTENTION_FUNCTIONS._global_mapping.get(implementation) not in (sdpa_mask, eager_mask):
        raise UserError(f"attn_implementation = {implementation!r}: rollout needs 'sdpa' or 'eager'")
    return types


def _logits_option(model: Any) -> dict[str, int]:
    """Asks for the logits of the last column alone, where the model can be asked."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
