"""Exponential averages against powers of the decay."""

import pytest
import torch

from tenfold.optim import lagging_average


def test_after_n_steps_the_start_is_left_with_the_nth_power_of_the_decay():
    average = torch.tensor([1.0], dtype=torch.float64)
    for _ in range(10):
        average = lagging_average(average, torch.tensor([3.0], dtype=torch.float64), decay=0.9)
    assert average.item() == pytest.approx(3.0 - 2.0 * 0.9**10)


def test_without_decay_it_is_the_current_value():
    assert lagging_average(torch.tensor([1.0]), torch.tensor([0.1]), decay=0.0).item() == torch.tensor(0.1).item()
