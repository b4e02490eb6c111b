"""PushT: DINO-WM's rule of success by hand, and the simulator where it is installed."""

import importlib.util

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.envs.control.policies import scripted_actions
from tenfold.envs.control.pusht import PushTWorld, reached_states
from tenfold.envs.control.worlds import record

INSTALLED = importlib.util.find_spec("gym_pusht") is not None
GOAL = np.array([[100.0, 100.0, 200.0, 200.0, 3.1]])


@pytest.mark.parametrize(
    ("change", "is_reached"),
    [
        ([0, 0, 0, 0, 0], True),
        ([19, 0, 0, 0, 0], True),
        ([15, 0, 15, 0, 0], False),  # together farther than 20
        ([0, 0, 0, 0, 0.3], True),  # past the half turn
        ([0, 0, 0, 0, 0.36], False),
        ([0, 0, 0, 0, 2 * np.pi], True),
    ],
)
def test_success_is_a_matter_of_positions_and_angle(change, is_reached):
    assert reached_states(GOAL + np.array([change], dtype=float), GOAL).tolist() == [is_reached]


@pytest.mark.skipif(INSTALLED, reason="gym-pusht is installed")
def test_its_absence_is_one_line():
    with pytest.raises(UserError, match="PushT needs gym-pusht: pip install gym-pusht 'pymunk<7'"):
        PushTWorld(1, np.random.default_rng(0))


@pytest.mark.extra
@pytest.mark.filterwarnings("ignore")  # of pygame and its parts
def test_discs_go_where_they_are_sent_and_push_the_block():
    if not INSTALLED:
        pytest.skip("needs the package gym-pusht, which is installed apart: make test-extra")
    world = PushTWorld(2, np.random.default_rng(0), size=64)
    start = np.array([[100.0, 100.0, 300.0, 300.0, 0.0], [180.0, 300.0, 300.0, 300.0, 0.0]])
    world.put(start)
    assert world.reached(world.states).all() and world.pictures().shape == (2, 3, 64, 64)
    for _ in range(3):
        world.act(np.array([[0.0, -0.5], [1.0, 0.0]]))
    assert world.positions[0, 1] < 60, "up"
    assert world.states[1, 2] > start[1, 2] + 20, "the block was pushed to the right"
    recording = record(world, scripted_actions("smooth", np.random.default_rng(0)), 2)
    assert recording.frames.shape == (2, 3, 3, 64, 64)
    assert (recording.frames[:, 0] != recording.frames[:, 2]).any()
