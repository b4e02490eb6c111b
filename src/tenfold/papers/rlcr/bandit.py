"""The smallest problem on which a calibration reward can go wrong: six arms, a confidence with each pull.

A policy chooses an arm and one of eleven confidences jointly. The expected reward is known, so its gradient is exact,
and what is found is what the reward asks for, without sampling. The last arm never wins: a reward that pays for honesty
alone, or that punishes doubt without bound, leads there.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

SUCCESS = (0.34, 0.25, 0.18, 0.13, 0.10, 0.0)
CONFIDENCES = tuple(k / 10 for k in range(11))


class Pulled(NamedTuple):
    """The policy that a reward leads to.

    ``accuracy``: its expected success. ``arm`` and ``confidence``: the most probable ones. ``confidence_entropy``: of
    the confidence given that arm, in nats; log 11 where the reward leaves it undetermined.
    """

    accuracy: float
    arm: int
    confidence: float
    confidence_entropy: float


def ascend(
    reward: Callable[[float, int], float],
    success: Sequence[float] = SUCCESS,
    confidences: Sequence[float] = CONFIDENCES,
    steps: int = 4000,
    learning_rate: float = 0.05,
) -> Pulled:
    """Follow the exact gradient of the expected reward from the uniform policy.

    Args:
        reward: (q, c) to reward.
        success: probability of c = 1 for each arm.
        confidences: what may be stated.
        steps: of Adam.
        learning_rate: of Adam.

    Example:
        >>> from tenfold.papers.rlcr.method import rlcr_reward
        >>> ascend(rlcr_reward).confidence
        0.3
    """
    p_A = torch.tensor(success, dtype=torch.float64)[:, None]
    right_Q, wrong_Q = (torch.tensor([reward(q, c) for q in confidences], dtype=torch.float64) for c in (1, 0))
    expected_AQ = p_A * right_Q + (1 - p_A) * wrong_Q
    logits_AQ = torch.zeros_like(expected_AQ, requires_grad=True)
    optimizer = torch.optim.Adam([logits_AQ], lr=learning_rate)
    for _ in range(steps):
        policy_AQ = logits_AQ.flatten().softmax(0).view_as(expected_AQ)
        loss = -(policy_AQ * expected_AQ).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    policy_AQ = logits_AQ.detach().flatten().softmax(0).view_as(expected_AQ)
    arm = int(policy_AQ.sum(1).argmax())
    stated_Q = policy_AQ[arm] / policy_AQ[arm].sum()
    return Pulled(
        accuracy=float((policy_AQ.sum(1, keepdim=True) * p_A).sum()),
        arm=arm,
        confidence=confidences[int(stated_Q.argmax())],
        confidence_entropy=float(-torch.special.xlogy(stated_Q, stated_Q).sum()),
    )
