"""Weights for supervised training: what a weight function gets, and the batches that carry it there.

A weight function sees the whole global batch at once, so that whatever it normalises by is exact under gradient
accumulation and on several processes. The columns it asks for survive batching: a number in a row becomes [B], a list
with a number for each supervised token becomes [B, T] in the places of those tokens.

Shapes: B sequences, T positions of next tokens (one fewer than tokens); the mask marks supervised ones.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import PreTrainedModel, TrainerCallback

from tenfold.core.errors import UserError
from tenfold.optim import lagging_average

REFERENCE = "ref_log_probs"
"""The column with the reference's log-probability of each supervised token."""

Weights = Tensor | tuple[Tensor, Mapping[str, Tensor]]
WeightFunction = Callable[[Tensor, Tensor, Mapping[str, Tensor]], Weights]
"""``(log_probs_BT, mask_BT, columns) -> weights``, [B] or [B, T], optionally with scalars to log as ``weights/<name>``.

Called without gradients. ``log_probs_BT`` (float32, 0 outside the mask) are those of q; ``mask_BT`` is bool; columns
are float32, [B], or [B, T] and 0 outside the mask; ``ref_log_probs`` is one of them when there is a reference."""


@dataclass(frozen=True)
class Weighting:
    """A weight function and what it needs.

    Args:
        function: see :data:`WeightFunction`.
        columns: names of the dataset's columns that it needs: in every row a number, or a list with one number for
            each supervised token.
        reference: whose log-probabilities it gets as ``ref_log_probs``: nobody's, the initial model's, those of
            the model that is given, or those in the dataset's column of that name. Computed once, before training.
        q_ema: q keeps this share of itself at each step and takes the rest from the trained policy; 0 for the policy.
        whole_batch: false for a function that treats each sequence by itself (no normalisation): it then gets one
            process's piece at a time, and accumulation needs no second forward pass.

    Raises:
        UserError: if a value is out of range.

    Example:
        >>> def halves(log_probs_BT, mask_BT, columns):
        ...     return torch.full((len(mask_BT),), 0.5)
        >>> Weighting(halves, columns=("quality",), reference="initial").all_columns
        ('quality', 'ref_log_probs')
    """

    function: WeightFunction
    columns: tuple[str, ...] = ()
    reference: Literal["none", "initial", "column"] | PreTrainedModel = "none"
    q_ema: float = 0.0
    whole_batch: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.q_ema < 1:
            raise UserError(f"q_ema = {self.q_ema}: must be at least 0 and below 1")
        if isinstance(self.reference, str) and self.reference not in ("none", "initial", "column"):
            raise UserError(f'reference = {self.reference!r}: must be "none", "initial", "column" or a model')

    @property
    def given_columns(self) -> tuple[str, ...]:
        """The columns that the data must have."""
        if self.reference == "column":
            return (*self.columns, REFERENCE)
        return self.columns

    @property
    def all_columns(self) -> tuple[str, ...]:
        """The columns that travel with the tokens."""
        if self.reference == "none":
            return self.columns
        return (*self.columns, REFERENCE)


WeightingOf = Callable[[Dataset], Weighting | None]
"""Makes the weighting from the prepared rows, of which there may be fewer than were given: those that fit."""


@dataclass(frozen=True)
class Piece:
    """What the weight function gets, of some rows of the batch.

    Args:
        log_probs_BT: of q, float32.
        mask_BT: bool.
        columns: name to [B] or [B, T].
    """

    log_probs_BT: Tensor
    mask_BT: Tensor
    columns: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.mask_BT)

    @staticmethod
    def join(pieces: "Sequence[Piece]") -> "Piece":
        """The rows of all pieces, as wide as the widest."""
        width = max(piece.mask_BT.shape[1] for piece in pieces)
        log_probs: list[Tensor] = []
        masks: list[Tensor] = []
        columns: defaultdict[str, list[Tensor]] = defaultdict(list)
        for piece in pieces:
            wide = piece._of_width(width)
            log_probs.append(wide.log_probs_BT)
            masks.append(wide.mask_BT)
            for name, values in wide.columns.items():
                columns[name].append(values)
        joined = {name: torch.cat(values) for name, values in columns.items()}
        return Piece(torch.cat(log_probs), torch.cat(masks), joined)

    def of_all_processes(self, accelerator: Accelerator) -> "Piece":
        """The rows of all processes, those of the first one first; every process must call this."""
        if accelerator.num_processes == 1:
            return self
        # Tensors that are gathered must have one shape everywhere, and each process padded its batch by itself.
        widths = accelerator.gather(torch.tensor([self.mask_BT.shape[1]], device=self.mask_BT.device))
        return self._of_width(int(widths.max()))._with_each(accelerator.gather)

    def _of_width(self, width: int) -> "Piece":
        missing = width - self.mask_BT.shape[1]
        return self._with_each(lambda values: _widen(values, missing))

    def _with_each(self, change: Callable[[Tensor], Tensor]) -> "Piece":
        """The piece with each of its tensors changed in the same way."""
        columns = {name: change(values) for name, values in self.columns.items()}
        return Piece(change(self.log_probs_BT), change(self.mask_BT), columns)


