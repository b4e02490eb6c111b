"""Orthogonalisation of matrices by Newton–Schulz iterations (Jordan et al., "Muon"), batched over leading axes.

With G = U S Vᵀ the wanted result is U Vᵀ. Each step applies an odd polynomial to the singular values, by products
alone:

    X_0 = G / ‖G‖_F,        X <- a X + b (X Xᵀ) X + c (X Xᵀ)² X

The default coefficients are steep at zero instead of exact at one: after five steps a singular value of X_0 between
0.003 and 1 lands in [0.68, 1.21]; it does not converge to 1, and more steps give no lower loss ("Muon is Scalable for
LLM Training", section 2.2). ``method="svd"`` is the exact result, for tests.

For wide matrices in float32 and float64 some steps together run on the small Gram matrix alone, and X is multiplied
once at their end. Where X has no direction, the Gram matrix has rounding instead of zeros, with either sign, and each
step multiplies that by a², while X itself would stay as it is. So X is multiplied, and its Gram matrix taken anew,
before this noise matters: after five steps of the default coefficients in float32, twelve in float64.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from tenfold.core.errors import UserError

Coefficients = Sequence[tuple[float, float, float]]

QUINTIC: Coefficients = ((3.4445, -4.7750, 2.0315),)

# Amsel et al., "The Polar Express" (arXiv 2505.16932, algorithm 1): the best polynomial for each step when the smallest
# singular value is 1e-3, each but the last with the paper's safety factor of 1.01 against rounding. 7 steps converge.
POLAR_EXPRESS: Coefficients = (
    *(
        (a / 1.01, b / 1.01**3, c / 1.01**5)
        for a, b, c in (
            (8.28721201814563, -23.595886519098837, 17.300387312530933),
            (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
            (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
            (3.3184196573706015, -2.488488024314874, 0.51004894012372),
            (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
            (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
            (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
        )
    ),
    (1.875, -1.25, 0.375),
)

EPSILON = 1e-7
GRAM_ASPECT = 3  # from this ratio of sides on, the Gram form is the faster one in float32
LARGEST_NOISE = 0.01  # of a Gram matrix whose largest eigenvalues are near 1


def orthogonalize(
    matrices: Tensor,
    steps: int = 5,
    *,
    coefficients: Coefficients = QUINTIC,
    method: str = "newton_schulz",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The matrices with their singular values moved towards one; the input is left as it is.

    Args:
        matrices: ``[..., n, m]``, each orthogonalised on its own. A zero matrix gives a zero matrix.
        steps: number of iterations.
        coefficients: one triple (a, b, c) per step; the last one serves all further steps.
        method: ``"newton_schulz"``, or ``"svd"`` for the exact U Vᵀ.
        dtype: in which to iterate, by default that of the input; the result has it too.

    Raises:
        UserError: for an unknown method, no steps, or less than two axes.

    Example:
        >>> result = orthogonalize(torch.diag(torch.tensor([3.0, 0.5])), method="svd")
        >>> torch.allclose(result, torch.eye(2), atol=1e-6)
        True
    """
    if matrices.ndim < 2:
        raise UserError(f"matrices of shape {tuple(matrices.shape)}: at least two axes are needed")
    if steps < 1:
        raise UserError(f"steps = {steps}: at least one is needed")
    if dtype is None:
        dtype = matrices.dtype
    if method == "svd":
        return _exact(matrices).to(dtype)
    if method != "newton_schulz":
        raise UserError(f'method = {method!r}: must be "newton_schulz" or "svd"')
    # The transpose has the transposed result, and X Xᵀ is the smaller of the two products for a wide matrix.
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    if is_tall:
        matrices = matrices.mT
    norm = torch.linalg.matrix_norm(matrices, keepdim=True).clamp(min=EPSILON)
    start = (matrices / norm).to(dtype)[None].flatten(end_dim=-3)  # one axis for all leading ones, of which none may be
    result = _iterate(start, _triples(coefficients, steps)).view(matrices.shape)
    if is_tall:
        return result.mT
    return result


def automatic_dtype(parameter: Tensor) -> torch.dtype:
    """bfloat16 where the device multiplies it natively (CUDA, CPUs with dot products), else float32; float64 stays."""
    if parameter.dtype == torch.float64:
        return torch.float64
    if parameter.device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = parameter.device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def _triples(coefficients: Coefficients, steps: int) -> list[tuple[float, float, float]]:
    """The triple of each step; the last one given serves all further steps."""
    triples = []
    for step in range(steps):
        a, b, c = coefficients[min(step, len(coefficients) - 1)]
        triples.append((float(a), float(b), float(c)))
    return triples


def _exact(matrices: Tensor) -> Tensor:
    """U Vᵀ over the directions with a singular value that is not rounding; the others get 0."""
    if matrices.dtype != torch.float64:
        matrices = matrices.float()
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    smallest = s[..., :1] * max(matrices.shape[-2:]) * torch.finfo(s.dtype).eps
    return (u * (s > smallest).to(s.dtype)[..., None, :]) @ vh


def _iterate(X: Tensor, triples: list[tuple[float, float, float]]) -> Tensor:
    """All steps on ``X`` ``[batch, n, m]`` with n <= m and norms of at most one."""
    is_wide = X.shape[-1] >= GRAM_ASPECT * X.shape[-2]
    if not is_wide:
        return _plain_steps(X, triples)
    for stretch in _stretches(triples, torch.finfo(X.dtype).eps):
        # A stretch of one step, which is all that bfloat16 allows, gains nothing from the Gram form.
        X = _plain_steps(X, stretch) if len(stretch) == 1 else _gram_steps(X, stretch)
    return X


def _stretches(triples: list[tuple[float, float, float]], rounding: float) -> list[list[tuple[float, float, float]]]:
    """The steps in stretches whose Gram matrix keeps its noise, ``rounding`` at first, below the limit."""
    stretches = [[triples[0]]]
    noise = rounding
    for before, triple in pairwise(triples):
        noise *= max(before[0] ** 2, 1.0)
        if noise < LARGEST_NOISE:
            stretches[-1].append(triple)
        else:
            stretches.append([triple])
            noise = rounding
    return stretches


def _plain_steps(X: Tensor, triples: list[tuple[float, float, float]]) -> Tensor:
    for a, b, c in triples:
        gram = torch.bmm(X, X.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        X = torch.baddbmm(X, polynomial, X, beta=a)
    return X


def _gram_steps(X: Tensor, triples: list[tuple[float, float, float]]) -> Tensor:
    """The product of all steps' polynomials P = a + b Y + c Y² of Y = X Xᵀ, times X; each step turns Y into P Y P."""
    Y = torch.bmm(X, X.mT)
    P = _step_polynomial(Y, triples[0])
    Q = P
    for triple in triples[1:]:
        Y = torch.bmm(P, torch.bmm(Y, P))
        P = _step_polynomial(Y, triple)
        Q = torch.bmm(P, Q)
    return torch.bmm(Q, X)


def _step_polynomial(Y: Tensor, triple: tuple[float, float, float]) -> Tensor:
    a, b, c = triple
    P = torch.baddbmm(Y, Y, Y, beta=b, alpha=c)
    P.diagonal(dim1=-2, dim2=-1).add_(a)
    return P
