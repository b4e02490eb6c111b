"""Rotary positions: a rotation, whose effect on a dot product depends on the distance alone."""

import pytest
import torch

from tenfold.models import RotaryEmbedding


def test_dot_products_depend_on_relative_positions_alone():
    torch.manual_seed(0)
    length, head_dim = 12, 16
    rotary = RotaryEmbedding(head_dim, length).double()
    q, k = torch.randn(2, head_dim, dtype=torch.float64)
    turned_q, turned_k = rotary(q.expand(length, -1)), rotary(k.expand(length, -1))
    products = turned_q @ turned_k.T
    for distance in range(-length + 1, length):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-6, rtol=1e-6)
    assert products[0].std() > 0.1, "different distances give different products"


def test_rotates_pairs_of_halves_by_position_times_frequency():
    head_dim, length, theta = 8, 5, 100.0
    x = torch.randn(3, length, head_dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = RotaryEmbedding(head_dim, length, theta)(x)
    for position in range(length):
        for pair in range(head_dim // 2):
            angle = torch.tensor(position * theta ** (-2 * pair / head_dim), dtype=torch.float64)
            a, b = x[:, position, pair], x[:, position, pair + head_dim // 2]
            expected = torch.stack((a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()))
            got = torch.stack((turned[:, position, pair], turned[:, position, pair + head_dim // 2]))
            torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-6)


def test_position_zero_is_untouched_and_lengths_are_kept():
    x = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(1))
    turned = RotaryEmbedding(16, 20)(x)
    torch.testing.assert_close(turned[:, 0], x[:, 0])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_half_precision_is_rotated_in_float32():
    x = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(1)).bfloat16()
    rotary = RotaryEmbedding(16, 7)
    assert torch.equal(rotary(x), rotary(x.float()).bfloat16())


def test_tables_are_not_saved_and_odd_heads_are_refused():
    assert not RotaryEmbedding(8, 4).state_dict()
    with pytest.raises(ValueError, match="head_dim = 7"):
        RotaryEmbedding(7, 4)
