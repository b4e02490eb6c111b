"""The sparse embedding: what a lookup returns, and where its gradient goes."""

import torch

from tenfold.models import SparseEmbedding


def filled_table(num_rows=5, size=3):
    table = SparseEmbedding(num_rows, size)
    table.weight.copy_(torch.arange(num_rows * size).view(num_rows, size))
    return table


def test_rows_are_looked_up_by_number():
    table = filled_table()
    expected = torch.tensor([[12.0, 13, 14], [0, 1, 2], [12, 13, 14]])
    indices = torch.tensor([4, 0, 4])
    assert torch.equal(table(indices), expected)
    assert torch.equal(table.eval()(indices), expected)


def test_the_table_is_a_saved_buffer_of_zeros_and_no_parameter():
    table = SparseEmbedding(4, 2)
    assert not list(table.parameters())
    assert list(table.state_dict()) == ["weight"] and not table.weight.any()
    torch.manual_seed(0)
    assert abs(SparseEmbedding(1000, 100, std=0.5).weight.std().item() - 0.5) < 0.01


def test_training_gathers_the_gradient_of_each_looked_up_row_in_a_leaf():
    table = filled_table()
    factors = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    (table(torch.tensor([3, 3])) * factors).sum().backward()
    ((indices, leaf),) = table.pending
    assert indices.tolist() == [3, 3] and torch.equal(leaf.grad, factors)
    assert table.weight.grad is None
    with torch.no_grad():
        leaf.add_(100)
    assert torch.equal(table.weight, filled_table().weight), "the leaf is a copy"


def test_nothing_is_pending_outside_of_training_or_without_gradient():
    table = filled_table()
    with torch.no_grad():
        assert not table(torch.tensor([1])).requires_grad
    assert not table.eval()(torch.tensor([1])).requires_grad
    assert table.pending == []
