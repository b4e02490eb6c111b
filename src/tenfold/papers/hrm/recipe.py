"""HRM against a feed-forward network of its own size, and against TRM, on puzzles: one experiment, top to bottom.

Every arm gets the same puzzles, batches, steps, optimizer, decay and loss; rate and weight average of each arm are
chosen on the validation split over one grid (``tenfold tune hrm``). FLOPs and seconds stand beside the accuracies,
because equal steps are not equal compute: a segment of HRM costs several passes of the feed-forward network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Claim, Picture, Report, Scores
from tenfold.data.puzzles import GroupSampler, total_steps
from tenfold.data.sudoku import to_boards
from tenfold.eval.arc_voting import arc_vote, pass_at_k
from tenfold.optim import AdamATan2, SparseSignSGD, warmup_cosine
from tenfold.papers.hrm import pictures
from tenfold.papers.hrm.config import Config, RatesConfig, ReasonerConfig
from tenfold.papers.hrm.data import ArcTasks, HeldOut, Puzzles, load_puzzles
from tenfold.papers.hrm.halting import Carry, Rows, StepOptions, empty_carry, training_step
from tenfold.papers.hrm.inference import AllAnswers, answer_all, best_of_trajectories
from tenfold.papers.hrm.method import RecursiveReasoner, num_parameters
from tenfold.papers.hrm.reasoner import Reasoner, vote_over_symmetries
from tenfold.train.loop import LoopConfig, Trained, train

ARMS = {
    "plain": "feed-forward network of HRM's size: one pass, one segment",
    "hrm": "two networks, two states, 1-step gradient, learned continuation",
    "trm": "one network, two states, gradient through the last cycle, averaged weights",
}

_BUDGET = "equal optimizer steps and batch; rates from one grid on the validation puzzles of another seed"
CLAIMS = (
    Claim(
        id="recurrence",
        text="HRM solves more held-out puzzles than a feed-forward network of the same size after as many steps.",
        kind="superiority",
        metric="test/exact_accuracy",
        split="test",
        arm="hrm",
        baseline="plain",
        direction="higher",
        margin=0.0,
        budget=_BUDGET,
    ),
    Claim(
        id="refinement",
        text="HRM refines its answer: accuracy after the last segment exceeds that after the first by at least 0.3.",
        kind="threshold",
        metric="test/refinement_gain",
        split="test",
        arm="hrm",
        baseline=None,
        direction="higher",
        margin=0.3,
        budget="one trained model, its segments compared",
    ),
    Claim(
        id="tiny",
        text="TRM, with half of HRM's parameters, is not worse than HRM by more than 0.02.",
        kind="non_inferiority",
        metric="test/exact_accuracy",
        split="test",
        arm="trm",
        baseline="hrm",
        direction="higher",
        margin=0.02,
        budget=_BUDGET,
    ),
    Claim(
        id="adaptive",
        text="HRM halts later on harder puzzles: rank correlation of difficulty and halting step, over solved ones.",
        kind="threshold",
        metric="halting/rank_correlation",
        split="test",
        arm="hrm",
        baseline=None,
        direction="higher",
        margin=0.0,
        budget="halting at evaluation by the learned rule; a rate at which q_halt was seen to learn",
    ),
)


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Train one arm with one seed and answer the held-out puzzles."""
    puzzles = load_puzzles(config.data, seed)
    config = with_steps(config, puzzles)
    model = build(config, arm, seed, cell.dtype, puzzles.train.num_puzzle_identifiers)
    flops = flops_of_a_step(model_config(config, arm), config.training.batch_size)
    trained = train_reasoner(model, puzzles, rates(config, arm), config, seed, cell)
    if cell.is_main:
        Reasoner.from_core(trained.model, sudoku_box(config)).save_pretrained(cell.directory / "model")
    answers = answer_held_out(trained.model, puzzles.test, config)
    metrics = {
        **accuracy_metrics(answers, puzzles.test.rows.labels),
        **halting_metrics(answers, puzzles.test),
        **extra_metrics(trained.model, answers, puzzles.test, config),
        **arc_metrics(answers, puzzles.arc),
        "train/skipped_steps": float(trained.skipped),
        "cost/parameters": float(num_parameters(model)),
        "cost/train_teraflops": flops * config.training.steps / 1e12,
    }
    right = answers.right(puzzles.test.rows.labels)
    return Scores(
        metrics=metrics,
        items={"test/exact_accuracy": right[-1].astype(float).tolist()},
        curves=cell.curves(),
        samples=pictures.material(answers, puzzles.test, config),
    )


def build(config: Config, arm: str, seed: int, dtype: str = "float32", num_puzzles: int = 1) -> RecursiveReasoner:
    """A fresh model of an arm; equal seeds give equal weights."""
    torch.manual_seed(key_to_seed(seed, "weights"))
    return RecursiveReasoner(replace(model_config(config, arm), num_puzzles=num_puzzles), getattr(torch, dtype))


