"""Muon against torch's, its own parts one by one, and the promises about scale, decay and memory."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from transformers import MixtralConfig, MixtralForCausalLM

from tenfold.core.errors import UserError
from tenfold.optim import AdamATan2, BlockSpec, Muon, muon_param_groups, orthogonalize


def gaussian(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def update(gradient, lr=1.0, **options):
    """O, the change of a zero weight after one step without decay."""
    weight = torch.nn.Parameter(torch.zeros_like(gradient))
    weight.grad = gradient.clone()
    Muon([weight], **({"lr": lr, "weight_decay": 0.0, "ns_dtype": "float32"} | options)).step()
    return -weight.detach() / lr


def rms(matrix):
    return matrix.square().mean().sqrt().item()


def run(make, shapes, steps=20, dtype=torch.float32):
    """Weights after some steps of an optimizer on noisy gradients that pull towards zero."""
    weights = [torch.nn.Parameter(gaussian(*shape, seed=9).to(dtype)) for shape in shapes]
    optimizer = make(weights)
    for step in range(steps):
        for number, weight in enumerate(weights):
            weight.grad = weight.detach() + gaussian(*weight.shape, seed=100 * step + number).to(dtype)
        optimizer.step()
    return [weight.detach() for weight in weights], optimizer


SHAPES = [(16, 48), (48, 16), (24, 24), (128, 512)]


@pytest.mark.spec("kimi_k2", "A2")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_rms_of_the_update(shape):
    gradient = gaussian(*shape)
    assert rms(update(gradient, rms_mode="update_norm")) == pytest.approx(0.2, abs=1e-6)
    assert rms(update(gradient, rms_mode="match_adamw", method="svd")) == pytest.approx(0.2, abs=1e-4)
    assert 0.13 < rms(update(gradient, rms_mode="match_adamw")) < 0.24
    assert rms(update(gradient, rms_target=0.4, method="svd")) == pytest.approx(0.4, abs=2e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_the_iteration_runs_in_the_asked_precision(dtype):
    gradient = gaussian(16, 48)
    expected = orthogonalize(gradient, dtype=getattr(torch, dtype)).float()
    torch.testing.assert_close(update(gradient, rms_mode="none", ns_dtype=dtype), expected, atol=1e-2, rtol=0)
    rounded = update(gradient, rms_mode="none", ns_dtype=dtype).bfloat16().float()
    assert torch.equal(update(gradient, rms_mode="none", ns_dtype=dtype), rounded) == (dtype == "bfloat16")


@pytest.mark.parametrize(("shape", "expected"), [((64, 16), 2.0), ((16, 64), 1.0)])
def test_spectral_and_unscaled_updates(shape, expected):
    gradient = gaussian(*shape)
    exact = orthogonalize(gradient, method="svd")
    torch.testing.assert_close(update(gradient, rms_mode="spectral", method="svd"), expected * exact)
    torch.testing.assert_close(update(gradient, rms_mode="none", method="svd"), exact)


@pytest.mark.spec("kimi_k2", "A5")
@pytest.mark.parametrize("batch", ["always", "never", "auto"])
@pytest.mark.parametrize("shape", [(6, 16, 40), (3, 80, 96)])
def test_a_stack_is_the_list_of_its_matrices(batch, shape):
    def make(weights):
        return Muon(weights, lr=0.02, ns_dtype="float32", batch=batch)

    stack = torch.nn.Parameter(gaussian(*shape))
    matrices = [torch.nn.Parameter(matrix.clone()) for matrix in stack.detach()]
    stacked, listed = make([stack]), make(matrices)
    for step in range(4):
        stack.grad = gaussian(*shape, seed=step + 1)
        for matrix, gradient in zip(matrices, stack.grad, strict=True):
            matrix.grad = gradient
        stacked.step()
        listed.step()
    torch.testing.assert_close(stack.detach(), torch.stack([m.detach() for m in matrices]), atol=1e-5, rtol=0)


@pytest.mark.spec("kimi_k2", "A5")
@pytest.mark.parametrize("batch_bytes", [1, 10_000, 64 << 20])
def test_the_size_of_the_batches_does_not_matter(batch_bytes):
    shapes = [(8, 20)] * 5 + [(4, 8, 20)] + [(20, 8)]
    reference, _ = run(lambda weights: Muon(weights, ns_dtype="float32", batch="never"), shapes, steps=3)
    batched, _ = run(
        lambda weights: Muon(weights, ns_dtype="float32", batch="always", batch_bytes=batch_bytes), shapes, steps=3
    )
    for one, other in zip(reference, batched, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.spec("kimi_k2", "A6")
@pytest.mark.parametrize("nesterov", [True, False])
def test_twenty_steps_equal_those_of_torch(nesterov):
    options = {"lr": 0.02, "weight_decay": 0.1, "nesterov": nesterov}
    shapes = [(32, 32), (32, 128), (96, 32)]
    ours, _ = run(lambda weights: Muon(weights, ns_dtype="bfloat16", **options), shapes)
    theirs, _ = run(lambda weights: torch.optim.Muon(weights, adjust_lr_fn="match_rms_adamw", **options), shapes)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() < 1e-2 * other.norm()


def newton_schulz(N, steps=5):
    """The iteration as its module states it, one matrix at a time and without its other forms."""
    X = N / N.norm()
    for _ in range(steps):
        X = 3.4445 * X - 4.7750 * (X @ X.T) @ X + 2.0315 * (X @ X.T) @ (X @ X.T) @ X
    return X


def reference_step(W, G, M, lr, mu=0.95, decay=0.1, nesterov=True):
    """The six lines of the docstring of Muon: the new weight and the new momentum."""
    M = mu * M + G
    N = G + mu * M if nesterov else M
    O = newton_schulz(N)
    O = 0.2 * max(W.shape) ** 0.5 * O
    W = (1 - lr * decay) * W
    W = W - lr * O
    return W, M


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 2e-14), ("float32", 1e-5)])
def test_the_fast_steps_are_the_six_lines_of_the_docstring(dtype, tolerance, nesterov):
    """Equal but for rounding: the weights move by about 0.4, and differ by some tens of roundings of a number near 1.

    Two shapes are alike, others are wide, tall, large and stacked: batches, single matrices, the Gram form and the
    transposed one are all used.
    """
    shapes = [(16, 24), (16, 24), (8, 40), (40, 8), (96, 80), (80, 320), (3, 16, 24)]
    weights = [torch.nn.Parameter(gaussian(*shape, seed=7, dtype=getattr(torch, dtype))) for shape in shapes]
    optimizer = Muon(weights, lr=0.5, nesterov=nesterov, ns_dtype=dtype)
    expected = [[(W, torch.zeros_like(W)) for W in matrices(weight.detach().clone())] for weight in weights]
    for step in range(4):
        for number, weight in enumerate(weights):
            weight.grad = gaussian(*weight.shape, seed=100 * step + number, dtype=weight.dtype)
            expected[number] = [
                reference_step(W, G, M, 0.5, nesterov=nesterov)
                for (W, M), G in zip(expected[number], matrices(weight.grad), strict=True)
            ]
        optimizer.step()
    for weight, pairs in zip(weights, expected, strict=True):
        for moved, (W, _) in zip(matrices(weight.detach()), pairs, strict=True):
            torch.testing.assert_close(moved, W, atol=tolerance, rtol=0)


def matrices(weight):
    return list(weight.reshape(-1, *weight.shape[-2:]))


@pytest.mark.spec("kimi_k2", "A7")
@pytest.mark.parametrize("rms_mode", ["match_adamw", "update_norm", "spectral"])
@pytest.mark.parametrize("shape", [(16, 64), (3, 4, 5)])
def test_a_zero_gradient_leaves_exactly_the_decay_by_the_plain_rate(rms_mode, shape):
    weight = torch.nn.Parameter(gaussian(*shape))
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    Muon([weight], lr=0.3, weight_decay=0.1, rms_mode=rms_mode).step()
    assert torch.equal(weight.detach(), before * (1 - 0.3 * 0.1))


@pytest.mark.spec("kimi_k2", "A8")
def test_bfloat16_momentum_is_the_sum_of_gradients_after_a_step_without_nesterov():
    """torch 2.13's Muon normalises its buffer in place here: bfloat16() of a bfloat16 tensor is the tensor itself."""
    weight = torch.nn.Parameter(gaussian(16, 32).bfloat16())
    gradients = [gaussian(16, 32, seed=seed).bfloat16() for seed in (1, 2)]
    optimizer = Muon([weight], nesterov=False, momentum=0.5)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
        assert torch.equal(weight.grad, gradient)
    expected = (0.5 * gradients[0]).float() + gradients[1].float()
    buffer = optimizer.state[weight]["momentum_buffer"]
    assert buffer.norm() > 10
    torch.testing.assert_close(buffer.float(), expected, atol=0.02, rtol=0.01)


