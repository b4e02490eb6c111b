"""The decoder that runs a transformers model, one token for each row of a batch at a time.

- Rows that wait take places as places get free; finished rows leave at once, and the last rows of the batch move into
  their places, so that the batch is always the first n places and is read without a copy.
- Rows that wait for a reply move to the last places, where they keep their cache, and come back with it.
- The keys and values of a prompt are computed once and copied to the other rows with an equal prompt: one of the same
  tokens and the same key, for the features behind a key enter the keys and values too.
- A step feeds the last token of each row. What a row has before it and the cache does not (a prompt, the reply of an
  environment) is fed first, for several rows at once, padded on the right: padding is never attended to. The features
  of a prompt go with its tokens, once.

Which models can be run so is said in ``tenfold.policies.forward``. Dropout is off during a step, and the model's mode
is put back after it.

Shapes: B rows of a forward pass, V vocabulary.
"""

from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.core.errors import UserError
from tenfold.core.types import Prompt
from tenfold.policies.forward import Forward, without_dropout
from tenfold.policies.rows import Row
from tenfold.policies.sampling import Sampling, draw, uniforms

_PREFILL_TOKENS = 8192  # padded tokens of a prefill: bounds its activations, and keeps short prompts from long ones


@dataclass(eq=False, slots=True)
class _Held:
    """A row that has a place, whose cache holds the keys and values of the first ``cached`` of its tokens."""

    row: Row
    cached: int = 0

    @property
    def num_missing(self) -> int:
        """Tokens that must be in the cache before the last one is fed, and are not."""
        return len(self.row.ids) - 1 - self.cached

    @property
    def is_fresh(self) -> bool:
        """Whether it is the prompt that is missing, not a reply."""
        return self.cached < self.row.num_prompt - 1


