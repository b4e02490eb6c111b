"""Warm-up with cosine: its values at the corners, and its shape between them."""

import math
from itertools import pairwise

import pytest

from tenfold.optim import warmup_cosine


@pytest.mark.spec("hrm", "23")
def test_published_schedule_warms_up_over_2000_steps_and_stays():
    def rate(step):
        return 1e-4 * warmup_cosine(step, total_steps=26_041, warmup_steps=2000, floor=1.0)

    assert rate(1) == pytest.approx(1e-4 / 2000, rel=1e-12)
    assert rate(1000) == pytest.approx(0.5e-4, rel=1e-12)
    assert [rate(step) for step in (2000, 2001, 14_000, 26_041, 99_999)] == [1e-4] * 5


def test_cosine_goes_from_one_to_the_floor():
    def factor(step, floor=0.1):
        return warmup_cosine(step, total_steps=1010, warmup_steps=10, floor=floor)

    assert factor(10) == 1
    assert factor(510) == pytest.approx((1 + 0.1) / 2)
    assert factor(260) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert factor(1010) == pytest.approx(0.1) and factor(5000) == pytest.approx(0.1)
    falling = [factor(step, floor=0.0) for step in range(10, 1011)]
    assert all(later < earlier for earlier, later in pairwise(falling))


def test_without_warm_up_the_first_step_has_nearly_the_whole_rate():
    assert warmup_cosine(1, total_steps=1000, warmup_steps=0, floor=0.0) == pytest.approx(1, abs=1e-5)
    assert warmup_cosine(1, total_steps=0, warmup_steps=0) == 1


@pytest.mark.parametrize(("arguments", "message"), [({"step": 0}, "step = 0"), ({"floor": 1.5}, "floor = 1.5")])
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        warmup_cosine(**({"step": 1, "total_steps": 10, "warmup_steps": 2} | arguments))
