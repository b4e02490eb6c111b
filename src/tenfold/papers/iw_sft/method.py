"""iw-SFT: supervised fine-tuning as a lower bound on the RL objective, and the weights that tighten it.

Everything minimises one loss, ``weight * -log p`` (``tenfold.models.weighted_nll``); a method is a choice of weight:

    SFT            w = 1
    iw-SFT         w_i   = clip(exp(alpha * d_i)),  d_i = sum or mean over t of (log q_t - log ref_t)   per trajectory
    iw-SFT-step    w_i,t = clip(exp(log q_t - log ref_t), 1 - eps, 1 + eps)                               per step
    DFT            w_i,t = p(a_t)                RWR  w = exp(R / T)              AWR  w = min(exp(A / T), C)

No weight carries a gradient: the loss detaches what it is given. Weights are computed in float32, the exponent is
clamped before ``exp``, and what a mask leaves out never enters. Left out: the authors' micro-batch shape (right for one
row only) and their unweighted evaluation.

Shapes: B sequences (or trajectories), T steps (or tokens), N arms or trajectories of an enumerable toy.
"""

from typing import Literal

import torch
from torch import Tensor

from tenfold.core.errors import UserError
from tenfold.models.weighted_likelihood import counted_weights, per_step

LARGEST_EXPONENT = 80.0
"""exp(80) and its inverse are ordinary float32 numbers."""

Level = Literal["trajectory", "step"]
LogRatio = Literal["mean", "sum"]
Normalize = Literal["none", "batch_mean", "batch_sum"]
Clip = tuple[float, float]
WeightName = Literal["iw", "dft", "rwr", "awr", "none"]


def step_log_ratio(q_log_probs_BT: Tensor, reference_log_probs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """log q_t - log ref_t in float32, detached, 0 where the mask leaves out; [B, T]."""
    difference_BT = q_log_probs_BT.detach().float() - reference_log_probs_BT.detach().float()
    return difference_BT.masked_fill(~mask_BT.bool(), 0.0)


def trajectory_log_ratio(
    q_log_probs_BT: Tensor, reference_log_probs_BT: Tensor, mask_BT: Tensor, log_ratio: LogRatio
) -> Tensor:
    """d_i: log-ratios of whole trajectories, summed (theory) or averaged over their steps (the authors' code); [B]."""
    d_B = step_log_ratio(q_log_probs_BT, reference_log_probs_BT, mask_BT).sum(-1)
    return d_B / mask_BT.sum(-1).clamp(min=1) if log_ratio == "mean" else d_B


def effective_exponent(log_ratio: LogRatio, temperature: float, num_steps: float) -> float:
    """The real exponent on q/ref of a trajectory of ``num_steps``: what the two ways to write it have in common.

    1 is the theory, 0 is plain SFT. A mean over a thousand tokens at temperature 1 is 0.001: hardly a weight.

    Example:
        >>> [effective_exponent(*choice) for choice in (("sum", 1.0, 1000), ("mean", 1.0, 1000), ("mean", 20, 20))]
        [1.0, 0.001, 1.0]
    """
    return temperature / num_steps if log_ratio == "mean" else temperature


def importance_weights(
    q_log_probs_BT: Tensor,
    reference_log_probs_BT: Tensor,
    mask_BT: Tensor,
    *,
    level: Level = "trajectory",
    log_ratio: LogRatio | None = None,
    temperature: float = 1.0,
    clip: Clip | None = (0.0, 16.0),
) -> Tensor:
    """w = clip(exp(alpha * d)): iw-SFT's weights, constant in the trained parameters.

    Args:
        q_log_probs_BT: log-probabilities under q, [B, T]: the trained policy itself, or a lagging average of it.
        reference_log_probs_BT: the same under the policy that produced, or best models, the unfiltered data.
        mask_BT: supervised steps [B, T].
        level: one weight for a trajectory, or one for each step.
        log_ratio: sum or mean over steps, to be chosen; not used at the level of steps.
        temperature: alpha; see :func:`effective_exponent`.
        clip: least and largest weight; ``None`` for no clipping.

    Returns:
        float32 weights, [B] or [B, T].

    Raises:
        UserError: weights of trajectories without a ``log_ratio``.

    Example:
        >>> q, reference = torch.tensor([[-1.0, -1.0]]), torch.tensor([[-1.5, -1.5]])
        >>> round(importance_weights(q, reference, torch.ones(1, 2), log_ratio="sum").item(), 5)
        2.71828
    """
    if level == "step":
        exponent = temperature * step_log_ratio(q_log_probs_BT, reference_log_probs_BT, mask_BT)
    else:
        if log_ratio is None:
            raise UserError("log_ratio = None: weights of trajectories need a choice; allowed: sum, mean")
        exponent = temperature * trajectory_log_ratio(q_log_probs_BT, reference_log_probs_BT, mask_BT, log_ratio)
    return bounded_exp(exponent, clip)


def bounded_exp(exponent: Tensor, clip: Clip | None = None) -> Tensor:
    """exp in float32 that stays finite, then clipped; the exponent is clamped first."""
    weights = exponent.float().clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT).exp()
    return weights if clip is None else weights.clamp(*clip)


def dft_weights(log_probs_BT: Tensor) -> Tensor:
    """DFT: the probability of each token itself, that is iw-SFT-step with q = p, a uniform reference and no clip."""
    return log_probs_BT.detach().exp()