def _widen(values: Tensor, missing: int) -> Tensor:
    """Numbers of tokens with zeros for places that are missing; numbers of sequences as they are."""
    if values.dim() == 2 and missing:
        return pad(values, (0, missing))
    return values.contiguous()  # as gathering wants it


def checked(weights: Tensor, mask_BT: Tensor) -> Tensor:
    """Weights of sequences or tokens, detached, float32, the latter 0 outside the mask.

    Raises:
        UserError: for another shape, or weights that are not finite.
    """
    rows, shape = mask_BT.shape[:1], mask_BT.shape
    if weights.shape not in (rows, shape):
        raise UserError(
            f"weights of shape {tuple(weights.shape)}: must be [B] = {tuple(rows)} or [B, T] = {tuple(shape)}"
        )
    weights = weights.detach().float()
    if weights.dim() == 2:
        weights = weights.masked_fill(~mask_BT, 0.0)
    if not bool(weights.isfinite().all()):
        raise UserError(f"weights: {int((~weights.isfinite()).sum())} of {weights.numel()} are not finite numbers")
    return weights


class WithColumns:
    """A collator that adds columns to the batch of another one.

    Args:
        collate: makes ``labels`` [B, T + 1], -100 where no token is supervised.
        columns: their names.
    """

    def __init__(
        self, collate: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]], columns: Sequence[str]
    ) -> None:
        self.collate, self.columns = collate, columns

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The other collator's batch with the columns as tensors.

        A list with more numbers than the row has supervised tokens belongs to a row that lost its end.
        """
        batch = self.collate(rows)
        mask_BT = batch["labels"][:, 1:] != -100  # the first token is nobody's next one
        for name in self.columns:
            batch[name] = _tensor_of([row[name] for row in rows], mask_BT)
        return batch


def _tensor_of(values: Sequence[Any], mask_BT: Tensor) -> Tensor:
    """A number of each row as [B]; lists of numbers as [B, T], each number at its supervised token."""
    if not isinstance(values[0], Sequence):
        return torch.tensor(values, dtype=torch.float32)
    placed_BT = torch.zeros(mask_BT.shape)
    for i, (numbers, mask_T) in enumerate(zip(values, mask_BT, strict=True)):
        placed_BT[i, mask_T] = torch.tensor(numbers[: int(mask_T.sum())], dtype=torch.float32)
    return placed_BT


class LaggingAverage(TrainerCallback):
    """q: an exponential average of the trained parameters, taken after every optimizer step.

    The average is in float32 at least, whatever the parameters have: in bfloat16 it would not move.

    Args:
        model: the trained model, unwrapped.
        decay: the share of itself that the average keeps at a step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.parameters: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                precision = torch.promote_types(parameter.dtype, torch.float32)
                self.parameters[name] = parameter.detach().to(precision, copy=True)

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take in the parameters after a step."""
        for name, parameter in self.model.named_parameters():
            if name in self.parameters:
                average = self.parameters[name]
                average.copy_(lagging_average(average, parameter.detach(), self.decay))

    def call(self, model: nn.Module, inputs: Mapping[str, Any]) -> Any:
        """The model's output with the average in place of its parameters."""
        parameters = {
            name: average.to(self.model.get_parameter(name).dtype) for name, average in self.parameters.items()
        }
        return torch.func.functional_call(model, parameters, (), dict(inputs))

    def load(self, saved: Mapping[str, Tensor]) -> None:
        """Continue from saved parameters."""
        for name, value in saved.items():
            self.parameters[name].copy_(value)
