"""One training of an arm: its model, the rows that its slots take, both optimizers, and what a step costs.

A seed gives every arm the same puzzles in the same order, and equal weights to equal models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed
from tenfold.data.puzzles import GroupSampler, total_steps
from tenfold.optim import AdamATan2, SparseSignSGD, warmup_cosine
from tenfold.papers.hrm.config import Config, EvaluationConfig, RatesConfig, ReasonerConfig, TrainingConfig
from tenfold.papers.hrm.data import HeldOut, Puzzles, grid_of, load_puzzles
from tenfold.papers.hrm.halting import Carry, Rows, StepOptions, empty_carry, training_step, unwrapped
from tenfold.papers.hrm.inference import AllAnswers, answer_all
from tenfold.papers.hrm.method import RecursiveReasoner
from tenfold.train.loop import LoopConfig, Trained, train


@dataclass(frozen=True)
class Arm:
    """An arm of the study: which model is trained, at which rates.

    Args:
        text: what it is.
        model: the field of ``config.arms`` that holds its model.
        rates: the field that holds its learning rate and weight average.
    """

    text: str
    model: Literal["plain", "hrm", "trm"]
    rates: Literal["plain_rates", "hrm_rates", "trm_rates"]


@dataclass(frozen=True, eq=False)
class Study:
    """One training: who learns what.

    Args:
        config: of the experiment, with its steps counted.
        arm: who learns.
        seed: of puzzles, order and weights.
        cell: where it is computed and logged.
        puzzles: of the seed.
    """

    config: Config
    arm: Arm
    seed: int
    cell: Cell
    puzzles: Puzzles

    @property
    def architecture(self) -> ReasonerConfig:
        """The arm's model."""
        return architecture_of(self.config, self.arm)

    @property
    def rates(self) -> RatesConfig:
        """The arm's learning rate and weight average."""
        chosen: RatesConfig = getattr(self.config.arms, self.arm.rates)
        return chosen


def prepared(config: Config, arm: Arm, seed: int, cell: Cell) -> Study:
    """A training with the puzzles of its seed, and with the steps that its epochs amount to."""
    refuse_other_grids(config, [arm.model])
    puzzles = load_puzzles(config.data, seed)
    return Study(with_steps(config, puzzles), arm, seed, cell, puzzles)


def refuse_other_grids(config: Config, names: Sequence[str]) -> None:
    """Refuse models made for grids of another size than the data's, as after a change of ``data.task`` alone.

    Args:
        config: of the experiment.
        names: the fields of ``config.arms`` that hold the models.

    Raises:
        UserError: with all flags that make the models fit.
    """
    tokens, cells, grids = grid_of(config.data)
    models = {name: getattr(config.arms, name) for name in names}
    wrong = [name for name, model in models.items() if (model.vocab_size, model.sequence_length) != (tokens, cells)]
    if wrong:
        model = models[wrong[0]]
        flags = [f"--arms.{name}.vocab-size {tokens} --arms.{name}.sequence-length {cells}" for name in wrong]
        raise UserError(
            f"arms.{wrong[0]}.vocab_size = {model.vocab_size} and sequence_length = {model.sequence_length}: "
            f"{grids} have {tokens} tokens and {cells} cells; add {' '.join(flags)}"
        )


def with_steps(config: Config, puzzles: Puzzles) -> Config:
    """The configuration with the steps that its epochs amount to, when epochs are given."""
    t = config.training
    if not t.epochs:
        return config
    return replace(config, training=replace(t, steps=total_steps(puzzles.train, t.epochs, t.batch_size), epochs=0))


def architecture_of(config: Config, arm: Arm) -> ReasonerConfig:
    """The arm's model, before its puzzles are counted."""
    model: ReasonerConfig = getattr(config.arms, arm.model)
    return model


def build(study: Study) -> RecursiveReasoner:
    """A fresh model of an arm; equal seeds give equal weights."""
    torch.manual_seed(key_to_seed(study.seed, "weights"))
    model = replace(study.architecture, num_puzzles=study.puzzles.train.num_puzzle_identifiers)
    return RecursiveReasoner(model, getattr(torch, study.cell.dtype))


