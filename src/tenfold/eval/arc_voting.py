"""Voting over the variants of an ARC task, and pass@k.

Every test input is answered once under each variant's identifier. An answer is cropped from its canvas, turned back
(dihedral, then colours), and equal answers are counted. Candidates are ranked by (votes, mean σ(q_halt)), highest
first; where both tie, the one seen first leads. Test inputs are recognised by their grid, turned back the same way.

Two scoring rules are in use, and they differ: the HRM authors count a task only if *all* its test inputs are answered
(``whole``); the TRM evaluator gives each task the share of its test inputs that are (``fractional``), which is never
lower. Both are returned; say which one you quote. Votes are not summed over checkpoints here, as TRM does by default.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from tenfold.core.errors import UserError
from tenfold.data.arc import ArcAugmentation, ArcTask, crop_grid, task_of
from tenfold.data.puzzles import PuzzleDataset

PASS_KS = (1, 2, 10, 100, 1000)

Question = tuple[str, bytes]
"""A test input: the name of its task and a key of its grid."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One answer to a test input.

    Args:
        grid: [H, W] uint8 colours.
        votes: number of variants that gave it.
        halt_probability: mean σ(q_halt) over them.
    """

    grid: np.ndarray
    votes: int
    halt_probability: float


@dataclass(frozen=True, eq=False)
class PassAtK:
    """Scores of the evaluated tasks for one k; their mean is the headline.

    Args:
        whole: [tasks] float64, 1 where all test inputs of a task have their answer among the first k candidates.
        fractional: [tasks] float64, the share of its test inputs that do.
    """

    whole: np.ndarray
    fractional: np.ndarray


def rank_candidates(grids: Sequence[np.ndarray], halt_logits: Sequence[float]) -> list[Candidate]:
    """Count equal answers and sort them by (votes, mean σ(q_halt)), highest first.

    Args:
        grids: answers, [H, W] each, already turned back.
        halt_logits: q_halt of each answer.

    Example:
        >>> zero, one = np.zeros((1, 1), dtype=np.uint8), np.ones((1, 1), dtype=np.uint8)
        >>> [(int(c.grid[0, 0]), c.votes) for c in rank_candidates([zero, one, one], [9.0, -1.0, -1.0])]
        [(1, 2), (0, 1)]
    """
    ballots: dict[bytes, tuple[np.ndarray, list[float]]] = {}
    for grid, logit in zip(grids, halt_logits, strict=True):
        ballots.setdefault(grid_key(grid), (grid, []))[1].append(float(expit(logit)))
    candidates = [Candidate(grid, len(halts), float(np.mean(halts))) for grid, halts in ballots.values()]
    return sorted(candidates, key=lambda candidate: (-candidate.votes, -candidate.halt_probability))


def arc_vote(
    test: PuzzleDataset, identifiers: Sequence[str], predictions: np.ndarray, halt_logits: np.ndarray
) -> dict[Question, list[Candidate]]:
    """Ranked candidates for every test input of a test split.

    Args:
        test: the split, in whose order the predictions are.
        identifiers: name of each identifier.
        predictions: [n, 900] tokens.
        halt_logits: [n] q_halt.

    Raises:
        UserError: when the numbers of predictions and examples differ.
    """
    if predictions.shape != test.inputs.shape or len(halt_logits) != len(predictions):
        raise UserError(
            f"predictions {predictions.shape} and {len(halt_logits)} halt logits must match inputs {test.inputs.shape}."
        )
    answers: dict[Question, tuple[list[np.ndarray], list[float]]] = {}
    owners = np.repeat(test.puzzle_identifiers, np.diff(test.puzzle_indices))
    for owner, given, answer, logit in zip(owners, test.inputs, predictions, halt_logits, strict=True):
        change = ArcAugmentation.from_name(identifiers[owner])
        question = (task_of(identifiers[owner]), grid_key(change.undo(crop_grid(given))))
        grids, logits = answers.setdefault(question, ([], []))
        grids.append(change.undo(crop_grid(answer)))
        logits.append(float(logit))
    return {question: rank_candidates(*ballots) for question, ballots in answers.items()}


def pass_at_k(
    tasks: Iterable[ArcTask], ranked: Mapping[Question, Sequence[Candidate]], ks: Sequence[int] = PASS_KS
) -> dict[int, PassAtK]:
    """Score ranked candidates under both rules.

    Args:
        tasks: the tasks; those that are not evaluated are left out.
        ranked: what :func:`arc_vote` returned; a test input that is missing counts as not answered.
        ks: how many candidates may be handed in.

    Returns:
        For each k the scores of the evaluated tasks in their order.
    """
    places = [
        np.array([_place(ranked.get((task.name, grid_key(given)), ()), wanted) for given, wanted in task.test])
        for task in tasks
        if task.evaluation
    ]
    return {
        k: PassAtK(
            whole=np.array([float((place < k).all()) for place in places]),
            fractional=np.array([float((place < k).mean()) for place in places]),
        )
        for k in ks
    }


def grid_key(grid: np.ndarray) -> bytes:
    """Equal for two grids exactly when their shapes and colours are equal; grids have sides up to 255."""
    return bytes(grid.shape) + grid.astype(np.uint8).tobytes()


def _place(candidates: Sequence[Candidate], wanted: np.ndarray) -> float:
    """The position of the right answer among the candidates, infinite if it is not there."""
    key = grid_key(wanted)
    return next((place for place, candidate in enumerate(candidates) if grid_key(candidate.grid) == key), np.inf)
