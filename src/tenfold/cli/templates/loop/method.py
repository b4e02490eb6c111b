"""The idea of paper_name alone: linear regression, with and without weight decay.

N rows, D columns. Pure functions of tensors; nothing here reads files, logs or keeps state.
"""

import torch
from torch import Tensor


def draw_data(weights_D: Tensor, num_rows: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs X of shape [N, D] and targets y = X w + noise of shape [N], both float32.

    Args:
        weights_D: the true weights w.
        num_rows: N.
        noise: standard deviation of the noise.
        generator: the source of randomness.
    """
    inputs_ND = torch.randn(num_rows, len(weights_D), generator=generator)
    return inputs_ND, inputs_ND @ weights_D + noise * torch.randn(num_rows, generator=generator)


def regularised_loss(predicted_N: Tensor, targets_N: Tensor, weights_D: Tensor, weight_decay: float) -> Tensor:
    """mean (Xw − y)² + λ ‖w‖².

    Args:
        predicted_N: Xw.
        targets_N: y.
        weights_D: w.
        weight_decay: λ.

    Example:
        >>> regularised_loss(torch.ones(2), torch.zeros(2), torch.full((3,), 2.0), weight_decay=0.5).item()
        7.0
    """
    return (predicted_N - targets_N).square().mean() + weight_decay * weights_D.square().sum()
