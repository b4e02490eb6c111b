"""A canonical form of solved Sudoku grids: equal for two grids exactly when a symmetry maps one to the other.

It makes splits honest: a test puzzle must not be a disguised training puzzle. The method, for each grid:

1. Choose a transposition (square boxes), a row and a second row of the same band. Between them the columns are
   permuted by σ: column c of the first row holds the digit that the second row has in column σ(c).
2. Reordering columns (inside stacks, and stacks) conjugates σ. Look up its class under that group; keep the choices
   of the largest class present, the smallest representative breaking ties. This is what makes it fast: few survive.
3. For each survivor and each column order that turns σ into the representative, relabel the digits so that the first
   row reads 1..n and sort the rows by their first digits, band by band. The least grid, read row by row, is the form.

Every step depends on the grid only up to symmetry, so the form is invariant; it is itself a symmetric image of the
grid, so inequivalent grids differ. It is not the minimal-lexicographic form of other programs.

Letters in shapes: n digits, N grids, C choices, K column orders.
"""

from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

import numpy as np

from tenfold.data.sudoku import Box, board_size

_CHUNK = 1000


def canonical_forms(solutions: np.ndarray, box: Box) -> np.ndarray:
    """The canonical form of each solved grid.

    Args:
        solutions: [N, cells] uint8, solved grids.
        box: box shape.

    Returns:
        [N, cells] uint8.

    Example:
        >>> grid = np.array([[1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1]], dtype=np.uint8)
        >>> relabelled = np.array([0, 3, 1, 4, 2], dtype=np.uint8)[grid]
        >>> bool((canonical_forms(grid, (2, 2)) == canonical_forms(relabelled, (2, 2))).all())
        True
    """
    return canonical_puzzles(solutions, solutions, box)


def canonical_puzzles(puzzles: np.ndarray, solutions: np.ndarray, box: Box) -> np.ndarray:
    """The canonical form of each puzzle: equal for two puzzles exactly when a symmetry maps one to the other.

    The solution is brought to its canonical form; if that can be done in several ways, the givens decide.

    Args:
        puzzles: [N, cells] uint8, 0 for empty cells.
        solutions: [N, cells] uint8, the only solution of each.
        box: box shape.

    Returns:
        [N, cells] uint8, 0 for empty cells.
    """
    out = np.empty_like(puzzles)
    for begin in range(0, len(puzzles), _CHUNK):
        chunk = slice(begin, begin + _CHUNK)
        out[chunk] = _canonical_chunk(solutions[chunk], puzzles[chunk] > 0, box)
    return out


@dataclass(frozen=True, eq=False)
class _Conjugation:
    """One class of column permutations σ under the column symmetries.

    Args:
        rank: sorts classes: larger ones first, then by representative.
        codes: [K] int64, sorted: the σ that each column order turns the representative into.
        orders: [K, n] uint8, the column orders in the same sequence.
    """

    rank: tuple[int, int]
    codes: np.ndarray
    orders: np.ndarray


