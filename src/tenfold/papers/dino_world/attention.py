"""Cross-attention with rotary positions on three axes (seconds, across, down) and a mask over frames.

What DINO-world's predictor is made of. Position enters through rotation of queries and keys alone, so attention
depends on differences of time and place only. The mask is block-triangular over frames: one pass trains every length
of context. It is a boolean matrix for PyTorch's fused kernels, or a block mask of FlexAttention.

Shapes: B clips, T frames, P = rows x columns of patches, S = T x P tokens, N heads of size H, W width of the
predictor, C width of the context.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

LOG_PERIODS = (-2.0, 2.0)
"""Periods of the rotations, as powers of ten: 0.01 to 100 seconds, or units of the grid."""


class Rotation(NamedTuple):
    """Cosines and sines of the tokens' angles, [B or 1, S, 3, h]: time, across, down; h pairs for each axis."""

    cos: Tensor
    sin: Tensor


def angles(positions: Tensor, pairs: int) -> Tensor:
    """2 π p / period_k with periods 10^linspace(-2, 2): [...] positions to [..., pairs] angles, in the positions' type.

    Example:
        >>> angles(torch.tensor([0.25]), 2)[0, 1].mul(100 / math.pi).round().item()  # a period of 100
        0.0
    """
    exponents = torch.linspace(*LOG_PERIODS, pairs, dtype=positions.dtype, device=positions.device)
    return 2 * math.pi * positions[..., None] * (1 / 10**exponents)


def rotation(tau_BT: Tensor, height: int, width: int, head_dim: int) -> Rotation:
    """Angles of all tokens of frames at times ``tau_BT``, flattened by time, row and column.

    A third of the head, rounded down to pairs, turns with each axis: seconds, and coordinates from -1 to 1 across and
    down whatever the resolution. What remains of the head does not turn (4 of 64).

    Args:
        tau_BT: seconds, [B, T], floating.
        height: rows of patches H.
        width: columns of patches.
        head_dim: size of a head, at least 6.
    """
    pairs = head_dim // 6
    across, down = (
        angles(torch.linspace(-1, 1, size, dtype=tau_BT.dtype, device=tau_BT.device), pairs) for size in (width, height)
    )
    shape = (*tau_BT.shape, height, width, pairs)
    time = angles(tau_BT, pairs)[:, :, None, None].expand(shape)
    by_axis = torch.stack([time, across.expand(shape), down[:, None].expand(shape)], dim=-2)
    flat = by_axis.flatten(1, 3)
    return Rotation(flat.cos().float(), flat.sin().float())


def rotate(x_BNSH: Tensor, by: Rotation) -> Tensor:
    """Turn pairs (first half, second half of each axis's part of the head) by the tokens' angles."""
    pairs = by.cos.shape[-1]
    turning, still = x_BNSH.split([6 * pairs, x_BNSH.shape[-1] - 6 * pairs], dim=-1)
    first, second = turning.unflatten(-1, (3, 2, pairs)).unbind(-2)
    cos, sin = by.cos[:, None], by.sin[:, None]
    turned = torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-2)
    return torch.cat([turned.flatten(-3).to(x_BNSH.dtype), still], dim=-1)


def frame_mask(allowed: Tensor, patches: int) -> Tensor:
    """[..., Q, T] frames to [..., Q·P, T·P] tokens: which keys (columns) a query (row) may see."""
    return allowed.repeat_interleave(patches, dim=-2).repeat_interleave(patches, dim=-1)


@lru_cache(maxsize=8)
def triangular_mask(frames: int, patches: int, device: torch.device) -> Tensor:
    """Query frame i (the frames from the second on) sees the tokens of the frames up to i: [F·P, F·P], true = seen.

    Example:
        >>> triangular_mask(2, 1, torch.device("cpu")).int().tolist()
        [[1, 0], [1, 1]]
    """
    return frame_mask(torch.ones(frames, frames, dtype=torch.bool, device=device).tril(), patches)


@lru_cache(maxsize=8)
def flexible_mask(frames: int, patches: int, device: torch.device) -> Any:
    """The same as a block mask of FlexAttention, which computes nothing for the blocks that are not seen."""
    from torch.nn.attention.flex_attention import create_block_mask

    def earlier(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return torch.as_tensor(key // patches <= query // patches)

    size = frames * patches
    return create_block_mask(earlier, None, None, size, size, device=str(device))


@lru_cache(maxsize=1)
def _flex_attention(on_gpu: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention) if on_gpu else flex_attention


def attend(q_BNSH: Tensor, k_BNSH: Tensor, v_BNSH: Tensor, mask: Any) -> Tensor:
    """softmax(q kᵀ / sqrt(H)) v where the mask is true; ``None`` sees all."""
    if mask is None or isinstance(mask, Tensor):
        return scaled_dot_product_attention(q_BNSH, k_BNSH, v_BNSH, attn_mask=mask)
    mixed: Tensor = _flex_attention(q_BNSH.is_cuda)(q_BNSH, k_BNSH, v_BNSH, block_mask=mask)
    return mixed


class CrossAttention(nn.Module):
    """Queries of width W look at features of width C; keys are neither normalised nor changed from block to block."""

    def __init__(self, width: int, num_heads: int, context_width: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(width, width)
        self.kv_proj = nn.Linear(context_width, 2 * width)
        self.out_proj = nn.Linear(width, width)

    def read(self, context_BSC: Tensor, by: Rotation) -> tuple[Tensor, Tensor]:
        """Rotated keys and plain values, each [B, N, S, H]."""
        keys, values = self.kv_proj(context_BSC).chunk(2, dim=-1)
        return rotate(self._heads(keys), by), self._heads(values)

    def forward(self, q_BSW: Tensor, by: Rotation, keys: Tensor, values: Tensor, mask: Any) -> Tensor:
        """What the queries find, [B, S, W]."""
        mixed = attend(rotate(self._heads(self.q_proj(q_BSW)), by), keys, values, mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x_BSW: Tensor) -> Tensor:
        return x_BSW.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
