"""Generated puzzles: one solution, needed clues, the number of clues asked for, the same again for a seed."""

from random import Random

import numpy as np
import pytest
from backtracking import count_solutions, minimal_puzzle

from tenfold.core.errors import UserError
from tenfold.data.sudoku import is_valid_solution
from tenfold.data.sudoku_generator import generate, random_solutions, remove_clues
from tenfold.data.sudoku_solver import solve


@pytest.mark.parametrize("box", [(2, 2), (2, 3), (2, 4), (3, 3)])
def test_minimal_puzzles_have_one_solution_and_need_every_clue(box):
    made = generate(8, box, seed=0)
    assert is_valid_solution(made.solutions, box).all()
    found = solve(made.puzzles, box, limit=2)
    assert (found.counts == 1).all()
    np.testing.assert_array_equal(found.boards, made.solutions)
    np.testing.assert_array_equal(solve(made.puzzles, box).rounds, made.ratings["rounds"])
    without = [np.where(np.arange(made.puzzles.shape[1]) == cell, 0, puzzle)
               for puzzle in made.puzzles for cell in np.flatnonzero(puzzle)]  # fmt: skip
    assert (solve(np.array(without, dtype=np.uint8), box, limit=2).counts == 2).all()


@pytest.mark.parametrize(("box", "clues", "num"), [((2, 3), 12, 300), ((2, 2), 6, 200), ((3, 3), 32, 20)])
def test_clues_are_exactly_as_many_as_asked_for(box, clues, num):
    made = generate(num, box, seed=1, clues=clues)
    assert len(made) == num
    assert ((made.puzzles > 0).sum(axis=1) == clues).all()
    assert (solve(made.puzzles, box, limit=2).counts == 1).all()
    assert count_solutions(made.puzzles[0].tolist(), box, limit=2) == 1


def test_equal_seeds_give_equal_puzzles_and_other_seeds_others():
    first, again, other = (generate(20, (2, 3), seed=seed, clues=12) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.puzzles, again.puzzles)
    np.testing.assert_array_equal(first.solutions, again.solutions)
    assert (first.puzzles != other.puzzles).any(axis=1).all()


def test_min_guesses_keeps_hard_puzzles_only():
    made = generate(3, (3, 3), seed=0, min_guesses=2)
    assert len(made) == 3
    assert (made.ratings["guesses"] >= 2).all()
    np.testing.assert_array_equal(solve(made.puzzles, (3, 3)).guesses, made.ratings["guesses"])


def test_minimal_puzzles_are_as_small_as_those_of_plain_backtracking():
    """Both remove clues in random order, so the number of clues left has the same distribution."""
    generator = np.random.default_rng(0)
    solutions = random_solutions(400, (2, 2), generator)
    ours = (remove_clues(solutions, (2, 2), generator) > 0).sum(axis=1)
    random = Random(0)
    plain = [
        sum(digit > 0 for digit in minimal_puzzle(list(grid), (2, 2), random)) for grid in solutions[:150].tolist()
    ]
    spread = np.hypot(ours.std() / len(ours) ** 0.5, np.std(plain) / len(plain) ** 0.5)
    assert abs(ours.mean() - np.mean(plain)) < 4 * spread


def test_every_digit_and_grid_is_met():
    """All 288 grids of 4x4 are drawn."""
    solutions = random_solutions(6000, (2, 2), np.random.default_rng(0))
    assert len(np.unique(solutions, axis=0)) == 288


def test_impossible_wishes_are_refused():
    with pytest.raises(UserError, match=r"clues is 40, but a board of 36 cells can have 1\.\.36"):
        generate(1, (2, 3), seed=0, clues=40)
    with pytest.raises(UserError, match=r"clues = 3 with min_guesses = 0 is too rare: 0 of 1"):
        generate(1, (2, 2), seed=0, clues=3)


def test_none_is_a_number_of_puzzles():
    assert generate(0, (2, 2), seed=0).puzzles.shape == (0, 16)
