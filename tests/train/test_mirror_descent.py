"""The squared objective: its gradient, its minimum, its symmetries, and a policy that learns by it."""

import math
from dataclasses import replace

import pytest
import torch
from language_training import FAST, GRPO, cell_of, policy, train_grpo, weights_of

from tenfold.core.errors import UserError
from tenfold.train.mirror_descent import SquaredLoss, baseline_of, squared_loss, squared_piece_loss, with_ptx
from tenfold.train.policy_loss import PolicyLossInputs
from tenfold.train.settings import GRPOSettings

TAU = 0.3


def sampled(seed=0, prompts=3, responses=5, actions=6):
    """Logits of a categorical policy for each prompt, sampled actions and rewards."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(prompts, actions, generator=draw, dtype=torch.float64).requires_grad_()
    chosen = torch.randint(actions, (prompts, responses), generator=draw)
    rewards = torch.rand(prompts, responses, generator=draw, dtype=torch.float64)
    return logits, chosen, rewards


def log_probs_of(logits, chosen):
    return logits.log_softmax(1).gather(1, chosen)


@pytest.mark.spec("kimi_k2/agentic", "D1")
@pytest.mark.parametrize("normalize", [False, True])
def test_the_gradient_on_own_samples_is_that_of_reinforce(normalize):
    logits, chosen, rewards = sampled()
    logs = log_probs_of(logits, chosen)
    (found,) = torch.autograd.grad(squared_loss(logs, logs.detach(), rewards, TAU, normalize=normalize), logits)
    probabilities = logits.detach().softmax(1)
    expected = torch.zeros_like(logits)
    prompts, responses = chosen.shape
    for g in range(prompts):
        for k in range(responses):
            score = -probabilities[g].clone()  # of a categorical policy: one-hot minus probabilities
            score[chosen[g, k]] += 1
            expected[g] += (rewards[g, k] - rewards[g].mean()) * score / (prompts * responses)
    factor = -1.0 if normalize else -2 * TAU
    torch.testing.assert_close(found, factor * expected)


@pytest.mark.spec("kimi_k2/agentic", "D2")
def test_with_the_exact_normaliser_the_minimum_is_the_tilted_policy():
    draw = torch.Generator().manual_seed(1)
    old = torch.randn(6, generator=draw, dtype=torch.float64).log_softmax(0)
    rewards = torch.rand(6, generator=draw, dtype=torch.float64)
    normaliser = TAU * torch.logsumexp(old + rewards / TAU, 0)
    logits = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], lr=1, max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-16)

    def expected_loss():
        """The full expectation under the old policy, with tau log Z in place of an estimate."""
        optimizer.zero_grad()
        squares = (rewards - normaliser - TAU * (logits.log_softmax(0) - old)) ** 2
        loss = (old.exp() * squares).sum()
        loss.backward()
        return loss

    optimizer.step(expected_loss)
    tilted = (old + rewards / TAU).softmax(0)
    torch.testing.assert_close(logits.detach().softmax(0), tilted, atol=1e-4, rtol=0)
    # and the loss of the library, on the same actions with that normaliser as their baseline, is 0 there
    shifted = (rewards - normaliser)[None]
    ours = squared_loss(tilted.log()[None], old[None], shifted - shifted.mean(), TAU)
    centred = shifted.mean() ** 2  # what the mean baseline takes away
    torch.testing.assert_close(
        ours, ((shifted - shifted.mean() - TAU * (tilted.log() - old)) ** 2).mean(), atol=1e-12, rtol=0
    )
    torch.testing.assert_close(ours, centred, atol=1e-12, rtol=0)


@pytest.mark.spec("kimi_k2/agentic", "D3")
@pytest.mark.parametrize("baseline", ["mean", "logmeanexp"])
def test_equal_rewards_teach_nothing_and_a_shift_changes_nothing(baseline):
    logits, chosen, rewards = sampled()
    logs = log_probs_of(logits, chosen)
    constant = squared_loss(logs, logs.detach(), torch.full_like(rewards, 0.7), TAU, baseline)
    (gradient,) = torch.autograd.grad(constant, logits, retain_graph=True)
    assert gradient.abs().max() < 1e-12
    plain = squared_loss(logs, logs.detach() - 0.1, rewards, TAU, baseline)
    shifted = squared_loss(logs, logs.detach() - 0.1, rewards + 5, TAU, baseline)
    torch.testing.assert_close(shifted, plain)


def test_the_baselines_meet_where_tau_is_large_and_part_where_it_is_small():
    rewards = torch.tensor([[0.0, 1.0, 0.5, 0.2]], dtype=torch.float64)
    large = baseline_of(rewards, 1e4, "logmeanexp")
    torch.testing.assert_close(large, baseline_of(rewards, 1e4, "mean"), atol=1e-4, rtol=0)
    by_hand = 0.5 * math.log(sum(math.exp(r / 0.5) for r in (0.0, 1.0, 0.5, 0.2)) / 4)
    assert baseline_of(rewards, 0.5, "logmeanexp").item() == pytest.approx(by_hand)
    assert baseline_of(rewards, 1e-3, "logmeanexp").item() == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("on_policy", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
def test_the_pieces_of_a_trainer_add_up_to_the_objective(on_policy, normalize):
    draw = torch.Generator().manual_seed(2)
    groups, responses, length = 2, 4, 5
    logs = torch.randn(groups * responses, length, generator=draw).requires_grad_()
    old = logs.detach() if on_policy else logs.detach() + 0.1 * torch.randn(logs.shape, generator=draw)
    mask = torch.rand(logs.shape, generator=draw) < 0.7
    rewards = torch.rand(groups, responses, generator=draw)
    sums = [(values * mask).sum(1).view(groups, responses) for values in (logs, old)]
    whole = squared_loss(*sums, rewards, TAU, normalize=normalize)
    advantages = (rewards - rewards.mean(1, keepdim=True)).flatten()
    order = torch.randperm(len(logs), generator=draw)  # a trainer shuffles completions over pieces
    total = torch.zeros(())
    for piece in order.chunk(2):
        inputs = PolicyLossInputs(
            logs[piece], old[piece], advantages[piece], mask[piece], torch.tensor(1.0),
            old_log_probs_BT=None if on_policy else old[piece], pieces=2,
        )  # fmt: skip
        total = total + squared_piece_loss(inputs, SquaredLoss(TAU, normalize))[0]
    torch.testing.assert_close(total, whole)
    torch.testing.assert_close(torch.autograd.grad(total, logs)[0], torch.autograd.grad(whole, logs)[0])


@pytest.mark.spec("kimi_k2/agentic", "T5", "D7")
def test_a_policy_learns_a_hidden_target():
    draw = torch.Generator().manual_seed(0)
    positions, tokens, responses = 8, 6, 16
    target = torch.randint(tokens, (positions,), generator=draw)
    logits = torch.zeros(positions, tokens, requires_grad=True)
    curve = []
    for _ in range(200):
        with torch.no_grad():
            probabilities = logits.softmax(1)
            said = torch.multinomial(probabilities, responses, replacement=True, generator=draw).T  # [K, positions]
            old = logits.log_softmax(1).gather(1, said.T).sum(0)
        rewards = (said == target).float().mean(1)
        curve.append(rewards.mean().item())
        optimizer = torch.optim.Adam([logits], lr=0.05)  # reset in each iteration, as k1.5 does
        for _ in range(2):
            optimizer.zero_grad()
            logs = logits.log_softmax(1).gather(1, said.T).sum(0)
            squared_loss(logs[None], old[None], rewards[None], tau=0.1).backward()
            optimizer.step()
    assert curve[0] < 0.35 and sum(curve[-10:]) / 10 > 0.95


def test_grpo_takes_it_in_place_of_its_loss(tmp_path):
    """Two steps from a round of generation: the ratio is 0 at the first, and has moved at the second."""
    defaults = GRPOSettings()
    settings = replace(
        GRPO, steps=2, loss_type=defaults.loss_type, optimizer=replace(FAST, warmup_steps=0), log_every=1,
        evaluate_every=2, checkpoint_every=2,
    )  # fmt: skip
    cell = cell_of("grpo", tmp_path)
    trained = weights_of(train_grpo(cell, settings, policy_loss=SquaredLoss().policy_loss, evaluate=None))
    assert not all(torch.equal(trained[name], value) for name, value in weights_of(policy()).items())
    first, second = (value for _, value in cell.curves()["squared/log_ratio"])
    assert abs(first) < 1e-4 < abs(second)


def test_ptx_is_added_with_its_weight():
    policy, text = (torch.tensor(value, requires_grad=True) for value in (1.0, 3.0))
    with_ptx(policy, text, 0.25).backward()
    assert (policy.grad, text.grad) == (1.0, 0.25)


def test_bad_settings_are_named():
    for call in (lambda: SquaredLoss(tau=0), lambda: baseline_of(torch.zeros(1, 2), -1, "mean")):
        with pytest.raises(UserError, match=r"tau = .*must be above 0"):
            call()
    with pytest.raises(UserError, match='must be "mean" or "logmeanexp"'):
        baseline_of(torch.zeros(1, 2), 1, "median")
    with pytest.raises(UserError, match="weight = -1"):
        with_ptx(torch.zeros(()), torch.zeros(()), -1)
