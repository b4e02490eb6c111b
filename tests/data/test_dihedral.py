"""The eight codes: their published meaning, and that each inverse undoes its code."""

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data.dihedral import NUM_DIHEDRAL, dihedral_transform, inverse_dihedral_transform

GRID = np.array([[1, 2, 3], [4, 5, 6]])


@pytest.mark.spec("hrm", "25")
@pytest.mark.parametrize("code", range(NUM_DIHEDRAL))
def test_inverse_undoes_each_code_on_any_leading_axes(code):
    for grid in (GRID, np.arange(24).reshape(2, 3, 4)):
        np.testing.assert_array_equal(inverse_dihedral_transform(dihedral_transform(grid, code), code), grid)
        np.testing.assert_array_equal(dihedral_transform(inverse_dihedral_transform(grid, code), code), grid)


def test_codes_mean_what_the_published_data_says():
    expected = [
        GRID,
        [[3, 6], [2, 5], [1, 4]],
        [[6, 5, 4], [3, 2, 1]],
        [[4, 1], [5, 2], [6, 3]],
        [[3, 2, 1], [6, 5, 4]],
        [[4, 5, 6], [1, 2, 3]],
        [[1, 4], [2, 5], [3, 6]],
        [[6, 3], [5, 2], [4, 1]],
    ]
    for code, grid in enumerate(expected):
        np.testing.assert_array_equal(dihedral_transform(GRID, code), grid)


def test_codes_outside_the_group_are_refused():
    with pytest.raises(UserError, match=r"dihedral code is 8, but codes are 0\.\.7"):
        dihedral_transform(GRID, 8)
