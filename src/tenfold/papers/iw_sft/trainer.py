"""iw-SFT for language models: a thin trainer over trl's, for any model and data, and the weights that it hands over.

``IWSFTTrainer`` takes what ``trl.SFTTrainer`` takes, and an :class:`IWSFTConfig`. How weights reach the loss (gradient
accumulation, several processes, a lagging q, stored reference log-probabilities, evaluation) is ``tenfold.train.sft``.
Weights come from the data's columns by name: ``quality_column`` for drawing or weighting rows, and the score that RWR
and AWR exponentiate; ``ref_log_probs`` for a reference that was computed elsewhere, one number for each completion
token.

Different from the authors' code: weights are right for every batch shape, and evaluation is weighted, too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Sampler

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.data.trajectories import quality_probabilities
from tenfold.models import weight_statistics
from tenfold.papers.iw_sft import method
from tenfold.papers.iw_sft.arms import exponent, tell_exponent
from tenfold.papers.iw_sft.config import IWSFTConfig
from tenfold.train.sft import WeightedSFTTrainer
from tenfold.train.weighting import REFERENCE, WeightFunction, Weighting

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class IWSFTTrainer(WeightedSFTTrainer):
    """trl's ``SFTTrainer`` with iw-SFT's weights.

    Args:
        *args: as for ``trl.SFTTrainer``.
        iw: the weights. For iw-SFT ``log_ratio`` is to be chosen; the effective exponent is printed, with a warning
            below 0.1.
        reference_model: for ``ref="model"``.
        **options: as for ``trl.SFTTrainer``.

    Raises:
        UserError: for packing, a column that is missing, scores that cannot be used, no choice of ``log_ratio``, or
            rows whose ratio would run over their prompts.

    Example:
        >>> IWSFTTrainer.__mro__[1].__name__
        'WeightedSFTTrainer'
    """

    def __init__(
        self, *args: Any, iw: IWSFTConfig, reference_model: "PreTrainedModel | None" = None, **options: Any
    ) -> None:
        dataset = options.get("train_dataset")
        if not isinstance(dataset, Dataset):
            raise UserError(
                f"train_dataset is a {type(dataset).__name__}; allowed: a datasets.Dataset, given as train_dataset=…"
            )
        make = partial(weighting_of, iw, reference_model=reference_model)

        def weighting(prepared: Dataset) -> Weighting | None:
            """Called by the trainer in the making, when it has its arguments and before it asks the reference."""
            for rows in (dataset, *_evaluated(options.get("eval_dataset"))):
                require_completions(iw, rows.column_names, self.args, options.get("formatting_func"))
            if self.accelerator.is_main_process:
                tell_exponent(iw, mean_supervised_tokens(prepared))
            return make(prepared)

        weighted = make(dataset) is not None  # names the data's own rows in what it refuses
        self.draws: np.ndarray | None = None
        super().__init__(*args, **(options | {"weighting": weighting if weighted else None}))
        if drawn_by_quality(iw):  # of the rows that trl has left, in its order
            if self.args.packing:
                raise UserError("packing = True: rows cannot be drawn by quality when they are packed; use False")
            self.draws = quality_probabilities(scores_of(self.train_dataset, iw))

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        if self.draws is None:
            return super()._get_train_sampler(train_dataset)
        return QualitySampler(self.draws, self.args.seed)


def _evaluated(rows: Any) -> list[Dataset]:
    """The data for evaluation, of which there may be several by name."""
    several = rows.values() if isinstance(rows, dict) else [rows]
    return [one for one in several if isinstance(one, Dataset)]


class QualitySampler(Sampler[int]):
    """Rows with replacement, by probability; each epoch has draws of its own, the same in every process.

    Args:
        probabilities: [n], summing to 1.
        seed: of the draws.

    Example:
        >>> list(QualitySampler(np.array([0.0, 1.0]), seed=0))
        [1, 1]
    """

    def __init__(self, probabilities: np.ndarray, seed: int) -> None:
        self.probabilities, self.seed, self.epoch = probabilities, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.probabilities)

    def __iter__(self) -> Iterator[int]:
        generator = numpy_generator(self.seed, "quality", self.epoch)
        yield from generator.choice(len(self), size=len(self), p=self.probabilities).tolist()


MEASURED_ROWS = 200
"""Rows from which the mean length of a completion is taken."""


def mean_supervised_tokens(prepared: Dataset) -> float:
    """Supervised tokens of a prepared row, on average over the first rows."""
    labels = prepared[:MEASURED_ROWS]["labels"]
    return float(np.mean([len(row) - list(row).count(-100) for row in labels]))


def require_completions(
    iw: IWSFTConfig, column_names: Sequence[str], args: Any, formatting_func: Callable[..., Any] | None = None
) -> None:
    """Refuse rows whose ratio q / reference would run over prompts, which the policy did not choose.

    Rows of a single text, or of ``input_ids`` alone, have no prompt: all of them is the trajectory.

    Args:
        iw: the weights; only ratios ask for it.
        column_names: of the data.
        args: trl's ``SFTConfig``.
        formatting_func: given to trl, which makes a single text of a row with it.

    Raises:
        UserError: the loss is on whole conversations, on prompts beside completions, or on what a function put
            together; or rows are tokens whose mask trl would leave aside.
    """
    if iw.weight_fn != "iw":
        return
    columns = set(column_names)
    completions_alone = args.completion_only_loss
    if completions_alone is None:  # as trl decides
        completions_alone = {"prompt", "completion"} <= columns
    if "input_ids" in columns:
        _require_masked_tokens(columns, completions_alone)
        return
    if formatting_func is not None:
        raise UserError(
            "formatting_func: makes one text of a row, and the ratio q / reference would run over its prompt; "
            "allowed: columns prompt and completion"
        )
    if "conversations" in columns:  # which trl makes messages of, and then masks nothing
        raise UserError(
            "conversations: the ratio q / reference of a row would run over its prompt; allowed: messages, of role and "
            "content, with assistant_only_loss = True in the SFTConfig, or columns prompt and completion"
        )
    if "messages" in columns and not args.assistant_only_loss:
        raise UserError(
            "messages with assistant_only_loss = False: the ratio q / reference of a row would run over its prompt; "
            "allowed: assistant_only_loss = True in the SFTConfig, or columns prompt and completion"
        )
    if "prompt" in columns and not completions_alone:
        raise UserError(
            f"completion_only_loss = {args.completion_only_loss}: the ratio q / reference of a row would run over its "
            "prompt; allowed: True, with columns prompt and completion"
        )


def _require_masked_tokens(columns: set[str], completions_alone: bool) -> None:
    """Refuse rows of tokens that have a prompt, by their columns, and no mask of it that trl would take."""
    if columns & {"labels", "assistant_masks"} or ("completion_mask" in columns and completions_alone):
        return
    prompts = columns & {"completion_mask", "prompt", "messages", "conversations"}
    if prompts:
        raise UserError(
            f"input_ids beside {sorted(prompts)[0]}: the ratio q / reference of a row would run over its prompt; "
            "allowed: labels with -100 for the prompt, or completion_mask with completion_only_loss = True in the "
            "SFTConfig"
        )


def weighting_of(
    iw: IWSFTConfig, dataset: Dataset, reference_model: "PreTrainedModel | None" = None
) -> Weighting | None:
    """The weights as ``tenfold.train.sft`` takes them; ``None`` for plain SFT.

    Args:
        iw: which weights.
        dataset: the training rows, for the scale of their scores.
        reference_model: for ``ref="model"``.

    Raises:
        UserError: a reference (model or column), scores or the choice of ``log_ratio`` are missing, or something is
            given that is not used.

    Example:
        >>> rows = Dataset.from_dict({"prompt": ["1+2="], "completion": ["3"]})
        >>> weighting_of(IWSFTConfig(log_ratio="sum", q_ema=0.9), rows).q_ema
        0.9
    """
    iw.require_log_ratio()
    _refuse_unused(iw, reference_model)
    _require_reference(iw, dataset, reference_model)
    exponentiates = _exponentiates(iw)
    weighs_by_quality = iw.quality_column is not None and iw.quality == "weight"
    scores = np.ones(1)
    if iw.quality_column is not None or exponentiates:
        scores = scores_of(dataset, iw)
    if not exponentiates:
        quality_probabilities(scores)  # refuses what can neither be drawn nor weighted by
    if iw.weight_fn == "none" and not weighs_by_quality:
        return None
    return Weighting(
        function=_weight_function(iw, scores),
        columns=(str(iw.quality_column),) if weighs_by_quality or exponentiates else (),
        reference=_reference(iw, reference_model),
        q_ema=iw.q_ema,
        whole_batch=iw.normalize != "none" and iw.weight_fn != "none",
    )


def _refuse_unused(iw: IWSFTConfig, reference_model: "PreTrainedModel | None") -> None:
    if iw.quality == "weight" and (iw.quality_column is None or _exponentiates(iw)):
        raise UserError(
            f"quality = weight with quality_column = {iw.quality_column}, weight_fn = {iw.weight_fn}: does not act "
            "here; set a quality_column, and a weight_fn of iw, dft or none"
        )
    if reference_model is not None and (iw.weight_fn, iw.ref) != ("iw", "model"):
        raise UserError(f"reference_model: not used with weight_fn = {iw.weight_fn}, ref = {iw.ref}; allowed: None")


def _require_reference(iw: IWSFTConfig, dataset: Dataset, reference_model: "PreTrainedModel | None") -> None:
    if iw.weight_fn != "iw":
        return
    if iw.ref == "model" and reference_model is None:
        raise UserError("ref = model: needs a reference_model; allowed without one: initial, column")
    if iw.ref == "column" and REFERENCE not in dataset.column_names:
        raise UserError(f"ref = column: no column {REFERENCE!r}; the data have {', '.join(dataset.column_names)}")


def _reference(
    iw: IWSFTConfig, reference_model: "PreTrainedModel | None"
) -> "Literal['none', 'initial', 'column'] | PreTrainedModel":
    """Where the reference comes from; only ratios have one."""
    if iw.weight_fn != "iw":
        return "none"
    if iw.ref == "model":
        assert reference_model is not None
        return reference_model
    return iw.ref


def _weight_function(iw: IWSFTConfig, scores: np.ndarray) -> WeightFunction:
    """Weights of a batch, with what to log about them; scores are scaled by those of all rows."""
    mean, largest = float(scores.mean()), float(scores.max())
    shift = {"rwr": largest, "awr": mean}.get(iw.weight_fn, 0.0)
    clip = iw.clip if iw.weight_fn == "iw" else None

    def function(
        log_probs_BT: Tensor, mask_BT: Tensor, columns: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        score = columns.get(iw.quality_column or "")
        raw = method.raw_weights(
            iw.weight_fn,
            log_probs_BT,
            mask_BT,
            reference_log_probs_BT=columns.get(REFERENCE),
            scores=None if score is None else score - shift,
            level=iw.level,
            log_ratio=iw.log_ratio,
            temperature=iw.temperature,
            clip=iw.clip,
        )
        if raw is None:  # plain SFT, which gets here with weights of quality alone
            raw = torch.ones(len(mask_BT), device=mask_BT.device)
        metrics = weight_statistics(raw, clip, mask_BT)
        shown = {"raw_mean": metrics["mean"], "clip_fraction": metrics["clip_fraction"]}
        if iw.weight_fn == "iw" and iw.level == "trajectory":
            tokens = float(mask_BT.sum(-1).float().mean())
            shown["effective_exponent"] = torch.tensor(exponent(iw, tokens))
        weights = method.normalize_weights(raw, iw.normalize, mask_BT)
        if iw.quality == "weight" and score is not None:
            # Over the mean of all rows and not of the batch, so that the expectation is that of drawing by quality.
            by_quality = score / mean
            weights = weights * by_quality.reshape(-1, *[1] * (weights.dim() - 1))
        return weights, shown

    return function


def drawn_by_quality(iw: IWSFTConfig) -> bool:
    """Whether rows are drawn with probability proportional to ``quality_column``."""
    return iw.quality_column is not None and iw.quality == "sample" and not _exponentiates(iw)


def scores_of(dataset: Dataset, iw: IWSFTConfig) -> np.ndarray:
    """The column of scores, [n].

    Raises:
        UserError: no column is named, it is not there, or a row has no finite number; with the row, counted from 1.
    """
    if iw.quality_column is None:
        raise UserError(f"quality_column = None: weight_fn = {iw.weight_fn} needs a column with scores")
    if iw.quality_column not in dataset.column_names:
        raise UserError(f"quality_column = {iw.quality_column}: the data have {', '.join(dataset.column_names)}")
    for row, value in enumerate(dataset[iw.quality_column], start=1):
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise UserError(f"{iw.quality_column} of row {row} is {value!r}; allowed: a finite number")
    return np.asarray(dataset[iw.quality_column], dtype=np.float64)


def _exponentiates(iw: IWSFTConfig) -> bool:
    return iw.weight_fn in ("rwr", "awr")
