"""The loss of one step: its parts by hand, ignored cells, and what must not change it."""

import math
from dataclasses import replace

import pytest
import torch

from tenfold.models.stablemax import softmax_cross_entropy, stablemax_cross_entropy
from tenfold.papers.hrm.halting import Rows, StepOptions, empty_carry, step_losses, training_step
from tenfold.papers.hrm.method import Latents, SegmentOutput

IGNORED = -100


def made_up_output(logits, q_halt, q_continue):
    nothing = torch.zeros(len(logits), 1, 1)
    return SegmentOutput(Latents(nothing, nothing), logits, torch.tensor(q_halt), torch.tensor(q_continue))


def logits_that_say(tokens, vocabulary=4, strength=3.0):
    return strength * torch.nn.functional.one_hot(torch.tensor(tokens), vocabulary).float()


@pytest.fixture
def example():
    """Three slots: all right, one cell wrong, and right where it counts. Labels, and what was said."""
    labels = torch.tensor([[1, 2, 3], [1, 2, 3], [1, IGNORED, 3]])
    said = logits_that_say([[1, 2, 3], [1, 2, 0], [1, 0, 3]])
    return made_up_output(said, [0.7, -0.2, 1.5], [0.1, 0.4, -0.6]), labels


def binary(logit, target):
    p = 1 / (1 + math.exp(-logit))
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


@pytest.mark.parametrize("name", ["stablemax", "softmax"])
def test_parts_and_total_equal_the_formula_worked_out_by_hand(name, example):
    output, labels = example
    targets = [0.25, 0.5, 1.0]
    losses = step_losses(output, labels, torch.tensor(targets), name)
    if name == "stablemax":
        right, wrong = -math.log(4 / 7), -math.log(1 / 7)  # s(3) = 4 beside three s(0) = 1
    else:
        right, wrong = -math.log(math.e**3 / (math.e**3 + 3)), -math.log(1 / (math.e**3 + 3))
    answer = [right, (2 * right + wrong) / 3, right]
    q_halt = [binary(0.7, 1), binary(-0.2, 0), binary(1.5, 1)]
    q_continue = [binary(0.1, 0.25), binary(0.4, 0.5), binary(-0.6, 1.0)]
    assert losses.answer.tolist() == pytest.approx(answer, rel=1e-5)
    assert losses.q_halt.tolist() == pytest.approx(q_halt, rel=1e-5)
    assert losses.q_continue.tolist() == pytest.approx(q_continue, rel=1e-5)
    assert losses.exact.tolist() == [True, False, True]
    assert losses.cell_accuracy.tolist() == pytest.approx([1, 2 / 3, 1])
    total = (sum(answer) + 0.5 * (sum(q_halt) + sum(q_continue))) / 3
    assert losses.total().item() == pytest.approx(total, rel=1e-5)


def test_without_a_target_continuing_is_not_trained(example):
    output, labels = example
    output = output._replace(q_continue=output.q_continue.requires_grad_(), q_halt=output.q_halt.requires_grad_())
    losses = step_losses(output, labels, None)
    assert losses.q_continue.tolist() == [0, 0, 0]
    losses.total().backward()
    assert output.q_continue.grad is None and (output.q_halt.grad != 0).all()


@pytest.mark.spec("hrm", "19")
@pytest.mark.parametrize("name", ["stablemax", "softmax"])
def test_logits_of_ignored_cells_change_nothing(name, example):
    output, labels = example
    before = step_losses(output, labels, torch.full((3,), 0.5), name)
    logits = output.logits.clone()
    logits[2, 1] = torch.tensor([-50.0, 3.0, 1e4, 9.0])
    after = step_losses(output._replace(logits=logits), labels, torch.full((3,), 0.5), name)
    for part, same in zip(before, after, strict=True):
        assert torch.equal(part, same)
    logits[2, 2] = 0  # a cell that counts
    assert not torch.equal(step_losses(output._replace(logits=logits), labels, None, name).answer, before.answer)


