"""Initial weights: the realised standard deviation is the one asked for; weights stay in float32."""

import pytest
import torch

from tenfold.models import Linear, truncated_normal_

COUNT = 1_000_000
CUT = 2 / 0.8796256610342398


def is_tn1(sample):
    """Whether a large sample has standard deviation 1 and ends at two compensated standard deviations."""
    return abs(sample.std().item() - 1) < 0.01 and 0.999 * CUT < sample.abs().max().item() <= CUT + 1e-6


@pytest.mark.spec("hrm", "4")
def test_realised_deviation_is_the_one_asked_for_and_torchs_own_is_not():
    torch.manual_seed(0)
    assert is_tn1(truncated_normal_(torch.empty(COUNT)))
    uncompensated = torch.nn.init.trunc_normal_(torch.empty(COUNT), std=1.0, a=-2.0, b=2.0)
    assert not is_tn1(uncompensated)
    assert not is_tn1(torch.randn(COUNT))


def test_the_constant_is_the_deviation_of_the_truncated_normal():
    stats = pytest.importorskip("scipy.stats")
    torch.manual_seed(0)
    assert 2 / stats.truncnorm(-2, 2).std() == pytest.approx(CUT, rel=1e-12)
    sample = truncated_normal_(torch.empty(COUNT))
    expected = stats.truncnorm(-2, 2).ppf([0.1, 0.5, 0.9]) / stats.truncnorm(-2, 2).std()
    quantiles = torch.quantile(sample, torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(quantiles, torch.tensor(expected, dtype=torch.float32), atol=0.01, rtol=0)


def test_deviation_scales_and_zero_gives_zeros():
    torch.manual_seed(0)
    assert truncated_normal_(torch.empty(COUNT), 0.02).std().item() == pytest.approx(0.02, rel=0.01)
    assert not truncated_normal_(torch.full((5,), 3.0), 0.0).any()


def test_linear_starts_with_unit_gain_and_has_no_bias():
    torch.manual_seed(0)
    layer = Linear(400, 900)
    assert layer.bias is None
    assert layer.weight.std().item() == pytest.approx(400**-0.5, rel=0.01)
    assert layer(torch.randn(200, 400)).std().item() == pytest.approx(1, rel=0.02)


def test_linear_computes_in_the_dtype_of_its_input_on_float32_weights():
    torch.manual_seed(0)
    layer, x = Linear(16, 8), torch.randn(4, 16)
    half = layer(x.bfloat16())
    assert half.dtype == torch.bfloat16 and layer.weight.dtype == torch.float32
    torch.testing.assert_close(half.float(), x @ layer.weight.T, atol=0.05, rtol=0.02)
    half.sum().backward()
    assert layer.weight.grad.dtype == torch.float32
