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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
from tenfold.train.features import FEATURES_OF, CollateFeatures, PromptOf, with_prompts
from tenfold.train.settings import SFTSettings
from tenfold.train.supervised_rows import ROW, drawing_shares, require_columns, require_numbers, tell_lost_rows
from tenfold.train.trl_run import (
    Evaluate,
    Watcher,
    bare,
    draw_rows,
    load_by_model_names,
    make_lora,
    make_optimizer,
    quiet,
    shared_arguments,
    weights_alone_change,
    with_extra,
)
from tenfold.train.weighting import (
    REFERENCE,
    LaggingAverage,
    Piece,
    Weighting,
    WeightingOf,
    WithColumns,
    checked,
)

AVERAGE = "q_average.pt"
WEIGHTS = "weights_of_the_piece"


class WeightedSFTTrainer(SFTTrainer):
    """trl's ``SFTTrainer`` with weights; without a weighting it is that trainer.

    Args:
        *args: as for ``SFTTrainer``.
        weighting: the weights, or a function that makes them from the prepared training rows.
        features: of the prompts, such as the pixels of images; rows say theirs in the column
            :data:`~tenfold.train.features.FEATURES_OF`.
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

    def __init__(
        self,
        *args: Any,
        weighting: Weighting | WeightingOf | None = None,
        features: Sequence[Mapping[str, Tensor]] = (),
        **options: Any,
    ) -> None:
        self.weighting: Weighting | None = None
        self.q: LaggingAverage | None = None
        self.has_features = bool(features)
        super().__init__(*args, **options)
        if self.has_features or weighting is not None:
            self._require_plain_batches()
        if self.has_features:
            self.data_collator = CollateFeatures(self.data_collator, features)
        if weighting is not None:
            if not isinstance(weighting, Weighting):
                weighting = weighting(self.train_dataset)
            self.weighting = weighting
        if self.weighting is not None:
            self._prepare_for(self.weighting)
        # The reference is asked now, while the model is the initial one.
        self.train_dataset = self._finished(self.train_dataset, "train_dataset")
        if isinstance(self.eval_dataset, dict):
            finished = {}
            for name, rows in self.eval_dataset.items():
                finished[name] = self._finished(rows, f"eval_dataset {name}")
            self.eval_dataset = finished
        elif self.eval_dataset is not None:
            self.eval_dataset = self._finished(self.eval_dataset, "eval_dataset")

    def _prepare_for(self, weighting: Weighting) -> None:
        """Make model and batches what weighted training needs."""
        disable_dropout_in_model(self.model)
        self.model_accepts_loss_kwargs = True  # count the global batch's items, whatever the model's signature
        self.data_collator = WithColumns(self.data_collator, weighting.all_columns)
        if weighting.q_ema:
            self.q = LaggingAverage(self.model, weighting.q_ema)
            self.add_callback(self.q)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, *rest: Any) -> Any:
        """trl's preparation; prepared rows remember their number in the data, for messages."""
        if not isinstance(dataset, Dataset) or not len(dataset):
            return super()._prepare_dataset(dataset, processing_class, args, *rest)
        numbered = dataset.add_column(ROW, list(range(1, len(dataset) + 1)))
        prepared = super()._prepare_dataset(numbered, processing_class, args, *rest)
        if ROW in prepared.column_names:  # packing makes rows of its own
            tell_lost_rows(len(dataset), len(prepared), args.max_length)
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
            raise UserError(
                "packing = True (or padding_free): weights and features of rows need their boundaries; use False"
            )
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
        if ROW in (dataset.column_names or ()):  # rows that are streamed may have no known columns
            dataset = dataset.remove_columns(ROW)
        return dataset

    def _with_reference(self, dataset: Dataset, reference: str | PreTrainedModel) -> Dataset:
        if not isinstance(reference, str):
            with weights_alone_change(reference):
                add_fused_lm_head(bare(reference))
                return self._add_log_probs(dataset, reference.to(self.args.device))
        if reference == "initial":
            return self._add_log_probs(dataset, self.model)
        return dataset

    @torch.no_grad()
    def _add_log_probs(self, dataset: Dataset, model: nn.Module) -> Dataset:
        """The dataset with the model's log-probability of each supervised token; each process computes its share."""
        was_training, batch_size = model.training, self.args.per_device_train_batch_size
        model.eval()
        # Neighbours in length share a batch, so that little is padding.
        by_length = sorted(range(len(dataset)), key=lambda row: len(dataset[row]["input_ids"]))
        mine = by_length[self.args.process_index :: self.args.world_size]
        found: list[tuple[int, list[float]]] = []
        for start in range(0, len(mine), batch_size):
            rows = mine[start : start + batch_size]
            # Without the columns of the weighting, of which the reference is one that does not exist yet.
            batch = self._prepare_inputs(self.data_collator.collate([dataset[row] for row in rows]))
            with self.compute_loss_context_manager():
                outputs = model(**batch, use_cache=False, fused_lm_head=True)
            for row, log_probs_T, mask_T in zip(rows, outputs.log_probs, outputs.label_mask, strict=True):
                found.append((row, log_probs_T[mask_T].tolist()))
        model.train(was_training)
        by_row = dict(gather_object(found))
        if REFERENCE in dataset.column_names:
            dataset = dataset.remove_columns([REFERENCE])
        return dataset.add_column(REFERENCE, [by_row[row] for row in range(len(dataset))])

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        wanted = list(self._signature_columns)
        if self.weighting is not None:
            wanted += self.weighting.all_columns
        if self.has_features:
            wanted.append(FEATURES_OF)
        self._signature_columns = list(dict.fromkeys(wanted))

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The pieces of the next step; with their weights, where those depend on all pieces together."""
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        # The weights of a single piece are made in ``compute_loss``, from the pass that is made there anyway.
        if self.weighting is not None and self.weighting.whole_batch and len(batches) > 1:
            batches = [self._prepare_inputs(batch) for batch in batches]
            pieces = [self._piece(batch) for batch in batches]
            for batch, weights in zip(batches, self._weigh(pieces, "train"), strict=True):
                batch[WEIGHTS] = weights
        return batches, num_items

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted loss of one piece: its part of the mean over the supervised tokens of the global batch."""
        if self.weighting is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if return_outputs:
            raise UserError("compute_metrics: the logits are not kept in weighted training; allowed: None")
        weights = inputs.get(WEIGHTS)
        if weights is None and self.q is not None:
            # A lagging q needs a pass of its own: before the other one, whose activations stay until its backward pass.
            (weights,) = self._weigh([self._piece(inputs)], self._mode)
        outputs = model(**self._model_inputs(inputs), fused_lm_head=True)
        log_probs_BT, mask_BT = outputs.log_probs, outputs.label_mask
        if weights is None:  # q is the trained policy: this pass has its log-probabilities
            piece = Piece(log_probs_BT.detach().float(), mask_BT, self._columns(inputs))
            (weights,) = self._weigh([piece], self._mode)

        num_averaged = 1
        if num_items_in_batch is None:  # in evaluation: the mean is over this batch
            num_items = mask_BT.sum()
        else:
            num_items = torch.as_tensor(num_items_in_batch)
            if self.args.average_tokens_across_devices:  # the items are those of all processes
                num_averaged = self.accelerator.num_processes
        loss = weighted_nll(log_probs_BT, mask_BT, weights, num_items.clamp(min=1))
        loss = loss * num_averaged  # the gradients of the processes are averaged, not added
        if self.aux_loss_enabled:
            aux_loss = self.router_aux_loss_coef * outputs.aux_loss
            if num_items_in_batch is not None:  # that of each piece is a mean, and the pieces are added
                aux_loss = aux_loss / self.current_gradient_accumulation_steps
            loss = loss + aux_loss
        self._note_tokens(outputs)
        return loss

    def _model_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the model itself takes of a batch."""
        assert self.weighting is not None
        own = {WEIGHTS, *self.weighting.all_columns}
        given = {name: value for name, value in inputs.items() if name not in own}
        given["use_cache"] = False
        if self.aux_loss_enabled:
            given["output_router_logits"] = True
        return given

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
        local = Piece.join(pieces)
        whole, first = local, 0
        if self.weighting.whole_batch:
            # Every process calls the function with the rows of all, in one order, and takes its own part of the result.
            whole, first = local.of_all_processes(self.accelerator), self.accelerator.process_index * len(local)
        weights = self.weighting.function(whole.log_probs_BT, whole.mask_BT, whole.columns)
        metrics: Mapping[str, Tensor] = {}
        if isinstance(weights, tuple):
            weights, metrics = weights
        weights = checked(weights, whole.mask_BT)
        self._note_weights(weights, whole.mask_BT, metrics, mode)

        mine = weights[first : first + len(local)].split([len(piece) for piece in pieces])
        if weights.dim() == 1:
            return list(mine)
        # Joined pieces are as wide as the widest of all: each gets its own width back.
        return [part[:, : piece.mask_BT.shape[1]] for part, piece in zip(mine, pieces, strict=True)]

    def _note_weights(self, weights: Tensor, mask_BT: Tensor, metrics: Mapping[str, Tensor], mode: str) -> None:
        """Log how the weights are spread, and what the function says of them."""
        measured = weight_statistics(weights, mask_BT=mask_BT)
        del measured["clip_fraction"]  # the function alone knows what it has clipped
        for name, value in (measured | dict(metrics)).items():
            self._metrics[mode][f"weights/{name}"].append(float(value))

    def _note_tokens(self, outputs: Any) -> None:
        """Means over the tokens of all processes, which can be compared between weightings."""
        parts = (outputs.label_mask, -outputs.log_probs.detach(), outputs.entropy.detach(), outputs.is_top1)
        # One exchange between the processes for all four sums.
        sums = self.accelerator.reduce(torch.stack([part.sum().float() for part in parts]), "sum")
        tokens, *totals = sums.tolist()
        for name, total in zip(("nll", "entropy", "mean_token_accuracy"), totals, strict=True):
            self._metrics[self._mode][name].append(total / tokens if tokens else math.nan)

    @property
    def _mode(self) -> str:
        """Whose metrics are being taken."""
        if self.model.training:
            return "train"
        return "eval"

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.q is not None and self.args.should_save:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            torch.save(self.q.parameters, folder / AVERAGE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        loaded = not self.is_fsdp_enabled and load_by_model_names(model or self.model, Path(resume_from_checkpoint))
        if not loaded:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

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
    prompt_of: PromptOf | None = None,
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
        prompt_of: makes the prompt of a row, which may have an image; the rows then have ``completion`` and what it
            reads. ``None`` for rows as above.
        evaluate: ``(model, step) -> metrics``, called on the unwrapped model in evaluation mode.
        extra: further fields of trl's ``SFTConfig``.

    Returns:
        The policy with the trained model in evaluation mode; a peft model where there are adapters.

    Raises:
        UserError: if the data lacks columns or rows, a setting or ``extra`` is not allowed, the device is absent, or a
            checkpoint fits another launch.
        Interrupted: after a checkpoint, when the cell was asked to stop.
    """
    features: Sequence[Mapping[str, Tensor]] = ()
    if prompt_of is not None:
        dataset, features = with_prompts(policy, dataset, prompt_of)
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
    lora = make_lora(settings.lora, policy.model)
    watcher = Watcher(cell, settings, steps, settings.batch_size, evaluate=evaluate)
    # trl leaves traces on a model and prints; both end with this block.
    with weights_alone_change(policy.model), quiet():
        trainer = WeightedSFTTrainer(
            policy.model,
            with_extra(SFTConfig, arguments, extra or {}),
            train_dataset=dataset,
            processing_class=policy.tokenizer,
            weighting=weighting,
            features=features,
            callbacks=[watcher],
            optimizers=(make_optimizer(policy.model, settings.optimizer, settings.lora), None),
            peft_config=lora,
        )
        # The order of all steps is laid out as rows, so that a resumed run only has to count. Drawn after trl's
        # preparation: rows without a supervised token are gone by then.
        prepared = trainer.train_dataset
        shares = drawing_shares(prepared, sampling_column)
        rows = draw_rows(len(prepared), steps * settings.batch_size, cell.seed, shares)
        trainer.train_dataset = prepared.select(rows)
        watcher.train(trainer)
    return watcher.trained(policy)