class _Classes:
    """The classes of σ, found as they are met and kept for later grids."""

    def __init__(self, box: Box) -> None:
        self.n = board_size(box)
        self.powers = self.n ** np.arange(self.n - 1, -1, -1)
        self.orders = _column_orders(box)
        self.inverses = np.argsort(self.orders, axis=1)
        self.known: dict[int, _Conjugation] = {}

    def of(self, code: int) -> _Conjugation:
        """The class of the σ with this code."""
        if code not in self.known:
            made = self._make(code)
            self.known.update((member, made) for member in np.unique(made.codes).tolist())
        return self.known[code]

    def _make(self, code: int) -> _Conjugation:
        sigma = code // self.powers % self.n
        least = self._conjugates(sigma).min()
        codes = self._conjugates(least // self.powers % self.n)
        order = np.argsort(codes, kind="stable")
        size = len(np.unique(codes))
        return _Conjugation((-size, int(least)), codes[order], self.orders[order])

    def _conjugates(self, sigma: np.ndarray) -> np.ndarray:
        """[K] codes of p σ p⁻¹ for every column order p: what σ becomes when new column p(c) was column c."""
        moved = np.take_along_axis(self.orders, sigma[self.inverses], axis=1)
        return moved @ self.powers


@cache
def _classes(box: Box) -> _Classes:
    return _Classes(box)


def _column_orders(box: Box) -> np.ndarray:
    """[K, n] int64: all orders of the columns that keep stacks together."""
    height, width = box
    inside = list(permutations(range(width)))
    return np.array(
        [
            [stack * width + column for stack, columns in zip(stacks, choice, strict=True) for column in columns]
            for stacks in permutations(range(height))
            for choice in product(inside, repeat=height)
        ]
    )


def _canonical_chunk(solutions: np.ndarray, givens: np.ndarray, box: Box) -> np.ndarray:
    n = board_size(box)
    variants, given_variants = _orientations(solutions, box), _orientations(givens, box)
    owner, variant, first, codes = _surviving_choices(variants, box)
    choice, orders = _column_choices(owner, codes, box)
    owner, variant, first = owner[choice], variant[choice], first[choice]
    grids = np.take_along_axis(variants[owner, variant], orders[:, None, :], axis=2)
    marks = np.take_along_axis(given_variants[owner, variant], orders[:, None, :], axis=2)
    grids, marks = _sort_rows(_relabel(grids, first), marks, box[0])
    least = _least(np.concatenate([grids, marks], axis=1), owner, len(solutions))
    return (least[:, :n] * least[:, n:]).reshape(solutions.shape)


def _orientations(boards: np.ndarray, box: Box) -> np.ndarray:
    """[N, 2 or 1, n, n]: each board and, where boxes are square, its transpose."""
    n = board_size(box)
    grids = boards.reshape(-1, n, n)
    return np.stack([grids, grids.swapaxes(1, 2)], axis=1) if box[0] == box[1] else grids[:, None]


def _surviving_choices(variants: np.ndarray, box: Box) -> tuple[np.ndarray, ...]:
    """Step 1 and 2: owner grid, variant, first row and code of σ of each choice in the best class of its grid."""
    n = board_size(box)
    height = box[0]
    pairs = np.array([(a, b) for a in range(n) for b in range(n) if a != b and a // height == b // height])
    place = np.argsort(variants, axis=3)  # [N, V, row, digit - 1] -> column
    second = variants[:, :, pairs[:, 1]].astype(np.int64) - 1
    there = np.take_along_axis(place[:, :, pairs[:, 0]], second, axis=3)  # column of the first row with that digit
    sigma = np.argsort(there, axis=3)
    codes = sigma @ _classes(box).powers  # [N, V, pairs]
    unique, inverse = np.unique(codes, return_inverse=True)
    ranks = [_classes(box).of(code).rank for code in unique.tolist()]
    position = {rank: index for index, rank in enumerate(sorted(set(ranks)))}
    rank = np.array([position[rank] for rank in ranks])[inverse].reshape(codes.shape)
    best = rank == rank.min(axis=(1, 2), keepdims=True)
    owner, variant, pair = np.nonzero(best)
    return owner, variant, pairs[pair, 0], codes[best]


def _column_choices(owner: np.ndarray, codes: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Step 3: each choice with each column order that turns its σ into the representative, sorted by owner."""
    parts = []
    for code in np.unique(codes).tolist():
        found = _classes(box).of(code)
        begin, end = np.searchsorted(found.codes, [code, code + 1])
        orders = found.orders[begin:end]
        members = np.flatnonzero(codes == code)
        parts.append((np.repeat(members, len(orders)), np.tile(orders, (len(members), 1))))
    choice = np.concatenate([part[0] for part in parts])
    orders = np.concatenate([part[1] for part in parts])
    by_owner = np.argsort(owner[choice], kind="stable")
    return choice[by_owner], orders[by_owner]


def _relabel(grids: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Rename the digits of each grid, [C, n, n], so that row ``first`` reads 1..n."""
    count, n, _ = grids.shape
    names = np.zeros((count, n + 1), dtype=np.uint8)
    np.put_along_axis(names, grids[np.arange(count), first].astype(np.int64), np.arange(1, n + 1, dtype=np.uint8), 1)
    return np.take_along_axis(names, grids.reshape(count, n * n), axis=1).reshape(grids.shape)


def _sort_rows(grids: np.ndarray, marks: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Sort the rows of each band, and the bands, of [C, n, n] by their first digits; marks go along."""
    count, n, _ = grids.shape
    heads = grids[:, :, 0].astype(np.int64)
    band = np.repeat(heads.reshape(count, n // height, height).min(axis=2), height, axis=1)
    order = np.argsort(band * (n + 1) + heads, axis=1)[:, :, None]
    return np.take_along_axis(grids, order, axis=1), np.take_along_axis(marks, order, axis=1)


def _least(grids: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """[count, rows, n]: the least of [C, rows, n], read by rows, for each owner; owners are sorted and all present."""
    _, rows, n = grids.shape
    for row in range(rows):
        value = grids[:, row].astype(np.int64) @ (10 ** np.arange(n - 1, -1, -1))
        starts = np.searchsorted(owner, np.arange(count))
        best = value == np.minimum.reduceat(value, starts)[owner]
        grids, owner = grids[best], owner[best]
    return grids[np.searchsorted(owner, np.arange(count))]


def row_keys(boards: np.ndarray) -> np.ndarray:
    """[N] void: the rows of [N, cells] as single values that can be sorted and compared for equality."""
    return np.ascontiguousarray(boards).view(f"V{boards.shape[1]}")[:, 0]
