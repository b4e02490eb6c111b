"""Splits: no training puzzle in disguise in the test set, everything the same again for a seed."""

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data.sudoku import random_symmetries, to_boards
from tenfold.data.sudoku_canonical import canonical_forms, canonical_puzzles, row_keys
from tenfold.data.sudoku_generator import generate
from tenfold.data.sudoku_solver import solve
from tenfold.data.sudoku_splits import SudokuPuzzles, _classes, generated_sudoku_split, sudoku_split

SIZES = {"num_train": 30, "num_test": 15, "num_augmentations": 5, "seed": 0}


@pytest.mark.parametrize(("box", "clues"), [((2, 2), 6), ((2, 3), 12), ((3, 3), None)])
@pytest.mark.parametrize("separate", ["grids", "puzzles"])
def test_no_test_puzzle_is_a_disguised_training_puzzle(box, clues, separate):
    split = generated_sudoku_split(box, clues=clues, separate=separate, **SIZES)
    assert (split.train.num_groups, split.train.num_examples, split.test.num_examples) == (30, 180, 15)
    for kind in ("grids", "puzzles") if separate == "grids" else ("puzzles",):
        assert not classes(split.train_puzzles, box, kind) & classes(split.test_puzzles, box, kind)


def classes(puzzles, box, kind):
    return set(keys_of(puzzles, box, kind))


def keys_of(puzzles, box, kind):
    if kind == "grids":
        forms = canonical_forms(puzzles.solutions, box)
    else:
        forms = canonical_puzzles(puzzles.puzzles, puzzles.solutions, box)
    return [key.tobytes() for key in row_keys(forms)]


def test_a_pool_of_disguised_copies_is_split_by_class(minimal_9x9):
    """Ten puzzles, each in twenty disguises: a split by row would leak."""
    repeated = minimal_9x9.take(np.repeat(np.arange(10), 20))
    symmetries = random_symmetries(np.random.default_rng(0), 200, (3, 3))
    pool = SudokuPuzzles(symmetries.apply(repeated.puzzles), symmetries.apply(repeated.solutions), repeated.ratings)
    split = sudoku_split(pool, (3, 3), num_train=100, num_test=40, num_augmentations=0, seed=0)
    assert not classes(split.train_puzzles, (3, 3), "grids") & classes(split.test_puzzles, (3, 3), "grids")
    with pytest.raises(
        UserError, match=r"num_train = 161 and num_test = 40: the 200 puzzles at hand are of \d+ classes"
    ):
        sudoku_split(pool, (3, 3), num_train=161, num_test=40, num_augmentations=0, seed=0)


def test_datasets_hold_the_puzzles_and_their_solutions():
    split = generated_sudoku_split((2, 3), clues=12, **SIZES)
    assert (split.train.vocab_size, split.train.seq_len, split.train.num_puzzle_identifiers) == (8, 36, 1)
    originals = split.train.group_indices[:-1]
    np.testing.assert_array_equal(to_boards(split.train.inputs[originals]), split.train_puzzles.puzzles)
    np.testing.assert_array_equal(to_boards(split.test.labels), split.test_puzzles.solutions)
    for dataset in (split.train, split.test):
        found = solve(to_boards(dataset.inputs), (2, 3), limit=2)
        assert (found.counts == 1).all()
        np.testing.assert_array_equal(found.boards, to_boards(dataset.labels))
    assert set(split.test_puzzles.ratings) == {"guesses", "rounds"}
    np.testing.assert_array_equal(
        split.test_puzzles.ratings["rounds"], solve(split.test_puzzles.puzzles, (2, 3)).rounds
    )


def test_equal_seeds_give_equal_splits():
    first, again = (generated_sudoku_split((2, 3), clues=12, **SIZES) for _ in range(2))
    other = generated_sudoku_split((2, 3), clues=12, **(SIZES | {"seed": 1}))
    np.testing.assert_array_equal(first.train.inputs, again.train.inputs)
    np.testing.assert_array_equal(first.test.inputs, again.test.inputs)
    assert (first.test.inputs != other.test.inputs).any()


def test_without_a_number_everything_that_training_leaves_is_tested():
    made = generate(200, (2, 3), seed=0, clues=12)
    for separate in ("grids", "puzzles"):
        split = sudoku_split(
            made, (2, 3), num_train=50, num_test=None, num_augmentations=0, seed=0, separate=separate
        )  # fmt: skip
        assert split.train.num_groups == 50
        trained, tested = (classes(part, (2, 3), separate) for part in (split.train_puzzles, split.test_puzzles))
        assert not trained & tested
        assert trained | tested == classes(made, (2, 3), separate)
        left_out = sum(key in trained for key in keys_of(made, (2, 3), separate)) - 50
        assert len(split.test_puzzles) == 150 - left_out


@pytest.mark.parametrize("separate", ["puzzles", "grids"])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("copies", [(2,), (3, 2), (2, 2, 2)])
def test_doubled_puzzles_are_split_whenever_whole_classes_allow_it(separate, seed, copies):
    """With nothing to spare: each class must go to one side as a whole, though the first ones drawn would not fit."""
    made = generate(60, (2, 3), seed=1)
    first = np.unique(_classes(made, (2, 3), separate), return_index=True)[1]
    order = np.concatenate(
        [np.repeat(one, copies[place] if place < len(copies) else 1) for place, one in enumerate(first[:8])]
    )
    puzzles = made.take(order)
    split = sudoku_split(
        puzzles, (2, 3), num_train=len(order) - 2, num_test=2, num_augmentations=0, seed=seed, separate=separate
    )
    assert (len(split.train_puzzles), len(split.test_puzzles)) == (len(order) - 2, 2)
    trained, tested = (set(keys_of(part, (2, 3), separate)) for part in (split.train_puzzles, split.test_puzzles))
    assert not trained & tested


def test_what_is_said_of_too_many_copies_is_true():
    made = generate(1, (2, 3), seed=1)
    with pytest.raises(UserError, match=r"the 5 puzzles at hand are of 1 classes .* no split of that size was found"):
        sudoku_split(made.take(np.zeros(5, dtype=int)), (2, 3), num_train=2, num_test=2, num_augmentations=0, seed=0)


def test_too_few_classes_are_reported():
    with pytest.raises(UserError, match=r"separate = 'grids'.*, but one with \d+ and \d+"):
        sudoku_split(
            generate(10, (2, 2), seed=0), (2, 2), num_train=8, num_test=8, num_augmentations=0, seed=0
        )  # fmt: skip
