"""Training and test sets of Sudoku puzzles that share nothing but the rules.

Puzzles are sorted into classes by canonical form, and a class goes either to training or to test as a whole. With
``separate="grids"`` no test puzzle's solution is a symmetric image of a training puzzle's; with ``"puzzles"``, the
rule of the published split, no test puzzle is an image of a training puzzle, but solutions may be. Small boards have
few grids up to symmetry (2 for 4×4, 49 for 6×6), so there ``"grids"`` holds out whole families. Augmentation comes
after the split and touches the training part alone.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.data.puzzles import PuzzleDataset
from tenfold.data.sudoku import Box, SudokuPuzzles, augment, to_tokens, vocabulary_size
from tenfold.data.sudoku_canonical import canonical_forms, canonical_puzzles, row_keys
from tenfold.data.sudoku_generator import generate

Separation = Literal["grids", "puzzles"]

_MOST_TOP_UPS = 20


@dataclass(frozen=True, eq=False)
class SudokuSplit:
    """Data to train on and data to test on.

    Args:
        train: one group for each training puzzle: the original and its augmentations.
        test: one group for each test puzzle, without augmentation.
        train_puzzles: the originals of ``train``, in group order.
        test_puzzles: the puzzles of ``test`` in order, with their ratings.
    """

    train: PuzzleDataset
    test: PuzzleDataset
    train_puzzles: SudokuPuzzles
    test_puzzles: SudokuPuzzles


def sudoku_split(
    puzzles: SudokuPuzzles,
    box: Box,
    *,
    num_train: int,
    num_test: int | None,
    num_augmentations: int,
    seed: int,
    separate: Separation = "grids",
) -> SudokuSplit:
    """Draw a training and a test set from given puzzles.

    Args:
        puzzles: read or generated puzzles.
        box: box shape.
        num_train: training puzzles, before augmentation.
        num_test: test puzzles; ``None`` for all that no training puzzle's class holds.
        num_augmentations: symmetric variants of each training puzzle beside the original.
        seed: key of the choice and of the augmentation.
        separate: what a training and a test puzzle may not share up to symmetry.

    Raises:
        UserError: when the puzzles do not suffice.

    Example:
        >>> made = generate(30, (2, 3), seed=0, clues=12)
        >>> split = sudoku_split(made, (2, 3), num_train=8, num_test=4, num_augmentations=2, seed=0)
        >>> split.train.num_groups, split.train.num_examples, split.test.num_examples
        (8, 24, 4)
    """
    train, test = _choose(puzzles, box, num_train, num_test, seed, separate)
    if len(train) < num_train or len(test) < (1 if num_test is None else num_test):
        num_classes = len(np.unique(_classes(puzzles, box, separate)))
        raise UserError(
            f"num_train = {num_train} and num_test = {num_test}: the {len(puzzles)} puzzles at hand are of "
            f"{num_classes} classes that must not be split (separate = {separate!r}: equal up to symmetry), and no "
            f"split of that size was found, but one with {len(train)} and {len(test)}."
        )
    return _build(puzzles.take(train), puzzles.take(test), box, num_augmentations, seed)


def generated_sudoku_split(
    box: Box,
    *,
    num_train: int,
    num_test: int,
    num_augmentations: int,
    seed: int,
    clues: int | None = None,
    min_guesses: int = 0,
    separate: Separation = "grids",
) -> SudokuSplit:
    """Generate as many puzzles as a split needs, and split them.

    Args:
        box: box shape.
        num_train: training puzzles, before augmentation.
        num_test: test puzzles.
        num_augmentations: symmetric variants of each training puzzle beside the original.
        seed: key of puzzles, choice and augmentation.
        clues: givens of each puzzle; ``None`` for minimal puzzles.
        min_guesses: the least difficulty, see ``sudoku_generator.generate``.
        separate: what a training and a test puzzle may not share up to symmetry.

    Raises:
        UserError: when such puzzles are too rare, or have too few classes.
    """
    pool = generate(num_train + num_test, box, seed=seed, clues=clues, min_guesses=min_guesses)
    for attempt in range(_MOST_TOP_UPS):
        train, test = _choose(pool, box, num_train, num_test, seed, separate)
        missing = num_train - len(train) + num_test - len(test)
        if missing == 0:
            break
        more_seed = key_to_seed(seed, "top-up", attempt)
        more = generate(2 * missing, box, seed=more_seed, clues=clues, min_guesses=min_guesses)
        pool = SudokuPuzzles.join([pool, more])
    return sudoku_split(
        pool,
        box,
        num_train=num_train,
        num_test=num_test,
        num_augmentations=num_augmentations,
        seed=seed,
        separate=separate,
    )


def _choose(
    puzzles: SudokuPuzzles, box: Box, num_train: int, num_test: int | None, seed: int, separate: Separation
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the test puzzles: classes in random order fill the test set first.

    Without a number of test puzzles the training set is filled first.
    """
    classes = _classes(puzzles, box, separate)
    generator = numpy_generator(seed, "split")
    rank = generator.permutation(classes.max() + 1)[classes]
    order = np.lexsort((generator.random(len(classes)), rank))
    if num_test is None:
        train = order[:num_train]
        return generator.permutation(train), generator.permutation(order[~np.isin(rank[order], rank[train])])
    test = order[:num_test]
    free = order[~np.isin(rank[order], rank[test])]
    if len(free) < num_train:  # a class went to the test in part, and what is left of it is lost
        whole = _whole_classes(rank[order], num_test, len(order) - num_train)
        test, free = order[whole][:num_test], order[~whole]
    return generator.permutation(free)[:num_train], generator.permutation(test)


