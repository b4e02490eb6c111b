"""Makes ``backtracking`` importable, and says where the hard Sudoku lists are, if they are here at all."""

import os
import sys
from pathlib import Path

import pytest

from tenfold.data.sudoku import SudokuPuzzles
from tenfold.data.sudoku_generator import generate

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def shared_sudoku() -> Path:
    """The folder of hard Sudoku lists, from TENFOLD_SHARED_DATA or beside the repository."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("TENFOLD_SHARED_DATA", default)) / "sudoku-hard"
    if not folder.is_dir():
        pytest.skip("the hard Sudoku lists are not on this machine; set TENFOLD_SHARED_DATA to their parent folder")
    return folder


@pytest.fixture(scope="session")
def minimal_9x9() -> SudokuPuzzles:
    """Sixty minimal 9x9 puzzles, made once."""
    return generate(60, (3, 3), seed=0)
