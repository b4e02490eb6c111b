"""Rotary position embedding in the rotate-half form (Su et al., RoFormer), tables computed in float32."""

import torch
from torch import Tensor, nn


class RotaryEmbedding(nn.Module):
    """Rotates queries and keys by angles position · theta^(-2i/head_dim).

    Args:
        head_dim: size of a head, even.
        length: number of positions, 0 to ``length - 1``.
        theta: base of the geometric frequencies.

    Raises:
        ValueError: if ``head_dim`` is odd.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, head_dim: int, length: int, theta: float = 10_000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"head_dim = {head_dim}: rotary embedding needs an even head size")
        frequencies = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rotate ``x``: [..., S, head_dim] at positions 0 to S-1, in the dtype of ``x``."""
        length = x.shape[-2]
        first, second = x.chunk(2, dim=-1)
        turned = torch.cat((-second, first), dim=-1)
        wide = self.cos.dtype if x.dtype in (torch.bfloat16, torch.float16) else x.dtype
        return (x.to(wide) * self.cos[:length].to(wide) + turned.to(wide) * self.sin[:length].to(wide)).to(x.dtype)
