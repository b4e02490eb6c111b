"""Sudokus of files, checked: plain or gzipped, in any of the forms of :mod:`tenfold.data.sudoku_text`.

Three kinds are told apart by their columns:

- puzzle, solution and perhaps guesses: solved puzzles with the number of guesses a solver needed;
- ``source,question,answer,rating``: Sudoku-Extreme; the rating counts the backtracks of another solver;
- puzzles alone: the solution is computed and must be the only one.

The board size follows from the length of the first puzzle. Solutions in a file are checked against the rules and the
givens; that they are the only ones is taken from the file.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tenfold.core.errors import UserError
from tenfold.data.sudoku import (
    EMPTY_SYMBOLS,
    Box,
    SudokuPuzzles,
    board_size,
    is_valid_solution,
    parse_board,
    units,
)
from tenfold.data.sudoku_solver import solve
from tenfold.data.sudoku_text import BOX_OF_CELLS as BOX_OF_CELLS
from tenfold.data.sudoku_text import read_table

MOST_GUESSES = 20_000
"""Of one puzzle, while its solution is searched: a minute at most. The hardest known 9x9 puzzles need some 3,000."""
MOST_DIGITS = 18
"""Of a rating, which is kept in 64 bits."""


def read_sudoku_csv(path: Path, box: Box | None = None) -> SudokuPuzzles:
    """Read all puzzles of a file.

    Args:
        path: a file of one of the forms of :mod:`tenfold.data.sudoku_text`, gzipped where its name ends in ``.gz``.
        box: box shape; ``None`` takes it from the length of the first puzzle.

    Returns:
        Puzzles, solutions, and the file's rating as ``guesses`` or ``rating``; computed solutions come with
        ``guesses`` and ``rounds``.

    Raises:
        UserError: for a file, row or value that cannot be used; rows count from 1, without the header.
    """
    path = Path(path)
    table = read_table(path)
    if box is None:
        box = _guess_box(table["puzzle"][0], path)
    puzzles = _parse_column(table["puzzle"], box, f"{path}: puzzle")
    _check_conflicts(puzzles, box, f"{path}: puzzle")
    if "solution" not in table:
        return _solve_all(puzzles, box, path)
    solutions = _parse_column(table["solution"], box, f"{path}: solution")
    _check_solutions(puzzles, solutions, box, f"{path}: solution")
    rating = next((name for name in ("guesses", "rating") if name in table), None)
    ratings = {} if rating is None else {rating: _parse_numbers(table[rating], f"{path}: {rating}")}
    return SudokuPuzzles(puzzles, solutions, ratings)


def _guess_box(puzzle: str, path: Path) -> Box:
    if len(puzzle) not in BOX_OF_CELLS:
        allowed = ", ".join(str(cells) for cells in BOX_OF_CELLS)
        raise UserError(f"{path}: puzzle of row 1 has {len(puzzle)} cells, but boards have {allowed}.")
    return BOX_OF_CELLS[len(puzzle)]


def _parse_column(texts: Sequence[str], box: Box, where: str) -> np.ndarray:
    """[N, cells] uint8 from one text for each board, all at once; a wrong one is reported by the slow parser."""
    n = board_size(box)
    value = np.full(256, 255, dtype=np.uint8)
    value[[ord(symbol) for symbol in EMPTY_SYMBOLS]] = 0
    value[[ord(str(digit)) for digit in range(1, n + 1)]] = np.arange(1, n + 1)
    for number, text in enumerate(texts, start=1):
        if len(text) != n * n or not text.isascii():
            parse_board(text, box, f"{where} of row {number}")
            raise UserError(f"{where} of row {number} is {text!r}, but it must be {n * n} symbols without blanks.")
    boards = value[np.frombuffer("".join(texts).encode(), dtype=np.uint8)].reshape(len(texts), n * n)
    wrong = (boards == 255).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        parse_board(texts[row], box, f"{where} of row {row + 1}")
    return boards


def _check_conflicts(boards: np.ndarray, box: Box, where: str) -> None:
    for begin in range(0, len(boards), 65536):
        in_units = np.sort(boards[begin : begin + 65536][:, units(box)], axis=2)
        twice = (in_units[:, :, 1:] == in_units[:, :, :-1]) & (in_units[:, :, 1:] > 0)
        conflict = twice.any(axis=(1, 2))
        if conflict.any():
            row = begin + int(conflict.argmax())
            text = "".join(str(digit) for digit in boards[row])
            parse_board(text, box, f"{where} of row {row + 1}")


def _check_solutions(puzzles: np.ndarray, solutions: np.ndarray, box: Box, where: str) -> None:
    for begin in range(0, len(puzzles), 65536):
        some = slice(begin, begin + 65536)
        right = is_valid_solution(solutions[some], box)
        right &= ((puzzles[some] == 0) | (puzzles[some] == solutions[some])).all(axis=1)
        if not right.all():
            row = begin + int(right.argmin()) + 1
            raise UserError(
                f"{where} of row {row} is no solution of its puzzle; it must keep the givens and the rules."
            )


def _parse_numbers(texts: Sequence[str], where: str) -> np.ndarray:
    for number, text in enumerate(texts, start=1):
        if not text.isdecimal() or len(text) > MOST_DIGITS:
            text = text if len(text) <= 40 else f"{text[:40]}…"
            wanted = f"a whole number from 0 up, of at most {MOST_DIGITS} digits"
            raise UserError(f"{where} of row {number} is {text!r}, but it must be {wanted}.")
    return np.array([int(text) for text in texts], dtype=np.int64)


def _solve_all(puzzles: np.ndarray, box: Box, path: Path) -> SudokuPuzzles:
    found = solve(puzzles, box, limit=2, most_guesses=MOST_GUESSES)
    if found.given_up.any():
        row = int(found.given_up.argmax()) + 1
        raise UserError(
            f"{path}: {MOST_GUESSES:,} guesses did not show that puzzle of row {row} has exactly one solution; leave "
            "it out, or give its solution in a column of its own."
        )
    if (found.counts != 1).any():
        row = int((found.counts != 1).argmax())
        problem = "no solution" if found.counts[row] == 0 else "more than one solution"
        raise UserError(f"{path}: puzzle of row {row + 1} has {problem}, but a puzzle must have exactly one.")
    return SudokuPuzzles(puzzles, found.boards, {"guesses": found.guesses, "rounds": found.rounds})
