"""The optimizer's groups and rates, the loss against a sum by hand, and the cost against PyTorch's own counter."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tenfold.core.seeding import torch_generator
from tenfold.papers.universal_pretraining.config import GeneratorConfig, ModelConfig, PretrainingConfig
from tenfold.papers.universal_pretraining.method import RandomLSTM
from tenfold.papers.universal_pretraining.optimization import (
    build_model,
    generation_flops_per_token,
    make_optimizer,
    next_token_loss,
    parameter_groups,
    training_flops_per_token,
)

SMALL = ModelConfig(width=32, layers=2, heads=2, context=16)
POST_NORM = replace(SMALL, architecture="post_norm")


def rates_by_name(model, optimizer):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.spec("universal_pretraining", "11")
@pytest.mark.parametrize("shape", [SMALL, POST_NORM], ids=lambda shape: shape.architecture)
def test_mup_scales_the_rate_of_matrices_by_640_over_width_and_is_off_by_default(shape):
    model = build_model(shape, seed=0)
    assert PretrainingConfig().mup is False
    (plain,) = make_optimizer(1e-3, PretrainingConfig(), shape.width)(model)
    (scaled,) = make_optimizer(1e-3, PretrainingConfig(mup=True), shape.width)(model)
    assert set(rates_by_name(model, plain).values()) == {1e-3}
    assert isinstance(plain, torch.optim.AdamW)
    for name, rate in rates_by_name(model, scaled).items():
        is_matrix = dict(model.named_parameters())[name].ndim == 2 and "embed" not in name
        assert rate == pytest.approx(1e-3 * 640 / 32 if is_matrix else 1e-3), name
    assert rates_by_name(model, scaled)["lm_head.weight"] == pytest.approx(2e-2)
    assert rates_by_name(model, scaled).keys() == dict(model.named_parameters()).keys(), "every weight is trained"


def test_the_published_settings_use_mup_and_the_others_do_not():
    from tenfold.papers.universal_pretraining import config

    assert config.paper("width-512").pretraining.mup
    assert not any(preset().pretraining.mup for preset in (config.smoke, config.laptop, config.gpu))


def test_the_gradient_is_clipped_just_before_the_step():
    model = build_model(SMALL, seed=0)
    (optimizer,) = make_optimizer(1e-3, PretrainingConfig(clip=0.5), 32)(model)
    (1000 * next_token_loss(model, torch.arange(16)[None])).backward()
    optimizer.step()
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert norm.item() == pytest.approx(0.5, rel=1e-4)


def test_the_loss_is_the_mean_over_all_tokens_but_the_first():
    model = build_model(SMALL, seed=0).eval()
    tokens = torch.tensor([[5, 7, 9], [1, 1, 2]])
    with torch.no_grad():
        probabilities = model(tokens).logits.softmax(-1)
        expected = -sum(math.log(probabilities[row, t, tokens[row, t + 1]]) for row in range(2) for t in range(2)) / 4
        assert next_token_loss(model, tokens).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [SMALL, POST_NORM], ids=lambda shape: shape.architecture)
def test_training_costs_what_pytorch_counts(shape):
    model = build_model(shape, seed=0)
    model.config._attn_implementation = "eager"  # whose products the counter sees
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        next_token_loss(model, torch.zeros(3, 16, dtype=torch.long)).backward()
    per_token = counter.get_total_flops() / (3 * 16)
    assert training_flops_per_token(model, shape) == pytest.approx(per_token, rel=0.02)


def test_generation_costs_two_operations_for_each_weight():
    source = RandomLSTM(hidden=16, layers=3).draw(torch_generator(0))
    matrices = [weight for name, weight in source.named_parameters() if "weight" in name and "embedding" not in name]
    config = GeneratorConfig(hidden=16, layers=3)
    assert generation_flops_per_token(config) == 2 * sum(weight.numel() for weight in matrices)


def test_groups_leave_frozen_weights_out():
    model = build_model(SMALL, seed=0)
    model.lm_head.requires_grad_(False)
    assert all(model.lm_head.weight is not p for group in parameter_groups(model, 1.0, 1.0) for p in group["params"])
