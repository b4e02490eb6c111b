"""The idea of paper_name alone: linear regression by gradient descent, with and without weight decay.

N rows, D columns. Pure functions of arrays; nothing here reads files, logs or keeps state.
"""

import numpy as np


def draw_data(
    generator: np.random.Generator, weights_D: np.ndarray, num_rows: int, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs X of shape [N, D] and targets y = X w + noise of shape [N], both float64.

    Args:
        generator: the source of randomness.
        weights_D: the true weights w.
        num_rows: N.
        noise: standard deviation of the noise.
    """
    inputs_ND = generator.normal(size=(num_rows, len(weights_D)))
    return inputs_ND, inputs_ND @ weights_D + noise * generator.normal(size=num_rows)


def descend(
    weights_D: np.ndarray, inputs_ND: np.ndarray, targets_N: np.ndarray, learning_rate: float, weight_decay: float
) -> np.ndarray:
    """One step w ← w − η (Xᵀ(Xw − y)/N + λ w).

    Args:
        weights_D: w before the step.
        inputs_ND: X.
        targets_N: y.
        learning_rate: η.
        weight_decay: λ.

    Returns:
        w after the step, [D].

    Example:
        >>> descend(np.zeros(1), np.ones((2, 1)), np.ones(2), learning_rate=0.5, weight_decay=0.0)
        array([0.5])
    """
    gradient_D = inputs_ND.T @ (inputs_ND @ weights_D - targets_N) / len(targets_N)
    return weights_D - learning_rate * (gradient_D + weight_decay * weights_D)


def squared_errors(weights_D: np.ndarray, inputs_ND: np.ndarray, targets_N: np.ndarray) -> np.ndarray:
    """The squared error of each row, [N]."""
    return (inputs_ND @ weights_D - targets_N) ** 2
