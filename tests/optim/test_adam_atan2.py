"""AdamATan2 against its formula written for single numbers, and the properties it is chosen for."""

import math

import pytest
import torch

from tenfold.optim import AdamATan2

BETAS = (0.9, 0.95)


def kernel(p, gradients, lr, wd):
    """Section 7's formula: the first correction scales the step, the second stands inside atan2."""
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        p *= 1 - lr * wd
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g * g
        p -= lr / (1 - BETAS[0] ** t) * math.atan2(m, math.sqrt(v) / math.sqrt(1 - BETAS[1] ** t))
    return p


def ported(p, gradients, lr, wd, a=1.27, b=1.0):
    """The PyTorch port's formula: both moments corrected inside atan2, the step scaled by ``a``."""
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        p *= 1 - lr * wd
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g * g
        corrected_m, corrected_v = m / (1 - BETAS[0] ** t), v / (1 - BETAS[1] ** t)
        p -= lr * a * math.atan2(corrected_m, b * math.sqrt(corrected_v))
    return p


FORMS = {
    "kernel": (kernel, {}),
    "ported": (ported, {"a": 1.27, "correct_inside": True}),
    "ported with b": (lambda *args: ported(*args, a=0.7, b=3.0), {"a": 0.7, "b": 3.0, "correct_inside": True}),
}


def run(gradients, start=0.0, lr=1e-3, weight_decay=0.0, dtype=torch.float64, **options):
    """The weights after a sequence of gradients, ``[steps, ...]``."""
    weight = torch.nn.Parameter(torch.zeros_like(gradients[0], dtype=dtype) + start)
    optimizer = AdamATan2([weight], lr=lr, betas=BETAS, weight_decay=weight_decay, **options)
    path = []
    for gradient in gradients:
        weight.grad = gradient.to(dtype)
        optimizer.step()
        path.append(weight.detach().clone())
    return torch.stack(path)


def random_gradients(steps=10):
    return torch.randn(steps, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.spec("hrm", "21")
@pytest.mark.parametrize("form", FORMS)
def test_ten_random_steps_match_the_formula(form):
    formula, options = FORMS[form]
    gradients = random_gradients()
    start = torch.linspace(-2, 2, 7, dtype=torch.float64)
    final = run(gradients, start, lr=0.03, weight_decay=0.5, **options)[-1]
    expected = [formula(p, g, 0.03, 0.5) for p, g in zip(start.tolist(), gradients.T.tolist(), strict=True)]
    torch.testing.assert_close(final, torch.tensor(expected, dtype=torch.float64), atol=1e-13, rtol=1e-12)


@pytest.mark.spec("hrm", "21")
@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("form", FORMS)
def test_the_scale_of_the_gradients_does_not_matter(form, scale):
    options = FORMS[form][1]
    torch.testing.assert_close(
        run(scale * random_gradients(), **options), run(random_gradients(), **options), atol=0, rtol=1e-6
    )


@pytest.mark.spec("hrm", "21")
@pytest.mark.parametrize(("form", "factor"), [("kernel", 1.0), ("ported", 1.27)])
def test_steps_under_a_constant_gradient_tend_to_a_quarter_of_pi_times_the_rate(form, factor):
    path = run(torch.full((400, 1), -3.0), lr=0.01, **FORMS[form][1])
    assert (path[-1] - path[-2]).item() == pytest.approx(factor * 0.01 * math.pi / 4, rel=1e-6)


@pytest.mark.parametrize("form", ["kernel", "ported"])
def test_the_first_step_is_almost_the_rate_in_both_forms(form):
    first = run(torch.full((1, 1), 2.0), lr=0.01, **FORMS[form][1])[0]
    assert first.item() == pytest.approx(-0.01 * 0.997, rel=1e-3)


@pytest.mark.spec("hrm", "21")
@pytest.mark.parametrize("form", FORMS)
def test_zero_gradients_stay_finite_and_move_nothing_but_decay(form):
    path = run(torch.zeros(3, 2), start=1.0, lr=0.1, weight_decay=0.5, **FORMS[form][1])
    expected = torch.tensor([0.95, 0.95**2, 0.95**3], dtype=torch.float64)
    torch.testing.assert_close(path[:, 0], expected)
    tiny = run(torch.full((3, 2), 1e-30), dtype=torch.float32, **FORMS[form][1])
    assert tiny.isfinite().all()


def test_parameters_whose_gradients_began_later_have_their_own_step_count():
    early, late = (torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2))
    optimizer = AdamATan2([early, late], lr=0.1, betas=BETAS, weight_decay=0.0)
    gradients = [1.0, -2.0, 0.5]
    for t, gradient in enumerate(gradients):
        early.grad = torch.tensor([gradient], dtype=torch.float64)
        late.grad = torch.tensor([gradient], dtype=torch.float64) if t else None
        optimizer.step()
    assert early.item() == pytest.approx(kernel(0.0, gradients, 0.1, 0.0), rel=1e-12)
    assert late.item() == pytest.approx(kernel(0.0, gradients[1:], 0.1, 0.0), rel=1e-12)


def test_groups_have_their_own_rates():
    slow, fast = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    optimizer = AdamATan2([{"params": [slow], "lr": 0.001}, {"params": [fast]}], lr=0.1, weight_decay=0.0)
    slow.grad = fast.grad = torch.ones(2)
    optimizer.step()
    torch.testing.assert_close(fast.detach(), 100 * slow.detach())


@pytest.mark.parametrize("betas", [(1.0, 0.95), (0.9, 1.0), (-0.1, 0.95)])
def test_betas_outside_of_the_half_open_unit_interval_are_refused(betas):
    with pytest.raises(ValueError, match="betas"):
        AdamATan2([torch.nn.Parameter(torch.zeros(1))], betas=betas)
