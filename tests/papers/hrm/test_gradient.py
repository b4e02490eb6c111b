"""Which updates of a segment carry gradient, what that gradient equals, and the memory it needs."""

import pytest
import torch

from tenfold.models.stablemax import stablemax_cross_entropy
from tenfold.papers.hrm.method import Latents, update_sequence, updates_with_gradient

ALL_KINDS = ("hrm", "trm", "urm", "plain")

# -------------------------------------------------------------------------------------------------- gradient path


@pytest.mark.spec("hrm", "7")
@pytest.mark.parametrize(("N", "T"), [(1, 1), (2, 2), (3, 4)])
def test_calls_of_hrm_and_those_with_gradient(N, T, make_model, make_rows, count_calls):
    model = make_model("hrm", H_cycles=N, L_cycles=T)
    inputs, _, puzzles = make_rows(model, 2)
    with count_calls(model) as calls:
        model(model.initial_latents(2), inputs, puzzles)
    assert (calls["f_L", True], calls["f_H", True]) == (1, 1)
    assert (calls["f_L", False], calls["f_H", False]) == (N * T - 1, N - 1)


@pytest.mark.spec("hrm", "7")
@pytest.mark.parametrize(("N", "T"), [(1, 1), (2, 3), (3, 6)])
def test_calls_of_trm_and_those_with_gradient(N, T, make_model, make_rows, count_calls):
    model = make_model("trm", H_cycles=N, L_cycles=T)
    inputs, _, puzzles = make_rows(model, 2)
    with count_calls(model) as calls:
        model(model.initial_latents(2), inputs, puzzles)
    assert calls == {("f_H", True): T + 1, **({("f_H", False): (N - 1) * (T + 1)} if N > 1 else {})}


def test_calls_of_urm_and_plain_and_those_with_gradient(make_model, make_rows, count_calls):
    for kind, expected in (
        ("urm", {("f_H", False): 3, ("f_H", True): 3}),
        ("plain", {("f_L", True): 1, ("f_H", True): 1}),
    ):
        model = make_model(kind, H_cycles=2, L_cycles=3)
        inputs, _, puzzles = make_rows(model, 2)
        with count_calls(model) as calls:
            model(model.initial_latents(2), inputs, puzzles)
        assert calls == expected


def test_gradient_settings_of_every_kind(make_config):
    counts = {
        (kind, gradient): updates_with_gradient(make_config(kind, gradient=gradient, H_cycles=3, L_cycles=4))
        for kind in ALL_KINDS
        for gradient in ("one_step", "last_cycle", "all")
    }
    assert [counts["hrm", g] for g in ("one_step", "last_cycle", "all")] == [2, 5, 15]
    assert [counts["trm", g] for g in ("one_step", "last_cycle", "all")] == [2, 5, 15]
    assert [counts["urm", g] for g in ("one_step", "last_cycle", "all")] == [1, 4, 12]
    assert {counts["plain", g] for g in ("one_step", "last_cycle", "all")} == {1}
    assert "".join(update_sequence(make_config("hrm", H_cycles=2, L_cycles=3))) == "LLLHLLLH"


@pytest.mark.spec("hrm", "8")
@pytest.mark.parametrize("N", [1, 2])
@pytest.mark.parametrize("kind", ["hrm", "trm", "urm"])
@pytest.mark.parametrize("gradient", ["one_step", "last_cycle", "all"])
def test_states_carry_no_gradient_out_or_in(kind, gradient, N, make_model, make_rows, random_latents):
    model = make_model(kind, gradient=gradient, H_cycles=N, L_cycles=1)
    inputs, _, puzzles = make_rows(model, 2)
    latents = Latents(*(z.requires_grad_() for z in random_latents(model, 2)))
    output = model(latents, inputs, puzzles)
    assert not output.latents.z_H.requires_grad and not output.latents.z_L.requires_grad
    (output.logits.square().sum() + output.q_halt.sum()).backward()
    assert latents.z_H.grad is None and latents.z_L.grad is None
    assert all(parameter.grad is not None for parameter in model.f_H.parameters())


def loss_of(logits, q_halt, q_continue, labels):
    cells = stablemax_cross_entropy(logits, labels).mean(-1).sum()
    ones = torch.ones_like(q_halt)
    binary = torch.nn.functional.binary_cross_entropy_with_logits
    return cells + binary(q_halt, ones) + binary(q_continue, 0.3 * ones)


def gradients_of(model, loss):
    """Gradients of all weights and of the puzzle rows."""
    leaf = model.puzzle_embedding.pending[-1][1]
    return torch.autograd.grad(loss, [*model.parameters(), leaf])