def with_steps(config: Config, puzzles: Puzzles) -> Config:
    """The configuration with the steps that its epochs amount to, when epochs are given."""
    t = config.training
    steps = total_steps(puzzles.train, t.epochs, t.batch_size) if t.epochs else t.steps
    return replace(config, training=replace(t, steps=steps, epochs=0))


def sudoku_box(config: Config) -> tuple[int, int] | None:
    """Box shape of the Sudokus, ``None`` for other tasks."""
    return (config.data.box_rows, config.data.box_columns) if config.data.task == "sudoku" else None


def model_config(config: Config, arm: str) -> ReasonerConfig:
    """The arm's model."""
    return {"plain": config.arms.plain, "hrm": config.arms.hrm, "trm": config.arms.trm}[arm]


def rates(config: Config, arm: str) -> RatesConfig:
    """The arm's learning rate and weight average."""
    return {"plain": config.arms.plain_rates, "hrm": config.arms.hrm_rates, "trm": config.arms.trm_rates}[arm]


def train_reasoner(
    model: RecursiveReasoner, puzzles: Puzzles, chosen: RatesConfig, config: Config, seed: int, cell: Cell
) -> Trained:
    """Train on ``puzzles.train`` in the loop of ``tenfold.train``; curves are taken on ``puzzles.validation``."""
    t = config.training
    if t.compile:
        model.compile()  # in place, so that the names of the weights stay
    sampler = GroupSampler(puzzles.train, t.batch_size, seed, t.epochs_per_pass)
    options = StepOptions(seed=seed, num_slots=t.batch_size, loss=t.loss)

    def step_function(wrapped: nn.Module, carry: Carry, step: int, slots: range):
        rows = offered_rows(sampler, step, slots) if t.refill == "offered" else free_rows(sampler, carry, slots)
        return training_step(wrapped, carry, rows.to(carry.halted.device), step, slots, options)

    def make_optimizers(model: RecursiveReasoner) -> Sequence[torch.optim.Optimizer]:
        form = {"kernel": {}, "ported": {"a": 1.27, "correct_inside": True}}[t.atan2_form]
        return [
            AdamATan2(
                model.parameters(), chosen.learning_rate, (t.beta1, t.beta2), weight_decay=t.weight_decay, **form
            ),
            SparseSignSGD(model.puzzle_embedding, t.puzzle_learning_rate, t.puzzle_weight_decay),
        ]

    def evaluate(shown: RecursiveReasoner, step: int) -> Mapping[str, float]:
        answers = answer_held_out(shown, puzzles.validation, config)
        return {
            name.replace("test/", "validation/"): value
            for name, value in accuracy_metrics(answers, puzzles.validation.rows.labels).items()
        }

    return train(
        model,
        make_optimizers,
        step_function,
        LoopConfig(
            steps=t.steps,
            batch_size=t.batch_size,
            gradient_accumulation=t.gradient_accumulation,
            ema_decay=chosen.ema_decay,
            log_every=t.log_every,
            evaluate_every=t.evaluate_every,
            checkpoint_every=t.checkpoint_every,
        ),
        cell,
        initial_carry=empty_carry,
        schedule=partial(warmup_cosine, total_steps=t.steps, warmup_steps=t.warmup_steps, floor=t.rate_floor),
        evaluate=evaluate if len(puzzles.validation) else None,
    )


def validation_accuracy(config: Config, arm: str, chosen: RatesConfig, seed: int, cell: Cell) -> tuple[float, float]:
    """Exact accuracy on the validation split of the averaged and of the last weights, for choosing rates."""
    puzzles = load_puzzles(config.data, seed)
    trained = train_reasoner(build(config, arm, seed, cell.dtype), puzzles, chosen, config, seed, cell)
    averaged, last = (
        float(answer_held_out(model, puzzles.validation, config).right(puzzles.validation.rows.labels)[-1].mean())
        for model in (trained.model, trained.last)
    )
    return averaged, last


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


def answer_held_out(model: RecursiveReasoner, held_out: HeldOut, config: Config) -> AllAnswers:
    """Answers after each segment."""
    rows = held_out.rows
    segments = config.evaluation.segments if model.config.halt_max_steps > 1 else 1
    return answer_all(model, rows.inputs, rows.puzzle_identifiers, config.evaluation.batch_size, segments)


