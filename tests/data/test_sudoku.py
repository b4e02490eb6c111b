"""Boards and their symmetries: text in and out, and what augmentation must keep."""

import math

import numpy as np
import pytest
from backtracking import count_solutions

from tenfold.core.errors import UserError
from tenfold.data.sudoku import (
    augment,
    board_size,
    board_text,
    check_givens,
    format_board,
    identity_symmetry,
    is_valid_solution,
    parse_board,
    random_symmetries,
    to_boards,
    to_tokens,
    units,
    vocabulary_size,
)
from tenfold.data.sudoku_generator import generate, random_solutions
from tenfold.data.sudoku_solver import solve

WIKIPEDIA = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
WIKIPEDIA_SOLUTION = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
BOXES = [(2, 2), (2, 3), (3, 2), (2, 4), (3, 3)]


def test_text_round_trip():
    board = parse_board(WIKIPEDIA, (3, 3))
    assert board_text(board) == WIKIPEDIA
    assert board_text(parse_board(WIKIPEDIA.replace(".", "0"), (3, 3))) == WIKIPEDIA
    drawn = format_board(board, (3, 3))
    assert drawn.splitlines()[0] == "5 3 . | . 7 . | . . ."
    assert len(drawn.splitlines()) == 11
    symbols = "".join(symbol for symbol in drawn if symbol in ".123456789")
    assert symbols == WIKIPEDIA


def test_tokens_are_digits_plus_one_and_zero_is_padding():
    board = parse_board(WIKIPEDIA, (3, 3))
    tokens = to_tokens(board)
    assert (tokens.min(), tokens.max()) == (1, 10)
    assert tokens[0] == 6  # the digit 5
    np.testing.assert_array_equal(to_boards(tokens), board)
    assert [vocabulary_size(box) for box in ((3, 3), (2, 3), (2, 2))] == [11, 8, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1" * 15, r"puzzle has 15 cells, but a 4x4 board has 16"),
        ("5..............." , r"puzzle has '5' in row 1, column 1, but only digits 1-4"),
        ("....x...........", r"'x' in row 2, column 1"),
        ("1..1............", r"digit 1 twice in row 1"),
        ("2...2...........", r"digit 2 twice in column 1"),
        ("3....3..........", r"digit 3 twice in box 1"),
        ("..........3....3", r"digit 3 twice in box 4"),
    ],
)  # fmt: skip
def test_wrong_boards_are_refused_in_one_sentence(text, message):
    with pytest.raises(UserError, match=message):
        parse_board(text, (2, 2))


def test_box_shapes_are_limited():
    for box in ((1, 4), (4, 4), (3, 1)):
        with pytest.raises(UserError, match=rf"box is {box[0]}x{box[1]}"):
            board_size(box)


@pytest.mark.parametrize("box", BOXES)
def test_units_cover_each_cell_three_times_and_boxes_have_their_shape(box):
    n = box[0] * box[1]
    assert (np.bincount(units(box).ravel()) == 3).all()
    for cells in units(box)[2 * n :]:
        assert (len(set(cells // n)), len(set(cells % n))) == box


def test_is_valid_solution_knows_one_wrong_cell():
    solution = parse_board(WIKIPEDIA_SOLUTION, (3, 3))
    wrong = solution.copy()
    wrong[40] = wrong[41]
    np.testing.assert_array_equal(is_valid_solution(np.stack([solution, wrong]), (3, 3)), [True, False])


@pytest.mark.spec("hrm", "24")
@pytest.mark.parametrize("box", BOXES)
def test_augmentation_keeps_validity_uniqueness_and_the_solution(box):
    made = generate(6, box, seed=0)
    puzzles, solutions = augment(made.puzzles, made.solutions, 20, np.random.default_rng(0), box)
    np.testing.assert_array_equal(puzzles[:, 0], made.puzzles)
    np.testing.assert_array_equal(solutions[:, 0], made.solutions)
    assert is_valid_solution(solutions, box).all()
    flat, flat_solutions = puzzles.reshape(-1, puzzles.shape[-1]), solutions.reshape(-1, puzzles.shape[-1])
    found = solve(flat, box, limit=2)
    assert (found.counts == 1).all()
    np.testing.assert_array_equal(found.boards, flat_solutions)
    assert count_solutions(flat[-1].tolist(), box, limit=2) == 1
    for board in flat:
        check_givens(board, box)
    np.testing.assert_array_equal(
        (puzzles > 0).sum(axis=2), np.repeat((made.puzzles > 0).sum(axis=1), 21).reshape(6, 21)
    )


@pytest.mark.spec("hrm", "24")
@pytest.mark.parametrize("box", BOXES)
def test_the_identity_draw_returns_the_input(box):
    generator = np.random.default_rng(0)
    solutions = random_solutions(3, box, generator)
    puzzles = np.where(generator.random(solutions.shape) < 0.5, solutions, 0).astype(np.uint8)
    np.testing.assert_array_equal(identity_symmetry(box).apply(puzzles[:1]), puzzles[:1])
    same_puzzles, same_solutions = augment(puzzles, solutions, 0, generator, box)
    np.testing.assert_array_equal(same_puzzles[:, 0], puzzles)
    np.testing.assert_array_equal(same_solutions[:, 0], solutions)


@pytest.mark.parametrize(("box", "order"), [((2, 2), 2 * 8 * 8 * 24), ((2, 3), 6 * 2**3 * 2 * 6**2 * 720)])
def test_draws_reach_the_whole_group_and_nothing_else(box, order):
    """Distinct draws approach what uniform draws from a group of the known order give."""
    count = 20_000
    drawn = random_symmetries(np.random.default_rng(0), count, box)
    distinct = len(np.unique(np.concatenate([drawn.cells, drawn.digits], axis=1), axis=0))
    expected = order * -math.expm1(-count / order)
    assert abs(distinct - expected) < 5 * math.sqrt(expected)
    assert distinct <= order


def test_rows_stay_in_their_bands_and_transposition_needs_square_boxes():
    drawn = random_symmetries(np.random.default_rng(0), 500, (2, 3)).cells.reshape(500, 6, 6).astype(int)
    assert (drawn // 6 == drawn[:, :, :1] // 6).all()  # each row of the image comes from one row
    bands = drawn[:, :, 0] // 6 // 2
    assert (bands[:, 0::2] == bands[:, 1::2]).all()
    square = random_symmetries(np.random.default_rng(0), 500, (3, 3)).cells.reshape(500, 9, 9).astype(int)
    transposed = (square // 9 != square[:, :, :1] // 9).any(axis=(1, 2))
    assert 200 < transposed.sum() < 300
