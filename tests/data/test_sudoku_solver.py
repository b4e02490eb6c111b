"""The batched solver against plain backtracking and against numbers that others published."""

import csv
import gzip
from itertools import islice, permutations, product

import numpy as np
import pytest
from backtracking import count_solutions, fits, solutions

from tenfold.data.sudoku import augment, board_text, parse_board
from tenfold.data.sudoku_generator import generate
from tenfold.data.sudoku_solver import candidates, propagate, search, solve

ESCARGOT = "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..4......7..7...3.."
ESCARGOT_SOLUTION = "162857493534129678789643521475312986913586742628794135356478219241935867897261354"


def test_a_famous_hard_puzzle():
    found = solve(parse_board(ESCARGOT, (3, 3))[None], (3, 3), limit=2)
    assert board_text(found.boards[0]) == ESCARGOT_SOLUTION
    assert found.counts.tolist() == [1]
    assert found.guesses[0] > 0


def test_all_288_grids_of_4x4():
    assert solve(np.zeros((1, 16), dtype=np.uint8), (2, 2), limit=1000).counts[0] == 288


def test_all_28200960_grids_of_6x6():
    """The first row can be named in 6! ways; each of the 3! left halves of the second row allows equally many grids.

    The first two cells of the third row are set to every pair of digits, so that many boards share the work.
    """
    starts = [(*right, *pair) for right in permutations([1, 2, 3]) for pair in product(range(1, 7), repeat=2)]
    boards = np.zeros((len(starts), 36), dtype=np.uint8)
    boards[:, :9] = [1, 2, 3, 4, 5, 6, 4, 5, 6]
    boards[:, 9:14] = starts
    assert solve(boards, (2, 3), limit=10**6).counts.sum() * 720 * 6 == 28_200_960


@pytest.mark.parametrize(("box", "seed"), [((2, 2), 0), ((2, 3), 1), ((3, 2), 2)])
def test_counts_and_solutions_equal_backtracking(box, seed):
    """Boards with none, one and many solutions: valid puzzles with clues removed or altered."""
    n = box[0] * box[1]
    made = generate(15, box, seed=seed)
    generator = np.random.default_rng(seed)
    boards = made.puzzles.copy()
    for board in boards[5:10]:
        board[generator.choice(np.flatnonzero(board))] = 0
    for board, solution in zip(boards[10:], made.solutions[10:], strict=True):
        wrong = [
            (cell, digit)
            for cell in np.flatnonzero(board == 0)
            for digit in range(1, n + 1)
            if digit != solution[cell] and fits(board.tolist(), cell, digit, box)
        ]
        cell, digit = wrong[generator.integers(len(wrong))]
        board[cell] = digit
    found = solve(boards, box, limit=5)
    for board, first, count in zip(boards.tolist(), found.boards.tolist(), found.counts, strict=True):
        expected = list(islice(solutions(board, box), 5))
        assert count == len(expected)
        assert first in expected if count == 1 else count == 0 or first in list(solutions(board, box))
    assert set(np.minimum(found.counts, 2).tolist()) == {0, 1, 2}


def test_results_do_not_depend_on_the_rest_of_the_batch(minimal_9x9):
    boards = np.concatenate([minimal_9x9.puzzles[:6], np.zeros((1, 81), dtype=np.uint8)])
    together = solve(boards, (3, 3), limit=2)
    for index, board in enumerate(boards):
        alone = solve(board[None], (3, 3), limit=2)
        for name in vars(alone):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[index])


def test_rounds_grade_guess_free_puzzles_independently_of_symmetry(minimal_9x9):
    easy = minimal_9x9.take(minimal_9x9.ratings["guesses"] == 0)
    variants, _ = augment(easy.puzzles, easy.solutions, 5, np.random.default_rng(0), (3, 3))
    found = solve(variants.reshape(-1, 81), (3, 3))
    assert (found.guesses == 0).all()
    np.testing.assert_array_equal(found.rounds.reshape(-1, 6), np.repeat(easy.ratings["rounds"][:, None], 6, axis=1))
    assert len(set(easy.ratings["rounds"].tolist())) > 5


def test_singles_never_lose_a_solution(minimal_9x9):
    made = minimal_9x9
    masks, alive, _ = propagate(candidates(made.puzzles, (3, 3)).T, (3, 3))
    assert alive.all()
    solution_bits = np.uint16(1) << (made.solutions - np.uint16(1))
    assert ((masks.T & solution_bits) == solution_bits).all()


def test_contradictions_are_seen_without_a_guess():
    two_in_a_row = np.zeros(16, dtype=np.uint8)
    two_in_a_row[[0, 3]] = 1
    no_digit_left = np.zeros(16, dtype=np.uint8)
    no_digit_left[[1, 2, 4, 12]] = [1, 2, 3, 4]
    found = solve(np.stack([two_in_a_row, no_digit_left]), (2, 2))
    assert found.counts.tolist() == [0, 0]
    assert found.guesses.tolist() == [0, 0]
    assert (found.boards == 0).all()


def test_a_forbidden_digit_tells_whether_a_clue_is_needed():
    made = generate(5, (2, 3), seed=0)
    for puzzle, solution in zip(made.puzzles, made.solutions, strict=True):
        for cell in np.flatnonzero(puzzle):
            without = puzzle.copy()
            without[cell] = 0
            masks = candidates(without[None], (2, 3))
            masks[0, cell] &= ~(1 << int(solution[cell] - 1)) & 63
            assert search(masks, (2, 3)).counts[0] == 1  # minimal puzzles: each clue is needed
            assert count_solutions(without.tolist(), (2, 3), limit=2) == 2


@pytest.mark.parametrize(
    ("name", "num"), [("royle_17_clue", 100), ("magictour_top1465", 60), ("forum_hardest_1905_11plus", 30)]
)
def test_solutions_and_guesses_of_published_puzzles(shared_sudoku, name, num):
    """The lists carry the guesses of an independent solver of the same kind; only rare details differ."""
    with gzip.open(shared_sudoku / f"{name}.csv.gz", "rt") as file:
        rows = list(islice(csv.DictReader(file), num))
    found = solve(np.stack([parse_board(row["puzzle"], (3, 3)) for row in rows]), (3, 3), limit=1)
    assert [board_text(board) for board in found.boards] == [row["solution"] for row in rows]
    guesses = np.array([int(row["guesses"]) for row in rows])
    assert (found.guesses == guesses).mean() >= 0.9
    np.testing.assert_allclose(found.guesses.mean(), guesses.mean(), rtol=0.03)


def test_no_boards_give_no_solutions():
    found = solve(np.zeros((0, 81), dtype=np.uint8), (3, 3))
    assert found.boards.shape == (0, 81) and len(found.counts) == 0
