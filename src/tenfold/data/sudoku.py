"""Sudoku boards with boxes of any shape: text, tokens, and the symmetries that keep a puzzle a puzzle.

A board is a row of digits, [n·n] uint8, row by row, 0 for an empty cell; n = box height · box width, from 4 to 9.
Tokens are what models read: 0 pads, 1 is an empty cell, digit d is d + 1, so 9×9 has a vocabulary of 11.

The symmetries are those of the published augmentation: permute the digits, the bands, the rows in each band, the
stacks and the columns in each stack, and transpose (only when boxes are square, as otherwise their shape changes).

Letters in shapes: n digits, N boards, cells = n·n.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tenfold.core.errors import UserError

Box = tuple[int, int]
"""Height and width of a box: (3, 3) for 9×9, (2, 3) for 6×6, (2, 2) for 4×4."""

EMPTY_SYMBOLS = ".0"


def board_size(box: Box) -> int:
    """The number n of digits, rows and columns.

    Raises:
        UserError: for a box that is not at least 2×2 with at most 9 cells.
    """
    height, width = box
    if height < 2 or width < 2 or height * width > 9:
        raise UserError(f"box is {height}x{width}, but both sides must be at least 2 and the area at most 9.")
    return height * width


def vocabulary_size(box: Box) -> int:
    """Tokens of a model that reads these boards: padding, empty cell and n digits."""
    return board_size(box) + 2


def to_tokens(boards: np.ndarray) -> np.ndarray:
    """Digits (0 = empty) to tokens of the same shape, uint8."""
    return boards.astype(np.uint8) + np.uint8(1)


def to_boards(tokens: np.ndarray) -> np.ndarray:
    """Tokens to digits (0 = empty) of the same shape, uint8; the inverse of :func:`to_tokens`.

    A padding token, which stands for no cell, becomes 0 as well.
    """
    return np.maximum(tokens, 1).astype(np.uint8) - np.uint8(1)


@cache
def units(box: Box) -> np.ndarray:
    """[3n, n] int64, the cells of each row, each column and each box."""
    n = board_size(box)
    height, width = box
    cells = np.arange(n * n).reshape(n, n)
    boxes = cells.reshape(n // height, height, n // width, width).transpose(0, 2, 1, 3).reshape(n, n)
    return np.concatenate([cells, cells.T, boxes])


def parse_board(text: str, box: Box, where: str = "puzzle") -> np.ndarray:
    """Read a board from n·n symbols; ``.`` and ``0`` are empty cells, blanks and line breaks are skipped.

    Args:
        text: the board, row by row.
        box: box shape.
        where: what error messages call the board.

    Returns:
        [cells] uint8.

    Raises:
        UserError: for a wrong length, a symbol that is no digit of this size, or givens that conflict.

    Example:
        >>> parse_board("1... ..2. .3.. ...4", (2, 2)).reshape(4, 4)[2]
        array([0, 3, 0, 0], dtype=uint8)
    """
    n = board_size(box)
    symbols = "".join(text.split())
    if len(symbols) != n * n:
        raise UserError(f"{where} has {len(symbols)} cells, but a {n}x{n} board has {n * n}.")
    allowed = EMPTY_SYMBOLS + "123456789"[:n]
    for position, symbol in enumerate(symbols):
        if symbol not in allowed:
            raise UserError(f"{where} has {symbol!r} in {_place(position, n)}, but only digits 1-{n}, '.' and '0' may.")
    board = np.array([int(symbol) if symbol != "." else 0 for symbol in symbols], dtype=np.uint8)
    check_givens(board, box, where)
    return board


def check_givens(board: np.ndarray, box: Box, where: str = "puzzle") -> None:
    """Refuse a board, [cells], in which a row, column or box holds a digit twice.

    Raises:
        UserError: naming the digit and the unit.
    """
    n = board_size(box)
    for index, unit in enumerate(units(box)):
        counts = np.bincount(board[unit], minlength=n + 1)[1:]
        if (counts > 1).any():
            kind = ("row", "column", "box")[index // n]
            digit = int(np.argmax(counts > 1)) + 1
            raise UserError(f"{where} has the digit {digit} twice in {kind} {index % n + 1}; a digit may stand once.")


def format_board(board: np.ndarray, box: Box) -> str:
    """A board, [cells], drawn with lines between the boxes.

    Example:
        >>> print(format_board(parse_board("1.....2..3.....4", (2, 2)), (2, 2)))
        1 . | . .
        . . | 2 .
        ----+----
        . 3 | . .
        . . | . 4
    """
    n = board_size(box)
    height, width = box
    symbols = np.array([".", *"123456789"])[board].reshape(n, n)
    lines = [" | ".join(" ".join(row[start : start + width]) for start in range(0, n, width)) for row in symbols]
    rule = "-+-".join("-" * (2 * width - 1) for _ in range(n // width))
    blocks = ["\n".join(lines[start : start + height]) for start in range(0, n, height)]
    return f"\n{rule}\n".join(blocks)


def board_text(board: np.ndarray) -> str:
    """A board, [cells], as one line of symbols with ``.`` for empty cells."""
    return "".join("." if digit == 0 else str(digit) for digit in board)


def is_valid_solution(boards: np.ndarray, box: Box) -> np.ndarray:
    """Whether every row, column and box holds each digit once.

    Args:
        boards: [..., cells] digits.
        box: box shape.

    Returns:
        [...] bool.
    """
    n = board_size(box)
    in_units = np.sort(boards[..., units(box)], axis=-1)
    return (in_units == np.arange(1, n + 1)).all(axis=(-1, -2))


@dataclass(frozen=True, eq=False)
class SudokuPuzzles:
    """Puzzles with their solutions and ratings of their difficulty.

    Args:
        puzzles: [N, cells] uint8, 0 for empty cells.
        solutions: [N, cells] uint8.
        ratings: name to [N] int64; generated puzzles have ``guesses`` and ``rounds`` (see ``sudoku_solver``),
            files what their columns offer.
    """

    puzzles: np.ndarray
    solutions: np.ndarray
    ratings: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.puzzles)

    def take(self, index: np.ndarray | slice) -> "SudokuPuzzles":
        """The puzzles at the given positions."""
        ratings = {name: values[index] for name, values in self.ratings.items()}
        return SudokuPuzzles(self.puzzles[index], self.solutions[index], ratings)

    @staticmethod
    def join(parts: Sequence["SudokuPuzzles"]) -> "SudokuPuzzles":
        """All puzzles of several sets that have the same ratings, in order."""
        return SudokuPuzzles(
            np.concatenate([part.puzzles for part in parts]),
            np.concatenate([part.solutions for part in parts]),
            {name: np.concatenate([part.ratings[name] for part in parts]) for name in parts[0].ratings},
        )


@dataclass(frozen=True, eq=False)
class Symmetries:
    """Many symmetries of a board: cell j of the image is the relabelled cell ``cells[j]`` of the original.

    Args:
        cells: [N, cells] uint8, where each cell comes from.
        digits: [N, n + 1] uint8, what each digit becomes; 0 stays 0.
    """

    cells: np.ndarray
    digits: np.ndarray

    def apply(self, boards: np.ndarray) -> np.ndarray:
        """Image of each board under its own symmetry.

        Args:
            boards: [N, cells] uint8, or [1, cells] to send one board through all.

        Returns:
            [N, cells] uint8.
        """
        count, cells = self.cells.shape
        moved = np.take_along_axis(np.broadcast_to(boards, (count, cells)), self.cells, axis=1)
        return np.take_along_axis(self.digits, moved, axis=1)

    @staticmethod
    def join(parts: Sequence["Symmetries"]) -> "Symmetries":
        """All symmetries of several sets, in order."""
        return Symmetries(np.concatenate([p.cells for p in parts]), np.concatenate([p.digits for p in parts]))

    def inverse(self) -> "Symmetries":
        """The symmetries that undo these."""
        return Symmetries(np.argsort(self.cells, axis=1), np.argsort(self.digits, axis=1).astype(np.uint8))


def identity_symmetry(box: Box) -> Symmetries:
    """The one symmetry that changes nothing."""
    n = board_size(box)
    return Symmetries(np.arange(n * n, dtype=np.uint8)[None], np.arange(n + 1, dtype=np.uint8)[None])


def random_symmetries(generator: np.random.Generator, count: int, box: Box) -> Symmetries:
    """Draw symmetries independently and uniformly.

    Example:
        >>> board = parse_board("1.....2..3.....4", (2, 2))
        >>> random_symmetries(np.random.default_rng(0), 5, (2, 2)).apply(board[None]).shape
        (5, 16)
    """
    n = board_size(box)
    height, width = box
    rows = _random_line_order(generator, count, n // height, height)
    columns = _random_line_order(generator, count, n // width, width)
    cells = rows[:, :, None] * np.uint8(n) + columns[:, None, :]
    if height == width:
        transposed = generator.random(count) < 0.5
        cells[transposed] = cells[transposed].swapaxes(1, 2)
    digits = np.zeros((count, n + 1), dtype=np.uint8)
    digits[:, 1:] = _random_orders(generator, (count, n)) + np.uint8(1)
    return Symmetries(cells.reshape(count, n * n), digits)


def augment(
    puzzles: np.ndarray, solutions: np.ndarray, num_augmentations: int, generator: np.random.Generator, box: Box
) -> tuple[np.ndarray, np.ndarray]:
    """Each puzzle with random symmetric variants of it; the same symmetry is applied to puzzle and solution.

    Args:
        puzzles: [N, cells] uint8.
        solutions: [N, cells] uint8.
        num_augmentations: variants of each puzzle beside the original.
        generator: source of randomness.
        box: box shape.

    Returns:
        Puzzles and solutions, both [N, 1 + num_augmentations, cells] uint8; item 0 of a group is the original.
    """
    shape = (len(puzzles), 1 + num_augmentations, puzzles.shape[1])
    out_puzzles, out_solutions = np.empty(shape, dtype=np.uint8), np.empty(shape, dtype=np.uint8)
    out_puzzles[:, 0], out_solutions[:, 0] = puzzles, solutions
    for group in range(len(puzzles) if num_augmentations else 0):
        symmetries = random_symmetries(generator, num_augmentations, box)
        out_puzzles[group, 1:] = symmetries.apply(puzzles[group : group + 1])
        out_solutions[group, 1:] = symmetries.apply(solutions[group : group + 1])
    return out_puzzles, out_solutions


def _random_orders(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Independent uniform permutations along the last axis, uint8."""
    return np.argsort(generator.random(shape, dtype=np.float32), axis=-1).astype(np.uint8)


def _random_line_order(generator: np.random.Generator, count: int, blocks: int, lines: int) -> np.ndarray:
    """[count, blocks·lines] uint8: blocks in random order, the lines of each block in random order."""
    block = _random_orders(generator, (count, blocks))[:, :, None] * np.uint8(lines)
    return (block + _random_orders(generator, (count, blocks, lines))).reshape(count, blocks * lines)


def _place(position: int, n: int) -> str:
    return f"row {position // n + 1}, column {position % n + 1}"
