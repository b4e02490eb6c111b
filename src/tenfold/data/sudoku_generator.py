"""Random Sudoku puzzles with one solution, many at once.

A solved grid comes from a randomised search on an empty board and a random symmetry (random-ish, not exactly
uniform). Its cells are then visited in random order and each is emptied unless that would allow a second solution.
Whether it would is one question to the solver: does the board have a solution in which this cell holds another digit?
Emptying until every clue left is needed gives a *minimal* puzzle; stopping earlier gives a fixed number of clues.

Equal arguments give equal puzzles.
"""

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.data.sudoku import Box, SudokuPuzzles, board_size, random_symmetries
from tenfold.data.sudoku_solver import candidates, search, solve

_LEAST_BATCH = 32
_MOST_BATCH = 2048
_HOPELESS_DRAWS = 5000
_HOPELESS_RATE = 1 / 500


def generate(num: int, box: Box, *, seed: int, clues: int | None = None, min_guesses: int = 0) -> SudokuPuzzles:
    """Draw puzzles with exactly one solution.

    Args:
        num: how many.
        box: box shape, (3, 3) for 9×9.
        seed: equal seeds give equal puzzles.
        clues: exactly this many givens; ``None`` for minimal puzzles, in which every given is needed.
        min_guesses: keep only puzzles for which the solver needs at least this many guesses.

    Raises:
        UserError: when so few drawn puzzles qualify that the search is hopeless.

    Example:
        >>> made = generate(3, (2, 3), seed=0, clues=12)
        >>> (made.puzzles > 0).sum(axis=1)
        array([12, 12, 12])
    """
    cells = board_size(box) ** 2
    if clues is not None and not 0 < clues <= cells:
        raise UserError(f"clues is {clues}, but a board of {cells} cells can have 1..{cells}.")
    kept = [_draw(0, box, numpy_generator(seed), clues, min_guesses)]
    have, drawn, batch = 0, 0, 0
    while have < num:
        if drawn > _HOPELESS_DRAWS and have < _HOPELESS_RATE * drawn:
            raise UserError(
                f"clues = {clues} with min_guesses = {min_guesses} is too rare: {have} of {num} in {drawn} draws."
            )
        wanted = num - have if batch == 0 else (num - have) * max(drawn, 1) / max(have, 1)
        count = int(np.clip(wanted, _LEAST_BATCH, _MOST_BATCH))
        part = _draw(count, box, numpy_generator(seed, "sudoku", *box, batch), clues, min_guesses)
        kept.append(part)
        have, drawn, batch = have + len(part), drawn + count, batch + 1
    return SudokuPuzzles.join(kept).take(slice(num))


def random_solutions(num: int, box: Box, generator: np.random.Generator) -> np.ndarray:
    """Random solved grids, [num, cells] uint8."""
    cells = board_size(box) ** 2
    empty = np.zeros((num, cells), dtype=np.uint8)
    solved = search(candidates(empty, box), box, generator=generator).boards
    return random_symmetries(generator, num, box).apply(solved)


def remove_clues(
    solutions: np.ndarray, box: Box, generator: np.random.Generator, clues: int | None = None
) -> np.ndarray:
    """Empty cells in random order as long as the solution stays the only one.

    Args:
        solutions: [N, cells] uint8, solved grids.
        box: box shape.
        generator: source of the order.
        clues: stop a board at this many givens; ``None`` goes through all cells, which leaves a minimal puzzle.

    Returns:
        [N, cells] uint8; boards that cannot come down to ``clues`` in this order keep more.
    """
    count, cells = solutions.shape
    puzzles = solutions.copy()
    order = np.argsort(generator.random((count, cells)), axis=1)
    left = np.full(count, cells)
    for step in range(cells):
        boards = np.arange(count) if clues is None else np.flatnonzero(left > clues)
        cell = order[boards, step]
        tried = puzzles[boards]
        tried[np.arange(len(boards)), cell] = 0
        masks = candidates(tried, box)
        masks[np.arange(len(boards)), cell] &= ~(np.uint16(1) << (solutions[boards, cell] - np.uint16(1)))
        needless = search(masks, box).counts == 0
        puzzles[boards[needless], cell[needless]] = 0
        left[boards[needless]] -= 1
    return puzzles


def _draw(count: int, box: Box, generator: np.random.Generator, clues: int | None, min_guesses: int) -> SudokuPuzzles:
    """``count`` attempts, of which those that meet the conditions are returned."""
    solutions = random_solutions(count, box, generator)
    puzzles = remove_clues(solutions, box, generator, clues)
    if clues is not None:
        reached = (puzzles > 0).sum(axis=1) == clues
        puzzles, solutions = puzzles[reached], solutions[reached]
    found = solve(puzzles, box)
    made = SudokuPuzzles(puzzles, solutions, {"guesses": found.guesses, "rounds": found.rounds})
    return made.take(found.guesses >= min_guesses)