class TransformersDecoder:
    """A :class:`~tenfold.policies.Decoder` over a model; see the module's docstring.

    Args:
        model: a causal model of transformers.
        rows: to be sampled, in the order in which they get places.
        sampling: temperature and top-p.
        batch_size: most rows in a step.
        autocast: the type that forward passes compute in; ``None`` for that of the weights.

    Raises:
        UserError: if the model's attention has no cache of this kind, or the features of a prompt are not served.
    """

    def __init__(
        self,
        model: Any,
        rows: Sequence[Row],
        sampling: Sampling,
        batch_size: int,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._model = model
        self._sampling = sampling
        self._num_places = min(batch_size, len(rows))
        self._forward = Forward(model, self._num_places, autocast)
        self._check_features(rows)
        self._waiting = deque(rows)
        self._batch: list[_Held] = []  # place r holds row r
        self._aside: dict[int, _Held] = {}  # rows that wait for a reply, by their places

    def _check_features(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.prompt.features:
                where = f"prompts[{row.index[0]}]"
                self._forward.check_features(row.prompt.features, where)
                if row.num_prompt < 2:
                    raise UserError(
                        f"{where} has 1 token: with features it must have at least 2, for the last is fed alone"
                    )

    @torch.no_grad()
    def step(self) -> list[tuple[Row, int, float]]:
        """A token for each row in the batch."""
        with without_dropout(self._model):
            self._close_ranks()
            self._let_in()
            if not self._batch:
                return []
            self._make_room()
            self._catch_up()
            logits_BV = self._constrained(self._feed_last_tokens())
        tokens_B, log_probs_B = draw(
            logits_BV, self._noise(logits_BV.device), self._sampling.temperature, self._sampling.top_p
        )
        rows = [held.row for held in self._batch]
        return list(zip(rows, tokens_B.tolist(), log_probs_B.tolist(), strict=True))

    def _make_room(self) -> None:
        longest = 0
        for held in (*self._batch, *self._aside.values()):
            longest = max(longest, len(held.row.ids))
        self._forward.cache.reserve(longest)

    def _feed_last_tokens(self) -> Tensor:
        """The logits of the next token of each row, [B, V]."""
        last_tokens, starts = [], []
        for held in self._batch:
            last_tokens.append([held.row.ids[-1]])
            starts.append(held.cached)
            held.cached += 1
        return self._forward(len(self._batch), last_tokens, starts)

    def _constrained(self, logits_BV: Tensor) -> Tensor:
        """Minus infinity at what the constraint of a row forbids, so that log-probabilities are of what may be said."""
        for place, held in enumerate(self._batch):
            if held.row.constrained is not None:
                allowed = torch.zeros(logits_BV.shape[1], dtype=torch.bool)
                mask = torch.from_numpy(held.row.constrained.mask())
                allowed[: len(mask)] = mask[: len(allowed)]  # models pad their vocabulary
                logits_BV[place] = logits_BV[place].masked_fill(~allowed.to(logits_BV.device), -torch.inf)
        return logits_BV

    def _noise(self, device: torch.device) -> Tensor:
        seeds_B = np.array([held.row.seed for held in self._batch], dtype=np.uint64)
        positions_B = np.array([len(held.row.loss_mask) for held in self._batch], dtype=np.uint64)
        return torch.from_numpy(uniforms(seeds_B, positions_B)).to(device)

    # ---------------------------------------------------------------------------------------- who has which place

    def _close_ranks(self) -> None:
        """Finished rows leave, rows that wait stand aside, and others take their places."""
        if not self._any_moves():
            return
        going_on, batch, aside = self._sorted_out()
        # The batch is read as the first n places, so it fills a gap with its last row; rows aside keep out of its way.
        first = _placed(batch, range(len(batch)))
        last = _placed(aside, range(self._num_places - len(aside), self._num_places))
        self._move(going_on, first | last)
        self._batch = [going_on[first[place]] for place in range(len(batch))]
        self._aside = {place: going_on[source] for place, source in last.items()}

    def _any_moves(self) -> bool:
        """Whether a row of the batch is finished or waits, or one aside waits no longer: in most steps none."""
        for held in self._batch:
            if held.row.stop_reason is not None or held.row.waiting:
                return True
        return any(not held.row.waiting for held in self._aside.values())

    def _sorted_out(self) -> tuple[dict[int, _Held], list[int], list[int]]:
        """The rows that go on by their present places; those places for the batch, and those of rows that wait."""
        going_on: dict[int, _Held] = {}
        batch: list[int] = []
        aside: list[int] = []
        for place, held in (*enumerate(self._batch), *self._aside.items()):
            if held.row.stop_reason is not None:
                continue
            going_on[place] = held
            if held.row.waiting:
                aside.append(place)
            else:
                batch.append(place)
        return going_on, batch, aside

    def _move(self, going_on: dict[int, _Held], sources_of: dict[int, int]) -> None:
        """Copy what the cache has of rows to the places where they go; those that stay are not touched."""
        sources, targets, longest = [], [], 0
        for target, source in sources_of.items():
            if source != target:
                sources.append(source)
                targets.append(target)
                longest = max(longest, going_on[source].cached)
        self._forward.cache.copy(sources, targets, longest)

    def _let_in(self) -> None:
        """Waiting rows take free places, several at a time so that their prompts are encoded together."""
        num_usable = self._num_places - len(self._aside)
        num_free = num_usable - len(self._batch)
        if self._waiting and num_free and 4 * num_free >= num_usable:
            for _ in range(min(num_free, len(self._waiting))):
                self._batch.append(_Held(self._waiting.popleft()))

    # --------------------------------------------------------------------------------------- what the cache lacks

    def _catch_up(self) -> None:
        """Compute keys and values of all tokens but the last of each row."""
        behind = [place for place, held in enumerate(self._batch) if held.num_missing]
        if not behind:
            return
        source_of = self._to_copy(behind)
        to_feed = [place for place in behind if place not in source_of]
        for places in self._prefills(to_feed):
            self._prefill(places)
        self._copy_prompts(source_of)

    def _to_copy(self, behind: Sequence[int]) -> dict[int, int]:
        """Places whose prompt another place has, or gets in this step, and which place that is.

        Prompts are equal by their tokens and their keys. Rows that lack a reply are not among them: replies differ.
        """
        known: dict[Prompt, int] = {}
        for place, held in enumerate(self._batch):
            if not held.is_fresh:
                known[held.row.prompt] = place
        source_of: dict[int, int] = {}
        for place in behind:
            if self._batch[place].is_fresh:
                # The first of several fresh rows with an equal prompt computes it.
                source = known.setdefault(self._batch[place].row.prompt, place)
                if source != place:
                    source_of[place] = source
        return source_of

    def _copy_prompts(self, source_of: dict[int, int]) -> None:
        longest = 0
        for target in source_of:
            held = self._batch[target]
            held.cached += held.num_missing
            longest = max(longest, held.cached)
        self._forward.cache.copy(list(source_of.values()), list(source_of), longest)

    def _prefills(self, places: Sequence[int]) -> Iterator[list[int]]:
        """Places in groups that are fed together."""
        alike: dict[Any, list[int]] = {}
        for place in places:
            alike.setdefault(_kind(self._new_features(place)), []).append(place)
        for group in alike.values():
            yield from self._of_similar_lengths(group)

    def _of_similar_lengths(self, places: Sequence[int]) -> Iterator[list[int]]:
        """Places in groups that have few tokens with their padding."""
        group: list[int] = []
        for place in sorted(places, key=lambda place: self._batch[place].num_missing):
            longest = self._batch[place].num_missing  # so far, for they come in this order
            if group and (len(group) + 1) * longest > _PREFILL_TOKENS:
                yield group
                group = []
            group.append(place)
        if group:
            yield group

    def _prefill(self, places: Sequence[int]) -> None:
        """Feed what rows lack, with the features of those that lack their prompt."""
        tokens, starts, features = [], [], []
        for place in places:
            held = self._batch[place]
            tokens.append(held.row.ids[held.cached : -1])
            starts.append(held.cached)
            features.append(self._new_features(place))
            held.cached += held.num_missing
        self._forward(places, tokens, starts, self._forward.concatenated(features))

    def _new_features(self, place: int) -> Mapping[str, Any]:
        """What goes with the tokens that a row lacks: the features of a prompt enter once, with its tokens."""
        held = self._batch[place]
        if held.is_fresh:
            return held.row.prompt.features
        return {}


def _kind(features: Mapping[str, Any]) -> Hashable:
    """Equal for features that can be concatenated: the same names, and the same sizes but for dimension 0."""
    return tuple(sorted((name, tuple(value.shape[1:])) for name, value in features.items()))


def _placed(places: Sequence[int], region: range) -> dict[int, int]:
    """Which of the given places goes where in a region of as many: those that are in it stay, others fill the gaps.

    Example:
        >>> _placed([0, 4, 2, 7], range(4))
        {0: 0, 2: 2, 1: 4, 3: 7}
    """
    sources: dict[int, int] = {}
    others: list[int] = []
    for place in places:
        if place in region:
            sources[place] = place
        else:
            others.append(place)
    gaps = sorted(set(region).difference(sources))
    sources.update(zip(gaps, others, strict=True))
    return sources
