"""Root-mean-square normalisation against its formula."""

import pytest
import torch

from tenfold.models import rms_norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_formula_with_epsilon_inside_the_root(dtype):
    torch.manual_seed(0)
    # Small values, so that epsilon weighs: 1e-5 beside mean squares of about 1e-5.
    x = 3e-3 * torch.randn(4, 6, 32, dtype=dtype)
    expected = x.double() / (x.double().square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(rms_norm(x), expected.to(dtype))
    assert rms_norm(x).dtype == dtype


def test_scale_of_the_input_does_not_matter_and_zero_stays_zero():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(rms_norm(100 * x), rms_norm(x), atol=1e-4, rtol=1e-4)
    assert not rms_norm(torch.zeros(2, 4)).any()


def test_bfloat16_is_normalised_in_float32():
    torch.manual_seed(0)
    x = (5 * torch.randn(64, 512)).bfloat16()
    assert rms_norm(x).dtype == torch.bfloat16
    assert torch.equal(rms_norm(x), rms_norm(x.float()).bfloat16())
