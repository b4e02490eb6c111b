"""Bidirectional self-attention with one fused query-key-value matrix, through PyTorch's fused kernel.

Every position sees every other, padding included: the recursive reasoners work on grids of fixed length.
Shapes: B batch, S positions, D width, N heads, H = D / N head size.
"""

from torch import Tensor, nn

from tenfold.models.initialisation import Linear
from tenfold.models.rotary import RotaryEmbedding


class SelfAttention(nn.Module):
    """softmax(q kᵀ / sqrt(H)) v over all positions, without mask and without bias.

    Args:
        width: D.
        num_heads: N, a divisor of D.
        rotary: applied to queries and keys when given.

    Raises:
        ValueError: if ``num_heads`` does not divide ``width``.

    Example:
        >>> import torch
        >>> SelfAttention(64, 2)(torch.zeros(3, 5, 64)).shape
        torch.Size([3, 5, 64])
    """

    def __init__(self, width: int, num_heads: int, rotary: RotaryEmbedding | None = None) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"num_heads = {num_heads} does not divide width = {width}")
        self.num_heads = num_heads
        self.qkv = Linear(width, 3 * width)
        self.output = Linear(width, width)
        self.rotary = rotary

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Map ``[B, S, D]`` to ``[B, S, D]``."""
        batch, length, width = x_BSD.shape
        qkv = self.qkv(x_BSD).view(batch, length, 3, self.num_heads, width // self.num_heads)
        q_BNSH, k_BNSH, v_BNSH = qkv.permute(2, 0, 3, 1, 4)
        if self.rotary is not None:
            q_BNSH, k_BNSH = self.rotary(q_BNSH), self.rotary(k_BNSH)
        mixed_BNSH = nn.functional.scaled_dot_product_attention(q_BNSH, k_BNSH, v_BNSH)
        return self.output(mixed_BNSH.transpose(1, 2).reshape(batch, length, width))