def _classes(puzzles: SudokuPuzzles, box: Box, separate: Separation) -> np.ndarray:
    """[N] int, equal for puzzles that a split must not separate."""
    if separate == "grids":
        forms = canonical_forms(puzzles.solutions, box)
    else:
        forms = canonical_puzzles(puzzles.puzzles, puzzles.solutions, box)
    return np.unique(row_keys(forms), return_inverse=True)[1]


def _whole_classes(classes: np.ndarray, least: int, most: int) -> np.ndarray:
    """[N] bool: classes that together hold at least ``least`` and at most ``most`` items, as far as one finds them.

    Tried in the given order, then the large ones first, which the small ones fill up.

    Args:
        classes: [N] int, the class of each item.
        least: items wanted.
        most: items that may be taken.
    """
    sizes = np.bincount(classes)
    in_order = classes[np.sort(np.unique(classes, return_index=True)[1])]
    taken: list[int] = []
    for attempt in (in_order, in_order[np.argsort(-sizes[in_order], kind="stable")]):
        taken, held = [], 0
        for one in attempt:
            if held < least and held + sizes[one] <= most:
                taken.append(int(one))
                held += sizes[one]
        if held >= least:
            break
    return np.isin(classes, taken)


def _build(train: SudokuPuzzles, test: SudokuPuzzles, box: Box, num_augmentations: int, seed: int) -> SudokuSplit:
    generator = numpy_generator(seed, "augmentation")
    inputs, labels = augment(train.puzzles, train.solutions, num_augmentations, generator, box)
    return SudokuSplit(
        train=_dataset(inputs, labels, box),
        test=_dataset(test.puzzles[:, None], test.solutions[:, None], box),
        train_puzzles=train,
        test_puzzles=test,
    )


def _dataset(puzzles: np.ndarray, solutions: np.ndarray, box: Box) -> PuzzleDataset:
    """A dataset from [groups, variants, cells] boards; padding, which no Sudoku label holds, is the ignored label."""
    return PuzzleDataset.from_groups(
        to_tokens(puzzles), to_tokens(solutions), vocab_size=vocabulary_size(box), ignore_label_id=0
    )