def test_momentum_accumulates_and_nesterov_looks_ahead():
    first, second = gaussian(8, 12, seed=1), gaussian(8, 12, seed=2)
    for nesterov, ahead in [(True, second + 0.9 * (0.9 * first + second)), (False, 0.9 * first + second)]:
        weight = torch.nn.Parameter(torch.zeros(8, 12))
        optimizer = Muon([weight], lr=1.0, weight_decay=0.0, momentum=0.9, nesterov=nesterov, method="svd")
        for gradient in (first, second):
            before = weight.detach().clone()
            weight.grad = gradient
            optimizer.step()
        expected = 0.2 * 12**0.5 * orthogonalize(ahead, method="svd")
        torch.testing.assert_close(before - weight.detach(), expected, atol=1e-5, rtol=0)


BLOCKS = {
    "gate and up": ((16, 10), BlockSpec(rows=(8, 8)), lambda w: [w[:8], w[8:]]),
    "stack of gate and up": ((3, 16, 10), BlockSpec(rows=(8, 8)), lambda w: [*w[:, :8], *w[:, 8:]]),
    "grouped queries": ((16, 10), BlockSpec(rows=(8, 4, 4)), lambda w: [w[:8], w[8:12], w[12:]]),
    "head by head": (
        (24, 10),
        BlockSpec(rows=(4, 4, 4), repeats=2),
        lambda w: [torch.cat([w[start : start + 4], w[start + 12 : start + 16]]) for start in (0, 4, 8)],
    ),
    "transposed": (
        (10, 24),
        BlockSpec(rows=(8, 8, 8), transposed=True),
        lambda w: [w.T[i : i + 8] for i in (0, 8, 16)],
    ),
    "convolution": ((6, 3, 2, 2), BlockSpec(), lambda w: [w.reshape(6, 12)]),
    "one-dimensional convolution": ((6, 3, 2), BlockSpec(flatten=True), lambda w: [w.reshape(6, 6)]),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_each_block_is_orthogonalised_and_scaled_on_its_own(case):
    shape, spec, cut = BLOCKS[case]
    gradient = gaussian(*shape)
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = gradient
    Muon([{"params": [weight], "blocks": spec}], lr=1.0, weight_decay=0.0, method="svd").step()
    for block, moved in zip(cut(gradient), cut(weight.detach()), strict=True):
        expected = 0.2 * max(block.shape) ** 0.5 * orthogonalize(block, method="svd")
        torch.testing.assert_close(-moved, expected, atol=1e-5, rtol=0)


def test_kernels_in_another_memory_format_move_too():
    plain = torch.nn.Parameter(gaussian(6, 3, 2, 2))
    other = torch.nn.Parameter(plain.detach().clone().to(memory_format=torch.channels_last))
    for weight in (plain, other):
        weight.grad = gaussian(6, 3, 2, 2, seed=1)
        Muon([weight], lr=0.1).step()
    torch.testing.assert_close(plain.detach(), other.detach().contiguous())


def test_adamw_groups_step_as_torch_does():
    ours, theirs = (torch.nn.Parameter(gaussian(7)) for _ in range(2))
    group = {"params": [ours], "algorithm": "adamw", "betas": (0.8, 0.9), "eps": 0.1, "lr": 0.05}
    optimizers = (
        Muon([group], weight_decay=0.3),
        torch.optim.AdamW([theirs], lr=0.05, betas=(0.8, 0.9), eps=0.1, weight_decay=0.3),
    )
    for step in range(5):
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gaussian(7, seed=step + 1)
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bfloat16, int])
def test_a_loaded_count_of_steps_stands_on_the_device_of_its_parameter_in_single_precision(dtype):
    """The fused kernel reads it there. A parameter without memory stands for one on a device."""
    vector, saved = torch.nn.Parameter(torch.zeros(3, device="meta")), torch.nn.Parameter(gaussian(3))
    original, optimizer = (Muon([{"params": [p], "algorithm": "adamw"}]) for p in (saved, vector))
    saved.grad = gaussian(3)
    original.step()
    state = original.state_dict()
    state["state"][0]["step"] = 3 if dtype is int else torch.tensor(3, dtype=dtype)
    optimizer.load_state_dict(state)
    step = optimizer.state[vector]["step"]
    assert step.device == vector.device and step.dtype == torch.float32


