"""A Sudoku solver for many boards at once, in numpy: solutions, uniqueness and two measures of difficulty.

Each cell is a bit mask of the digits still possible. A board is *propagated* with naked singles (a cell with one
digit left) and hidden singles (a digit with one cell left in a row, column or box) until nothing changes; then the
cell with the fewest digits (the first of them) is tried digit by digit, lowest first, depth first. Every board has
its own stack, and each step works on the current node of all boards together, so results do not depend on what else
is in the batch.

Difficulty: ``guesses`` counts the trial placements made before the first solution was found; ``rounds`` counts the
propagation rounds before that, in each of which all singles in sight are placed at once. ``rounds`` grades puzzles
that need no guess and does not change under symmetries of such a puzzle.

Letters in shapes: n digits, N boards, cells = n·n. Inside, boards run along the last axis: [cells, N].
"""

from dataclasses import dataclass

import numpy as np

from tenfold.data.sudoku import Box, board_size

_CHUNK = 4096
"""Boards searched together: enough to hide the cost of a numpy call, few enough to fit the cache."""

_UNIT_AXES = ((2, 3), (0, 1), (1, 3))
"""Rows, columns and boxes are what remains of [bands, rows, stacks, columns, N] when these axes are folded."""


@dataclass(frozen=True, eq=False)
class Solutions:
    """What the solver found.

    Args:
        boards: [N, cells] uint8, the first solution found; 0 everywhere where there is none.
        counts: [N] int64, number of solutions found, at most the limit asked for.
        guesses: [N] int64, trial placements before the first solution (all of them where there is none).
        rounds: [N] int64, propagation rounds before the first solution.
        given_up: [N] bool, whether the search ended at the most trial placements that it was allowed.
    """

    boards: np.ndarray
    counts: np.ndarray
    guesses: np.ndarray
    rounds: np.ndarray
    given_up: np.ndarray


def solve(boards: np.ndarray, box: Box, limit: int = 1, most_guesses: int | None = None) -> Solutions:
    """Search every board for up to ``limit`` solutions.

    Args:
        boards: [N, cells] uint8, 0 for empty cells.
        box: box shape.
        limit: 1 to solve, 2 to learn whether the solution is the only one.
        most_guesses: trial placements of one board after which its search is given up; ``None`` for no end.

    Example:
        >>> from tenfold.data.sudoku import board_text, parse_board
        >>> found = solve(parse_board("1... ..2. .3.. ...4", (2, 2))[None], (2, 2), limit=2)
        >>> board_text(found.boards[0]), int(found.counts[0])
        ('1243342143122134', 1)
    """
    return search(candidates(boards, box), box, limit, most_guesses=most_guesses)


def candidates(boards: np.ndarray, box: Box) -> np.ndarray:
    """[N, cells] uint16, bit d - 1 set where digit d may still stand: all digits in an empty cell, one in a given."""
    n = board_size(box)
    bits = np.array([(1 << n) - 1, *(1 << digit for digit in range(n))], dtype=np.uint16)
    return bits[boards]


def search(
    masks: np.ndarray,
    box: Box,
    limit: int = 1,
    generator: np.random.Generator | None = None,
    most_guesses: int | None = None,
) -> Solutions:
    """:func:`solve` for boards given as candidate masks, so that single digits can be forbidden in a cell.

    Args:
        masks: [N, cells] uint16, see :func:`candidates`.
        box: box shape.
        limit: stop a board after this many solutions.
        generator: when given, ties between cells and the order of digits are drawn at random instead of
            taken in order; results then depend on the batch.
        most_guesses: as in :func:`solve`.
    """
    chunks = [masks[begin : begin + _CHUNK] for begin in range(0, len(masks), _CHUNK)]
    parts = [_Search(chunk, box, limit, generator, most_guesses).run() for chunk in chunks]
    if not parts:
        empty = np.zeros(0, dtype=np.int64)
        return Solutions(np.zeros(masks.shape, dtype=np.uint8), empty, empty, empty, empty.astype(bool))
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    return Solutions(**joined)


