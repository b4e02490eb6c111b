"""Kimi's squared objective of reinforcement learning, as pure functions and as a loss for the trainer.

    L(theta) = E_x [ 1/K sum_i ( r_i - r_bar - tau log( pi(y_i|x) / pi_old(y_i|x) ) )^2 ]

It comes from max E[r] - tau KL(pi || pi_old), whose solution pi_old exp(r / tau) / Z makes every bracket 0 if r_bar is
tau log Z. The log-probability of a response is the sum over its tokens. There is no clip and no value network; pi_old
becomes the current policy in each round.

Sources: Kimi k1.5, arXiv 2501.12599, section 2.3.2; Kimi K2, arXiv 2507.20534, section 3.2.3.

Shapes: G prompts, K responses to each; B completions of a piece, T tokens of a completion.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from tenfold.core.errors import UserError
from tenfold.train.policy_loss import PolicyLoss, PolicyLossInputs

Baseline = Literal["mean", "logmeanexp"]


def baseline_of(rewards_GK: Tensor, tau: float, baseline: Baseline) -> Tensor:
    """What the rewards of a prompt's responses are compared with.

        mean:        1/K sum_j r_j                          the limit of the other for tau to infinity; the report's
        logmeanexp:  tau log( 1/K sum_j exp(r_j / tau) )    an estimate of tau log Z

    Returns:
        [G, 1].

    Raises:
        UserError: ``tau`` is not positive, or the baseline is unknown.

    Example:
        >>> baseline_of(torch.tensor([[0.0, 1.0]]), 0.1, "mean")
        tensor([[0.5000]])
    """
    _require_tau(tau)
    if baseline == "mean":
        return rewards_GK.mean(1, keepdim=True)
    if baseline == "logmeanexp":
        return tau * (torch.logsumexp(rewards_GK / tau, 1, keepdim=True) - math.log(rewards_GK.shape[1]))
    raise UserError(f'baseline = {baseline!r}: must be "mean" or "logmeanexp"')


def squared_loss(
    log_probs_GK: Tensor,
    old_log_probs_GK: Tensor,
    rewards_GK: Tensor,
    tau: float,
    baseline: Baseline = "mean",
    normalize: bool = False,
) -> Tensor:
    """The objective on whole groups.

    Args:
        log_probs_GK: of the responses under the trained policy, summed over their tokens.
        old_log_probs_GK: under the policy that said them; constants.
        rewards_GK: of the responses.
        tau: strength of the pull towards the old policy, above 0.
        baseline: see :func:`baseline_of`.
        normalize: divide by 2 tau, so that the gradient on the policy's own samples is that of REINFORCE for any tau.

    Returns:
        A scalar.

    Raises:
        UserError: ``tau`` is not positive, or the baseline is unknown.

    Example:
        >>> logs_GK = torch.zeros(1, 2, requires_grad=True)
        >>> squared_loss(logs_GK, torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]), tau=0.5, normalize=True).backward()
        >>> logs_GK.grad  # - (r_i - r_bar) / K
        tensor([[ 0.2500, -0.2500]])
    """
    advantages_GK = rewards_GK - baseline_of(rewards_GK, tau, baseline)
    squares_GK = (advantages_GK - tau * (log_probs_GK - old_log_probs_GK)) ** 2
    return squares_GK.mean() / (2 * tau if normalize else 1)


@dataclass(frozen=True)
class SquaredLoss:
    """The objective as a loss for :func:`~tenfold.train.grpo.grpo`.

    The trainer's advantages are r_i - r_bar with the mean as baseline, if rewards are not scaled
    (``scale_rewards="none"``). The other baseline needs whole groups, which a piece need not hold.

    Args:
        tau: see :func:`squared_loss`.
        normalize: likewise.

    Raises:
        UserError: ``tau`` is not positive.

    Example:
        >>> SquaredLoss(tau=0.1).policy_loss.needs_reference
        False
    """

    tau: float = 0.1
    normalize: bool = True

    def __post_init__(self) -> None:
        """Refuse what has no minimum."""
        _require_tau(self.tau)

    @property
    def policy_loss(self) -> PolicyLoss:
        """What a trainer takes."""
        return PolicyLoss(partial(squared_piece_loss, settings=self))


def squared_piece_loss(inputs: PolicyLossInputs, settings: SquaredLoss) -> tuple[Tensor, dict[str, Tensor]]:
    """The objective on one piece, where the advantages are given.

    Without old log-probabilities the policy is the old one; the ratio is then 0 and has the gradient of log pi.

    Args:
        inputs: of one piece.
        settings: which objective.

    Returns:
        The loss, scalar, a mean over the piece's completions; and ``squared/log_ratio``, their mean.
    """
    log_probs_BT, old_BT = inputs.log_probs_BT, inputs.old_log_probs_BT
    if old_BT is None:
        old_BT = log_probs_BT.detach()
    log_ratio_B = ((log_probs_BT - old_BT) * inputs.mask_BT).sum(1)
    squares_B = (inputs.advantages_B - settings.tau * log_ratio_B) ** 2
    loss = squares_B.mean() / inputs.pieces
    if settings.normalize:
        loss = loss / (2 * settings.tau)
    return loss, {"squared/log_ratio": log_ratio_B.detach()}


def with_ptx(loss: Tensor, language_loss: Tensor, weight: float) -> Tensor:
    """L + lambda L_ptx: beside reinforcement, the ordinary loss on texts that shall not be forgotten.

    Args:
        loss: of the policy.
        language_loss: mean cross-entropy of the chosen texts.
        weight: lambda, at least 0; the report does not give it.

    Raises:
        UserError: the weight is negative.

    Example:
        >>> with_ptx(torch.tensor(1.0), torch.tensor(2.0), 0.1)
        tensor(1.2000)
    """
    if weight < 0:
        raise UserError(f"weight = {weight}: must be at least 0")
    return loss + weight * language_loss


def _require_tau(tau: float) -> None:
    if not tau > 0:
        raise UserError(f"tau = {tau}: must be above 0")