def test_a_loaded_count_of_steps_goes_on_from_its_value():
    weights = [torch.nn.Parameter(gaussian(3)) for _ in range(2)]
    original, optimizer = (Muon([{"params": [p], "algorithm": "adamw"}], lr=0.1) for p in weights)
    for step in range(6):
        weights[0].grad = gaussian(3, seed=step)
        original.step()
        if step == 2:
            state = copy.deepcopy(original.state_dict())
            state["state"][0]["step"] = int(state["state"][0]["step"])  # as older optimizers saved it
            weights[1].data.copy_(weights[0].detach())
            optimizer.load_state_dict(state)
        elif step > 2:
            weights[1].grad = weights[0].grad.clone()
            optimizer.step()
    assert torch.equal(*weights)


@pytest.mark.parametrize("make", [Muon, AdamATan2])
def test_a_step_that_only_makes_a_state_is_none(make):
    """Checkpoint functions of torch step a fresh optimizer, to have a state; it must be that of no step at all."""
    models = [nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    asked, plain = (make(muon_param_groups(model, lr=0.1) if make is Muon else model.parameters()) for model in models)
    before = copy.deepcopy(models[0].state_dict())
    get_optimizer_state_dict(models[0], asked)
    assert all(torch.equal(value, before[name]) for name, value in models[0].state_dict().items())
    for step in range(3):
        for model, optimizer in zip(models, (asked, plain), strict=True):
            model(gaussian(5, 4, seed=step)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)


def test_a_first_step_at_a_rate_of_nothing_counts():
    weight = torch.nn.Parameter(gaussian(3))
    optimizer = Muon([{"params": [weight], "algorithm": "adamw"}], lr=0.0)
    weight.grad = gaussian(3)
    optimizer.step()
    assert optimizer.state[weight]["step"] == 1


def test_the_state_of_another_optimizer_is_refused_and_changes_nothing():
    weight, vector = torch.nn.Parameter(gaussian(4, 6)), torch.nn.Parameter(gaussian(6))
    adamw = torch.optim.AdamW([weight])
    weight.grad = gaussian(4, 6)
    adamw.step()
    optimizer = Muon([weight], lr=0.5)
    with pytest.raises(UserError, match=r"shape \(4, 6\) has exp_avg, exp_avg_sq, step: muon needs momentum_buffer"):
        optimizer.load_state_dict(adamw.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.5 and not optimizer.state
    sorted_groups = Muon([{"params": [weight]}, {"params": [vector], "algorithm": "adamw"}])
    with pytest.raises(UserError, match=r"groups have \[1\] parameters: the optimizer's have \[1, 1\]"):
        sorted_groups.load_state_dict(adamw.state_dict())
    state = Muon([torch.nn.Parameter(gaussian(6, 4))])
    state.param_groups[0]["params"][0].grad = gaussian(6, 4)
    state.step()
    with pytest.raises(UserError, match=r"momentum_buffer of shape \(6, 4\) in the state"):
        optimizer.load_state_dict(state.state_dict())


def test_taking_over_an_average_leaves_the_state_that_was_given():
    _, original = run(lambda weights: torch.optim.Muon(weights), [(6, 8)], steps=2)
    state = original.state_dict()
    before = state["state"][0]["momentum_buffer"].clone()
    Muon([torch.nn.Parameter(gaussian(6, 8))]).load_state_dict(state, momentum_convention="ema")
    assert torch.equal(state["state"][0]["momentum_buffer"], before)


@pytest.mark.parametrize("algorithm", ["muon", "adamw"])
def test_sparse_gradients_are_refused_before_anything_moves(algorithm):
    plain, table = torch.nn.Parameter(gaussian(4, 4)), nn.Embedding(5, 4, sparse=True)
    optimizer = Muon([{"params": [plain]}, {"params": [table.weight], "algorithm": algorithm}])
    before = plain.detach().clone()
    plain.grad = gaussian(4, 4)
    table(torch.tensor([1, 3])).sum().backward()
    with pytest.raises(UserError, match=r"sparse gradient of shape \(5, 4\).*sparse=False"):
        optimizer.step()
    assert torch.equal(plain.detach(), before)


def flattened_by_fsdp1():
    flat = torch.nn.Parameter(gaussian(12))
    flat._is_flat_param = True  # as torch marks it
    return flat


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.nn.Parameter(torch.zeros(0)), r"\(0,\) has no entries, as DeepSpeed's ZeRO-3 leaves"),
        (flattened_by_fsdp1(), r"\(12,\) was flattened by FullyShardedDataParallel"),
    ],
)
@pytest.mark.parametrize("algorithm", ["muon", "adamw"])
def test_parameters_of_which_sharding_left_no_matrix_are_refused(weight, message, algorithm):
    with pytest.raises(UserError, match=message):
        Muon([{"params": [weight], "algorithm": algorithm}])


