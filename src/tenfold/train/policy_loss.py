"""Losses of policy gradients as pure functions: log-probabilities, advantages and a mask in, loss and metrics out.

:class:`~tenfold.train.grpo.RolloutGRPOTrainer` and :func:`~tenfold.train.grpo.grpo` take a :class:`PolicyLoss` in place
of trl's own loss. The worked example is :func:`grpo_loss`, which is trl's loss and gradient to the last bit.

A loss sees one piece: the completions of one process that share a backward pass. The gradients of a step's pieces are
added, and those of the processes averaged. A mean over the tokens of the global batch is therefore a sum divided by
``num_items``; a loss that is a mean over its own piece is divided by ``pieces``.

Shapes: B completions of a piece, T tokens of a completion; [B, 1] is a number of each completion beside [B, T].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.train.settings import GRPOSettings


@dataclass(frozen=True)
class PolicyLossInputs:
    """What a loss may know of one piece; all but ``log_probs_BT`` and ``entropies_BT`` are constants.

    Args:
        log_probs_BT: of the sampled tokens under the trained policy.
        sampler_log_probs_BT: of the same tokens as the sampler stated them when it drew them. An engine that computes
            in another precision, or has older weights, states others than ``old_log_probs_BT``.
        advantages_B: of the completions.
        mask_BT: bool; true for the tokens that enter the loss. What stands elsewhere means nothing.
        num_items: scalar, at least 1 / processes; the tokens in the mask of a step's global batch, divided by the
            number of processes. Where a round of generation feeds several steps: the round's, divided by its steps.
        old_log_probs_BT: under the policy at the time of sampling, as the trainer computes it; ``None`` where that is
            the trained policy itself, because a round of generation feeds one step.
        reference_log_probs_BT: under the initial policy; ``None`` unless the loss needs it.
        entropies_BT: of the trained policy's next token, in nats, at each place.
        pieces: of a step on this process.
        step: optimizer steps done before this one, for a loss that draws something of its own.
    """

    log_probs_BT: Tensor
    sampler_log_probs_BT: Tensor
    advantages_B: Tensor
    mask_BT: Tensor
    num_items: Tensor
    old_log_probs_BT: Tensor | None = None
    reference_log_probs_BT: Tensor | None = None
    entropies_BT: Tensor | None = None
    pieces: int = 1
    step: int = 0


LossFunction = Callable[[PolicyLossInputs], tuple[Tensor, Mapping[str, Tensor]]]
"""``inputs -> (loss, metrics)``: a scalar to differentiate, and constants to log by name. A metric of shape [B, T] is
logged as its mean over the masked tokens of all processes, any other as the mean of its elements over all processes."""


@dataclass(frozen=True)
class PolicyLoss:
    """A loss function and what it needs.

    Args:
        function: see :data:`LossFunction`.
        needs_reference: whether it reads ``reference_log_probs_BT``; a copy of the initial model is then kept.

    Example:
        >>> def reinforce(inputs):
        ...     ratio_BT = (inputs.log_probs_BT.detach() - inputs.sampler_log_probs_BT).exp()
        ...     gains_BT = ratio_BT * inputs.advantages_B[:, None] * inputs.log_probs_BT
        ...     return -(gains_BT * inputs.mask_BT).sum() / inputs.num_items, {"ratio/mean": ratio_BT}
        >>> PolicyLoss(reinforce).needs_reference
        False
    """

    function: LossFunction
    needs_reference: bool = False


@dataclass(frozen=True)
class GRPOLoss:
    """Which loss of the GRPO family; fields mean what those of :class:`~tenfold.train.settings.GRPOSettings` do.

    Args:
        loss_type: what is averaged over: see :func:`mean_loss`.
        epsilon: clip range of the ratio.
        epsilon_high: upper clip range; 0 for ``epsilon``.
        importance_sampling_level: of the ratio.
        beta: coefficient of the divergence from the initial policy.
        entropy_coefficient: bonus per nat of the mean entropy.
        max_completion_length: what ``dr_grpo`` divides by; 0 with the others.

    Raises:
        UserError: if ``dr_grpo`` lacks its length, or another loss type has one.

    Example:
        >>> GRPOLoss(loss_type="dapo", beta=0.1).policy_loss.needs_reference
        True
    """

    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "bnpo"
    epsilon: float = 0.2
    epsilon_high: float = 0.0
    importance_sampling_level: Literal["token", "sequence"] = "token"
    beta: float = 0.0
    entropy_coefficient: float = 0.0
    max_completion_length: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.loss_type != "dr_grpo":
            refuse_idle(self, ("max_completion_length",), acts="loss_type = dr_grpo")
        elif self.max_completion_length < 1:
            raise UserError(f"max_completion_length = {self.max_completion_length}: must be at least 1 with dr_grpo")

    @classmethod
    def of(cls, settings: GRPOSettings) -> "GRPOLoss":
        """The loss that :func:`~tenfold.train.grpo.grpo` has trl compute for these settings."""
        return cls(
            settings.loss_type,
            settings.epsilon,
            settings.epsilon_high,
            settings.importance_sampling_level,
            settings.beta,
            settings.entropy_coefficient,
            settings.max_completion_length if settings.loss_type == "dr_grpo" else 0,
        )

    @property
    def policy_loss(self) -> PolicyLoss:
        """What a trainer takes."""
        return PolicyLoss(partial(grpo_loss, settings=self), needs_reference=self.beta != 0)


def grpo_loss(inputs: PolicyLossInputs, settings: GRPOLoss) -> tuple[Tensor, dict[str, Tensor]]:
    """GRPO with the averages of its descendants, as trl 1.16 computes it, equal to it to the last bit.

        L_it = - min(w_it A_i, clip(w_it, 1 - epsilon, 1 + epsilon_high) A_i)  +  beta D_it
        loss = mean of L_it  -  entropy_coefficient * mean of H_it

    A_i is the advantage of completion i, w_it the weight of :func:`importance_weights`, D_it the divergence of
    :func:`divergence`, H_it the policy's entropy. The mean of L is that of :func:`mean_loss`, the mean of H always over
    the tokens of the piece. Without old log-probabilities every w is 1 and carries the gradient of log p. What the
    sampler stated is ignored, as in the publication.

    The order of the operations is trl's: another one would round otherwise.

    Source: Shao et al., DeepSeekMath, arXiv 2402.03300, equation 3; ``GRPOTrainer._compute_loss`` of trl 1.16.

    Args:
        inputs: of one piece.
        settings: which loss.

    Returns:
        The loss, scalar; and ``clip_ratio/low_mean``, ``clip_ratio/high_mean``, ``clip_ratio/region_mean`` (where the
        clip takes the gradient away: below, above, either) and, with a divergence, ``kl``.

    Raises:
        UserError: if the divergence or the entropy has a coefficient and its inputs are absent.

    Example:
        >>> logs_BT, mask_BT = torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, True]])
        >>> inputs = PolicyLossInputs(logs_BT, logs_BT, torch.tensor([0.5]), mask_BT, num_items=torch.tensor(2.0))
        >>> grpo_loss(inputs, GRPOLoss())[0]
        tensor(-0.5000)
    """
    log_probs_BT, mask_BT = inputs.log_probs_BT, inputs.mask_BT
    advantages_B1 = inputs.advantages_B.unsqueeze(1)
    old_BT = inputs.old_log_probs_BT
    if old_BT is None:
        old_BT = log_probs_BT.detach()
    low, high = 1 - settings.epsilon, 1 + (settings.epsilon_high or settings.epsilon)

    weights = importance_weights(log_probs_BT, old_BT, mask_BT, settings.importance_sampling_level)
    losses = -torch.min(weights * advantages_B1, weights.clamp(low, high) * advantages_B1)
    # With the other sign of the advantage the minimum is the unclipped term, which keeps its gradient.
    clipped_low = (weights < low) & (advantages_B1 < 0)
    clipped_high = (weights > high) & (advantages_B1 > 0)
    metrics = {
        "clip_ratio/low_mean": clipped_low.float(),
        "clip_ratio/high_mean": clipped_high.float(),
        "clip_ratio/region_mean": (clipped_low | clipped_high).float(),
    }

    if settings.beta:
        if inputs.reference_log_probs_BT is None:
            raise UserError(f"beta = {settings.beta}: needs reference_log_probs_BT, which is None; allowed: beta = 0")
        divergence_BT = divergence(log_probs_BT, inputs.reference_log_probs_BT)
        losses = losses + settings.beta * divergence_BT
        metrics["kl"] = divergence_BT.detach()

    loss = mean_loss(losses, inputs, settings)
    if settings.entropy_coefficient:
        if inputs.entropies_BT is None:
            coefficient = f"entropy_coefficient = {settings.entropy_coefficient}"
            raise UserError(f"{coefficient}: needs entropies_BT, which is None; allowed: entropy_coefficient = 0")
        entropy = (inputs.entropies_BT * mask_BT).sum() / mask_BT.sum().clamp(min=1.0) / inputs.pieces
        loss = loss - settings.entropy_coefficient * entropy
    return loss, metrics


def importance_weights(
    log_probs_BT: Tensor, old_log_probs_BT: Tensor, mask_BT: Tensor, level: Literal["token", "sequence"]
) -> Tensor:
    """How much more probable the policy makes what was sampled than the old policy did.

        token:     w_it = p(a_it) / p_old(a_it)
        sequence:  w_i  = exp(mean over t of log p(a_it) / p_old(a_it))

    Source of the second: Zheng et al., GSPO, arXiv 2507.18071.

    Returns:
        [B, T] of tokens, or [B, 1] of sequences.
    """
    log_ratio_BT = log_probs_BT - old_log_probs_BT
    if level == "token":
        return log_ratio_BT.exp()
    log_ratio_B = (log_ratio_BT * mask_BT).sum(-1) / mask_BT.sum(-1).clamp(min=1.0)
    return log_ratio_B.unsqueeze(-1).exp()


def divergence(log_probs_BT: Tensor, reference_log_probs_BT: Tensor) -> Tensor:
    """The divergence from the reference, estimated at each sampled token; never negative, 0 where both agree.

        D_it = exp(d) - d - 1      with d = log p_reference(a_it) - log p(a_it)

    Source: arXiv 2402.03300, equation 4.
    """
    d_BT = reference_log_probs_BT - log_probs_BT
    return d_BT.exp() - d_BT - 1


def mean_loss(losses: Tensor, inputs: PolicyLossInputs, settings: GRPOLoss) -> Tensor:
    """The piece's part of the mean of the losses of tokens.

        grpo:     mean over i of (1 / T_i) sum_t L_it                              T_i masked tokens of completion i
        bnpo:     sum_it L_it / sum_i T_i                                          over the piece
        dr_grpo:  sum_it L_it / (B max_completion_length)
        dapo:     sum_it L_it / num_items                                          over the global batch

    The first three are means over a piece, and divided by the number of pieces.

    Sources: grpo, arXiv 2402.03300, equation 3; dr_grpo, Liu et al., arXiv 2503.20783, section 3.2; dapo, Yu et al.,
    arXiv 2503.14476, equation 8; bnpo is trl's name for dapo within a piece.

    Args:
        losses: of tokens [B, T], or of completions [B, 1].
        inputs: of the piece.
        settings: the loss type, and the length that dr_grpo divides by.

    Returns:
        A scalar.
    """
    mask_BT, masked_BT = inputs.mask_BT, losses * inputs.mask_BT
    if settings.loss_type == "dapo":
        return masked_BT.sum() / inputs.num_items
    if settings.loss_type == "grpo":
        mean = (masked_BT.sum(-1) / mask_BT.sum(-1).clamp(min=1.0)).mean()
    elif settings.loss_type == "bnpo":
        mean = masked_BT.sum() / mask_BT.sum().clamp(min=1.0)
    else:
        mean = masked_BT.sum() / (len(mask_BT) * settings.max_completion_length)
    return mean / inputs.pieces
