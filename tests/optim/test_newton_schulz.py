"""Orthogonalisation against the singular value decomposition, and the symmetries it must have."""

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.optim import POLAR_EXPRESS, orthogonalize

BAND = (0.65, 1.25)  # where five quintic steps put the singular values


def gaussian(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_in_band(values):
    assert values.min() > BAND[0] and values.max() < BAND[1], values.aminmax()


@pytest.mark.spec("kimi_k2", "A1")
@pytest.mark.parametrize("shape", [(128, 512), (40, 20), (3, 16, 16)])
def test_the_oracle_is_the_product_of_the_singular_vectors(shape):
    matrices = gaussian(*shape)
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    torch.testing.assert_close(orthogonalize(matrices, method="svd"), u @ vh, atol=1e-5, rtol=0)


@pytest.mark.spec("kimi_k2", "A1")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_five_quintic_steps_put_the_singular_values_near_one(dtype):
    result = orthogonalize(gaussian(128, 512), dtype=dtype)
    assert result.dtype == dtype
    assert_in_band(torch.linalg.svdvals(result.float()))


@pytest.mark.spec("kimi_k2", "A3")
@pytest.mark.parametrize("method", ["newton_schulz", "svd"])
@pytest.mark.parametrize("shape", [(48, 80), (20, 200)])
def test_the_rank_is_kept(method, shape):
    rank = 5
    left, right = gaussian(shape[0], rank, dtype=torch.float64), gaussian(rank, shape[1], seed=1, dtype=torch.float64)
    values = torch.linalg.svdvals(orthogonalize((left @ right).float(), method=method).double())
    assert_in_band(values[:rank])
    assert values[rank:].max() < 1e-3


@pytest.mark.spec("kimi_k2", "A4")
@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("shape", [(64, 64), (32, 128)])
def test_the_scale_of_the_input_does_not_matter(factor, shape):
    matrix = gaussian(*shape)
    torch.testing.assert_close(orthogonalize(factor * matrix), orthogonalize(matrix), atol=1e-4, rtol=0)


@pytest.mark.spec("kimi_k2", "A4")
@pytest.mark.parametrize("shape", [(64, 64), (32, 48), (32, 128)])
def test_the_transpose_gives_the_transpose(shape):
    matrix = gaussian(*shape)
    torch.testing.assert_close(orthogonalize(matrix.T), orthogonalize(matrix).T, atol=1e-4, rtol=0)


@pytest.mark.spec("kimi_k2", "A5")
@pytest.mark.parametrize("shape", [(6, 24, 40), (2, 3, 16, 64), (5, 30, 10)])
def test_a_batch_is_the_list_of_its_matrices(shape):
    matrices = gaussian(*shape)
    together = orthogonalize(matrices).flatten(end_dim=-3)
    one_by_one = torch.stack([orthogonalize(matrix) for matrix in matrices.flatten(end_dim=-3)])
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=0)


def test_the_gram_form_for_wide_matrices_is_the_same_polynomial():
    matrix = gaussian(32, 128, dtype=torch.float64)
    X = matrix / matrix.norm()
    for _ in range(5):
        gram = X @ X.T
        X = 3.4445 * X + (-4.7750 * gram + 2.0315 * gram @ gram) @ X
    torch.testing.assert_close(orthogonalize(matrix), X, atol=1e-10, rtol=0)


def test_seven_steps_of_polar_express_reach_the_oracle():
    matrix = gaussian(64, 80, dtype=torch.float64)
    result = orthogonalize(matrix, steps=8, coefficients=POLAR_EXPRESS)
    torch.testing.assert_close(result, orthogonalize(matrix, method="svd"), atol=1e-6, rtol=0)


def test_zero_and_empty_input_give_zero_and_empty_output():
    assert torch.equal(orthogonalize(torch.zeros(2, 4, 6)), torch.zeros(2, 4, 6))
    assert torch.equal(orthogonalize(torch.zeros(4, 6), method="svd"), torch.zeros(4, 6))
    assert orthogonalize(torch.zeros(0, 4, 6)).shape == (0, 4, 6)


def test_the_input_is_left_as_it_is():
    matrix = gaussian(8, 8).bfloat16()
    before = matrix.clone()
    orthogonalize(matrix)
    assert torch.equal(matrix, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"method": "qr"}, "method = 'qr'"), ({"steps": 0}, "steps = 0"), ({"matrices": torch.ones(3)}, r"\(3,\)")],
)
def test_refuses_what_it_cannot_do(arguments, message):
    with pytest.raises(UserError, match=message):
        orthogonalize(**({"matrices": torch.eye(2)} | arguments))
