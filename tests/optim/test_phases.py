"""Phased schedules: exact at their joints, monotone between them, and the same after resuming."""

import math
from itertools import pairwise

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.optim import phased, wsd_schedule

PHASES = [(10, "linear", 1.0), (20, "linear", 1.0), (40, "cosine", 0.1), (5, "linear", 0.0)]


def value(step):
    return phased(step, phases=PHASES)


def test_each_phase_ends_exactly_at_its_value_and_the_last_one_stays():
    assert [value(step) for step in (0, 10, 30, 70, 75, 76, 9999)] == [0, 1, 1, 0.1, 0, 0, 0]


def test_shapes_between_the_joints():
    assert value(3) == pytest.approx(0.3)
    assert all(value(step) == 1 for step in range(10, 31))
    assert value(50) == pytest.approx(0.55)
    assert value(40) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)


def test_continuous_at_the_joints():
    fine = [(1000 * length, shape, end) for length, shape, end in PHASES]
    values = [phased(step, phases=fine) for step in range(76_000)]
    assert max(abs(later - earlier) for earlier, later in pairwise(values)) < 2e-4


def schedule(lr=0.5):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    return optimizer, wsd_schedule(optimizer, PHASES)


def rates(optimizer, scheduler, steps):
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_a_scheduler_follows_the_phases_and_resumes():
    expected = [0.5 * value(step) for step in range(1, 81)]
    optimizer, scheduler = schedule()
    assert rates(optimizer, scheduler, 33) == pytest.approx(expected[:33])
    resumed, later = schedule()
    resumed.load_state_dict(optimizer.state_dict())
    later.load_state_dict(scheduler.state_dict())
    assert rates(resumed, later, 47) == pytest.approx(expected[33:])


@pytest.mark.parametrize("phases", [[], [(0, "linear", 1.0)], [(3, "step", 1.0)]])
def test_impossible_phases_are_refused(phases):
    with pytest.raises(UserError, match="phase"):
        phased(1, phases=phases)
