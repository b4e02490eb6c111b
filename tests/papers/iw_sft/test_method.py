"""The weights and the loss against what is known without them: algebra, exact enumeration, finite differences.

The toys are small enough to enumerate every trajectory, so that J, its gradient and the bounds are sums, not estimates.
"""

import math

import pytest
import torch

from tenfold.data.trajectories import quality_probabilities
from tenfold.models import weight_statistics, weighted_nll
from tenfold.papers.iw_sft import method
from tenfold.papers.iw_sft.method import (
    dft_weights,
    importance_weights,
    lower_bound,
    normalize_weights,
    raw_weights,
    stationary_policy,
    trajectory_log_ratio,
)

B, T, V = 4, 6, 5


@pytest.fixture
def batch():
    """Logits of a student, log-probabilities of a reference, tokens and a ragged mask."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(B, T, V, generator=generator)
    tokens = torch.randint(V, (B, T), generator=generator)
    reference = torch.randn(B, T, V, generator=generator).log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    mask = torch.arange(T) < torch.tensor([6, 3, 1, 4])[:, None]
    return logits, tokens, reference, mask


def log_probs_of(logits, tokens):
    return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]


# ------------------------------------------------------------------------------------------ loss and weights on batches


@pytest.mark.spec("iw_sft", "1")
@pytest.mark.parametrize("level", ["trajectory", "step"])
@pytest.mark.parametrize("log_ratio", ["mean", "sum"])
@pytest.mark.parametrize("normalize", ["none", "batch_mean"])
def test_with_the_student_as_reference_the_first_step_is_that_of_sft(batch, level, log_ratio, normalize):
    logits, tokens, _, mask = batch
    gradients = []
    for weighted in (False, True):
        parameter = logits.clone().requires_grad_()
        log_probs = log_probs_of(parameter, tokens)
        weights = None
        if weighted:
            clip = (0.2, 1.8) if level == "step" else (0.0, 16.0)
            raw = importance_weights(log_probs, log_probs, mask, level=level, log_ratio=log_ratio, clip=clip)
            weights = normalize_weights(raw, normalize, mask)
        loss = weighted_nll(log_probs, mask, weights)
        expected = torch.nn.functional.cross_entropy(logits[mask], tokens[mask])
        torch.testing.assert_close(loss.detach(), expected, atol=1e-6, rtol=0)
        gradients.append(torch.autograd.grad(loss, parameter)[0])
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=0)


@pytest.mark.spec("iw_sft", "2")
@pytest.mark.parametrize("level", ["trajectory", "step"])
def test_weights_carry_no_gradient_by_finite_differences(batch, level):
    logits, tokens, reference, mask = batch
    logits = logits.double()
    parameter = logits.clone().requires_grad_()
    log_probs = log_probs_of(parameter, tokens)
    weights = importance_weights(log_probs, reference, mask, level=level, log_ratio="sum", clip=None)
    assert not weights.requires_grad and weights.std() > 0.1
    gradient = torch.autograd.grad(weighted_nll(log_probs, mask, weights), parameter)[0]

    def frozen(at):  # -sum of w log p / N with the weights as numbers
        w = weights.double() if level == "step" else weights.double()[:, None].expand(B, T)
        return -(w * log_probs_of(at, tokens))[mask].sum() / mask.sum()

    step = 1e-5
    for index in [(0, 0, 0), (0, 5, 2), (1, 2, 4), (2, 0, 1), (3, 3, 3), (2, 1, 0)]:
        shift = torch.zeros_like(logits)
        shift[index] = step
        difference = (frozen(logits + shift) - frozen(logits - shift)) / (2 * step)
        assert gradient[index].item() == pytest.approx(difference.item(), abs=1e-7)


def test_trajectory_weights_by_hand():
    q, reference = torch.tensor([[-1.0, -2.0, -9.0]]), torch.tensor([[-1.5, -3.0, 4.0]])
    mask = torch.tensor([[1, 1, 0]])
    assert trajectory_log_ratio(q, reference, mask, "sum").item() == pytest.approx(1.5)
    assert trajectory_log_ratio(q, reference, mask, "mean").item() == pytest.approx(0.75)
    weight = importance_weights(q, reference, mask, log_ratio="mean", temperature=2.0, clip=(0.0, 4.0))
    assert weight.item() == 4.0  # exp(1.5) = 4.48, cut
    steps = importance_weights(q, reference, mask, level="step", clip=(0.2, 1.8))
    assert steps[0, :2].tolist() == pytest.approx([math.exp(0.5), 1.8])


def test_mean_at_temperature_length_is_the_sum(batch):
    logits, tokens, reference, _ = batch
    q, everything = log_probs_of(logits, tokens), torch.ones(B, T)
    by_sum = importance_weights(q, reference, everything, log_ratio="sum")
    by_mean = importance_weights(q, reference, everything, log_ratio="mean", temperature=float(T))
    torch.testing.assert_close(by_sum, by_mean)


@pytest.mark.spec("iw_sft", "7")
@pytest.mark.parametrize("level", ["trajectory", "step"])
@pytest.mark.parametrize("filler", [0.0, float("-inf"), float("nan")])
def test_padding_changes_nothing(batch, level, filler):
    logits, tokens, reference, mask = batch
    results = []
    for padding in (0, 3):
        parameter = logits.clone().requires_grad_()
        pad = torch.nn.functional.pad
        log_probs = pad(log_probs_of(parameter, tokens), (0, padding), value=filler)
        reference_padded = pad(reference, (0, padding), value=filler)
        mask_padded = pad(mask, (0, padding))
        raw = importance_weights(log_probs, reference_padded, mask_padded, level=level, log_ratio="mean")
        loss = weighted_nll(log_probs, mask_padded, normalize_weights(raw, "batch_mean", mask_padded))
        results.append((loss.detach(), torch.autograd.grad(loss, parameter)[0]))
    assert torch.isfinite(results[1][1]).all()
    torch.testing.assert_close(results[0], results[1], atol=1e-7, rtol=1e-6)


@pytest.mark.spec("iw_sft", "7")
@pytest.mark.parametrize("how", ["none", "batch_mean", "batch_sum"])
def test_pieces_of_a_batch_add_up_to_it(batch, how):
    logits, tokens, reference, mask = batch
    parameter = logits.clone().requires_grad_()
    log_probs = log_probs_of(parameter, tokens)
    weights = normalize_weights(importance_weights(log_probs, reference, mask, log_ratio="mean"), how)
    whole = torch.autograd.grad(weighted_nll(log_probs, mask, weights), parameter, retain_graph=True)[0]
    pieces = sum(
        weighted_nll(log_probs[rows], mask[rows], weights[rows], normalizer=mask.sum())
        for rows in (slice(0, 1), slice(1, 4))
    )
    torch.testing.assert_close(torch.autograd.grad(pieces, parameter)[0], whole)


@pytest.mark.spec("iw_sft", "7")
def test_drawing_by_quality_has_the_mean_gradient_of_weighting_by_it():
    """Exact, not estimated: the expectation over draws is a sum over rows."""
    log_probs = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    quality, iw = torch.tensor([0.0, 3.0, 1.0]), torch.tensor([5.0, 0.5, 2.0])
    mask = torch.ones(1, 1)
    by_sampling = sum(
        share * weighted_nll(log_probs[row].reshape(1, 1), mask, iw[row : row + 1])
        for row, share in enumerate(torch.from_numpy(quality_probabilities(quality.numpy())).float())
    )
    by_weight = weighted_nll(log_probs[:, None], torch.ones(3, 1), iw * quality / quality.mean())
    gradients = [torch.autograd.grad(loss, log_probs)[0] for loss in (by_sampling, by_weight)]
    torch.testing.assert_close(*gradients)


@pytest.mark.spec("iw_sft", "9")
@pytest.mark.parametrize("level", ["trajectory", "step"])
@pytest.mark.parametrize("clip", [None, (0.0, 16.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_ratios_leave_everything_finite_and_are_counted(level, clip, dtype):
    q = torch.tensor([[1e4, 1e4], [-1e4, -1e4], [0.0, 0.0]], dtype=dtype)
    mask = torch.ones(3, 2)
    raw = importance_weights(q, torch.zeros_like(q), mask, level=level, log_ratio="sum", clip=clip)
    assert raw.dtype == torch.float32 and torch.isfinite(raw).all()
    for how in ("none", "batch_mean", "batch_sum"):
        assert torch.isfinite(normalize_weights(raw, how, mask)).all()
    statistics = weight_statistics(raw, clip, mask)
    assert all(torch.isfinite(value) for value in statistics.values())
    if clip is not None:
        assert statistics["clip_fraction"].item() == pytest.approx(1 / 3)
        assert statistics["ess_fraction"].item() == pytest.approx((17**2 / 257) / 3, rel=1e-3)


def test_normalisation_by_hand():
    weights, mask = torch.tensor([[1.0, 3.0, 50.0]]), torch.tensor([[True, True, False]])
    assert normalize_weights(weights, "batch_mean", mask)[0, :2].tolist() == [0.5, 1.5]
    assert normalize_weights(weights, "batch_sum", mask)[0, :2].tolist() == [0.25, 0.75]
    assert torch.isfinite(normalize_weights(torch.zeros(3), "batch_mean")).all()


def test_the_family_by_name(batch):
    logits, tokens, reference, mask = batch
    q, scores = log_probs_of(logits, tokens), torch.tensor([0.0, 1.0, -1.0, 50.0])
    named = {
        name: raw_weights(name, q, mask, reference_log_probs_BT=reference, scores=scores, log_ratio="sum")
        for name in ("none", "iw", "dft", "rwr", "awr")
    }
    assert named["none"] is None
    torch.testing.assert_close(named["iw"], importance_weights(q, reference, mask, log_ratio="sum"))
    torch.testing.assert_close(named["dft"], q.exp())
    torch.testing.assert_close(named["rwr"][:3], scores[:3].exp())
    assert named["awr"].tolist() == pytest.approx([1.0, math.e, 1 / math.e, 16.0])


def test_dft_is_iw_step_with_a_uniform_reference(batch):
    logits, tokens, _, mask = batch
    q = log_probs_of(logits, tokens)
    uniform = torch.full_like(q, -math.log(V))
    ratio = importance_weights(q, uniform, mask, level="step", clip=None)
    torch.testing.assert_close(ratio[mask], (V * dft_weights(q))[mask])


# --------------------------------------------------------------------------------------------------- enumerable toys


@pytest.mark.spec("iw_sft", "3")
def test_at_q_equal_to_the_policy_the_gradient_is_the_policy_gradient():
    """Two steps, three actions, state = first action: nine trajectories, a reference that is not uniform."""
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(3, generator=generator).double().requires_grad_()
    second = torch.randn(3, 3, generator=generator).double().requires_grad_()
    reference_first = torch.randn(3, generator=generator).double().log_softmax(-1)
    reference_second = torch.randn(3, 3, generator=generator).double().log_softmax(-1)
    rewards = torch.rand(9, generator=generator).double()

    def steps(one, two):  # log-probabilities [9, 2] of all trajectories
        a, b = torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij")
        return torch.stack([one.log_softmax(-1)[a.flatten()], two.log_softmax(-1)[a.flatten(), b.flatten()]], -1)

    J = (steps(first, second).sum(-1).exp() * rewards).sum()
    exact = torch.autograd.grad(J, (first, second))
    log_probs, reference = steps(first, second), steps(reference_first, reference_second)
    mask = torch.ones(9, 2)
    w = importance_weights(log_probs, reference, mask, log_ratio="sum", temperature=1.0, clip=None)
    data = reference.sum(-1).exp() * rewards  # how often a trajectory comes, times what it earns
    loss = weighted_nll(log_probs, mask, data * w, normalizer=1.0)
    for ours, theirs in zip(torch.autograd.grad(loss, (first, second)), exact, strict=True):
        torch.testing.assert_close(-ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.spec("iw_sft", "4")
@pytest.mark.parametrize("seed", range(20))
def test_the_bounds_are_in_order(seed):
    generator = torch.Generator().manual_seed(seed)
    p, q, reference = (torch.randn(3, 8, generator=generator).double() * 2).softmax(-1)
    rewards = torch.rand(8, generator=generator).double()
    J = (p * rewards).sum()
    assert lower_bound(p, p, rewards).item() == pytest.approx(J.item(), abs=1e-12)
    sft = (reference * rewards * (1 + p.log() - reference.log())).sum()  # the bound of SFT, written out
    assert lower_bound(p, reference, rewards).item() == pytest.approx(sft.item(), abs=1e-12)
    assert sft <= J
    assert lower_bound(p, q, rewards) <= J


def two_arms(alpha, clip=None, decay=0.99, rate=0.1, steps=2000):
    """p(right) after full-batch steps on the successes of two arms: left pays half the time, right always."""
    logits = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    reference, kept = torch.tensor([0.5, 0.5]).double(), torch.tensor([1 / 3, 2 / 3]).double()
    q = logits.detach().clone()
    optimizer = torch.optim.SGD([logits], lr=rate)
    for _ in range(steps):
        log_p = logits.log_softmax(-1)[:, None]
        w = importance_weights(
            q.log_softmax(-1)[:, None],
            reference.log()[:, None],
            torch.ones(2, 1),
            log_ratio="sum",
            temperature=alpha,
            clip=clip,
        )
        loss = weighted_nll(log_p, torch.ones(2, 1), kept * w, normalizer=1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        q = decay * q + (1 - decay) * logits.detach()
    return logits.detach().softmax(-1)[1].item()


@pytest.mark.spec("iw_sft", "5")
def test_two_arms():
    assert two_arms(alpha=1e-9) == pytest.approx(2 / 3, abs=0.01)  # SFT
    assert two_arms(alpha=1.0) >= 0.99
    assert two_arms(alpha=0.5) == pytest.approx(0.80, abs=0.01)
    assert two_arms(alpha=1.0, clip=(0.0, 1.2)) >= 0.95


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.8])
def test_training_comes_to_rest_where_the_formula_says(alpha):
    kept, reference = torch.tensor([1 / 3, 2 / 3]), torch.tensor([0.5, 0.5])
    expected = stationary_policy(kept, reference, alpha)[1].item()
    assert two_arms(alpha=max(alpha, 1e-9), steps=4000) == pytest.approx(expected, abs=0.01)


def test_exponents():
    assert method.effective_exponent("mean", 10.0, 1000) == 0.01
    assert method.effective_exponent("sum", 0.5, 1000) == 0.5
