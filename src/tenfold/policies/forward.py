"""Forward passes of a transformers model over places of a :class:`~tenfold.policies.cache.SlotCache`.

Models must take a mask of four dimensions and explicit positions, as those of transformers with full or sliding-window
attention do; others are refused by name. Features of a prompt (the pixels of an image, say) go to the model as they
are, with the prompt's tokens. A model that gives the tokens of an image positions or a mask of their own (Qwen-VL,
Gemma 3) would get those of text here, and is refused where there are features.

Shapes: B rows of a forward pass, Q new tokens, C columns of the cache, V vocabulary.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import get_layer_types_and_kwargs
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask, sdpa_mask

from tenfold.core.errors import UserError
from tenfold.policies.cache import SlotCache

_NO_FEATURES: Mapping[str, Tensor] = {}


class Forward:
    """A model over as many places as there are rows at a time.

    Args:
        model: a causal model of transformers, with adapters or without.
        num_places: most rows at a time.
        autocast: the type that it computes in; ``None`` for that of its weights.

    Raises:
        UserError: if the model's attention has no cache of this kind.
    """

    def __init__(self, model: Any, num_places: int, autocast: torch.dtype | None = None) -> None:
        self._model = model
        self._autocast = autocast
        self._bare = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._config = self._bare.config.get_text_config(decoder=True)
        self._types = _layer_types(self._bare, self._config)
        self._last_position = (getattr(self._config, "max_position_embeddings", None) or 2**62) - 1
        self._device = next(model.parameters()).device
        self._dtype = self._bare.dtype
        self._options = _logits_option(self._bare)
        self.cache = SlotCache(len(self._types), num_places)

    def __call__(
        self,
        places: int | Sequence[int],
        tokens: Sequence[Sequence[int]],
        starts: Sequence[int],
        features: Mapping[str, Tensor] = _NO_FEATURES,
    ) -> Tensor:
        """Feed each row some tokens that begin at its position ``starts``; the logits of the last column, [B, V].

        Args:
            places: the first n places by their number, or a list.
            tokens: of each row, not necessarily equally many.
            starts: the position of the first of them.
            features: further arguments of the model, of all rows together.
        """
        tokens_BQ, positions_BQ = self._padded(tokens, starts)
        if isinstance(places, int):
            self.cache.aim(places, positions_BQ)
        else:
            self.cache.aim(torch.tensor(places, device=self._device), positions_BQ)
        with autocast_of(self._autocast, self._device):
            output = self._model(
                input_ids=tokens_BQ,
                # Padding at the end may lie beyond the positions that a model has.
                position_ids=positions_BQ.clamp(max=self._last_position),
                attention_mask=self._mask(positions_BQ),
                past_key_values=self.cache,
                use_cache=True,
                **self._options,
                **features,
            )
        return output.logits[:, -1]

    def concatenated(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """The features of several rows, which have the same names, as arguments of one forward pass."""
        together = {}
        for name in features[0]:
            together[name] = torch.cat([each[name] for each in features]).to(self._device)
        return together

    def check_features(self, features: Mapping[str, Any], where: str) -> None:
        """Refuse what this model would ignore or misplace.

        Args:
            features: of a prompt.
            where: names it in the message.

        Raises:
            UserError: if the model does not take one of them, it is no tensor, or images have a mask or positions of
                their own in this model.
        """
        model = type(self._bare).__name__
        taken = inspect.signature(self._bare.forward).parameters
        for name, value in features.items():
            # A name that the signature lacks is swallowed by **kwargs without a word.
            if name not in taken:
                raise UserError(f"{where}.features = {name}: model {model} does not take it")
            if not isinstance(value, Tensor) or value.ndim == 0:
                raise UserError(f"{where}.features = {name}: must be a tensor of at least one dimension")
        own = sorted({"token_type_ids", "mm_token_type_ids"}.intersection(taken))
        if "mrope_section" in (getattr(self._config, "rope_parameters", None) or {}):
            own.append("mrope_section")
        if own:
            raise UserError(
                f"{where}.features = {', '.join(features)}: rollout serves models whose images have the mask and the "
                f"positions of text, and {model} has {own[0]}"
            )

    def _padded(self, tokens: Sequence[Sequence[int]], starts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The tokens, padded on the right, and their positions, both int64 [B, Q]."""
        longest = max(map(len, tokens))
        positions_B1 = torch.tensor(starts, device=self._device)[:, None]
        if longest == 1:
            return torch.tensor(tokens, device=self._device), positions_B1
        rows = []
        for row in tokens:
            padding = [0] * (longest - len(row))
            rows.append([*row, *padding])
        return torch.tensor(rows, device=self._device), positions_B1 + torch.arange(longest, device=self._device)

    def _mask(self, positions_BQ: Tensor) -> Tensor | dict[str, Tensor]:
        """What each new token sees, [B, 1, Q, C]; for each type of attention where the model has several."""
        columns_C = torch.arange(self.cache.num_columns, device=self._device)
        last_BQ1 = positions_BQ[..., None]
        # A column is a position, so a token sees the columns up to its own; what lies beyond is garbage.
        seen_BQC = columns_C <= last_BQ1
        masks = {}
        for kind in set(self._types):
            visible_BQC = seen_BQC
            if kind == "sliding_attention":
                visible_BQC = seen_BQC & (columns_C > last_BQ1 - self._config.sliding_window)
            masks[kind] = self._added(visible_BQC[:, None])
        if len(masks) == 1:
            return masks[self._types[0]]
        return masks

    def _added(self, seen: Tensor) -> Tensor:
        """The mask as numbers to add, which both sdpa and eager attention take, made once for all layers."""
        hidden = torch.full((), torch.finfo(self._dtype).min, dtype=self._dtype, device=seen.device)
        return torch.where(seen, torch.zeros_like(hidden), hidden)


def autocast_of(dtype: torch.dtype | None, device: torch.device) -> AbstractContextManager[Any]:
    """Autocast to a type; nothing, not even an end of autocast around it, where there is none.

    Args:
        dtype: to compute in.
        device: of the weights.
    """
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


@contextmanager
def without_dropout(model: Any) -> Iterator[None]:
    """Evaluation mode, and the mode that the model was in after it."""
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
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        return {"logits_to_keep": 1}
    return {}
