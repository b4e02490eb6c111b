"""The ways in which people write Sudokus down, brought to one: a table with a puzzle, and perhaps its solution, a row.

Read are

- tables with a header, whose columns are told by their names (``quizzes,solutions``, ``Puzzle;Solution``, ``question``
  and ``answer``, …), with commas, semicolons or tabs between them; columns with other names are left out;
- tables without a header: the first column that holds boards is the puzzle, a second one its solution;
- a board a line, as in ``.sdm`` files;
- a board over as many lines as it has rows, as in ``.sdk`` and ``.ss`` files: with blanks, bars or commas between the
  cells, lines of dashes between the boxes, and lines of title between the boards.

Lines that begin with ``#``, blank lines and blanks around cells are skipped. An empty cell is a dot or a 0; a board
that holds neither may use one of ``_ * ? x X -`` in their place.
"""

import csv
import gzip
import itertools
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from tenfold.core.errors import UserError
from tenfold.data.sudoku import EMPTY_SYMBOLS, Box

BOX_OF_CELLS: dict[int, Box] = {16: (2, 2), 36: (2, 3), 64: (2, 4), 81: (3, 3)}
"""The box shape that a board's number of cells stands for, unless another is asked for."""
SIDES = tuple(int(cells**0.5) for cells in BOX_OF_CELLS)
NAMES = {
    "puzzle": ("puzzle", "puzzles", "quiz", "quizzes", "question", "questions", "sudoku", "problem", "unsolved"),
    "solution": ("solution", "solutions", "answer", "answers", "solved"),
    "guesses": ("guesses",),
    "rating": ("rating", "ratings"),
}
"""What columns mean, and the names that they go by, in whatever case."""
OTHER_EMPTY = "_*?xX-"
DELIMITERS = (",", ";", "\t")
_BOARD = re.compile(rf"[0-9.{re.escape(OTHER_EMPTY)}]+")
_DECORATION = re.compile(r"[\s|,!]+")
_BORDER = re.compile(r"[-+=*|:\s]+")

Table = Mapping[str, Sequence[str]]
"""Columns by their meaning, see :data:`NAMES`; all have a text for each row."""


