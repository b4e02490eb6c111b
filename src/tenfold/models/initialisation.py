"""Truncated normal initialisation whose realised standard deviation is the one that was asked for.

``torch.nn.init.trunc_normal_`` truncates and stops there: cut at two standard deviations, its samples have a
standard deviation of 0.8796 times ``std``. JAX's convention, which the recursive reasoners use, divides by that
constant first. The difference is 12 % of every weight, so it is a function with a name.
"""

from torch import Tensor, nn

# Standard deviation of N(0, 1) truncated to [-2, 2].
TRUNCATED_STD = 0.8796256610342398


def truncated_normal_(tensor: Tensor, std: float = 1.0) -> Tensor:
    """Fill ``tensor`` in place from a normal truncated at two (compensated) standard deviations.

    tn(std) = (std / 0.8796256610342398) * N(0, 1) restricted to [-2, 2]; the sample's standard deviation is ``std``.

    Args:
        tensor: any floating tensor.
        std: the standard deviation wanted; 0 gives zeros.

    Returns:
        The same tensor.

    Example:
        >>> abs(truncated_normal_(torch.empty(100_000), 0.5).std().item() - 0.5) < 0.01
        True
    """
    if std == 0:
        return nn.init.zeros_(tensor)
    scale = std / TRUNCATED_STD
    return nn.init.trunc_normal_(tensor, std=scale, a=-2 * scale, b=2 * scale)


class Linear(nn.Linear):
    """A bias-free linear layer: master weights in float32, cast to the input's dtype at use.

    The weight ``[out, in]`` starts as tn(1 / sqrt(in)). The explicit cast replaces autocast, whose weight cache
    loses gradients when a module runs first without and then with gradient, as every recursive reasoner does.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.

    Example:
        >>> Linear(4, 8)(torch.ones(2, 4, dtype=torch.bfloat16)).dtype
        torch.bfloat16
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        """Draw the weight anew."""
        truncated_normal_(self.weight.data, self.in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]`` in the dtype of ``x``."""
        return nn.functional.linear(x, self.weight.to(x.dtype))
