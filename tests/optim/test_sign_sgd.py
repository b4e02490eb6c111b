"""Sign descent on the rows of a sparse embedding: which rows move, and by how much."""

import pytest
import torch

from tenfold.models import SparseEmbedding
from tenfold.optim import SparseSignSGD

LR = 0.25  # a power of two: steps are exact


def make(weight_decay=0.0):
    """A table of small whole numbers and its optimizer."""
    table = SparseEmbedding(6, 3)
    table.weight.copy_(torch.arange(18).view(6, 3))
    return table, SparseSignSGD(table, lr=LR, weight_decay=weight_decay), table.weight.clone()


def backward(table, indices, factors):
    (table(torch.tensor(indices)) * torch.tensor(factors)[:, None]).sum().backward()


@pytest.mark.spec("hrm", "22")
def test_rows_outside_of_the_batch_are_bit_identical_and_the_step_is_exactly_the_rate():
    table, optimizer, before = make()
    backward(table, [1, 4], [3e-7, -1e9])
    optimizer.step()
    expected = before.clone()
    expected[1] -= LR
    expected[4] += LR
    assert torch.equal(table.weight, expected)


@pytest.mark.spec("hrm", "22")
def test_gradients_of_a_row_that_occurs_twice_are_summed_before_the_sign():
    table, optimizer, before = make()
    # Signs alone would cancel in row 2 (+ and -) and add up to two steps in row 5.
    backward(table, [2, 5, 2, 5], [1.0, 1.0, -4.0, 1.0])
    optimizer.step()
    expected = before.clone()
    expected[2] += LR
    expected[5] -= LR
    assert torch.equal(table.weight, expected)


def test_gradients_of_accumulated_batches_are_summed_before_the_sign():
    table, optimizer, before = make()
    backward(table, [2], [1.0])
    backward(table, [2, 3], [-4.0, 1.0])
    optimizer.step()
    expected = before.clone()
    expected[2] += LR
    expected[3] -= LR
    assert torch.equal(table.weight, expected)


def test_decay_touches_the_rows_of_the_batch_alone():
    table, optimizer, before = make(weight_decay=0.5)
    backward(table, [3], [0.0])
    optimizer.step()
    expected = before.clone()
    expected[3] *= 1 - LR * 0.5
    assert torch.equal(table.weight, expected)


def test_zero_grad_forgets_the_pending_rows():
    table, optimizer, before = make()
    backward(table, [1], [1.0])
    optimizer.zero_grad()
    optimizer.step()
    assert table.pending == [] and torch.equal(table.weight, before)
    backward(table, [4], [1.0])
    optimizer.step()
    assert torch.equal(table.weight[1], before[1]) and not torch.equal(table.weight[4], before[4])


def test_a_lookup_that_no_loss_used_does_not_move():
    table, optimizer, before = make()
    table(torch.tensor([1]))
    backward(table, [2], [1.0])
    optimizer.step()
    assert torch.equal(table.weight[1], before[1])
