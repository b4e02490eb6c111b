"""Minimal Sudoku puzzles by a recursive backtracker, one board at a time, as one would write it in plain Python.

Bit masks for rows, columns and boxes, and the empty cell with the fewest candidates first: not a straw man, but no
batches and no numpy.
"""

from random import Random


class Board:
    """Digits (0 for empty) with the digits used in each row, column and box as bit masks."""

    def __init__(self, box: tuple[int, int], digits: list[int]) -> None:
        height, width = box
        self.n = height * width
        self.all = (1 << self.n) - 1
        self.digits = [0] * self.n**2
        self.used = [0] * (3 * self.n)
        self.units = [
            (row, self.n + column, 2 * self.n + row // height * height + column // width)
            for row in range(self.n)
            for column in range(self.n)
        ]
        for cell, digit in enumerate(digits):
            if digit:
                self.put(cell, digit)

    def put(self, cell: int, digit: int) -> None:
        self.digits[cell] = digit
        for unit in self.units[cell]:
            self.used[unit] |= 1 << digit - 1

    def clear(self, cell: int) -> None:
        bit = 1 << self.digits[cell] - 1
        self.digits[cell] = 0
        for unit in self.units[cell]:
            self.used[unit] &= ~bit

    def candidates(self, cell: int) -> int:
        row, column, box = self.units[cell]
        return self.all & ~(self.used[row] | self.used[column] | self.used[box])

    def tightest(self) -> tuple[int, int] | None:
        """The empty cell with the fewest candidates, and these; ``None`` when the board is full."""
        best, least = None, self.n + 1
        for cell, digit in enumerate(self.digits):
            if not digit:
                options = self.candidates(cell)
                if options.bit_count() < least:
                    best, least = (cell, options), options.bit_count()
                    if least <= 1:
                        break
        return best

    def count(self, limit: int) -> int:
        """The number of solutions, at most ``limit``."""
        choice = self.tightest()
        if choice is None:
            return 1
        found = 0
        for digit in range(1, self.n + 1):
            if choice[1] >> digit - 1 & 1 and found < limit:
                self.put(choice[0], digit)
                found += self.count(limit - found)
                self.clear(choice[0])
        return found

    def fill(self, random: Random) -> bool:
        """Complete the board, trying digits in random order."""
        choice = self.tightest()
        if choice is None:
            return True
        for digit in random.sample(range(1, self.n + 1), self.n):
            if choice[1] >> digit - 1 & 1:
                self.put(choice[0], digit)
                if self.fill(random):
                    return True
                self.clear(choice[0])
        return False


def minimal_puzzle(box: tuple[int, int], random: Random) -> list[int]:
    """A random puzzle with one solution from which no given can be taken."""
    board = Board(box, [])
    board.fill(random)
    for cell in random.sample(range(board.n**2), board.n**2):
        digit = board.digits[cell]
        board.clear(cell)
        if board.count(limit=2) > 1:
            board.put(cell, digit)
    return board.digits