def train_reasoner(model: RecursiveReasoner, study: Study) -> Trained:
    """Train in the loop of ``tenfold.train``; curves are taken on the validation puzzles."""
    t, validation = study.config.training, study.puzzles.validation
    sampler = GroupSampler(study.puzzles.train, t.batch_size, study.seed, t.epochs_per_pass)
    options = StepOptions(seed=study.seed, num_slots=t.batch_size, loss=t.loss)

    def step_function(
        wrapped: nn.Module, carry: Carry, step: int, slots: range
    ) -> tuple[Tensor, Carry, Mapping[str, Tensor]]:
        rows = offered_rows(sampler, step, slots) if t.refill == "offered" else free_rows(sampler, carry, slots)
        return training_step(wrapped, carry, rows.to(carry.halted.device), step, slots, options)

    def evaluate(shown: nn.Module, step: int) -> Mapping[str, float]:
        answers = answer_held_out(unwrapped(shown), validation, study.config.evaluation)
        return accuracy_metrics(answers, validation.rows.labels, split="validation")

    return train(
        model,
        partial(make_optimizers, training=t, learning_rate=study.rates.learning_rate),
        step_function,
        LoopConfig(
            steps=t.steps,
            batch_size=t.batch_size,
            gradient_accumulation=t.gradient_accumulation,
            ema_decay=study.rates.ema_decay,
            compile=t.compile,
            log_every=t.log_every,
            evaluate_every=t.evaluate_every,
            checkpoint_every=t.checkpoint_every,
        ),
        study.cell,
        initial_carry=lambda fresh, rows: empty_carry(unwrapped(fresh), rows),
        schedule=partial(warmup_cosine, total_steps=t.steps, warmup_steps=t.warmup_steps, floor=t.rate_floor),
        evaluate=evaluate if len(validation) else None,
    )


class _Form(TypedDict, total=False):
    a: float
    correct_inside: bool


_FORMS: Mapping[str, _Form] = {"kernel": {}, "ported": {"a": 1.27, "correct_inside": True}}


def make_optimizers(
    model: nn.Module, training: TrainingConfig, learning_rate: float
) -> Sequence[torch.optim.Optimizer]:
    """AdamATan2 for the weights, and sign descent for the puzzle table, which is no parameter."""
    betas, decay = (training.beta1, training.beta2), training.weight_decay
    return [
        AdamATan2(model.parameters(), learning_rate, betas, weight_decay=decay, **_FORMS[training.atan2_form]),
        SparseSignSGD(unwrapped(model).puzzle_embedding, training.puzzle_learning_rate, training.puzzle_weight_decay),
    ]


def offered_rows(sampler: GroupSampler, step: int, slots: range) -> Rows:
    """Batch ``step`` cut to these slots; what a busy slot does not take is lost, as in the authors' code."""
    return Rows.from_batch(sampler.batch(step - 1), slice(slots.start, slots.stop))


def free_rows(sampler: GroupSampler, carry: Carry, slots: range) -> Rows:
    """For each slot the row that its own count of puzzles is due: nothing is lost, busy slots fall behind."""
    batches = {load: sampler.batch(load) for load in sorted(set(carry.loads[carry.halted].tolist()))}
    rows = Rows(carry.inputs.clone(), carry.labels.clone(), carry.puzzles.clone())  # a busy slot keeps what it has
    for position, (slot, load) in enumerate(zip(slots, carry.loads.tolist(), strict=True)):
        if load in batches:
            due = Rows.from_batch(batches[load], slice(slot, slot + 1))
            for target, source in zip(rows, due, strict=True):
                target[position] = source[0]
    return rows


def answer_held_out(model: RecursiveReasoner, held_out: HeldOut, evaluation: EvaluationConfig) -> AllAnswers:
    """Answers after each segment; a model of one segment has no more at test time."""
    segments = evaluation.segments if model.config.halt_max_steps > 1 else 1
    rows = held_out.rows
    return answer_all(model, rows.inputs, rows.puzzle_identifiers, evaluation.batch_size, segments)


def accuracy_metrics(answers: AllAnswers, labels: np.ndarray, split: str = "test") -> dict[str, float]:
    """Share of puzzles with every cell right (last, first and halting segment) and share of right cells."""
    right = answers.right(labels)
    counts = labels >= 0
    return {
        f"{split}/exact_accuracy": float(right[-1].mean()),
        f"{split}/exact_accuracy_first_segment": float(right[0].mean()),
        f"{split}/refinement_gain": float(right[-1].mean() - right[0].mean()),
        f"{split}/exact_accuracy_when_halting": float(answers.at_halting(right).mean()),
        f"{split}/cell_accuracy": float((answers.tokens[-1] == labels)[counts].mean()),
    }


def flops_of_a_step(model_config: ReasonerConfig, batch_size: int) -> float:
    """Floating-point operations of one training step, forward and backward."""
    return cost_of_a_row(model_config)[0] * batch_size


def cost_of_a_row(model_config: ReasonerConfig) -> tuple[float, float]:
    """Operations of a training step and float32 bytes it keeps for the gradient, for one row, without any data."""
    with torch.device("meta"):
        model = RecursiveReasoner(replace(model_config, num_puzzles=1))
        grid = torch.ones(1, model_config.sequence_length, dtype=torch.long)
        rows = Rows(grid, grid, torch.zeros(1, dtype=torch.long))
    weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        alive.append(tensor)  # so that no storage is freed and its address used again
        return tensor

    alive: list[torch.Tensor] = []
    # The plain attention kernel is the one whose operations the counter knows everywhere.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss, _, _ = training_step(model, empty_carry(model, 1), rows, 1, range(1), StepOptions(0, 1))
        loss.backward()
    return float(counter.get_total_flops()), float(sum(size for at, size in kept.items() if at not in weights))