def read_table(path: Path) -> Table:
    """The boards of a file, and what the file says about them.

    Args:
        path: any of the forms above, as UTF-8, plain or (``.gz``) gzipped.

    Raises:
        UserError: the file cannot be read, holds no puzzle, or has a header that names none.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a CSV file; a puzzle file is a .csv or .csv.gz.")
    if not path.is_file():
        raise UserError(f"{path} does not exist; a puzzle file is a .csv or .csv.gz.")
    try:
        with _open_text(path) as file:
            table = _table(_data_lines(file), path)
    except UnicodeDecodeError:
        raise UserError(f"{path}: line {_first_line_not_utf8(path)} is not UTF-8; allowed is UTF-8 text.") from None
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise UserError(f"{path} is not a whole gzip file, which its name says it is.") from None
    except csv.Error as error:
        raise UserError(f"{path} is not CSV ({error}); a row is a puzzle, or a puzzle with its solution.") from None
    if not table["puzzle"]:
        raise UserError(f"{path} holds no puzzle; a row is a puzzle, or a puzzle with its solution.")
    return table


def _table(lines: Iterator[str], path: Path) -> Table:
    first = next(lines, None)
    if first is None:
        return {"puzzle": []}
    lines = itertools.chain([first], lines)
    delimiter = next((mark for mark in DELIMITERS if mark in first), None)
    if delimiter is not None:
        fields = [field.strip() for field in first.split(delimiter)]
        if len(fields) not in SIDES or any(len(field) > 1 for field in fields):
            return _columns(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), path)
    elif len(first.split()) == 2 and all(map(_is_board, first.split())):
        return _columns((line.split() for line in lines), path)
    return {"puzzle": _boards([line.strip() for line in lines], path)}


def _columns(rows: Iterator[list[str]], path: Path) -> Table:
    """The columns that mean something, by the header or, without one, by what the first row holds."""
    first = [field.strip() for field in next(rows)]
    has_header = not any(map(_is_board, first))
    meaning = _meaning_of(first, path) if has_header else _meaning_without_header(first)
    names = first if has_header else [f"column {place}" for place in range(1, len(first) + 1)]
    columns: dict[str, list[str]] = {name: [] for name in meaning}
    for number, row in enumerate(rows if has_header else itertools.chain([first], rows), start=1):
        if len(row) < len(names) or any(field.strip() for field in row[len(names) :]):
            raise UserError(f"{path}: row {number} has {len(row)} columns, but the columns are {','.join(names)}.")
        for name, place in meaning.items():
            columns[name].append(row[place].strip())
    for name in ("puzzle", "solution"):
        if name in columns:
            columns[name] = [_with_usual_empty("".join(text.split())) for text in columns[name]]
    return columns


def _meaning_of(header: Sequence[str], path: Path) -> dict[str, int]:
    """Meaning to place of a column."""
    lowered = [name.lower() for name in header]
    meaning = {
        what: next(place for place, name in enumerate(lowered) if name in names)
        for what, names in NAMES.items()
        if any(name in names for name in lowered)
    }
    if "puzzle" not in meaning:
        raise UserError(
            f"{path}: no column is called puzzle; its header is {','.join(header)}. Allowed names of the puzzle: "
            f"{', '.join(NAMES['puzzle'])}; of the solution: {', '.join(NAMES['solution'])}."
        )
    return meaning


def _meaning_without_header(row: Sequence[str]) -> dict[str, int]:
    boards = [place for place, field in enumerate(row) if _is_board(field)]
    return dict(zip(("puzzle", "solution"), boards, strict=False))


def _is_board(text: str) -> bool:
    return len(text) in BOX_OF_CELLS and _BOARD.fullmatch(text) is not None


def _boards(lines: list[str], path: Path) -> list[str]:
    """Boards from lines that hold a board each, or a row of one each."""
    cells = [_DECORATION.sub("", line) for line in lines]
    shown = [text for line, text in zip(lines, cells, strict=True) if not _is_title(line) and not _is_border(line)]
    shown = shown or [text for line, text in zip(lines, cells, strict=True) if not _is_title(line)]
    if shown and len(shown[0]) in SIDES:
        return _from_rows(shown, len(shown[0]), path)
    return [_with_usual_empty(text) for line, text in zip(lines, cells, strict=True) if not _is_title(line)]


def _from_rows(rows: list[str], side: int, path: Path) -> list[str]:
    for number, row in enumerate(rows):
        if len(row) != side:
            board, line = divmod(number, side)
            raise UserError(f"{path}: puzzle {board + 1} has {len(row)} cells in its row {line + 1}, but {side} above.")
    if len(rows) % side:
        raise UserError(f"{path}: the last puzzle has {len(rows) % side} rows, but a {side}x{side} board has {side}.")
    return [_with_usual_empty("".join(rows[start : start + side])) for start in range(0, len(rows), side)]


def _is_title(line: str) -> bool:
    """Words, such as ``Grid 01``, ``[Puzzle]`` or a lone header: no line of a board has two letters in a row."""
    return line.startswith("[") or re.search(r"[A-WYZa-wyz]{2}", line) is not None


def _is_border(line: str) -> bool:
    return _BORDER.fullmatch(line) is not None


def _with_usual_empty(board: str) -> str:
    """The board with dots where it marks empty cells by another symbol, the only one of its kind in it."""
    if any(symbol in EMPTY_SYMBOLS for symbol in board):
        return board
    others = {symbol for symbol in board if symbol in OTHER_EMPTY}
    return board.replace(others.pop(), ".") if len(others) == 1 else board


def _data_lines(file: TextIO) -> Iterator[str]:
    """The lines that hold something, without comments."""
    for line in file:
        if (stripped := line.strip()) and not stripped.startswith("#"):
            yield line.rstrip("\r\n")


def _open_text(path: Path) -> TextIO:
    """The file as UTF-8 text, with or without the byte-order mark that spreadsheets write."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return open(path, encoding="utf-8-sig")


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
