"""Balancing without an auxiliary loss: known answers, transformers' routers, one process against two."""

import copy
import pickle

import pytest
import torch
import transformers
from balancing import balanced, router_of, tokens, work
from processes import launch

from tenfold.core.errors import UserError
from tenfold.models import RouterBias, bias_step, gate_scale_factor, kimi_k2_config, load_violation, routers

FORMS = ("deepseek", "moonlight")


def tiny():
    torch.manual_seed(0)
    return transformers.DeepseekV3ForCausalLM(kimi_k2_config("tiny"))


def test_steps_are_the_signs_of_the_missing_load():
    load = torch.tensor([6, 4, 1, 5, 4])
    assert bias_step(load, 0.5).tolist() == [-0.5, 0, 0.5, -0.5, 0]
    expected = [0.5 * (sign - (-1 / 5)) for sign in (-1, 0, 1, -1, 0)]
    assert bias_step(load, 0.5, "moonlight").tolist() == pytest.approx(expected)


@pytest.mark.parametrize("form", FORMS)
def test_even_loads_move_nothing(form):
    assert bias_step(torch.full((384,), 7), 1.0, form).tolist() == [0.0] * 384


def test_violation_of_known_loads():
    assert load_violation(torch.tensor([3, 3, 3])) == 0
    assert load_violation(torch.tensor([10, 10, 0, 0, 0, 0, 0, 0])) == 8 / 2 - 1


@pytest.mark.spec("kimi_k2", "C5")
def test_the_gate_factor_is_that_of_moonlight_and_of_k2():
    assert gate_scale_factor(64, 6) == pytest.approx(2.446, abs=0.01)
    assert gate_scale_factor(384, 8) == pytest.approx(2.828, abs=0.01)


def test_the_gate_factor_in_closed_form():
    assert gate_scale_factor(5, 1) == 1  # one weight of 1
    assert gate_scale_factor(100_000, 4, samples=20) == pytest.approx(2, abs=1e-3)  # four equal scores
    with pytest.raises(UserError, match=r"num_active = 9: must lie in \[1, 8\]"):
        gate_scale_factor(8, 9)


@pytest.mark.spec("kimi_k2", "C1")
def test_a_router_chooses_distinct_experts_whose_weights_have_the_asked_sum():
    router = router_of(routed_scaling_factor=1.7)
    _, weights, chosen = router(tokens(200))
    assert chosen.shape == (200, 2) and all(len(set(row)) == 2 for row in chosen.tolist())
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(-1), torch.full((200,), 1.7), atol=1e-5, rtol=0)


@pytest.mark.spec("kimi_k2", "C2")
def test_the_bias_selects_and_does_nothing_else():
    model, input_ids = tiny().eval(), torch.arange(40)[None]
    gate = model.model.layers[1].mlp.gate
    with torch.no_grad():
        before = model(input_ids).logits
        for bias in (torch.full((8,), 0.5), 1e-6 * torch.rand(8)):  # a constant; changes too small to choose otherwise
            gate.e_score_correction_bias.copy_(bias)
            assert torch.equal(model(input_ids).logits, before)
        gate.e_score_correction_bias.copy_(torch.tensor([0.0, 1, 1, 0, 0, 0, 0, 0]))
        assert not torch.equal(model(input_ids).logits, before)
    model.train()(input_ids=input_ids, labels=input_ids).loss.backward()
    assert not gate.e_score_correction_bias.requires_grad and gate.e_score_correction_bias.grad is None