def rwr_weights(returns: Tensor, temperature: float) -> Tensor:
    """Reward-weighted regression: exp(R / T).

    Take the largest return of the data off first: that divides all weights by one number. Returns above 80 T would
    otherwise all have the largest weight that is representable, which is plain SFT.

    Example:
        >>> rwr_weights(torch.tensor([1000.0, 0.0]) - 1000.0, 1000.0).tolist()[0]
        1.0
    """
    return bounded_exp(returns / temperature)


def awr_weights(advantages: Tensor, temperature: float, largest: float = 20.0) -> Tensor:
    """Advantage-weighted regression: min(exp(A / T), largest)."""
    return bounded_exp(advantages / temperature, (0.0, largest))


def raw_weights(
    weight_fn: WeightName,
    q_log_probs_BT: Tensor,
    mask_BT: Tensor,
    *,
    reference_log_probs_BT: Tensor | None = None,
    scores: Tensor | None = None,
    level: Level = "trajectory",
    log_ratio: LogRatio | None = None,
    temperature: float = 1.0,
    clip: Clip = (0.0, 16.0),
) -> Tensor | None:
    """The weights of a batch by name, before normalisation; ``None`` for SFT.

    Args:
        weight_fn: which.
        q_log_probs_BT: under q; for ``dft`` those of the trained policy.
        mask_BT: supervised steps.
        reference_log_probs_BT: ``iw`` needs them.
        scores: returns minus the largest of the data for ``rwr``, advantages for ``awr``; [B] or [B, T].
        level: see :func:`importance_weights`.
        log_ratio: see :func:`importance_weights`.
        temperature: see :func:`importance_weights`; divides the scores of ``rwr`` and ``awr``.
        clip: of ``iw``; its upper bound cuts ``awr``.
    """
    if weight_fn == "none":
        return None
    if weight_fn == "dft":
        return dft_weights(q_log_probs_BT)
    if weight_fn == "iw":
        assert reference_log_probs_BT is not None, "importance weights need a reference"
        return importance_weights(
            q_log_probs_BT,
            reference_log_probs_BT,
            mask_BT,
            level=level,
            log_ratio=log_ratio,
            temperature=temperature,
            clip=clip,
        )
    assert scores is not None, f"{weight_fn} needs scores"
    return rwr_weights(scores, temperature) if weight_fn == "rwr" else awr_weights(scores, temperature, clip[1])


def normalize_weights(weights: Tensor, how: Normalize, mask_BT: Tensor | None = None) -> Tensor:
    """Divide by the mean or the sum of the weights of the global batch.

    Args:
        weights: [B], or [B, T] with its mask; of the *whole* batch that one optimizer step sees.
        how: ``batch_mean`` keeps the size of the step that plain SFT takes; ``batch_sum`` is the authors' control code,
            which then divides by the batch again: harmless under Adam, a smaller step under SGD.
        mask_BT: for weights of steps, the steps that count.

    Example:
        >>> normalize_weights(torch.tensor([1.0, 3.0]), "batch_mean").tolist()
        [0.5, 1.5]
    """
    if how == "none":
        return weights
    counted = counted_weights(weights, mask_BT)
    total = counted.mean() if how == "batch_mean" else counted.sum()
    return weights / total.clamp(min=torch.finfo(weights.dtype).tiny)


def of_trajectory_means(weights: Tensor | None, mask_BT: Tensor) -> Tensor:
    """Weights under which the loss is a sum over trajectories of the mean over their own steps; float32 [B, T].

    The authors' control code takes the mean over trajectories of it: divide by their number and not by that of the
    steps. Then a trajectory of 10 steps has as much of the gradient as one of 1,000; over all steps it has 1 %.

    Args:
        weights: of trajectories [B] or steps [B, T]; ``None`` for 1.
        mask_BT: supervised steps; a trajectory without any weighs nothing.

    Example:
        >>> mask = torch.tensor([[True, False], [True, True]])
        >>> of_trajectory_means(torch.tensor([1.0, 3.0]), mask).tolist()
        [[1.0, 0.0], [1.5, 1.5]]
    """
    if weights is None:
        weights = torch.ones(len(mask_BT), device=mask_BT.device)
    return per_step(weights, mask_BT) / mask_BT.sum(-1, keepdim=True).clamp(min=1)


def lower_bound(p_N: Tensor, q_N: Tensor, rewards_N: Tensor) -> Tensor:
    """The bound sum of q R (1 + log p - log q) on J(p) = sum of p R, over enumerated trajectories.

    With q = ref it is the bound that SFT maximises; with q = p it is J itself, and its gradient the policy gradient.

    Example:
        >>> p, R = torch.tensor([0.2, 0.8]), torch.tensor([0.5, 1.0])
        >>> lower_bound(p, p, R).item() == (p * R).sum().item()
        True
    """
    return (q_N * rewards_N * (1 + p_N.log() - q_N.log())).sum()


def stationary_policy(kept_N: Tensor, reference_N: Tensor, alpha: float) -> Tensor:
    """Where iw-SFT with q = p and exponent alpha comes to rest on N outcomes: p ~ (d / ref^alpha)^(1 / (1 - alpha)).

    Args:
        kept_N: d, frequencies among the kept outcomes.
        reference_N: frequencies under the reference policy.
        alpha: below 1; 0 is SFT, and towards 1 all mass goes to the outcome that is kept most often for its frequency.

    Example:
        >>> shares = stationary_policy(torch.tensor([1 / 3, 2 / 3]), torch.tensor([0.5, 0.5]), 0.5)
        >>> [round(share, 3) for share in shares.tolist()]
        [0.2, 0.8]
    """
    return torch.softmax((kept_N.log() - alpha * reference_N.log()) / (1 - alpha), -1)
