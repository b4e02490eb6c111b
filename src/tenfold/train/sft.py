"""Supervised fine-tuning on trl, with a weight on every completion or token that is constant in the trained parameters.

    loss = - (1 / N) sum_i sum_t  sg(w_it) log p(a_it | s_it)         N supervised tokens of the GLOBAL batch

:class:`WeightedSFTTrainer` is for users of trl; :func:`sft` is one training in one cell of a run, exact to continue.
Which weights is a paper's matter: see :class:`~tenfold.train.weighting.Weighting`. Where weights of several pieces
depend on each other, a pass without gradients runs before the first backward pass.

Different from trl's ``SFTTrainer``: packing is refused (weights of completions need their boundaries); dropout is off
(in q and in the reference it must be, and at the first step all three then agree exactly); evaluation, where trl passes
no number of items, is weighted too. Not covered: a lagging q with sharded parameters (FSDP, ZeRO-3).

Shapes: B sequences, T positions of next tokens; the mask marks supervised ones.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel
from trl import SFTConfig, SFTTrainer
from trl.trainer.utils import add_fused_lm_head, disable_dropout_in_model

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.models import weight_statistics, weighted_nll
from tenfold.policies import Policy
from tenfold.train.settings import SFTSettings
from tenfold.train.trl_run import (
    Evaluate,
    Watcher,
    bare,
    draw_rows,
    make_lora,
    make_optimizer,
    quiet,
    shared_arguments,
    weights_alone_change,
    with_extra,
)
from tenfold.train.weighting import (
    REFERENCE,
    ROW,
    LaggingAverage,
    Piece,
    Weighting,
    WeightingOf,
    WithColumns,
    checked,
    require_numbers,
)

AVERAGE = "q_average.pt"
WEIGHTS = "weights_of_the_piece"
COLUMNS = (("input_ids",), ("prompt", "completion"), ("messages",), ("text",))


class WeightedSFTTrainer(SFTTrainer):
    """trl's ``SFTTrainer`` with weights; without a weighting it is that trainer.

    Args:
        *args: as for ``SFTTrainer``.
        weighting: the weights, or a function that makes them from the prepared training rows.
        **options: as for ``SFTTrainer``.

    Raises:
        UserError: for packing, another loss than ``nll``, data that lacks a column or has a wrong one in some row, or
            no row with a supervised token within ``max_length``.

    Example:
        >>> WeightedSFTTrainer.__bases__[0].__name__
        'SFTTrainer'
    """

    data_collator: Any
    train_dataset: Any
    eval_dataset: Any
    _signature_columns: Any

    def __init__(self, *args: Any, weighting: Weighting | WeightingOf | None = None, **options: Any) -> None:
        self.weighting: Weighting | None = None
        self.q: LaggingAverage | None = None
        super().__init__(*args, **options)
        if weighting is not None:
            self._require_plain_batches()
            self.weighting = weighting(self.train_dataset) if callable(weighting) else weighting
        if self.weighting is not None:
            disable_dropout_in_model(self.model)
            self.model_accepts_loss_kwargs = True  # count the global batch's items, whatever the model's signature
            self.data_collator = WithColumns(self.data_collator, self.weighting.all_columns)
            if self.weighting.q_ema:
                self.q = LaggingAverage(self.model, self.weighting.q_ema)
                self.add_callback(self.q)
        self.train_dataset = self._finished(self.train_dataset, "train_dataset")
        if isinstance(self.eval_dataset, dict):
            named = self.eval_dataset.items()
            self.eval_dataset = {name: self._finished(rows, f"eval_dataset {name}") for name, rows in named}
        elif self.eval_dataset is not None:
            self.eval_dataset = self._finished(self.eval_dataset, "eval_dataset")

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, *rest: Any) -> Any:
        """trl's preparation; prepared rows remember their number in the data, for messages."""
        if not isinstance(dataset, Dataset) or not len(dataset):
            return super()._prepare_dataset(dataset, processing_class, args, *rest)
        numbered = dataset.add_column(ROW, list(range(1, len(dataset) + 1)))
        prepared = super()._prepare_dataset(numbered, processing_class, args, *rest)
        if ROW in prepared.column_names:  # packing makes rows of its own
            _tell_lost_rows(len(dataset), len(prepared), args.max_length)
        if self.weighting is None:  # unless ``evaluate`` was given rows, the trainer is being made: it finishes them
            return prepared
        if {"input_ids", REFERENCE} <= set(dataset.column_names):
            return prepared.remove_columns(ROW)
        if self.weighting.reference == "initial":
            raise UserError(
                "evaluate: the reference is the initial model, which is gone; give the trainer eval_dataset"
            )
        return self._finished(prepared, "eval_dataset")

    def _require_plain_batches(self) -> None:
        if self.args.packing or self.args.eval_packing or self.padding_free:
            raise UserError("packing = True (or padding_free): weights of completions need their boundaries; use False")
        if self.args.loss_type != "nll" or self.label_smoother is not None:
            raise UserError(f"loss_type = {self.args.loss_type!r} (or label smoothing): weights need plain 'nll'")

    def _finished(self, dataset: Any, name: str) -> Any:
        """The prepared rows with the reference's log-probabilities; all columns of the data are checked first."""
        if self.weighting is not None:
            for column in self.weighting.given_columns:
                if column not in dataset.column_names:
                    known = ", ".join(one for one in dataset.column_names if one != ROW)
                    raise UserError(f"{name}: no column {column!r}; it has {known}")
                require_numbers(dataset, column, self.args.max_length)
            dataset = self._with_reference(dataset, self.weighting.reference)
        return dataset.remove_columns(ROW) if ROW in (dataset.column_names or ()) else dataset

    def _with_reference(self, dataset: Dataset, reference: str | PreTrainedModel) -> Dataset:
        if not isinstance(reference, str):
            with weights_alone_change(reference):
                add_fused_lm_head(bare(reference))
                return self._add_log_probs(dataset, reference.to(self.args.device))
        return self._add_log_probs(dataset, self.model) if reference == "initial" else dataset

    @torch.no_grad()
    def _add_log_probs(self, dataset: Dataset, model: nn.Module) -> Dataset:
        """The dataset with the model's log-probability of each supervised token; each process computes its share."""
        was_training, rank, world = model.training, self.args.process_index, self.args.world_size
        model.eval()
        # Neighbours in length share a batch, so that little is padding.
        order = sorted(range(len(dataset)), key=lambda row: len(dataset[row]["input_ids"]))[rank::world]
        found: list[tuple[int, list[float]]] = []
        for start in range(0, len(order), self.args.per_device_train_batch_size):
            rows = order[start : start + self.args.per_device_train_batch_size]
            batch = self._prepare_inputs(self.data_collator.collate([dataset[row] for row in rows]))
            with self.compute_loss_context_manager():
                outputs = model(**batch, use_cache=False, fused_lm_head=True)
            lists = [logs[mask].tolist() for logs, mask in zip(outputs.log_probs, outputs.label_mask, strict=True)]
            found.extend(zip(rows, lists, strict=True))
        model.train(was_training)
        by_row = dict(gather_object(found))
        dataset = dataset.remove_columns([REFERENCE]) if REFERENCE in dataset.column_names else dataset
        return dataset.add_column(REFERENCE, [by_row[row] for row in range(len(dataset))])

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if self.weighting is not None:
            names = (name for name in self.weighting.all_columns if name not in self._signature_columns)
            self._signature_columns = [*self._signature_columns, *names]

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The pieces of the next step; with their weights, where those depend on all pieces together."""
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.weighting is not None and self.weighting.whole_batch and len(batches) > 1:
            batches = [self._prepare_inputs(batch) for batch in batches]
            weights = self._weigh([self._piece(batch) for batch in batches], "train")
            batches = [batch | {WEIGHTS: part} for batch, part in zip(batches, weights, strict=True)]
        return batches, num_items

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted loss of one piece: its part of the mean over the supervised tokens of the global batch."""
        if self.weighting is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if return_outputs:
            raise UserError("compute_metrics: the logits are not kept in weighted training; allowed: None")
        piece = None if WEIGHTS in inputs or self.q is None else self._piece(inputs)
        outputs = model(**self._model_inputs(inputs), fused_lm_head=True)
        log_probs_BT, mask_BT = outputs.log_probs, outputs.label_mask
        if WEIGHTS in inputs:
            weights = inputs[WEIGHTS]
        else:
            piece = piece or Piece(log_probs_BT.detach().float(), mask_BT, self._columns(inputs))
            (weights,) = self._weigh([piece], self._mode)
        # Evaluation passes no number of items: the mean is then over this batch.
        num_items = mask_BT.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
        loss = weighted_nll(log_probs_BT, mask_BT, weights, num_items.clamp(min=1))
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # whose gradients are averaged
        if self.aux_loss_enabled:
            pieces = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss / pieces
        self._note_tokens(outputs)
        return loss

    def _model_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        assert self.weighting is not None
        own = {WEIGHTS, *self.weighting.all_columns}
        router = {"output_router_logits": True} if self.aux_loss_enabled else {}
        return {name: value for name, value in inputs.items() if name not in own} | {"use_cache": False} | router

    def _columns(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        assert self.weighting is not None
        return {name: inputs[name] for name in self.weighting.all_columns}

    @torch.no_grad()
    def _piece(self, inputs: Mapping[str, Any]) -> Piece:
        """One piece of the batch with the log-probabilities of q, from a pass of its own."""
        model = self.accelerator.unwrap_model(self.model)
        was_training, call = model.training, self._model_inputs(inputs) | {"fused_lm_head": True}
        model.eval()
        with self.compute_loss_context_manager():
            outputs = model(**call) if self.q is None else self.q.call(model, call)
        model.train(was_training)
        return Piece(outputs.log_probs.float(), outputs.label_mask, self._columns(inputs))

    @torch.no_grad()
    def _weigh(self, pieces: Sequence[Piece], mode: str) -> list[Tensor]:
        """Weights of this process's pieces, from one call of the function."""
        assert self.weighting is not None
        local, first = Piece.join(pieces), 0
        whole = local
        if self.weighting.whole_batch:
            whole, first = local.of_all_processes(self.accelerator), self.accelerator.process_index * len(local)
        result = self.weighting.function(whole.log_probs_BT, whole.mask_BT, whole.columns)
        weights, metrics = result if isinstance(result, tuple) else (result, {})
        weights = checked(weights, whole.mask_BT)
        measured = weight_statistics(weights, mask_BT=whole.mask_BT)
        del measured["clip_fraction"]  # the function alone knows what it has clipped
        for name, value in (measured | dict(metrics)).items():
            self._metrics[mode][f"weights/{name}"].append(float(value))
        mine = weights[first : first + len(local)].split([len(piece) for piece in pieces])
        widths = [piece.mask_BT.shape[1] for piece in pieces]
        return [part if part.dim() == 1 else part[:, :width] for part, width in zip(mine, widths, strict=True)]

    def _note_tokens(self, outputs: Any) -> None:
        """Means over the tokens of all processes, which can be compared between weightings."""
        parts = (outputs.label_mask, -outputs.log_probs.detach(), outputs.entropy.detach(), outputs.is_top1)
        sums = self.accelerator.reduce(torch.stack([part.sum().float() for part in parts]), "sum")
        tokens, *totals = sums.tolist()
        for name, total in zip(("nll", "entropy", "mean_token_accuracy"), totals, strict=True):
            self._metrics[self._mode][name].append(total / tokens if tokens else math.nan)

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.q is not None and self.args.should_save:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            torch.save(self.q.parameters, folder / AVERAGE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.q is not None and checkpoint is not None:
            self.q.load(torch.load(Path(checkpoint) / AVERAGE, map_location="cpu", weights_only=True))


def sft(
    policy: Policy,
    dataset: Dataset,
    settings: SFTSettings,
    cell: Cell,
    *,
    weighting: Weighting | WeightingOf | None = None,
    sampling_column: str | None = None,
    evaluate: Evaluate | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Policy:
    """Fine-tune ``policy`` from the newest complete checkpoint of ``cell`` (or from the start) to the last step.

    Args:
        policy: fresh, seeded by the caller; its model is trained in place (adapters are wrapped around it).
        dataset: rows with ``prompt`` and ``completion`` (the loss is on the completion), ``messages`` (on the
            assistant's turns), ``text`` (on all), or ``input_ids`` with ``labels`` (-100 for tokens without loss) or
            ``completion_mask``.
        settings: what is published about the training.
        cell: where to log and save, and whether to stop.
        weighting: weights of the loss, or a function that makes them from the prepared rows; ``None`` for 1.
        sampling_column: rows are drawn with probability proportional to this column; ``None`` for permutations.
        evaluate: ``(model, step) -> metrics``, called on the unwrapped model in evaluation mode.
        extra: further fields of trl's ``SFTConfig``.

    Returns:
        The policy with the trained model in evaluation mode; a peft model where there are adapters.

    Raises:
        UserError: if the data lacks columns or rows, a setting or ``extra`` is not allowed, the device is absent, or a
            checkpoint fits another launch.
        Interrupted: after a checkpoint, when the cell was asked to stop.
    """
    require_columns(dataset)
    steps = settings.total_steps(len(dataset))
    if not steps:
        raise UserError(f"steps = {settings.steps}, epochs = {settings.epochs:g}: one of them must be above 0")
    arguments = shared_arguments(settings, cell, steps, settings.batch_size) | {
        "max_length": settings.max_length or None,
        "packing": False,
        "train_sampling_strategy": "sequential",
        "loss_type": "nll",
        "completion_only_loss": "messages" not in dataset.column_names and "text" not in dataset.column_names,
        "assistant_only_loss": "messages" in dataset.column_names,
    }
    lora = make_lora(settings.lora)
    watcher = Watcher(cell, settings, steps, settings.batch_size, evaluate=evaluate)
    with weights_alone_change(policy.model), quiet():
        trainer = WeightedSFTTrainer(
            policy.model,
            with_extra(SFTConfig, arguments, extra or {}),
            train_dataset=dataset,
            processing_class=policy.tokenizer,
            weighting=weighting,
            callbacks=[watcher],
            optimizers=(make_optimizer(policy.model, settings.optimizer, settings.lora), None),
            peft_config=lora,
        )
        prepared = trainer.train_dataset
        rows = draw_rows(len(prepared), steps * settings.batch_size, cell.seed, _shares(prepared, sampling_column))
        trainer.train_dataset = prepared.select(rows)
        watcher.train(trainer)
    return replace(policy, model=trainer.accelerator.unwrap_model(trainer.model).eval())


def require_columns(dataset: Dataset) -> None:
    """Refuse data that is empty or has none of the layouts.

    Raises:
        UserError: naming what is missing.
    """
    if not len(dataset):
        raise UserError("dataset: 0 rows; at least 1 is needed")
    if not any(set(names) <= set(dataset.column_names) for names in COLUMNS):
        layouts = ", or ".join(" and ".join(names) for names in COLUMNS)
        raise UserError(f"dataset: columns {', '.join(dataset.column_names)}; needed: {layouts}")


def _tell_lost_rows(given: int, left: int, max_length: int | None) -> None:
    """Rows whose prompt fills ``max_length`` are left out: say so, and refuse to train on none."""
    lost = f"{given - left} of {given} rows have no supervised token within max_length = {max_length}"
    if not left:
        raise UserError(f"{lost}; allowed: more than the tokens of the shortest prompt")
    if left < given:
        warnings.warn(f"{lost}, and are left out", stacklevel=2)


def _shares(dataset: Dataset, column: str | None) -> np.ndarray | None:
    """The column as probabilities up to their sum."""
    if column is None:
        return None
    if column not in dataset.column_names:
        raise UserError(f"sampling_column = {column!r}: the dataset has {', '.join(dataset.column_names)}")
    shares = np.asarray(dataset[column][:], dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(shares) & (shares >= 0)))
    if len(wrong):
        raise UserError(f"{column} = {shares[wrong[0]]} in row {wrong[0]}: must be finite and not negative")
    if not shares.any():
        raise UserError(f"{column}: 0 in every row; at least one must be positive")
    return shares
