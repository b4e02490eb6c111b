"""Canonical forms: the same for symmetric grids, different for others, as many as mathematics counts."""

import numpy as np
import pytest

from tenfold.data.sudoku import Symmetries, board_size, is_valid_solution, random_symmetries
from tenfold.data.sudoku_canonical import canonical_forms, canonical_puzzles, row_keys
from tenfold.data.sudoku_generator import generate, random_solutions

BOXES = [(2, 2), (2, 3), (3, 2), (2, 4), (4, 2), (3, 3)]


@pytest.mark.parametrize("box", BOXES)
def test_forms_do_not_change_under_symmetries(box):
    generator = np.random.default_rng(0)
    solutions = random_solutions(100, box, generator)
    forms = canonical_forms(solutions, box)
    assert is_valid_solution(forms, box).all()
    for _ in range(5):
        images = random_symmetries(generator, len(solutions), box).apply(solutions)
        np.testing.assert_array_equal(canonical_forms(images, box), forms)
    np.testing.assert_array_equal(canonical_forms(forms, box), forms)


@pytest.mark.parametrize(("box", "classes"), [((2, 2), 2), ((2, 3), 49), ((3, 2), 49)])
def test_numbers_of_essentially_different_grids(box, classes):
    """OEIS A109741: 2 for 4x4 and 49 for 6x6."""
    solutions = random_solutions(12_000, box, np.random.default_rng(0))
    assert len(np.unique(row_keys(canonical_forms(solutions, box)))) == classes


def test_a_form_is_a_symmetric_image_of_its_grid():
    """Every image of 4x4 grids is listed; the form is among them, so inequivalent grids cannot share one."""
    generator = np.random.default_rng(1)
    grids = random_solutions(20, (2, 2), generator)
    symmetries = random_symmetries(generator, 40_000, (2, 2))
    for grid, form in zip(grids, canonical_forms(grids, (2, 2)), strict=True):
        images = symmetries.apply(grid[None])
        assert (images == form).all(axis=1).any()


def test_exchanging_two_digits_in_a_rectangle_gives_another_class():
    """The smallest change of a 9x9 grid that keeps it valid nearly always leaves the class."""
    solutions = random_solutions(60, (3, 3), np.random.default_rng(0))
    changed = solutions.copy()
    for board in changed:
        _exchange_in_a_rectangle(board.reshape(9, 9))
    touched = (changed != solutions).any(axis=1)
    assert touched.sum() > 20
    assert is_valid_solution(changed, (3, 3)).all()
    same = (canonical_forms(changed, (3, 3)) == canonical_forms(solutions, (3, 3))).all(axis=1)
    assert not same[touched].any()


def _exchange_in_a_rectangle(grid: np.ndarray) -> None:
    """Swap two digits that stand crosswise in two rows of a band and two columns of different stacks."""
    for top in range(9):
        for bottom in range(top + 1, 9):
            if top // 3 != bottom // 3:
                continue
            for left in range(9):
                right = int(np.flatnonzero(grid[top] == grid[bottom, left])[0])
                if left // 3 != right // 3 and grid[bottom, right] == grid[top, left]:
                    grid[[top, bottom], left] = grid[[bottom, top], left]
                    grid[[top, bottom], right] = grid[[bottom, top], right]
                    return


@pytest.mark.parametrize("box", BOXES)
def test_puzzles_are_recognised_through_symmetries_and_told_apart_from_near_copies(box):
    generator = np.random.default_rng(2)
    made = generate(25, box, seed=0)
    forms = canonical_puzzles(made.puzzles, made.solutions, box)
    symmetries = random_symmetries(generator, 25, box)
    images = canonical_puzzles(symmetries.apply(made.puzzles), symmetries.apply(made.solutions), box)
    np.testing.assert_array_equal(images, forms)
    fewer = made.puzzles.copy()
    for board in fewer:
        board[np.flatnonzero(board)[0]] = 0
    assert (canonical_puzzles(fewer, made.solutions, box) != forms).any(axis=1).all()


def test_givens_decide_among_the_automorphisms_of_a_grid():
    """A 4x4 grid has symmetries that map it to itself; a puzzle and its image under one of them are the same puzzle."""
    grid = np.array([1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1], dtype=np.uint8)
    drawn = random_symmetries(np.random.default_rng(0), 60_000, (2, 2))
    keeps = (drawn.apply(grid[None]) == grid).all(axis=1)
    automorphisms = Symmetries(drawn.cells[keeps], drawn.digits[keeps])
    assert keeps.sum() > 10
    puzzle = np.where(np.isin(np.arange(16), [0, 3, 5, 9, 14]), grid, 0).astype(np.uint8)
    images = automorphisms.apply(puzzle[None])
    assert len(np.unique(images, axis=0)) > 1
    forms = canonical_puzzles(images, np.broadcast_to(grid, images.shape), (2, 2))
    assert len(np.unique(forms, axis=0)) == 1


def test_random_9x9_grids_are_all_different():
    solutions = random_solutions(300, (3, 3), np.random.default_rng(3))
    assert len(np.unique(row_keys(canonical_forms(solutions, (3, 3))))) == 300
    assert canonical_forms(solutions[:0], (3, 3)).shape == (0, board_size((3, 3)) ** 2)