def accuracy_metrics(answers: AllAnswers, labels: np.ndarray) -> dict[str, float]:
    """Share of puzzles with every cell right (last, first and halting segment) and share of right cells."""
    right = answers.right(labels)
    counts = labels >= 0
    return {
        "test/exact_accuracy": float(right[-1].mean()),
        "test/exact_accuracy_first_segment": float(right[0].mean()),
        "test/refinement_gain": float(right[-1].mean() - right[0].mean()),
        "test/exact_accuracy_when_halting": float(answers.at_halting(right).mean()),
        "test/cell_accuracy": float((answers.tokens[-1] == labels)[counts].mean()),
    }


def halting_metrics(answers: AllAnswers, held_out: HeldOut) -> dict[str, float]:
    """When the learned rule stops, whether it is right to, and whether it stops later on harder puzzles."""
    segments = len(answers.tokens)
    if segments == 1:
        return {}
    right = answers.right(held_out.rows.labels)
    solved = answers.at_halting(right)
    stopped = answers.halting_step < segments
    correlation = float("nan")  # a task without ratings has none
    if held_out.difficulty is not None:
        correlation = _rank_correlation(held_out.difficulty[solved], answers.halting_step[solved])
    return {
        "halting/mean_segments": float(answers.halting_step.mean()),
        "halting/precision": float(solved[stopped].mean()) if stopped.any() else float("nan"),
        "halting/rank_correlation": correlation,
        "halting/q_halt_accuracy": float(((answers.q_halt[-1] >= 0) == right[-1]).mean()),
    }


def extra_metrics(model: RecursiveReasoner, answers: AllAnswers, held_out: HeldOut, config: Config) -> dict[str, float]:
    """More thinking at test time: a vote over symmetries, and the noisy trajectory that q_halt prefers."""
    e, rows, box = config.evaluation, held_out.rows, sudoku_box(config)
    metrics = {}
    if e.symmetry_votes and box is not None:
        boards = to_boards(rows.inputs)
        voted = vote_over_symmetries(model, boards, answers, box, e.symmetry_votes, e.segments, e.batch_size)
        metrics["test/exact_accuracy_voted"] = float((voted == rows.labels).all(-1).mean())
    if e.trajectories and model.config.halt_max_steps > 1:
        noisy = best_of_trajectories(
            model,
            rows.inputs,
            rows.puzzle_identifiers,
            trajectories=e.trajectories,
            noise_std=e.noise_std,
            batch_size=e.batch_size,
            segments=e.segments,
        )
        metrics["test/exact_accuracy_best_of_trajectories"] = float(
            ((noisy == rows.labels) | (rows.labels < 0)).all(-1).mean()
        )
    return metrics


def arc_metrics(answers: AllAnswers, arc: ArcTasks | None) -> dict[str, float]:
    """pass@k after voting over all variants: the HRM authors' rule, and TRM's, which gives shares of a task."""
    if arc is None:
        return {}
    ranked = arc_vote(arc.test, arc.identifiers, answers.tokens[-1], answers.q_halt[-1])
    metrics = {}
    for k, scores in pass_at_k(arc.tasks, ranked).items():
        metrics[f"test/pass_at_{k}"] = float(scores.whole.mean())
        metrics[f"test/pass_at_{k}_fractional"] = float(scores.fractional.mean())
    return metrics


def _rank_correlation(difficulty: np.ndarray, halting_step: np.ndarray) -> float:
    if len(np.unique(difficulty)) < 2:
        return float("nan")  # nothing to adapt to
    if len(np.unique(halting_step)) < 2:
        return 0.0  # a rule that never adapts must be able to fail the claim
    return float(spearmanr(difficulty, halting_step).statistic)


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


def figures(report: Report) -> list[Picture]:
    """Learning curves, accuracy per segment, and a puzzle solved segment by segment."""
    return pictures.draw(report)


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``.

    Memory is that of the hungriest arm in float32: weights, gradient, two moments, average, and what a step keeps.
    """
    t, models = config.training, [model_config(config, arm) for arm in ARMS]
    examples = config.data.num_train * 1.0 or _ARC_PUZZLES * _ARC_EXAMPLES
    steps = t.steps or t.epochs * examples / t.batch_size
    with torch.device("meta"):
        sizes = [num_parameters(RecursiveReasoner(model)) for model in models]
    costs = [cost_of_a_row(model) for model in models]
    flops = steps * t.batch_size * sum(cost for cost, _ in costs)
    rows = t.batch_size / t.gradient_accumulation
    return {
        "parameters": float(max(sizes)),
        "memory_bytes": max(20.0 * size + rows * kept for size, (_, kept) in zip(sizes, costs, strict=True)),
        "seconds": flops / (_GPU_FLOPS if torch.cuda.is_available() else _CPU_FLOPS),
    }


_ARC_PUZZLES, _ARC_EXAMPLES = 800, 3.4  # about, for the estimate; the run counts them
_CPU_FLOPS, _GPU_FLOPS = 6e10, 1e14  # assumed sustained: two cores in float32; one H100-class GPU in bfloat16