class _Search:
    """Depth-first search of all boards in step: each step propagates the current node of every unfinished board."""

    def __init__(
        self,
        masks: np.ndarray,
        box: Box,
        limit: int,
        generator: np.random.Generator | None,
        most_guesses: int | None = None,
    ) -> None:
        count, cells = masks.shape
        self.box = box
        self.limit = limit
        self.generator = generator
        self.most_guesses = most_guesses
        self.trials = np.zeros(count, dtype=np.int64)
        self.nodes = np.ascontiguousarray(masks.T)
        self.owner = np.arange(count)
        self.depth = np.zeros(count, dtype=np.int64)
        self.saved = np.zeros((count, 4, cells), dtype=np.uint16)
        self.saved_cell = np.zeros((count, 4), dtype=np.int64)
        zeros = np.zeros(count, dtype=np.int64)
        self.found = Solutions(np.zeros((count, cells), dtype=np.uint8), zeros, zeros.copy(), zeros.copy(), zeros > 0)

    def run(self) -> Solutions:
        while len(self.owner):
            self.nodes, alive, rounds = propagate(self.nodes, self.box)
            unsolved = self.found.counts[self.owner] == 0
            self.found.rounds[self.owner] += rounds * unsolved
            undecided = alive & ((self.nodes & (self.nodes - np.uint16(1))) != 0).any(axis=0)
            self._record(alive & ~undecided)
            self._push(np.flatnonzero(undecided))
            self._next_trial()
        return self.found

    def _record(self, solved: np.ndarray) -> None:
        boards = self.owner[solved]
        first = self.found.counts[boards] == 0
        digits = np.bitwise_count(self.nodes[:, solved][:, first] - np.uint16(1)) + np.uint8(1)
        self.found.boards[boards[first]] = digits.T
        self.found.counts[boards] += 1

    def _push(self, columns: np.ndarray) -> None:
        """Save each undecided node with the cell that will be tried."""
        nodes, boards = self.nodes[:, columns], self.owner[columns]
        width = np.bitwise_count(nodes)
        order = np.where(width > 1, width, np.uint8(99)).astype(np.float32)
        if self.generator is not None:
            order += self.generator.random(order.shape, dtype=np.float32) / 2
        depth = self.depth[boards]
        if len(depth) and depth.max() >= self.saved.shape[1]:
            self.saved = np.concatenate([self.saved, np.zeros_like(self.saved)], axis=1)
            self.saved_cell = np.concatenate([self.saved_cell, np.zeros_like(self.saved_cell)], axis=1)
        self.saved[boards, depth] = nodes.T
        self.saved_cell[boards, depth] = order.argmin(axis=0)
        self.depth[boards] += 1

    def _next_trial(self) -> None:
        """Go on with the next digit of the newest saved cell, or end the boards that have none left."""
        searching = (self.depth[self.owner] > 0) & (self.found.counts[self.owner] < self.limit)
        if self.most_guesses is not None:
            spent = searching & (self.trials[self.owner] >= self.most_guesses)
            self.found.given_up[self.owner[spent]] = True
            searching &= ~spent
        boards = self.owner[searching]
        top = self.depth[boards] - 1
        cell = self.saved_cell[boards, top]
        options = self.saved[boards, top, cell]
        trial = self._choose(options)
        nodes = self.saved[boards, top]
        nodes[np.arange(len(boards)), cell] = trial
        rest = options & ~trial
        self.saved[boards, top, cell] = rest
        self.depth[boards] -= rest == 0
        self.trials[boards] += 1
        self.found.guesses[boards] += self.found.counts[boards] == 0
        self.nodes, self.owner = np.ascontiguousarray(nodes.T), boards

    def _choose(self, options: np.ndarray) -> np.ndarray:
        """One bit of each mask: the lowest, or a random one."""
        if self.generator is None:
            return options & (~options + np.uint16(1))
        bits = np.uint16(1) << np.arange(board_size(self.box), dtype=np.uint16)
        present = (options[:, None] & bits) != 0
        return bits[np.where(present, self.generator.random(present.shape), -1.0).argmax(axis=1)]


def propagate(masks: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place naked and hidden singles until nothing changes.

    Args:
        masks: [cells, N] uint16.
        box: box shape.

    Returns:
        The masks, [cells, N]; alive, [N] bool, false where a contradiction was met; rounds, [N] int64, the
        number of rounds that changed the board.
    """
    n = board_size(box)
    height, width = box
    grid = (n // height, height, n // width, width)
    masks = masks.copy()
    count = masks.shape[1]
    alive = np.ones(count, dtype=bool)
    rounds = np.zeros(count, dtype=np.int64)
    active, before = np.arange(count), masks
    while len(active):
        after, consistent = _round(before.reshape(*grid, -1), np.uint16((1 << n) - 1))
        after = after.reshape(before.shape)
        changed = (after != before).any(axis=0)
        alive[active[~consistent]] = False
        rounds[active] += changed
        going_on = changed & consistent
        masks[:, active[changed]] = after[:, changed]
        active, before = active[going_on], after[:, going_on]
    return masks, alive, rounds


def _round(masks: np.ndarray, full: np.uint16) -> tuple[np.ndarray, np.ndarray]:
    """One round on [bands, rows, stacks, columns, N]: strike out decided digits, then place hidden singles."""
    one = np.uint16(1)
    decided = np.where(masks & (masks - one), np.uint16(0), masks)
    consistent = np.ones(masks.shape[-1], dtype=bool)
    used = np.zeros_like(masks)
    for axes in _UNIT_AXES:
        digits = np.bitwise_or.reduce(decided, axis=axes, keepdims=True)
        used |= digits
        no_digit_twice = np.add.reduce(decided, axis=axes, keepdims=True, dtype=np.uint16) == digits
        consistent &= no_digit_twice.all(axis=(0, 1, 2, 3))
    masks = np.where(decided, masks, masks & ~used)
    hidden = np.zeros_like(masks)
    for axes in _UNIT_AXES:
        once, twice = _fold(masks, axes)
        hidden |= once & ~twice
        consistent &= (once == full).all(axis=(0, 1, 2, 3))
    hidden &= masks
    return np.where(hidden, np.where(hidden & (hidden - one), np.uint16(0), hidden), masks), consistent


def _fold(masks: np.ndarray, axes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The digits that occur in a unit, and those that occur more than once; folded axes are kept with length 1."""
    once, twice = masks, None
    for axis in axes:
        index: list[slice] = [slice(None)] * masks.ndim
        parts = []
        for position in range(masks.shape[axis]):
            index[axis] = slice(position, position + 1)
            parts.append((once[tuple(index)], None if twice is None else twice[tuple(index)]))
        once, twice = parts[0]
        for more_once, more_twice in parts[1:]:
            both = once & more_once
            twice = both if twice is None else twice | both
            if more_twice is not None:
                twice |= more_twice
            once = once | more_once
    assert twice is not None
    return once, twice
