"""Orthogonalisation against the singular value decomposition, and the symmetries it must have."""

import random

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.optim import POLAR_EXPRESS, orthogonalize
from tenfold.optim.newton_schulz import _stretches

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


def test_ten_steps_of_a_wide_matrix_of_rank_one_stay_finite():
    """The Gram form alone turns the rounding of its empty directions into infinities after nine steps."""
    result = orthogonalize(gaussian(32, 1) @ gaussian(1, 256, seed=1), steps=10)
    assert torch.linalg.svdvals(result).max() < 1.15


def ill_conditioned(seed, dtype):
    """A matrix or a batch of them: wide, tall or square, of any rank, with values over many orders of magnitude."""
    choose = random.Random(seed)
    small = choose.choice([1, 2, 5, 16, 33])
    large = small * choose.choice([1, 2, 3, 4, 9])
    rank = choose.randint(0, small)
    batch = choose.choice([(), (1,), (3,), (2, 2)])
    left = gaussian(*batch, small, rank, seed=seed, dtype=torch.float64)
    right = gaussian(*batch, rank, large, seed=seed + 1, dtype=torch.float64)
    spectrum = 10.0 ** (-choose.choice([0, 0.5, 3]) * torch.arange(rank, dtype=torch.float64))
    matrices = 10.0 ** choose.randint(-3, 6) * (left * spectrum) @ right
    if batch and choose.random() < 0.3:
        matrices[0] = 0.0
    if choose.random() < 0.3:
        matrices[..., choose.randrange(small), :] = 0.0
    return (matrices.mT if choose.random() < 0.5 else matrices).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_rank_and_shape_up_to_twenty_steps_keep_the_singular_values_in_their_band(seed, dtype):
    matrices = ill_conditioned(seed, dtype)
    for steps in (1, 4, 5, 6, 9, 10, 13, 20):
        result = orthogonalize(matrices, steps=steps)
        assert result.isfinite().all() and torch.linalg.svdvals(result.double()).max() < 1.35, (matrices.shape, steps)


@pytest.mark.parametrize("seed", range(10))
def test_the_gram_form_agrees_with_the_plain_one_at_ten_steps(seed):
    """Where the singular values are far from rounding, more steps than one stretch are the same polynomial, too."""
    matrix = gaussian(24, 96, seed=seed)
    X = (matrix / matrix.norm()).double()
    for _ in range(10):
        gram = X @ X.T
        X = 3.4445 * X + (-4.7750 * gram + 2.0315 * gram @ gram) @ X
    torch.testing.assert_close(orthogonalize(matrix, steps=10), X.float(), atol=5e-3, rtol=0)


def test_five_steps_in_float32_are_one_stretch():
    assert [len(stretch) for stretch in _stretches([(3.4445, -4.7750, 2.0315)] * 12, 2.0**-23)] == [5, 5, 2]
    assert [len(stretch) for stretch in _stretches([(3.4445, -4.7750, 2.0315)] * 3, 2.0**-7)] == [1, 1, 1]


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
