"""The composition of a step: which optimizer, what is clipped, what is balanced; phases, loads and scaling fits."""

import copy
import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tenfold.core.errors import UserError
from tenfold.models import bias_step
from tenfold.optim import Muon, muon_param_groups, phased, warmup_cosine
from tenfold.papers.kimi_k2.pretraining import config, method
from tenfold.papers.kimi_k2.pretraining.method import prepare


def steps(model, optimizer, tokens, count=3):
    """Train a little; returns the weights."""
    model.train()
    for _ in range(count):
        model(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def plain_adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.2)


def plain_muon(model):
    return Muon(muon_param_groups(model, 0.01, 0.2), ns_dtype="float32")


SETTINGS = method.OptimizerSettings(ns_dtype="float32")


@pytest.mark.parametrize(("name", "plain"), [("adamw", plain_adamw), ("muon", plain_muon), ("muonclip", plain_muon)])
def test_an_arm_is_its_optimizer_where_nothing_is_clipped(name, plain, make_model, make_tokens):
    """All parameters are decayed alike, gains of norms among them, and measuring changes nothing."""
    model, tokens = make_model("dense"), make_tokens()
    twin = copy.deepcopy(model)
    prepared = prepare(model, name, learning_rate=0.01, weight_decay=0.2, tau=1e6, settings=SETTINGS)
    ours, theirs = steps(model, prepared.optimizer, tokens), steps(twin, plain(twin), tokens)
    assert all(torch.equal(ours[weight], theirs[weight]) for weight in theirs)
    assert prepared.router_bias is None
    assert prepared.metrics["qk_clip/heads_clipped"] == 0


def test_without_nesterov_the_momentum_itself_is_orthogonalised(make_model, make_tokens):
    """K2's algorithm 1; with it, which is the default, the arms are as Moonlight's."""
    model, tokens = make_model("dense"), make_tokens()
    twins = copy.deepcopy(model), copy.deepcopy(model)
    settings = method.OptimizerSettings(ns_dtype="float32", nesterov=False)
    prepared = prepare(model, "muonclip", learning_rate=0.01, weight_decay=0.2, tau=1e6, settings=settings)
    ours = steps(model, prepared.optimizer, tokens)
    groups = muon_param_groups(twins[0], 0.01, 0.2)
    itself = steps(twins[0], Muon(groups, ns_dtype="float32", nesterov=False), tokens)
    ahead = steps(twins[1], plain_muon(twins[1]), tokens)
    assert all(torch.equal(ours[weight], itself[weight]) for weight in itself)
    assert not all(torch.equal(ours[weight], ahead[weight]) for weight in ahead)


def test_the_published_setting_is_algorithm_1_and_the_others_look_ahead():
    nesterov = [preset().optimization.nesterov for preset in (config.smoke, config.laptop, config.gpu, config.paper)]
    assert nesterov == [True, True, True, False]


@pytest.mark.parametrize("name", method.OPTIMIZERS)
def test_only_muonclip_clips_and_every_arm_measures_each_head(name, make_model, make_tokens):
    model, tokens = make_model(), make_tokens()
    prepared = prepare(model, name, learning_rate=0.01, tau=1e-4)
    steps(model, prepared.optimizer, tokens, count=1)
    metrics = prepared.metrics
    assert metrics["qk_clip/heads_clipped"] == (8 if name == "muonclip" else 0)
    heads = {key: value for key, value in metrics.items() if key.startswith("logits/")}
    assert list(heads) == [f"logits/{layer}.{head}" for layer in (0, 1) for head in range(4)]
    assert max(heads.values()) == metrics["qk_clip/max_logit"] > 1e-4


@pytest.mark.parametrize("name", method.OPTIMIZERS)
def test_experts_are_balanced_in_every_arm(name, make_model, make_tokens):
    model, tokens = make_model(), make_tokens()
    gate = model.model.layers[1].mlp.gate
    prepared = prepare(model, name, learning_rate=0.01, bias_rate=0.5)
    steps(model, prepared.optimizer, tokens, count=1)
    loads = prepared.router_bias.loads["model.layers.1.mlp.gate"]
    assert loads.sum() == 4 * 32 * 2
    torch.testing.assert_close(gate.e_score_correction_bias.double(), bias_step(loads, 0.5, "moonlight"))
    assert prepared.metrics["router/load_violation"] > 0


