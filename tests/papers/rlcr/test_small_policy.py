"""Masked addition by two small networks: the specification's setting, over three seeds."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tenfold.papers.rlcr.masked_addition import problems
from tenfold.papers.rlcr.small_policy import (
    VARIANTS,
    SmallTraining,
    brier_only,
    compare,
    group_advantages,
    measure,
    reinforce,
    rlcr,
    rlvr,
    warm_start,
)


@pytest.fixture(scope="module")
def reports():
    """For each of three seeds the report of every variant, from the same over-confident start."""
    torch.set_num_threads(1)
    return [compare(seed, VARIANTS) for seed in range(3)]


def of(reports, arm, metric):
    return np.array([report[arm][metric] for report in reports])


@pytest.mark.spec("rlcr", "6")
def test_the_setting_is_the_one_of_the_specification():
    t = SmallTraining()
    assert (t.prompts, t.samples, t.steps, t.learning_rate, t.entropy_bonus) == (32, 16, 600, 1e-3, 0.01)
    assert t.scale == "none" and VARIANTS["rlcr"] == (rlcr, t) and VARIANTS["rlvr"] == (rlvr, t)
    changed = {name: {f for f in vars(t) if vars(used)[f] != vars(t)[f]} for name, (_, used) in VARIANTS.items()}
    assert changed["rlcr, no bonus, scaled"] == {"entropy_bonus", "scale"} and changed["brier_only"] == set()


@pytest.mark.slow
@pytest.mark.spec("rlcr", "6")
def test_rlcr_is_calibrated_at_the_accuracy_of_the_binary_reward(reports):
    assert np.abs(of(reports, "rlcr", "accuracy") - of(reports, "rlvr", "accuracy")).max() <= 0.01
    assert of(reports, "rlcr", "ece").max() <= 0.06
    assert of(reports, "rlcr", "auroc").min() >= 0.78
    assert of(reports, "rlcr", "brier").max() <= 0.17
    assert (of(reports, "rlvr", "brier") - of(reports, "rlcr", "brier")).min() >= 0.08


@pytest.mark.slow
@pytest.mark.spec("rlcr", "7")
def test_the_brier_score_alone_loses_accuracy(reports):
    assert (of(reports, "rlvr", "accuracy") - of(reports, "brier_only", "accuracy")).min() >= 0.05


def test_the_warm_start_is_overconfident_whatever_is_hidden():
    policy = warm_start(0, SmallTraining(warm_start_steps=300))
    with torch.no_grad():
        stated = []
        for hidden in range(3):
            found = [problem for problem in problems(2000, 0, "probe") if problem.facts["num_hidden"] == hidden]
            features = policy.trunk(policy.encode(found))
            law = policy.confidence(features, policy.answer(features).argmax(-1)).softmax(-1)
            stated.append(float((law @ (torch.arange(11) / 10)).mean()))
    assert 0.81 < np.mean(stated) < 0.94 and np.ptp(stated) < 0.03


def test_a_short_reinforcement_lowers_the_brier_score_and_keeps_the_accuracy():
    """What the slow tests check over three seeds, in its direction, within seconds."""
    training = SmallTraining(warm_start_steps=300, steps=80, learning_rate=2e-3)
    start = warm_start(0, training)
    before, after = measure(start, 0), measure(reinforce(copy.deepcopy(start), rlcr, 0, training), 0)
    assert after["brier"] < before["brier"] - 0.1
    assert after["accuracy"] > before["accuracy"] - 0.05


def test_the_entropy_bonus_alone_makes_confidences_even():
    training = SmallTraining(warm_start_steps=100, steps=40, entropy_bonus=1.0, learning_rate=3e-3)
    start = warm_start(0, training)
    trained = reinforce(copy.deepcopy(start), lambda q, c: torch.zeros_like(q), 0, training)
    entropies = []
    for policy in (start, trained):
        features = policy.trunk(policy.encode(problems(500, 0, "entropy")))
        law = policy.confidence(features, policy.answer(features).argmax(-1)).softmax(-1)
        entropies.append(float(-(law * law.log()).sum(-1).mean().detach()))
    assert entropies[1] > entropies[0] + 0.3


def test_advantages_are_centred_in_their_group_and_scaled_on_request():
    rewards = torch.tensor([1.0, 0.0, 3.0, 3.0])
    assert group_advantages(rewards, 2, "none").tolist() == [0.5, -0.5, 0.0, 0.0]
    scaled = group_advantages(rewards, 2, "group")
    assert scaled[:2].tolist() == pytest.approx([2**-0.5, -(2**-0.5)], rel=1e-3) and scaled[2:].tolist() == [0, 0]


def test_rewards_by_hand():
    q, c = torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert rlcr(q, c).tolist() == [1, 0, 0, -1]
    assert rlvr(q, c).tolist() == [1, 1, 0, 0] and brier_only(q, c).tolist() == [0, -1, 0, -1]


def test_equal_keys_give_equal_policies():
    short = SmallTraining(steps=3, warm_start_steps=3)
    weights = [
        [p.detach().clone() for p in reinforce(warm_start(seed, short), rlcr, seed, short).parameters()]
        for seed in (0, 0, 1)
    ]
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not torch.equal(weights[0][0], weights[2][0])
    scaled = reinforce(warm_start(0, short), rlcr, 0, replace(short, scale="group"))
    assert not torch.equal(next(scaled.parameters()), weights[0][0])
