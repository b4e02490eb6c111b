"""Mazes of random walls with a shortest path, in the manner of Lehnert et al. 2024 (arXiv 2402.14083).

Of the n·n cells a share between 30 % and 50 % become walls at random; start and goal are free cells with a shortest
path of at least a given length, moving up, down, left and right. Here each maze is used once, with a start and a goal
drawn evenly from its far enough pairs; drawing them blindly and rejecting would take a hundred times as long at
Maze-Hard's lengths. Mazes whose longest path is found too short by two floods are passed over, which loses a few.

Tokens: 0 pads, then ``#`` wall, space, ``S``, ``G``, ``o`` path are 1 to 5. The label is the input with one shortest
path marked; where several are equally short, one is drawn, so a model that finds another is counted wrong.

Letters in shapes: N mazes, n side, L = n·n cells.
"""

from dataclasses import dataclass

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.data.dihedral import NUM_DIHEDRAL, dihedral_transform
from tenfold.data.puzzles import PuzzleDataset

SYMBOLS = "# SGo"
WALL, FREE, START, GOAL, PATH = range(1, 6)
VOCABULARY_SIZE = 6
WALL_SHARE = (0.3, 0.5)

_BATCH = 1000
_HOPELESS_DRAWS = 500_000


@dataclass(frozen=True, eq=False)
class Mazes:
    """Mazes with one shortest path each.

    Args:
        inputs: [N, L] uint8 tokens without path.
        labels: [N, L] uint8 tokens with the path between start and goal marked.
        lengths: [N] int64, steps from start to goal.
    """

    inputs: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)


def generate_mazes(num: int, size: int, *, min_path_length: int, seed: int) -> Mazes:
    """Draw different mazes, no two of which are mirror images or rotations of each other.

    Args:
        num: how many.
        size: n, the side.
        min_path_length: least number of steps from start to goal; Maze-Hard has 30 and 111.
        seed: equal seeds give equal mazes.

    Raises:
        UserError: when such mazes are too rare.

    Example:
        >>> made = generate_mazes(2, 8, min_path_length=10, seed=0)
        >>> made.inputs.shape, bool((made.lengths >= 10).all())
        ((2, 64), True)
    """
    if size < 2 or not 1 <= min_path_length < size * size:
        raise UserError(
            f"min_path_length is {min_path_length} at size {size}; size must be at least 2, the path from 1 to size²-1."
        )
    found: dict[bytes, tuple[np.ndarray, np.ndarray, int]] = {}
    drawn = 0
    while len(found) < num:
        if drawn >= _HOPELESS_DRAWS and len(found) * 10_000 < drawn:
            raise UserError(
                f"min_path_length = {min_path_length} is too rare at size {size}: {len(found)} in {drawn} draws."
            )
        part = _draw(_BATCH, size, min_path_length, numpy_generator(seed, "maze", size, min_path_length, drawn))
        for maze in zip(part.inputs, part.labels, part.lengths.tolist(), strict=True):
            found.setdefault(_dihedral_key(maze[0], size), maze)
        drawn += _BATCH
    inputs, labels, lengths = zip(*list(found.values())[:num], strict=True) if num else ((), (), ())
    shape = (num, size * size)
    tokens = [np.array(grids, dtype=np.uint8).reshape(shape) for grids in (inputs, labels)]
    return Mazes(tokens[0], tokens[1], np.array(lengths, dtype=np.int64))


def maze_split(
    size: int, *, num_train: int, num_test: int, min_path_length: int, seed: int, dihedral: bool = False
) -> tuple[PuzzleDataset, PuzzleDataset]:
    """Training and test mazes, none of which is a mirror image or rotation of another.

    Args:
        size: side of the mazes.
        num_train: training mazes before augmentation.
        num_test: test mazes.
        min_path_length: least number of steps from start to goal.
        seed: key of everything.
        dihedral: give each training maze with its seven mirror images and rotations.
    """
    made = generate_mazes(num_train + num_test, size, min_path_length=min_path_length, seed=seed)
    codes = range(NUM_DIHEDRAL if dihedral else 1)
    train, test = slice(num_train), slice(num_train, None)
    return (
        _dataset(_variants(made.inputs[train], size, codes), _variants(made.labels[train], size, codes)),
        _dataset(made.inputs[test, None], made.labels[test, None]),
    )


def format_maze(tokens: np.ndarray, size: int) -> str:
    """A maze, [L], as text with a line for each row; padding is drawn as ``?``.

    Example:
        >>> format_maze(np.array([3, 5, 1, 4]), 2)
        'So\\n#G'
    """
    symbols = np.array(["?", *SYMBOLS])[tokens].reshape(size, size)
    return "\n".join("".join(row) for row in symbols)


def parse_maze(text: str) -> np.ndarray:
    """The tokens, [L] uint8, of a square maze drawn with ``#``, space, ``S``, ``G`` and ``o``.

    Raises:
        UserError: for an unknown symbol or rows of unequal length.
    """
    rows = text.split("\n")
    if any(len(row) != len(rows) for row in rows):
        raise UserError(
            f"maze has rows of {sorted({len(row) for row in rows})} cells, but {len(rows)} rows need as many."
        )
    for symbol in "".join(rows):
        if symbol not in SYMBOLS:
            raise UserError(f"maze has the symbol {symbol!r}, but only {SYMBOLS!r} may occur.")
    return np.array([SYMBOLS.index(symbol) + 1 for symbol in "".join(rows)], dtype=np.uint8)