@pytest.mark.spec("hrm", "19")
@pytest.mark.parametrize("name", ["stablemax", "softmax"])
def test_a_row_of_ignored_cells_adds_nothing_and_no_nan(name, example):
    output, labels = example
    labels[1] = IGNORED
    output = output._replace(logits=output.logits.requires_grad_(), q_halt=output.q_halt.requires_grad_())
    losses = step_losses(output, labels, torch.full((3,), 0.5), name)
    assert losses.answer[1] == losses.q_halt[1] == losses.q_continue[1] == 0
    assert not losses.exact[1] and losses.cell_accuracy[1] == 0
    losses.total().backward()
    assert not output.logits.grad[1].any() and output.q_halt.grad[1] == 0
    assert output.logits.grad.isfinite().all() and output.logits.grad[0].any()


@pytest.mark.spec("hrm", "20")
@pytest.mark.parametrize("kind", ["hrm", "trm"])
def test_loss_of_a_sample_taken_twice_is_the_loss_of_one(kind, make_model, make_rows):
    model = make_model(kind)
    one = make_rows(model, 1)
    losses = []
    for copies in (1, 2):
        rows = Rows(*(tensor.repeat_interleave(copies, 0) for tensor in one))
        options = StepOptions(seed=0, num_slots=copies)
        losses.append(training_step(model, empty_carry(model, copies), rows, 1, range(copies), options)[0])
    torch.testing.assert_close(losses[1], losses[0], atol=1e-6, rtol=1e-6)


@pytest.mark.spec("hrm", "20")
def test_loss_is_the_mean_over_slots_whatever_their_number_of_cells(example):
    output, labels = example
    whole = step_losses(output, labels, torch.full((3,), 0.5)).total()
    alone = [
        step_losses(
            SegmentOutput(Latents(*(z[slot] for z in output.latents)), *(part[slot] for part in output[1:])),
            labels[slot],
            torch.full((1,), 0.5),
        ).total()
        for slot in (slice(0, 1), slice(1, 2), slice(2, 3))
    ]
    torch.testing.assert_close(whole, torch.stack(alone).mean())


def test_gradient_of_the_step_is_that_of_its_parts_with_a_constant_target(make_model, make_rows):
    """What training_step differentiates: the answer at the cells, both Q values; nothing through the target."""
    model = make_model("hrm")
    rows, options = make_rows(model, 3), StepOptions(seed=0, num_slots=3)
    loss, carry, _ = training_step(model, empty_carry(model, 3), rows, 1, range(3), options)
    got = torch.autograd.grad(loss, list(model.parameters()))

    output = model(model.initial_latents(3), rows.inputs, rows.puzzles)
    ahead = model(Latents(carry.z_H, carry.z_L), rows.inputs, rows.puzzles)
    target = torch.maximum(ahead.q_halt, ahead.q_continue).detach().sigmoid()
    answer = stablemax_cross_entropy(output.logits, rows.labels).mean(-1)
    right = (output.logits.argmax(-1) == rows.labels).all(-1).float()
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = answer.mean() + 0.5 * (bce(output.q_halt, right) + bce(output.q_continue, target))
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(got, torch.autograd.grad(expected, list(model.parameters())), atol=1e-6, rtol=1e-4)


def test_the_named_cross_entropy_is_the_one_that_is_used(make_model, make_rows):
    model = make_model("trm")
    rows, carry = make_rows(model, 2), empty_carry(model, 2)
    output = model(model.initial_latents(2), rows.inputs, rows.puzzles)
    for name, function in (("stablemax", stablemax_cross_entropy), ("softmax", softmax_cross_entropy)):
        _, _, metrics = training_step(model, replace(carry), rows, 1, range(2), StepOptions(0, 2, name))
        expected = function(output.logits, rows.labels).mean()
        torch.testing.assert_close(metrics["train/answer_loss"], expected, check_dtype=False)
