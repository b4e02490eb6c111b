"""HRM against a feed-forward network of its own size, and against TRM, on puzzles: one experiment, top to bottom.

Every arm gets the same puzzles, batches, steps, optimizer, decay and loss; rate and weight average of each arm are
chosen on the validation split over one grid (``tenfold tune hrm``). FLOPs and seconds stand beside the accuracies,
because equal steps are not equal compute: a segment of HRM costs several passes of the feed-forward network.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.stats import spearmanr

from tenfold.core.cell import Cell
from tenfold.core.types import Claim, Picture, Plan, Report, Scores
from tenfold.data.sudoku import to_boards
from tenfold.eval.arc_voting import arc_vote, pass_at_k
from tenfold.papers.hrm import pictures
from tenfold.papers.hrm.config import Config
from tenfold.papers.hrm.data import ArcTasks, HeldOut
from tenfold.papers.hrm.halting import unwrapped
from tenfold.papers.hrm.inference import AllAnswers, best_of_trajectories
from tenfold.papers.hrm.method import RecursiveReasoner, num_parameters
from tenfold.papers.hrm.reasoner import Reasoner, vote_over_symmetries
from tenfold.papers.hrm.training import (
    Arm,
    accuracy_metrics,
    answer_held_out,
    architecture_of,
    build,
    cost_of_a_row,
    flops_of_a_step,
    prepared,
    refuse_other_grids,
    train_reasoner,
)
from tenfold.study.tuning import with_value

ARMS = {
    "plain": Arm("feed-forward network of HRM's size, with one pass and one segment", "plain", "plain_rates"),
    "hrm": Arm("two networks and two states, with a one-step gradient and learned halting", "hrm", "hrm_rates"),
    "trm": Arm("one network and two states, gradient through the last cycle, averaged weights", "trm", "trm_rates"),
}
GRID = {f"arms.{arm.rates}.learning_rate": (1e-3, 2e-3, 4e-3, 8e-3) for arm in ARMS.values()}
TUNING_EMA_DECAY = 0.99
"""Of the weight average that is measured beside the last weights while rates are tried."""

_BUDGET = "equal optimizer steps and batches; rates from one grid, chosen on validation puzzles of another seed"
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
        source="no difference",
        headline=True,
    ),
    Claim(
        id="refinement",
        text="HRM refines its answer: the share of solved puzzles after the last segment is at least 0.3 above "
        "that after the first.",
        kind="threshold",
        metric="test/refinement_gain",
        split="test",
        arm="hrm",
        baseline=None,
        direction="higher",
        margin=0.3,
        budget="the segments of one trained model are compared",
        source="the specification's check 30, on one prototype's seed",
    ),
    Claim(
        id="tiny",
        text="With half of HRM's parameters, TRM solves a share of the puzzles at most 0.02 below HRM's.",
        kind="non_inferiority",
        metric="test/exact_accuracy",
        split="test",
        arm="trm",
        baseline="hrm",
        direction="higher",
        margin=0.02,
        budget=_BUDGET,
        source="ours, before any run: two in a hundred puzzles",
    ),
    Claim(
        id="adaptive",
        text="HRM halts later on harder puzzles: over solved puzzles, the rank correlation of difficulty and "
        "halting step is positive.",
        kind="threshold",
        metric="halting/rank_correlation",
        split="test",
        arm="hrm",
        baseline=None,
        direction="higher",
        margin=0.0,
        budget="the learned rule halts in the test; the rate is one at which q_halt was seen to learn",
        source="no correlation",
    ),
)
CHOSEN_ON = (0, 1, 2, 1000)
"""Rates and steps on 1000; 0 to 2 are the run that the plan is sized by."""
PLAN = Plan(
    laptop=(10, 11, 12, 13, 14), why="five, the fewest: the headline had a power above 0.99 at five by the seeds 0 to 2"
)


def extras(config: Config) -> tuple[str, ...]:
    """The optional parts that a configuration needs."""
    return ("arc",) if config.data.task == "arc" else ()


def refuse_unfit(config: Config, arms: Sequence[str]) -> None:
    """Refuse what cannot be trained, before a run has a folder."""
    refuse_other_grids(config, [ARMS[arm].model for arm in arms])


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Train one arm with one seed and answer the held-out puzzles."""
    study = prepared(config, ARMS[arm], seed, cell)
    test, training, box = study.puzzles.test, study.config.training, sudoku_box(config)
    model = build(study)
    trained = train_reasoner(model, study)
    learned = unwrapped(trained.model)
    if cell.is_main:
        Reasoner.from_core(learned, box).save_pretrained(cell.directory / "model")
    answers = answer_held_out(learned, test, config.evaluation)
    right = answers.right(test.rows.labels)
    return Scores(
        metrics={
            **accuracy_metrics(answers, test.rows.labels),
            **halting_metrics(answers, test),
            **extra_metrics(learned, answers, test, config),
            **arc_metrics(answers, study.puzzles.arc),
            "train/skipped_steps": float(trained.skipped),
            "cost/parameters": float(num_parameters(model)),
            "cost/train_teraflops": flops_of_a_step(study.architecture, training.batch_size) * training.steps / 1e12,
        },
        items={"test/exact_accuracy": right[-1].astype(float).tolist()},
        curves=cell.curves(),
        samples=pictures.drawn_from(answers, test, box),
    )


def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]:
    """Share of validation puzzles solved after a training at the rate at ``field``, for choosing rates.

    One training measures both: the weights averaged with a decay of 0.99, and the last ones.
    """
    arm = next(arm for arm in ARMS.values() if field.split(".")[1] == arm.rates)
    averaging = with_value(config, f"arms.{arm.rates}.ema_decay", TUNING_EMA_DECAY)
    study = prepared(averaging, arm, cell.seed, cell)
    trained = train_reasoner(build(study), study)
    scores = {}
    for name, model in (("averaged", trained.model), ("last", trained.last)):
        answers = answer_held_out(unwrapped(model), study.puzzles.validation, config.evaluation)
        right = answers.right(study.puzzles.validation.rows.labels)
        scores[f"validation/{name}"] = float(right[-1].mean())
    return scores


def sudoku_box(config: Config) -> tuple[int, int] | None:
    """Box shape of the Sudokus, ``None`` for other tasks."""
    return (config.data.box_rows, config.data.box_columns) if config.data.task == "sudoku" else None


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


def figures(report: Report) -> list[Picture]:
    """Learning curves, accuracy per segment, and a puzzle solved segment by segment."""
    return pictures.draw(report, list(ARMS))


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``.

    Memory is that of the hungriest arm in float32: weights, gradient, two moments, average, and what a step keeps.
    """
    t, models = config.training, [architecture_of(config, arm) for arm in ARMS.values()]
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
