"""ARC tasks that would train on what is tested, whatever their names are: compared by their grids.

The training set of ARC-AGI-2 holds evaluation tasks of ARC-AGI-1, and files are renamed on their way. So a pair of
grids is known by its content alone, the same for all of its recolourings and symmetries, by which training varies it.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tenfold.data.arc import NUM_COLOURS, ArcTask, Pair
from tenfold.data.dihedral import NUM_DIHEDRAL, dihedral_transform


def leaking(tasks: Iterable[ArcTask], evaluated: Sequence[ArcTask]) -> Mapping[str, str]:
    """The tasks that hold a test pair of an evaluated one, among demonstrations or tests; each with that one's name.

    Args:
        tasks: to be trained on.
        evaluated: tasks whose test pairs are kept for testing.

    Example:
        >>> grid = np.arange(6, dtype=np.uint8).reshape(2, 3)
        >>> kept = ArcTask("a", ((grid, grid),), ((grid, grid[:1]),), evaluation=True)
        >>> renamed = ArcTask("b", ((grid.T, grid[:1].T),), ((grid, grid),), evaluation=False)
        >>> leaking([renamed], [kept])
        {'b': 'a'}
    """
    kept: dict[bytes, str] = {}
    for task in evaluated:
        for pair in task.test:
            kept.setdefault(content_of(pair), task.name)
    alike = {_outline(pair) for task in evaluated for pair in task.test}
    found: dict[str, str] = {}
    for task in tasks:
        for pair in (*task.train, *task.test):
            if _outline(pair) in alike and (name := kept.get(content_of(pair))) is not None:
                found[task.name] = name
                break
    return found


def content_of(pair: Pair) -> bytes:
    """What a pair of grids and all of its recolourings and symmetries have in common, and no other pair has.

    Example:
        >>> one, two = np.array([[1, 0]], dtype=np.uint8), np.array([[0], [7]], dtype=np.uint8)
        >>> content_of((one, one)) == content_of((two, two)) != content_of((one, two))
        True
    """
    return min(_in_order_of_colours([dihedral_transform(grid, code) for grid in pair]) for code in range(NUM_DIHEDRAL))


def _in_order_of_colours(grids: Sequence[np.ndarray]) -> bytes:
    """Shapes and cells, colours numbered as they come; colour 0 stays, as it does in recolouring."""
    cells = np.concatenate([grid.reshape(-1) for grid in grids])
    colours, first = np.unique(cells, return_index=True)
    numbers = np.zeros(NUM_COLOURS, dtype=np.uint8)
    coloured = colours[np.argsort(first)]
    coloured = coloured[coloured != 0]
    numbers[coloured] = np.arange(1, len(coloured) + 1)
    shapes = bytes(side for grid in grids for side in grid.shape)
    return shapes + numbers[cells].tobytes()


def _outline(pair: Pair) -> tuple[tuple[int, ...], ...]:
    """Sides and numbers of cells of a colour: cheap, and equal where contents are, so that few of those are made."""
    of_grids = [tuple(sorted(grid.shape)) for grid in pair]
    counts = np.bincount(np.concatenate([grid.reshape(-1) for grid in pair]), minlength=NUM_COLOURS)
    return (*of_grids, (int(counts[0]), *sorted(counts[1:].tolist())))
