"""SwiGLU: its inner width, and the layer with and without convolution written by hand."""

import pytest
import torch

from tenfold.models import SwiGLU, inner_width


@pytest.mark.spec("hrm", "3")
def test_inner_width_of_the_published_model_is_1536():
    assert inner_width(512, 4) == 1536
    layer = SwiGLU(512, 4.0)
    assert layer.gate_up.weight.shape == (2 * 1536, 512)
    assert layer.down.weight.shape == (512, 1536)


@pytest.mark.parametrize(
    ("size", "expansion", "multiple", "expected"),
    [(64, 4, 256, 256), (64, 2, 64, 128), (37, 2, 32, 64), (48, 4, 128, 128), (97, 4, 256, 512), (4, 1, 1, 3)],
)
def test_inner_width_is_two_thirds_rounded_then_up_to_a_multiple(size, expansion, multiple, expected):
    assert inner_width(size, expansion, multiple) == expected


def silu(x):
    return x / (1 + torch.exp(-x))


def test_equals_the_formula_with_the_gate_first():
    torch.manual_seed(0)
    layer = SwiGLU(6, 2.0, multiple=4).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    inner = layer.down.in_features
    gate, up = x @ layer.gate_up.weight[:inner].T, x @ layer.gate_up.weight[inner:].T
    torch.testing.assert_close(layer(x), (silu(gate) * up) @ layer.down.weight.T)


def test_positions_do_not_mix_without_a_convolution():
    torch.manual_seed(0)
    layer, x = SwiGLU(6, 2.0, multiple=4), torch.randn(1, 5, 6)
    torch.testing.assert_close(layer(x)[:, 2:3], layer(x[:, 2:3]))


@pytest.mark.parametrize("taps", [2, 3])
def test_convolution_equals_a_sum_over_neighbours_of_each_channel(taps):
    torch.manual_seed(0)
    layer = SwiGLU(6, 2.0, multiple=4, convolution=taps).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    inner = layer.down.in_features
    hidden = silu(x @ layer.gate_up.weight[:inner].T) * (x @ layer.gate_up.weight[inner:].T)
    mixed = torch.empty_like(hidden)
    for position in range(5):
        mixed[:, position] = layer.convolution.bias
        for tap in range(taps):
            seen = position + tap - taps // 2
            if 0 <= seen < 5:
                mixed[:, position] += layer.convolution.weight[:, 0, tap] * hidden[:, seen]
    torch.testing.assert_close(layer(x), silu(mixed) @ layer.down.weight.T)


@pytest.mark.parametrize("taps", [0, 2])
def test_bfloat16_stays_close_to_float32(taps):
    torch.manual_seed(0)
    layer, x = SwiGLU(32, 2.0, multiple=16, convolution=taps), torch.randn(2, 7, 32)
    half = layer(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), layer(x), atol=0.05, rtol=0.05)
