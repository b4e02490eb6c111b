"""Exponential averages against powers of the decay."""

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.optim import lagging_average


def test_after_n_steps_the_start_is_left_with_the_nth_power_of_the_decay():
    average = torch.tensor([1.0], dtype=torch.float64)
    for _ in range(10):
        average = lagging_average(average, torch.tensor([3.0], dtype=torch.float64), decay=0.9)
    assert average.item() == pytest.approx(3.0 - 2.0 * 0.9**10)


def test_without_decay_it_is_the_current_value():
    assert lagging_average(torch.tensor([1.0]), torch.tensor([0.1]), decay=0.0).item() == torch.tensor(0.1).item()


@pytest.mark.parametrize("current", [torch.bfloat16, torch.float16, torch.float64])
def test_an_average_in_single_precision_of_weights_in_another(current):
    average, weights = torch.zeros(4), torch.full((4,), 2.0, dtype=current)
    for _ in range(1000):
        average = lagging_average(average, weights, decay=0.999)
    assert average.dtype == torch.float32
    torch.testing.assert_close(average, torch.full((4,), 2 * (1 - 0.999**1000)), rtol=1e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_average_in_half_precision_is_refused_for_it_would_not_move(dtype):
    one = torch.ones(2, dtype=dtype)
    assert torch.equal(torch.lerp(1.001 * one, one, 0.999), one)  # why
    with pytest.raises(UserError, match=f"average of {dtype}: it would never move"):
        lagging_average(one, one, decay=0.999)
