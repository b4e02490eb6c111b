"""Stablemax and softmax cross-entropy: closed-form values, a plain reference, ignored cells."""

import math

import pytest
import torch

from tenfold.models import softmax_cross_entropy, stablemax_cross_entropy, stablemax_scores

LOSSES = [stablemax_cross_entropy, softmax_cross_entropy]


def reference(logits, label):
    """-log p in Python floats, from the definition."""
    scores = [x + 1 if x >= 0 else 1 / (1 - x) for x in logits]
    return -math.log(scores[label] / sum(scores))


@pytest.mark.spec("hrm", "18")
def test_scores_at_three_points_and_slope_one_from_both_sides_of_zero():
    assert stablemax_scores(torch.tensor([0.0, 1.0, -1.0])).tolist() == [1.0, 2.0, 0.5]
    near = torch.tensor([-1e-6, 0.0, 1e-6], dtype=torch.float64, requires_grad=True)
    scores = stablemax_scores(near)
    (slope,) = torch.autograd.grad(scores.sum(), near)
    torch.testing.assert_close(slope, torch.ones_like(slope), atol=1e-5, rtol=0)
    torch.testing.assert_close(scores.diff(), torch.full_like(scores.diff(), 1e-6), atol=1e-11, rtol=0)


@pytest.mark.spec("hrm", "18")
@pytest.mark.parametrize("vocabulary", [2, 11])
@pytest.mark.parametrize("level", [-3.0, 0.0, 7.0])
def test_equal_logits_cost_the_logarithm_of_the_vocabulary(vocabulary, level):
    loss = stablemax_cross_entropy(torch.full((1, vocabulary), level), torch.tensor([1]))
    assert loss.item() == pytest.approx(math.log(vocabulary), abs=1e-12)


@pytest.mark.spec("hrm", "18")
def test_a_constant_added_to_all_logits_changes_stablemax_and_not_softmax():
    logits, label = torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([2])
    stable = [stablemax_cross_entropy(logits + shift, label).item() for shift in (0, 3)]
    soft = [softmax_cross_entropy(logits + shift, label).item() for shift in (0, 3)]
    assert abs(stable[1] - stable[0]) > 0.1
    assert soft[1] == pytest.approx(soft[0], abs=1e-6)


def test_stablemax_equals_its_definition_in_float64():
    logits = 20 * torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 7
    losses = stablemax_cross_entropy(logits, labels)
    assert losses.dtype == torch.float64
    expected = [reference(row, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=1e-12)


def test_softmax_equals_its_definition():
    logits = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(9) % 4
    expected = -logits.softmax(-1)[torch.arange(9), labels].log()
    torch.testing.assert_close(softmax_cross_entropy(logits.view(3, 3, 4), labels.view(3, 3)), expected.view(3, 3))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_analytic_one(loss):
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 3, -100, 1, 1])
    tolerance = {"atol": 1e-6} if loss is stablemax_cross_entropy else {"eps": 1e-2, "atol": 1e-2}  # float32 inside
    assert torch.autograd.gradcheck(lambda x: loss(x, labels).sum(), (logits,), **tolerance)


def test_huge_logits_have_finite_losses_and_gradients():
    logits = torch.tensor([[1e30, -1e30, 0.0], [-1e30, -1e30, -1e30], [1.0, 0.0, -1.0]], requires_grad=True)
    losses = stablemax_cross_entropy(logits, torch.tensor([1, 0, 2]))
    losses.sum().backward()
    assert losses.isfinite().all() and logits.grad.isfinite().all()


@pytest.mark.spec("hrm", "19")
@pytest.mark.parametrize("loss", LOSSES)
def test_ignored_cells_cost_nothing_and_get_no_gradient(loss):
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([[1, -100, 4], [-100, -100, -100]])
    losses = loss(logits, labels)
    assert (losses == 0).tolist() == (labels == -100).tolist()
    losses.sum().backward()
    assert (logits.grad.abs().sum(-1) == 0).tolist() == (labels == -100).tolist()