@pytest.mark.spec("kimi_k2", "C3")
def test_chosen_experts_lie_in_the_chosen_groups():
    router = router_of(n_group=4, topk_group=2, num_experts_per_tok=3)
    router.e_score_correction_bias.copy_(torch.randn(8, generator=torch.Generator().manual_seed(1)))
    chosen = router(tokens(300))[2]
    assert max(len({expert // 2 for expert in row}) for row in chosen.tolist()) == 2


@pytest.mark.spec("kimi_k2", "C3")
def test_one_group_is_the_plain_choice_of_the_largest():
    router, x = router_of(), tokens(300)
    router.e_score_correction_bias.copy_(torch.randn(8, generator=torch.Generator().manual_seed(1)))
    expected = (torch.sigmoid(x @ router.weight.T) + router.e_score_correction_bias).topk(2).indices
    assert torch.equal(router(x)[2].sort(-1).values, expected.sort(-1).values)


@pytest.mark.spec("kimi_k2", "C4")
@pytest.mark.parametrize("form", FORMS)
def test_a_router_that_favours_two_experts_becomes_even(form):
    router, violations = balanced(form, updates=300)
    assert violations[0] > 1
    assert violations[-1] < 0.3
    total = router.e_score_correction_bias.double().sum().item()
    assert abs(total) < 1e-6 if form == "moonlight" else abs(total) > 0.1


def test_counts_add_up_over_micro_batches_and_only_training_passes_count():
    model = tiny().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    balance = RouterBias(model).attach(optimizer)
    name = "model.layers.1.mlp.gate"
    batch = torch.randint(128, (6, 10), generator=torch.Generator().manual_seed(0))
    model(batch)
    optimizer.step()
    whole = balance.loads[name]
    assert whole.sum() == 6 * 10 * 2
    model.model.layers[1].mlp.gate.e_score_correction_bias.zero_()
    for part in batch.split(2):
        model(part)
    model.eval()(batch)
    optimizer.step()
    assert torch.equal(balance.loads[name], whole)
    bias = model.model.layers[1].mlp.gate.e_score_correction_bias.clone()
    optimizer.step()  # nothing was counted since
    assert torch.equal(model.model.layers[1].mlp.gate.e_score_correction_bias, bias)


def test_recomputed_passes_count_twice_and_move_the_biases_alike():
    model, input_ids = tiny().train(), torch.arange(24).view(2, 12)
    balance = RouterBias(model, rate=0.0)
    model(input_ids=input_ids, labels=input_ids, use_cache=False).loss.backward()
    balance.step()
    plain = balance.loads["model.layers.1.mlp.gate"]
    model.activation_checkpointing_enable()
    model(input_ids=input_ids, labels=input_ids, use_cache=False).loss.backward()
    balance.step()
    assert torch.equal(balance.loads["model.layers.1.mlp.gate"], 2 * plain)
    assert torch.equal(bias_step(2 * plain, 0.1), bias_step(plain, 0.1))


@pytest.mark.parametrize("name", ["Glm4Moe", "SolarOpen", "ExaoneMoe"])
def test_routers_of_other_models_are_counted(name):
    sizes = dict(hidden_size=16, intermediate_size=16, moe_intermediate_size=8, vocab_size=32, pad_token_id=None)
    shape = dict(num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, head_dim=8)
    experts = dict(n_routed_experts=4, num_experts=4, num_experts_per_tok=2, n_group=1, topk_group=1)
    config = getattr(transformers, f"{name}Config")(**sizes, **shape, **experts)
    model = transformers.AutoModelForCausalLM.from_config(config).train()
    balance = RouterBias(model)
    model(torch.arange(12)[None])
    balance.step()
    assert list(balance.loads) == list(routers(model)) and balance.loads
    assert all(load.sum() == 12 * 2 for load in balance.loads.values())


def test_the_metrics_are_those_of_the_counted_choices():
    model = tiny().train()
    balance = RouterBias(model, rate=0.0)
    assert balance.step() == {}
    chosen = []
    model.model.layers[1].mlp.gate.register_forward_hook(lambda _, __, output: chosen.append(output[2]))
    model(torch.arange(12)[None])
    metrics = balance.step()
    load = torch.nn.functional.one_hot(chosen[0], 8).sum((0, 1))
    assert balance.loads["model.layers.1.mlp.gate"].tolist() == load.tolist()
    assert metrics["router/load_violation"] == metrics["router/load_violation_mean"] == load.max() / 3 - 1
    assert metrics["router/unused_experts"] == (load == 0).sum()
    assert not model.model.layers[1].mlp.gate.e_score_correction_bias.any()  # rate 0


def test_detached_and_copied_models_are_left_alone():
    model = tiny().train()
    balance = RouterBias(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other(torch.arange(12)[None])
    assert balance.step() == {}
    balance.detach()
    model(torch.arange(12)[None])
    assert balance.step() == {}


def test_what_cannot_be_balanced_is_refused():
    with pytest.raises(UserError, match="model = Linear: has no router"):
        RouterBias(torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match="form = 'lion': must be one of deepseek, moonlight"):
        RouterBias(tiny(), form="lion")
    with pytest.raises(UserError, match="rate = -1: must not be negative"):
        RouterBias(tiny(), rate=-1)
    model = tiny().bfloat16()
    with pytest.raises(UserError, match=r"e_score_correction_bias: is bfloat16, must be float32"):
        RouterBias(model)
    router = model.model.layers[1].mlp.gate
    router.e_score_correction_bias.data = router.e_score_correction_bias.float()  # as the documentation says
    balance = RouterBias(model.train())
    model(torch.arange(12)[None])
    balance.step()
    assert router.e_score_correction_bias.abs().max() == torch.tensor(1e-3)


def test_a_module_that_holds_the_bias_but_does_not_choose_is_refused_by_name():
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("e_score_correction_bias", torch.zeros(4))

        def forward(self, x):
            return x

    model = torch.nn.Sequential(Block())
    balance = RouterBias(model)
    with pytest.raises(UserError, match=r"0 \(Block\): not supported, for it does not return"):
        model(torch.zeros(2, 3))
    assert list(routers(model)) == ["0"] and balance.loads == {}


@pytest.mark.alone
def test_two_processes_with_half_of_each_batch_move_the_biases_as_one_does(tmp_path):
    launch(work, tmp_path, folder=tmp_path)
    for form in FORMS:
        router, violations = balanced(form, updates=20)
        for rank in (0, 1):
            bias, seen = torch.load(tmp_path / f"{form}-{rank}.pt", weights_only=True)
            assert torch.equal(bias, router.e_score_correction_bias)
            assert seen == violations