def flood(free: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Steps from the start to every cell, in many mazes at once.

    Args:
        free: [N, n, n] bool, cells that are no walls.
        starts: [N] int, start cell of each maze, row by row.

    Returns:
        [N, L] int16, -1 where there is no way.

    Example:
        >>> flood(np.array([[[True, False], [True, True]]]), np.array([0]))
        array([[ 0, -1,  1,  2]], dtype=int16)
    """
    count, size, _ = free.shape
    width = size + 2  # a frame of walls keeps neighbouring rows and mazes apart in the flat arrays
    unreached = np.pad(free, ((0, 0), (1, 1), (1, 1)))
    front = np.zeros_like(unreached)
    front[np.arange(count), starts // size + 1, starts % size + 1] = True
    steps = np.zeros(unreached.shape, dtype=np.int16)
    flat_front, flat_unreached, inner = front.reshape(-1), unreached.reshape(-1), slice(width, -width)
    while flat_front.any():
        unreached &= ~front
        steps += unreached
        spread = flat_front[: -2 * width] | flat_front[2 * width :]
        spread |= flat_front[width - 1 : -width - 1]
        spread |= flat_front[width + 1 : -width + 1]
        flat_front[inner] = spread & flat_unreached[inner]
    walled_off = unreached | ~np.pad(free, ((0, 0), (1, 1), (1, 1)))
    return np.where(walled_off, np.int16(-1), steps)[:, 1:-1, 1:-1].reshape(count, size * size)


def _draw(count: int, size: int, min_path_length: int, generator: np.random.Generator) -> Mazes:
    """Draw ``count`` mazes and return those that have a far enough pair of cells."""
    free = generator.random((count, size, size)) >= generator.uniform(*WALL_SHARE, size=(count, 1, 1))
    free = free[free.any(axis=(1, 2))]
    somewhere = np.argmax(generator.random((len(free), size * size)) * free.reshape(len(free), -1), axis=1)
    steps = flood(free, somewhere)
    possible = 2 * steps.max(axis=1) >= min_path_length  # no path is longer than twice the way to the farthest cell
    free, steps = free[possible], flood(free[possible], steps[possible].argmax(axis=1))
    parts = [
        _place_path(maze, reached, min_path_length, generator)
        for maze, reached, longest in zip(free, steps >= 0, steps.max(axis=1, initial=0), strict=True)
        if longest >= min_path_length
    ]
    inputs, labels, lengths = zip(*parts, strict=True) if parts else ((), (), ())
    shape = (len(parts), size * size)
    tokens = [np.array(grids, dtype=np.uint8).reshape(shape) for grids in (inputs, labels)]
    return Mazes(tokens[0], tokens[1], np.array(lengths, dtype=np.int64))


def _place_path(
    free: np.ndarray, reached: np.ndarray, min_path_length: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Input, label and path length of one maze, [n, n], with start and goal in its ``reached`` cells, [L]."""
    cells = np.flatnonzero(reached)
    steps = flood(np.broadcast_to(free, (len(cells), *free.shape)), cells)
    row, goal = divmod(int(generator.choice(np.flatnonzero(steps >= min_path_length))), steps.shape[1])
    inputs = np.where(free, FREE, WALL).astype(np.uint8).reshape(-1)
    inputs[cells[row]], inputs[goal] = START, GOAL
    labels = inputs.copy()
    labels[_walk_back(steps[row], goal, free.shape[0], generator)] = PATH
    return inputs, labels, int(steps[row, goal])


def _walk_back(steps: np.ndarray, goal: int, size: int, generator: np.random.Generator) -> list[int]:
    """The cells strictly between start and goal on a shortest path, where several lead back one is drawn."""
    path, cell = [], goal
    while steps[cell] > 1:
        row, column = divmod(cell, size)
        around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        inside = [r * size + c for r, c in around if 0 <= r < size and 0 <= c < size]
        nearer = [other for other in inside if steps[other] == steps[cell] - 1]
        cell = nearer[generator.integers(len(nearer))]
        path.append(cell)
    return path


def _dihedral_key(tokens: np.ndarray, size: int) -> bytes:
    """Equal for two mazes exactly when one is a mirror image or rotation of the other."""
    grid = tokens.reshape(size, size)
    return min(dihedral_transform(grid, code).tobytes() for code in range(NUM_DIHEDRAL))


def _variants(tokens: np.ndarray, size: int, codes: range) -> np.ndarray:
    """[N, codes, L]: each maze transformed by each dihedral code."""
    grids = tokens.reshape(-1, size, size)
    return np.stack([dihedral_transform(grids, code) for code in codes], axis=1).reshape(len(tokens), len(codes), -1)


def _dataset(inputs: np.ndarray, labels: np.ndarray) -> PuzzleDataset:
    return PuzzleDataset.from_groups(inputs, labels, vocab_size=VOCABULARY_SIZE, ignore_label_id=None)
