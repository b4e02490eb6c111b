"""The weighted likelihood against sums written out, and what weights are worth in closed form."""

import pytest
import torch

from tenfold.models.weighted_likelihood import effective_sample_size, per_step, weight_statistics, weighted_nll

LOG_PROBS = torch.tensor([[-1.0, -2.0, -4.0], [-3.0, -0.5, 7.0]])
MASK = torch.tensor([[True, True, True], [True, True, False]])


@pytest.mark.parametrize(
    ("weights", "total"),
    [(None, 10.5), (torch.tensor([2.0, 4.0]), 28.0), (torch.tensor([[1.0, 0.0, 2.0], [0.0, 4.0, 9.0]]), 11.0)],
)
def test_the_loss_is_the_sum_over_supervised_steps_divided_by_their_number(weights, total):
    assert weighted_nll(LOG_PROBS, MASK, weights).item() == pytest.approx(total / 5)
    assert weighted_nll(LOG_PROBS, MASK.float(), weights, normalizer=20.0).item() == pytest.approx(total / 20)


def test_weights_that_do_carry_a_gradient_are_detached_by_the_loss():
    parameter = LOG_PROBS.clone().requires_grad_()
    attached = (parameter * MASK).sum(-1).exp()
    with_attached = torch.autograd.grad(weighted_nll(parameter, MASK, attached), parameter, retain_graph=True)[0]
    by_hand = -attached.detach()[:, None] * MASK / 5
    torch.testing.assert_close(with_attached, by_hand)


def test_nothing_supervised_is_no_loss():
    assert weighted_nll(LOG_PROBS, torch.zeros_like(MASK)).item() == 0


def test_weights_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="weights have shape"):
        weighted_nll(LOG_PROBS, MASK, torch.ones(2, 1))
    assert per_step(torch.tensor([2.0, 3.0]), MASK).tolist() == [[2, 2, 2], [3, 3, 0]]


def test_effective_sample_size_in_closed_form():
    for k in (1, 3, 10):
        weights = torch.zeros(10)
        weights[:k] = 0.7
        assert effective_sample_size(weights).item() == pytest.approx(k)
    assert effective_sample_size(torch.tensor([1e30, 1e30])).item() == pytest.approx(2.0)


def test_statistics_of_steps_leave_padding_out():
    weights, mask = torch.tensor([[1.0, 3.0, 99.0]]), torch.tensor([[True, True, False]])
    statistics = weight_statistics(weights, (0.0, 3.0), mask)
    expected = {"mean": 2.0, "max": 3.0, "min": 1.0, "clip_fraction": 0.5, "ess_fraction": 16 / 10 / 2}
    assert {name: value.item() for name, value in statistics.items()} == pytest.approx(expected)