def test_a_detached_model_is_an_ordinary_one(make_model, make_tokens):
    model = make_model()
    attention = model.model.layers[0].self_attn
    assert attention.config is model.config
    prepared = prepare(model)
    assert attention.config is not model.config
    prepared.detach()
    assert attention.config is model.config
    model.train()(make_tokens())
    assert prepared.router_bias.step() == {} and not model.model.layers[1].mlp.gate._forward_hooks


def test_any_causal_model_will_do(make_tokens):
    """Grouped queries and no experts: a small Llama."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    model, tokens = LlamaForCausalLM(config), make_tokens()
    prepared = prepare(model, learning_rate=0.01)
    before = model(input_ids=tokens, labels=tokens).loss.item()
    steps(model, prepared.optimizer, tokens, count=10)
    assert model(input_ids=tokens, labels=tokens).loss.item() < before - 0.5


def test_another_optimizer_is_refused(make_model):
    with pytest.raises(UserError, match="optimizer = 'lion': must be one of adamw, muon, muonclip"):
        prepare(make_model(), "lion")


# --------------------------------------------------------------------------------------------------------------- phases


def test_warm_up_and_decay_are_the_cosine_with_a_floor():
    phases = method.rate_phases(20, 0, 230, 0, decay_floor=0.1)
    for step in (1, 10, 20, 21, 100, 249, 250, 300):
        expected = warmup_cosine(step, total_steps=250, warmup_steps=20, floor=0.1)
        assert phased(step, phases=phases) == pytest.approx(expected, rel=1e-12)


def test_all_four_phases_follow_each_other():
    phases = method.rate_phases(2, 3, 4, 5, decay_floor=0.2, anneal_floor=0.1)
    values = [phased(step, phases=phases) for step in range(15)]
    assert values[:6] == [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    assert values[7] == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 2)) / 2)
    assert values[9:] == pytest.approx([0.2, 0.18, 0.16, 0.14, 0.12, 0.1])


# ---------------------------------------------------------------------------------------------------------------- loads


def test_observed_loads_are_those_of_the_router_in_evaluation_and_over_several_passes(make_model, make_tokens):
    model = make_model().eval()
    gate = model.model.layers[1].mlp.gate
    first, second = make_tokens(3), make_tokens(2, seed=1)
    chosen = []
    handle = gate.register_forward_hook(lambda _, __, output: chosen.extend(output[2].flatten().tolist()))
    with method.observed_loads(model) as loads:
        model(first)
        model(second)
    assert {name: load_E.tolist() for name, load_E in loads.items()} == {
        "model.layers.1.mlp.gate": [chosen.count(expert) for expert in range(8)]
    }
    assert len(chosen) == 5 * 32 * 2
    model(first)
    assert loads["model.layers.1.mlp.gate"].sum() == 5 * 32 * 2, "passes outside do not count"
    handle.remove()


def test_mean_violation_is_a_mean_over_routers():
    loads = {"even": torch.tensor([5, 5, 5, 5]), "one": torch.tensor([0, 8, 0, 0])}
    assert method.mean_violation(loads) == (0 + 3) / 2


# ----------------------------------------------------------------------------------------------------------------- fits


def test_the_fits_give_the_stated_rate_and_size():
    advice = method.compute_optimal(1e20)
    assert advice.learning_rate == pytest.approx(9.0e-4, abs=0.05e-4)
    assert advice.parameters == pytest.approx(0.8e9, abs=0.05e9)


@pytest.mark.parametrize("flops", [1e18, 1e20, 1e22])
def test_size_and_tokens_spend_the_budget(flops):
    """C = 6 N D: the two fits are of one budget, and their exponents add up to one."""
    advice = method.compute_optimal(flops)
    assert 6 * advice.parameters * advice.tokens == pytest.approx(flops, rel=0.01)


def test_a_budget_must_be_positive():
    with pytest.raises(UserError, match="flops = -1: must be positive"):
        method.compute_optimal(-1)


def test_muon_needs_about_half_of_the_compute():
    assert method.MUON_FIT.petaflop_days(method.MUON_FIT.loss(7.0)) == pytest.approx(7.0)
    assert method.muon_share_of_compute(25.0) == pytest.approx(0.52, abs=0.01)
    assert method.ADAMW_FIT.loss(7.0) == pytest.approx(method.MUON_FIT.loss(7.0 * method.muon_share_of_compute(7.0)))
