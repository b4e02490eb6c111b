"""What every optimizer of the library keeps. Joining is one row in ``OPTIMIZERS``.

Each row wraps an optimizer in a :class:`Subject`: how to build it on a matrix, which tensor it moves, and how a
gradient reaches it. The dense ones move a parameter, the sparse one the rows of a table.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from tiny_models import tiny

from tenfold.models import SparseEmbedding
from tenfold.optim import AdamATan2, Muon, MuonClip, SparseSignSGD

SHAPE = (6, 4)


@dataclass
class Subject:
    """An optimizer at work: ``loss(function)`` makes a gradient of a function of the matrix that ``value`` shows."""

    optimizer: torch.optim.Optimizer
    value: Callable[[], torch.Tensor]
    matrix: Callable[[], torch.Tensor]

    def step(self, function):
        loss = function(self.matrix())
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def dense(make, start, lr, weight_decay):
    weight = torch.nn.Parameter(start.clone())
    optimizer = make([weight], lr=lr, weight_decay=weight_decay)
    return Subject(optimizer, lambda: weight.detach(), lambda: weight)


def sparse(start, lr, weight_decay):
    table = SparseEmbedding(*start.shape).to(start.dtype)
    table.weight.copy_(start)
    optimizer = SparseSignSGD(table, lr=lr, weight_decay=weight_decay)
    return Subject(optimizer, lambda: table.weight, lambda: table(torch.arange(len(start))))


def of_a_model(start, lr, weight_decay):
    """The matrix is a weight of the feed-forward network of a model; its other weights get no gradients."""
    model = tiny("llama").to(start.dtype)
    projection = model.model.layers[0].mlp.up_proj
    projection.weight = torch.nn.Parameter(start.clone())
    optimizer = MuonClip(model, lr=lr, weight_decay=weight_decay, muon_options={"rms_target": 1.0})
    return Subject(optimizer, lambda: projection.weight.detach(), lambda: projection.weight)


OPTIMIZERS = {
    "adam_atan2": partial(dense, AdamATan2),
    "adam_atan2_ported": partial(dense, partial(AdamATan2, a=1.27, correct_inside=True)),
    "muon": partial(dense, partial(Muon, rms_target=1.0)),
    "muon_float32": partial(dense, partial(Muon, rms_target=1.0, ns_dtype="float32", rms_mode="update_norm")),
    "muon_clip": of_a_model,
    "sparse_sign_sgd": sparse,
}


@pytest.fixture(params=OPTIMIZERS)
def make(request):
    return partial(OPTIMIZERS[request.param], start=noise(), lr=0.01, weight_decay=0.0)


def noise(seed=0, dtype=torch.float32):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def squares(matrix):
    return (matrix - 0.3).square().sum()


def test_decreases_a_loss(make):
    subject = make()
    losses = [subject.step(squares) for _ in range(300)]
    assert losses[-1] < 0.01 * losses[0]


def test_equal_starts_take_equal_paths(make):
    one, other = make(), make()
    for _ in range(5):
        one.step(squares)
        other.step(squares)
    assert torch.equal(one.value(), other.value())


def test_state_goes_to_a_file_and_back(make, tmp_path):
    original = make()
    for _ in range(3):
        original.step(squares)
    torch.save(original.optimizer.state_dict(), tmp_path / "state.pt")
    restored = make(start=original.value(), lr=1.0, weight_decay=0.9)
    restored.optimizer.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(3):
        original.step(squares)
        restored.step(squares)
    assert torch.equal(original.value(), restored.value())


def test_state_survives_a_deep_copy(make):
    original = make()
    original.step(squares)
    twin = copy.deepcopy(original.optimizer.state_dict())
    before = copy.deepcopy(twin)
    original.step(squares)
    assert str(twin) == str(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_the_dtype(make, dtype):
    subject = make(start=noise(dtype=dtype))
    subject.step(squares)
    assert subject.value().dtype == dtype
    tensors = [value for state in subject.optimizer.state.values() for value in state.values()]
    assert all(value.dtype == dtype for value in tensors if isinstance(value, torch.Tensor))


def test_weight_decay_is_decoupled_from_the_gradient(make):
    """Decay multiplies the weight by 1 - lr · wd, whatever the gradient is, and adds nothing to the moments."""
    plain, decayed = make(), make(weight_decay=2.0)
    for _ in range(4):
        before = decayed.value().clone(), plain.value().clone()
        for subject in (plain, decayed):
            subject.step(lambda matrix: (matrix * noise(seed=1)).sum())
        step = plain.value() - before[1]
        torch.testing.assert_close(decayed.value(), before[0] * (1 - 0.01 * 2.0) + step, atol=1e-6, rtol=1e-5)


def test_a_zero_gradient_moves_nothing_but_decay(make):
    plain, decayed = make(), make(weight_decay=2.0)
    for subject in (plain, decayed):
        subject.step(lambda matrix: 0.0 * matrix.sum())
    assert torch.equal(plain.value(), noise())
    torch.testing.assert_close(decayed.value(), 0.98 * noise())


def test_what_has_no_gradient_is_untouched_even_by_decay(make):
    subject = make(weight_decay=2.0)
    subject.optimizer.step()
    assert torch.equal(subject.value(), noise())
    assert not subject.optimizer.state


def test_the_rate_of_the_group_is_read_at_each_step(make):
    subject = make(weight_decay=2.0)
    for group in subject.optimizer.param_groups:
        group["lr"] = 0.0
    subject.step(squares)
    assert torch.equal(subject.value(), noise())


def test_returns_the_loss_of_a_closure(make):
    subject = make()

    def closure():
        loss = squares(subject.matrix())
        loss.backward()
        return loss

    expected = squares(noise()).item()
    assert subject.optimizer.step(closure).item() == pytest.approx(expected)
    assert not torch.equal(subject.value(), noise())


@pytest.mark.parametrize(("name", "value"), [("lr", -0.1), ("lr", float("nan")), ("weight_decay", -1.0)])
def test_refuses_rates_out_of_range(make, name, value):
    with pytest.raises(ValueError, match=f"{name} = {value}"):
        make(**{name: value})
