"""The weighted negative log-likelihood, and what its weights are worth: one loss for texts and for control.

    loss = - (1 / N) sum_i sum_t  sg(w_it) log p(a_it | s_it)

Weights are constant in the trained parameters (sg: no gradient passes through them). Which weights is the matter of a
method; how they are spread over processes and pieces is that of a trainer.

Shapes: B sequences (or trajectories), T tokens (or steps); the mask marks supervised ones.
"""

import math

import torch
from torch import Tensor


def weighted_nll(
    log_probs_BT: Tensor, mask_BT: Tensor, weights: Tensor | None = None, normalizer: Tensor | float | None = None
) -> Tensor:
    """The one loss: minus the sum of ``weight * log p`` over supervised steps, divided by ``normalizer``.

    Args:
        log_probs_BT: log p(a_t | s_t) with gradient, float [B, T]; what the mask leaves out may be anything.
        mask_BT: supervised steps, bool or 0/1 [B, T].
        weights: [B] for trajectories, [B, T] for steps, detached here; ``None`` for 1.
        normalizer: by default the number of supervised steps; under gradient accumulation or several processes that
            number over the global batch.

    Returns:
        A scalar.

    Example:
        >>> log_probs = torch.tensor([[-1.0, -2.0], [-3.0, 0.0]])
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> weighted_nll(log_probs, mask, torch.tensor([1.0, 2.0])).item()
        3.0
    """
    mask_BT = mask_BT.bool()
    nll_BT = -log_probs_BT.masked_fill(~mask_BT, 0.0)
    if weights is not None:
        nll_BT = nll_BT * per_step(weights, mask_BT)
    return nll_BT.sum() / (mask_BT.sum().clamp(min=1) if normalizer is None else normalizer)


def per_step(weights: Tensor, mask_BT: Tensor) -> Tensor:
    """Weights of trajectories [B] or steps [B, T] as detached weights of steps [B, T], 0 where the mask leaves out."""
    weights = weights.detach()
    weights_BT = weights[:, None].expand(mask_BT.shape) if weights.dim() == 1 else weights
    if weights_BT.shape != mask_BT.shape:
        raise ValueError(f"weights have shape {tuple(weights.shape)}; allowed: [B] or [B, T] = {tuple(mask_BT.shape)}")
    return weights_BT.masked_fill(~mask_BT.bool(), 0.0)


def counted_weights(weights: Tensor, mask_BT: Tensor | None) -> Tensor:
    """The weights that count: all of those of trajectories, the supervised ones of steps; flat.

    Example:
        >>> counted_weights(torch.tensor([[2.0, 9.0]]), torch.tensor([[True, False]])).tolist()
        [2.0]
    """
    return weights if weights.dim() == 1 or mask_BT is None else weights[mask_BT.bool()]


def effective_sample_size(weights: Tensor) -> Tensor:
    """ESS = (sum w)^2 / sum w^2: how many equally weighted samples these are worth; a scalar.

    Example:
        >>> effective_sample_size(torch.tensor([1.0, 1.0, 0.0, 0.0])).item()
        2.0
    """
    scaled = weights.double() / weights.double().max().clamp(min=torch.finfo(torch.float32).tiny)
    return (scaled.sum() ** 2 / scaled.square().sum().clamp(min=torch.finfo(torch.float32).tiny)).float()


def weight_statistics(
    weights: Tensor, clip: tuple[float, float] | None = None, mask_BT: Tensor | None = None
) -> dict[str, Tensor]:
    """What to log about weights: mean, max, min, fraction at a bound of the clip, ESS over their number.

    Example:
        >>> {name: value.item() for name, value in weight_statistics(torch.tensor([16.0, 0.0]), (0.0, 16.0)).items()}
        {'mean': 8.0, 'max': 16.0, 'min': 0.0, 'clip_fraction': 1.0, 'ess_fraction': 0.5}
    """
    counted = counted_weights(weights.detach(), mask_BT)
    low, high = (-math.inf, math.inf) if clip is None else clip
    return {
        "mean": counted.mean(),
        "max": counted.max(),
        "min": counted.min(),
        "clip_fraction": ((counted <= low) | (counted >= high)).float().mean(),
        "ess_fraction": effective_sample_size(counted) / counted.numel(),
    }
