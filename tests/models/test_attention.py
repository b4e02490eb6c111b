"""Self-attention against softmax(q kᵀ / sqrt(H)) v written out head by head."""

import math

import pytest
import torch

from tenfold.models import RotaryEmbedding, SelfAttention


def plain_attention(layer, x, head_dim):
    """The same mathematics without fused kernels: one head after the other, positions by matrix products."""
    width = x.shape[-1]
    q, k, v = (x @ layer.qkv.weight[part * width : (part + 1) * width].T for part in range(3))
    heads = []
    for start in range(0, width, head_dim):
        part = slice(start, start + head_dim)
        q_head, k_head = q[..., part], k[..., part]
        if layer.rotary is not None:
            q_head, k_head = layer.rotary(q_head), layer.rotary(k_head)
        weights = (q_head @ k_head.transpose(-1, -2) / math.sqrt(head_dim)).softmax(-1)
        heads.append(weights @ v[..., part])
    return torch.cat(heads, -1) @ layer.output.weight.T


@pytest.mark.parametrize("rotates", [False, True])
def test_equals_plain_softmax_attention(rotates):
    torch.manual_seed(0)
    layer = SelfAttention(24, 3, RotaryEmbedding(8, 10) if rotates else None).double()
    x = 2 * torch.randn(2, 10, 24, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain_attention(layer, x, 8))


def test_every_position_sees_every_other_and_only_its_own_row_of_the_batch():
    torch.manual_seed(0)
    layer = SelfAttention(16, 2)
    x = torch.randn(2, 6, 16, requires_grad=True)
    for position in range(6):
        (gradient,) = torch.autograd.grad(layer(x)[0, position].sum(), x)
        assert (gradient[0].abs().sum(-1) > 0).all()
        assert not gradient[1].any()


def test_without_rotary_positions_are_interchangeable_and_with_it_they_are_not():
    torch.manual_seed(0)
    x, order = torch.randn(1, 8, 16), torch.randperm(8)
    without, with_rotary = SelfAttention(16, 2), SelfAttention(16, 2, RotaryEmbedding(8, 8))
    torch.testing.assert_close(without(x[:, order]), without(x)[:, order])
    assert (with_rotary(x[:, order]) - with_rotary(x)[:, order]).abs().max() > 0.01


def test_bfloat16_stays_close_to_float32():
    torch.manual_seed(0)
    layer, x = SelfAttention(32, 2, RotaryEmbedding(16, 9)), torch.randn(3, 9, 32)
    half = layer(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), layer(x), atol=0.05, rtol=0.05)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads = 3 does not divide width = 16"):
        SelfAttention(16, 3)
