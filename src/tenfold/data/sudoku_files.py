"""Readers for Sudoku puzzles in CSV files, plain or gzipped.

Three kinds are told apart by their header:

- ``puzzle,solution,clues,guesses``: solved puzzles with the number of guesses a solver needed;
- ``source,question,answer,rating``: Sudoku-Extreme; the rating counts the backtracks of another solver;
- a lone ``puzzle`` column, with or without header: the solution is computed and must be the only one.

The board size follows from the length of the first puzzle. Solutions in a file are checked against the rules and the
givens; that they are the only ones is taken from the file.
"""

import csv
import gzip
import zlib
from pathlib import Path
from typing import TextIO

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

_COLUMNS = {"puzzle": ("puzzle", "solution", "guesses"), "question": ("question", "answer", "rating")}

BOX_OF_CELLS: dict[int, Box] = {16: (2, 2), 36: (2, 3), 64: (2, 4), 81: (3, 3)}
"""The box shape that a board's number of cells stands for, unless another is asked for."""


def read_sudoku_csv(path: Path, box: Box | None = None) -> SudokuPuzzles:
    """Read all puzzles of a file.

    Args:
        path: a ``.csv`` or ``.csv.gz`` file, see the head of this module for its columns.
        box: box shape; ``None`` takes it from the length of the first puzzle.

    Returns:
        Puzzles, solutions, and the file's rating as ``guesses`` or ``rating``; computed solutions come with
        ``guesses`` and ``rounds``.

    Raises:
        UserError: for a file, row or value that cannot be used; rows count from 1, without the header.
    """
    path = Path(path)
    header, rows = _read_rows(path)
    if box is None:
        box = _guess_box(rows, header, path)
    puzzle_name, solution_name, rating_name = _COLUMNS["question" if "question" in header else "puzzle"]
    puzzles = _parse_column(_column(rows, header, puzzle_name, path), box, f"{path}: {puzzle_name}")
    _check_conflicts(puzzles, box, f"{path}: {puzzle_name}")
    if solution_name not in header:
        return _solve_all(puzzles, box, path)
    solutions = _parse_column(_column(rows, header, solution_name, path), box, f"{path}: {solution_name}")
    _check_solutions(puzzles, solutions, box, f"{path}: {solution_name}")
    ratings = {}
    if rating_name in header:
        ratings[rating_name] = _parse_numbers(_column(rows, header, rating_name, path), f"{path}: {rating_name}")
    return SudokuPuzzles(puzzles, solutions, ratings)


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a CSV file; a puzzle file is a .csv or .csv.gz.")
    if not path.is_file():
        raise UserError(f"{path} does not exist; a puzzle file is a .csv or .csv.gz.")
    try:
        with _open_text(path) as file:
            rows = [row for row in csv.reader(file) if row]
    except UnicodeDecodeError:
        raise UserError(f"{path}: line {_first_line_not_utf8(path)} is not UTF-8; allowed is UTF-8 text.") from None
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise UserError(f"{path} is not a whole gzip file, which its name says it is.") from None
    except csv.Error as error:
        raise UserError(f"{path} is not CSV ({error}); a row is a puzzle, or a puzzle with its solution.") from None
    header = rows[0] if rows and any(name in rows[0] for name in _COLUMNS) else ["puzzle"]
    body = rows[1:] if rows and header is rows[0] else rows
    if not body:
        raise UserError(f"{path} holds no puzzle; a row is a puzzle, or a puzzle with its solution.")
    return header, body


def _open_text(path: Path) -> TextIO:
    """The file as UTF-8 text, with or without the byte-order mark that spreadsheets write."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8-sig")
    return open(path, newline="", encoding="utf-8-sig")


def _first_line_not_utf8(path: Path) -> int:
    """The number, from 1, of the first line that cannot be decoded."""

    def is_utf8(line: bytes) -> bool:
        try:
            line.decode()
        except UnicodeDecodeError:
            return False
        return True

    with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
        return next(number for number, line in enumerate(file, start=1) if not is_utf8(line))


def _column(rows: list[list[str]], header: list[str], name: str, path: Path) -> list[str]:
    index = header.index(name)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise UserError(f"{path}: row {number} has {len(row)} columns, but the columns are {','.join(header)}.")
    return [row[index] for row in rows]


def _guess_box(rows: list[list[str]], header: list[str], path: Path) -> Box:
    name = "question" if "question" in header else "puzzle"
    length = len(_column(rows[:1], header, name, path)[0])
    if length not in BOX_OF_CELLS:
        allowed = ", ".join(str(cells) for cells in BOX_OF_CELLS)
        raise UserError(f"{path}: {name} of row 1 has {length} cells, but boards have {allowed}.")
    return BOX_OF_CELLS[length]


def _parse_column(texts: list[str], box: Box, where: str) -> np.ndarray:
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


def _parse_numbers(texts: list[str], where: str) -> np.ndarray:
    for number, text in enumerate(texts, start=1):
        if not text.strip().isdecimal():
            raise UserError(f"{where} of row {number} is {text!r}, but it must be a whole number from 0 up.")
    return np.array([int(text) for text in texts], dtype=np.int64)


def _solve_all(puzzles: np.ndarray, box: Box, path: Path) -> SudokuPuzzles:
    found = solve(puzzles, box, limit=2)
    if (found.counts != 1).any():
        row = int((found.counts != 1).argmax())
        problem = "no solution" if found.counts[row] == 0 else "more than one solution"
        raise UserError(f"{path}: puzzle of row {row + 1} has {problem}, but a puzzle must have exactly one.")
    return SudokuPuzzles(puzzles, found.boards, {"guesses": found.guesses, "rounds": found.rounds})
