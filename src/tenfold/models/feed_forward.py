"""The SwiGLU feed-forward layer, with an optional depth-wise convolution after the gate.

inner width = ceil to a multiple of ``multiple`` of round(expansion · size · 2/3); for size 512, expansion 4 and
multiple 256 that is 1536. For small sizes a multiple of 256 is coarse, so it is an argument.
"""

import math

from torch import Tensor, nn
from torch.nn.functional import silu

from tenfold.models.initialisation import Linear


def inner_width(size: int, expansion: float, multiple: int = 256) -> int:
    """Width between the two matrices of a SwiGLU layer.

    Example:
        >>> inner_width(512, 4)
        1536
    """
    return math.ceil(round(expansion * size * 2 / 3) / multiple) * multiple


class SwiGLU(nn.Module):
    """down( silu(gate) * up ) with gate and up from one matrix, gate first.

    Args:
        size: size of the last axis of input and output.
        expansion: see the module's docstring.
        multiple: rounding of the inner width.
        convolution: taps of a depth-wise convolution along the positions, with SiLU, between gate and ``down``
            ("ConvSwiGLU", URM's code has 2); 0 for none.
    """

    def __init__(self, size: int, expansion: float, multiple: int = 256, convolution: int = 0) -> None:
        super().__init__()
        inner = inner_width(size, expansion, multiple)
        self.gate_up = Linear(size, 2 * inner)
        self.down = Linear(inner, size)
        # Padding of half the taps, cut to the input's length: with two taps a position sees itself and the one before.
        self.convolution = (
            nn.Conv1d(inner, inner, convolution, padding=convolution // 2, groups=inner) if convolution else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, S, size]`` to ``[B, S, size]``."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        hidden = silu(gate) * up
        if self.convolution is not None:
            mixed = nn.functional.conv1d(
                hidden.transpose(1, 2),
                self.convolution.weight.to(hidden.dtype),
                None if self.convolution.bias is None else self.convolution.bias.to(hidden.dtype),
                padding=self.convolution.padding,
                groups=self.convolution.groups,
            )
            hidden = silu(mixed[..., : hidden.shape[1]]).transpose(1, 2)
        return self.down(hidden)