@pytest.mark.spec("hrm", "9")
@pytest.mark.parametrize(("N", "T"), [(1, 1), (2, 2), (1, 3), (3, 1)])
def test_gradient_equals_that_of_the_last_two_calls_on_precomputed_constants(
    N, T, make_model, make_rows, random_latents
):
    model = make_model("hrm", H_cycles=N, L_cycles=T, dtype=torch.float64)
    inputs, labels, puzzles = make_rows(model, 3)
    start = random_latents(model, 3)

    with torch.no_grad():
        e, (z_H, z_L) = model.embed(inputs, puzzles), start
        order = ["L"] * T + ["H"]
        for which in (order * N)[:-2]:
            if which == "L":
                z_L = model.f_L(z_L, z_H + e)
            else:
                z_H = model.f_H(z_H, z_L)
    constant_z_H, constant_z_L = z_H.clone(), z_L.clone()

    e = model.embed(inputs, puzzles)
    z_H = model.f_H(constant_z_H, model.f_L(constant_z_L, constant_z_H + e))
    q = model.q_head(z_H[:, 0].float())
    expected = gradients_of(model, loss_of(model.answer_head(z_H[:, 1:]), q[:, 0], q[:, 1], labels))

    output = model(start, inputs, puzzles)
    got = gradients_of(model, loss_of(output.logits, output.q_halt, output.q_continue, labels))
    assert all(gradient.abs().max() > 1e-6 for gradient in got)
    torch.testing.assert_close(got, expected, atol=1e-10, rtol=1e-10)


def slopes(make_model, make_rows, random_latents, **settings):
    """Slope of the loss along a random direction in weight space: by autograd, and by central differences."""
    model = make_model(dtype=torch.float64, **settings)
    inputs, labels, puzzles = make_rows(model, 3)
    start = random_latents(model, 3)
    weights = [p for name, p in model.named_parameters() if not name.startswith("q_head")]
    generator = torch.Generator().manual_seed(5)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.05 for p in weights]

    def loss():
        return stablemax_cross_entropy(model(start, inputs, puzzles).logits, labels).mean()

    by_autograd = sum((g * d).sum() for g, d in zip(torch.autograd.grad(loss(), weights), direction, strict=True))
    values, epsilon = [], 1e-4
    for sign in (1, -2, 1):  # forth, back past the start, and home again
        with torch.no_grad():
            for weight, towards in zip(weights, direction, strict=True):
                weight += sign * epsilon * towards
            values.append(loss().item())
    return by_autograd.item(), (values[0] - values[1]) / (2 * epsilon)


@pytest.mark.spec("hrm", "11")
def test_one_cycle_of_one_update_has_the_exact_gradient(make_model, make_rows, random_latents):
    by_autograd, by_differences = slopes(make_model, make_rows, random_latents, kind="hrm", H_cycles=1, L_cycles=1)
    assert abs(by_differences) > 1e-3
    assert by_autograd == pytest.approx(by_differences, rel=1e-5)


@pytest.mark.parametrize("kind", ["hrm", "trm", "urm"])
def test_gradient_through_all_updates_is_exact_and_the_one_step_gradient_is_not(
    kind, make_model, make_rows, random_latents
):
    sizes = dict(kind=kind, H_cycles=2, L_cycles=2)
    exact, by_differences = slopes(make_model, make_rows, random_latents, gradient="all", **sizes)
    assert exact == pytest.approx(by_differences, rel=1e-5)
    approximate, same_differences = slopes(make_model, make_rows, random_latents, gradient="one_step", **sizes)
    assert same_differences == by_differences
    assert abs(approximate - exact) > 0.02 * abs(exact)


# ---------------------------------------------------------------------------------------------------------- memory


@pytest.fixture
def peak_of_a_segment(make_model, make_rows, saved_bytes):
    def measure(kind, **changes):
        model = make_model(kind, **changes)
        inputs, _, puzzles = make_rows(model, 2)
        latents = model.initial_latents(2)
        with saved_bytes(model) as memory:
            output = model(latents, inputs, puzzles)
        assert output.logits.requires_grad and memory.now == memory.peak
        return memory.peak

    return measure


@pytest.mark.spec("hrm", "10")
def test_memory_of_hrm_does_not_grow_with_cycles(peak_of_a_segment):
    base = peak_of_a_segment("hrm", H_cycles=2, L_cycles=2)
    assert base > 0
    for N, T in ((2, 4), (2, 7), (4, 2), (6, 5)):
        assert peak_of_a_segment("hrm", H_cycles=N, L_cycles=T) == base
    assert peak_of_a_segment("hrm", H_cycles=2, L_cycles=2, gradient="all") > 2 * base


@pytest.mark.spec("hrm", "10")
def test_memory_of_hrm_does_not_grow_with_segments(make_model, make_rows, saved_bytes):
    peaks = []
    for segments in (1, 2, 8):
        model = make_model("hrm", halt_max_steps=segments)
        inputs, _, puzzles = make_rows(model, 2)
        latents = model.initial_latents(2)
        with saved_bytes(model) as memory:
            for _ in range(segments):  # keeps the states alone: what they hold on to would add up
                latents = model(latents, inputs, puzzles).latents
        peaks.append(memory.peak)
        assert memory.now == 0
    assert peaks[0] > 0 and peaks == [peaks[0]] * 3


@pytest.mark.spec("hrm", "10")
def test_memory_of_trm_is_linear_in_updates_and_free_of_cycles(peak_of_a_segment):
    by_updates = [peak_of_a_segment("trm", H_cycles=2, L_cycles=T) for T in (2, 3, 4, 8)]
    per_update = by_updates[1] - by_updates[0]
    assert per_update > 0.1 * by_updates[0]
    assert [by_updates[2] - by_updates[0], by_updates[3] - by_updates[0]] == [2 * per_update, 6 * per_update]
    for N in (3, 6):
        assert peak_of_a_segment("trm", H_cycles=N, L_cycles=4) == by_updates[2]
