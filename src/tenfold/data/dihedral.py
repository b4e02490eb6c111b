"""The eight symmetries of a square, by the codes of the HRM authors' ARC data.

0 identity; 1, 2, 3 rotate by 90, 180 and 270 degrees counter-clockwise; 4 flips left and right; 5 flips up and down;
6 transposes; 7 rotates by 90 degrees, then flips left and right.
"""

import numpy as np

from tenfold.core.errors import UserError

NUM_DIHEDRAL = 8
INVERSE_CODES = (0, 3, 2, 1, 4, 5, 6, 7)
"""The code that undoes each code."""


def dihedral_transform(grids: np.ndarray, code: int) -> np.ndarray:
    """Transform the last two axes.

    Args:
        grids: [..., H, W], any dtype.
        code: 0 to 7.

    Returns:
        [..., H, W] or [..., W, H].

    Example:
        >>> dihedral_transform(np.array([[1, 2], [3, 4]]), 1)
        array([[2, 4],
               [1, 3]])
    """
    if not 0 <= code < NUM_DIHEDRAL:
        raise UserError(f"dihedral code is {code}, but codes are 0..{NUM_DIHEDRAL - 1}.")
    if code < 4:
        return np.rot90(grids, code, axes=(-2, -1))
    if code == 4:
        return np.flip(grids, -1)
    if code == 5:
        return np.flip(grids, -2)
    if code == 6:
        return np.swapaxes(grids, -1, -2)
    return np.flip(np.rot90(grids, 1, axes=(-2, -1)), -1)


def inverse_dihedral_transform(grids: np.ndarray, code: int) -> np.ndarray:
    """Undo :func:`dihedral_transform` with the same code."""
    return dihedral_transform(grids, INVERSE_CODES[code])
