"""What the tests of all papers need."""

import pytest
from accelerate.state import AcceleratorState, GradientState


def _forget():
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(autouse=True)
def _fresh_accelerate():
    """Accelerate remembers the precision of the process's first training, and refuses another one."""
    _forget()
    yield
    _forget()  # fixtures of a module are made before those of its first test