@pytest.mark.parametrize("ns_dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("ns_steps", [5, 10, 16])
def test_gradients_of_one_row_of_data_keep_weights_finite(ns_steps, ns_dtype):
    torch.manual_seed(0)
    layer = nn.Linear(192, 48)
    optimizer = Muon(muon_param_groups(layer, lr=0.02), ns_steps=ns_steps, ns_dtype=ns_dtype)
    for step in range(20):
        layer(gaussian(1, 192, seed=step)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert all(parameter.isfinite().all() for parameter in layer.parameters())


def test_experts_that_see_a_few_tokens_keep_weights_finite():
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=64, hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=8, num_experts_per_tok=2,
    )  # fmt: skip
    model = MixtralForCausalLM(config).train()
    optimizer = Muon(muon_param_groups(model, lr=0.02), ns_steps=10, ns_dtype="float32")
    losses = []
    for step in range(15):
        tokens = torch.randint(64, (1, 12), generator=torch.Generator().manual_seed(step % 3))
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert all(parameter.isfinite().all() for parameter in model.parameters()) and losses[-1] < losses[0]


def test_takes_over_the_state_of_torchs_muon():
    torchs, original = run(lambda weights: torch.optim.Muon(weights, adjust_lr_fn="match_rms_adamw"), [(16, 24)])
    weight = torch.nn.Parameter(torchs[0].clone())
    optimizer = Muon([weight], ns_dtype="bfloat16")
    optimizer.load_state_dict(copy.deepcopy(original.state_dict()), momentum_convention="ema")
    twin = original.param_groups[0]["params"][0]
    for step in range(3):
        weight.grad = gaussian(16, 24, seed=step)
        twin.grad = weight.grad.clone()
        optimizer.step()
        original.step()
    torch.testing.assert_close(weight.detach(), twin.detach(), atol=1e-4, rtol=0)


def test_a_loaded_state_that_names_no_blocks_leaves_those_of_the_group():
    weight = torch.nn.Parameter(gaussian(16, 8))
    _, original = run(lambda weights: torch.optim.Muon(weights), [(16, 8)])
    optimizer = Muon([{"params": [weight], "blocks": BlockSpec(rows=(8, 8))}])
    optimizer.load_state_dict(original.state_dict(), momentum_convention="ema")
    assert BlockSpec(*optimizer.param_groups[0]["blocks"]) == BlockSpec(rows=(8, 8))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda original: pickle.loads(pickle.dumps(original))])
