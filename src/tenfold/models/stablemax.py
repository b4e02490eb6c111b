"""Stablemax cross-entropy (Prieto et al., Grokking at the edge of numerical stability), in float64.

s(x) = x + 1 for x >= 0 and 1 / (1 - x) below; p_i = s(x_i) / sum_j s(x_j). The tails are polynomial, so a model that
already answers right keeps a gradient. Unlike softmax it is not invariant to a shift: never subtract the maximum.
"""

import torch
from torch import Tensor

IGNORE_LABEL = -100


def stablemax_scores(x: Tensor) -> Tensor:
    """s(x), elementwise; continuous with derivative 1 at 0.

    Example:
        >>> stablemax_scores(torch.tensor([-1.0, 0.0, 1.0])).tolist()
        [0.5, 1.0, 2.0]
    """
    # The clamp keeps the branch that is not taken finite, so that its zero gradient is not 0 · inf.
    return torch.where(x >= 0, x + 1, 1 / (1 - x.clamp(max=0)))


def stablemax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p_label at each position, 0 where the label is ignored.

    Args:
        logits: ``[..., V]``, any floating dtype; computed in float64.
        labels: ``[...]`` integers, ``IGNORE_LABEL`` (-100) for positions that do not count.

    Returns:
        ``[...]`` float64.

    Example:
        >>> round(stablemax_cross_entropy(torch.zeros(1, 4), torch.tensor([2])).item(), 4)  # ln 4
        1.3863
    """
    scores = stablemax_scores(logits.double())
    valid = labels != IGNORE_LABEL
    chosen = scores.gather(-1, torch.where(valid, labels, 0).long().unsqueeze(-1)).squeeze(-1)
    losses = (scores.sum(-1) + 1e-30).log() - chosen.log()
    return torch.where(valid, losses, 0.0)


def softmax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Ordinary cross-entropy at each position in float32, 0 where the label is ignored; shapes as above."""
    flat = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, -2), labels.long().flatten(), ignore_index=IGNORE_LABEL, reduction="none"
    )
    return flat.view(labels.shape)
