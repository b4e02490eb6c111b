"""The plainest Sudoku programs that are right: the truth that the batched ones are compared with.

One board at a time, a list of digits row by row, 0 for an empty cell; recursion, no propagation.
"""

from collections.abc import Iterator
from random import Random


def fits(board: list[int], cell: int, digit: int, box: tuple[int, int]) -> bool:
    """Whether no row, column or box of ``cell`` holds ``digit``."""
    height, width = box
    n = height * width
    row, column = divmod(cell, n)
    for other, value in enumerate(board):
        other_row, other_column = divmod(other, n)
        same_box = (row // height, column // width) == (other_row // height, other_column // width)
        if value == digit and (row == other_row or column == other_column or same_box):
            return False
    return True


def solutions(board: list[int], box: tuple[int, int]) -> Iterator[list[int]]:
    """All solutions; fills the empty cell with the fewest digits first."""
    n = box[0] * box[1]
    options = {
        cell: [digit for digit in range(1, n + 1) if fits(board, cell, digit, box)]
        for cell, value in enumerate(board)
        if value == 0
    }
    if not options:
        yield board
        return
    cell = min(options, key=lambda cell: len(options[cell]))
    for digit in options[cell]:
        yield from solutions([*board[:cell], digit, *board[cell + 1 :]], box)


def count_solutions(board: list[int], box: tuple[int, int], limit: int) -> int:
    """The number of solutions, at most ``limit``."""
    return sum(1 for _, _ in zip(range(limit), solutions(board, box), strict=False))


def minimal_puzzle(solution: list[int], box: tuple[int, int], random: Random) -> list[int]:
    """Empty cells in random order while the solution stays the only one."""
    puzzle = list(solution)
    for cell in random.sample(range(len(puzzle)), len(puzzle)):
        tried = [*puzzle[:cell], 0, *puzzle[cell + 1 :]]
        if count_solutions(tried, box, limit=2) == 1:
            puzzle = tried
    return puzzle