def test_a_copy_steps_as_the_original_does(duplicate):
    _, original = run(lambda weights: Muon(weights, batch="never", skip_nonfinite=True), [(8, 12)], steps=2)
    twin = duplicate(original)
    assert (twin.batch, twin.skip_nonfinite) == ("never", True)
    weights = [optimizer.param_groups[0]["params"][0] for optimizer in (original, twin)]
    for weight, optimizer in zip(weights, (original, twin), strict=True):
        weight.grad = gaussian(8, 12, seed=7)
        optimizer.step()
    assert weights[0] is not weights[1] and torch.equal(*weights)


def test_a_rate_in_a_tensor_is_the_same_rate():
    number, tensor = (
        run(lambda weights, lr=lr: Muon(weights, lr=lr), [(8, 8)], steps=3)[0][0] for lr in (0.25, torch.tensor(0.25))
    )
    assert torch.equal(number, tensor)


def test_groups_can_be_added_later_with_their_own_settings():
    early, late = (torch.nn.Parameter(torch.zeros(4, 4)) for _ in range(2))
    optimizer = Muon([early], lr=0.1, weight_decay=0.0, method="svd")
    optimizer.add_param_group({"params": [late], "lr": 0.2})
    early.grad = late.grad = gaussian(4, 4)
    optimizer.step()
    torch.testing.assert_close(late.detach(), 2 * early.detach())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_parameters_with_non_finite_gradients_can_be_skipped_and_are_counted(bad):
    good, broken = (torch.nn.Parameter(gaussian(4, 4)) for _ in range(2))
    before = broken.detach().clone()
    optimizer = Muon([good, broken], skip_nonfinite=True)
    good.grad, broken.grad = gaussian(4, 4, seed=1), gaussian(4, 4, seed=2)
    broken.grad[0, 0] = bad
    optimizer.step()
    assert torch.equal(broken.detach(), before) and not optimizer.state[broken]
    assert not torch.equal(good.detach(), before) and good.isfinite().all()
    assert optimizer.nonfinite_skipped == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rms_mode": "hidden"}, "rms_mode = 'hidden'"),
        ({"ns_dtype": "float16"}, "ns_dtype = 'float16'"),
        ({"momentum": 1.0}, "momentum = 1.0"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"batch": "sometimes"}, "batch = 'sometimes'"),
        ({"batch_bytes": 0}, "batch_bytes = 0"),
        ({"method": "qr"}, "method = 'qr'"),
        ({"ns_steps": 0}, "ns_steps = 0"),
        ({"coefficients": ()}, r"coefficients = \(\)"),
        ({"coefficients": ((1.0, 2.0),)}, "must be triples"),
        ({"rms_target": -0.2}, "rms_target = -0.2"),
    ],
)
def test_refuses_settings_out_of_range(options, message):
    with pytest.raises(UserError, match=message):
        Muon([torch.nn.Parameter(torch.eye(2))], **options)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"params": [torch.nn.Parameter(torch.zeros(3))]}, r"\(3,\): Muon needs matrices"),
        ({"params": [torch.nn.Parameter(torch.zeros(0, 4))]}, r"\(0, 4\) has no entries"),
        ({"params": [torch.nn.Parameter(torch.eye(4))], "blocks": BlockSpec(rows=(3,))}, "must add up to"),
        ({"params": [torch.nn.Parameter(torch.eye(4))], "maximize": True}, "maximize = True"),
        ({"params": [torch.nn.Parameter(torch.eye(4))], "algorithm": "sgd"}, "algorithm = 'sgd'"),
    ],
)
def test_refuses_groups_it_cannot_step_and_keeps_none_of_them(group, message):
    optimizer = Muon([torch.nn.Parameter(torch.eye(2))])
    with pytest.raises(UserError, match=message):
        optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1
