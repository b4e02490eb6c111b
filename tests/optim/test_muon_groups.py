"""Each parameter of real models goes to the right optimizer, cut into the matrices it consists of."""

import pytest
import torch
from tiny_models import CONFIGS, tiny
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BloomConfig,
    Dinov2Config,
    FalconConfig,
    GPT2Config,
    GptOssConfig,
    GptOssForCausalLM,
    Llama4TextConfig,
    ViTConfig,
)

from tenfold.core.errors import UserError
from tenfold.optim import BlockSpec, Muon, muon_param_groups


def assigned(model, **options):
    """``{name: (algorithm, blocks or None)}``."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = muon_param_groups(model, **options)
    pairs = [(p, (group["algorithm"], group.get("blocks"))) for group in groups for p in group["params"]]
    assert len(pairs) == len(names)
    return {names[id(parameter)]: kind for parameter, kind in pairs}


@pytest.mark.parametrize("name", CONFIGS)
def test_embeddings_heads_and_vectors_go_to_adamw_and_all_else_to_muon(name):
    model = tiny(name)
    for key, (algorithm, _) in assigned(model).items():
        parameter = model.get_parameter(key)
        table = any(word in key for word in ("embed", "wte", "wpe", "lm_head", "conv1d"))
        assert algorithm == ("adamw" if parameter.ndim == 1 or table else "muon"), key
    Muon(muon_param_groups(model))


def test_a_tied_head_is_listed_once():
    model = tiny("gpt2")
    assert model.lm_head.weight is model.transformer.wte.weight
    assert assigned(model)["transformer.wte.weight"] == ("adamw", None)


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("llama", "model.layers.0.self_attn.q_proj.weight", BlockSpec()),
        ("phi3", "model.layers.0.self_attn.qkv_proj.weight", BlockSpec(rows=(32, 16, 16))),
        ("phi3", "model.layers.0.mlp.gate_up_proj.weight", BlockSpec(rows=(48, 48))),
        ("gpt_neox", "gpt_neox.layers.0.attention.query_key_value.weight", BlockSpec(rows=(8, 8, 8), repeats=4)),
        ("gpt2", "transformer.h.0.attn.c_attn.weight", BlockSpec(rows=(32, 32, 32), transposed=True)),
        ("gpt2", "transformer.h.0.mlp.c_fc.weight", BlockSpec(transposed=True)),
        ("deepseek_v3", "model.layers.1.mlp.experts.gate_up_proj", BlockSpec(rows=(16, 16))),
        ("deepseek_v3", "model.layers.1.mlp.experts.down_proj", BlockSpec()),
        ("deepseek_v3", "model.layers.1.mlp.gate.weight", BlockSpec()),
        ("deepseek_v3", "model.layers.1.self_attn.kv_b_proj.weight", BlockSpec()),
    ],
)
def test_fused_weights_are_cut_into_their_matrices(name, key, expected):
    assert assigned(tiny(name))[key] == ("muon", expected)


def test_experts_with_the_output_axis_last_and_gates_between_ups():
    config = GptOssConfig(
        vocab_size=64, hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, num_local_experts=4, num_experts_per_tok=2, pad_token_id=None,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    kinds = assigned(GptOssForCausalLM(config))
    experts = "model.layers.0.mlp.experts."
    assert kinds[experts + "gate_up_proj"] == ("muon", BlockSpec(rows=(1, 1), repeats=16, transposed=True))
    assert kinds[experts + "down_proj"] == ("muon", BlockSpec(transposed=True))
    assert kinds[experts + "gate_up_proj_bias"] == ("adamw", None)


def test_experts_whose_class_does_not_say_that_their_output_axis_is_the_last():
    config = Llama4TextConfig(
        vocab_size=64, hidden_size=32, intermediate_size=24, intermediate_size_mlp=48, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_local_experts=2, pad_token_id=None,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    kinds = assigned(AutoModelForCausalLM.from_config(config))
    experts = "model.layers.0.feed_forward.experts."
    assert kinds[experts + "gate_up_proj"] == ("muon", BlockSpec(rows=(24, 24), transposed=True))
    assert kinds[experts + "down_proj"] == ("muon", BlockSpec(transposed=True))


def test_fused_projections_of_other_classes():
    """Bloom alternates as GPT-NeoX does; Falcon has other proportions, and is left whole."""
    sizes = dict(vocab_size=64, hidden_size=32, bos_token_id=None, eos_token_id=None, pad_token_id=None)
    bloom = AutoModel.from_config(BloomConfig(**sizes, n_layer=1, n_head=4))
    falcon = AutoModel.from_config(FalconConfig(**sizes, num_hidden_layers=1, num_attention_heads=4))
    gpt2 = AutoModel.from_config(GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=4, add_cross_attention=True))
    alternating = BlockSpec(rows=(8, 8, 8), repeats=4)
    assert assigned(bloom)["h.0.self_attention.query_key_value.weight"] == ("muon", alternating)
    assert assigned(falcon)["h.0.self_attention.query_key_value.weight"] == ("muon", BlockSpec())
    keys_and_values = BlockSpec(rows=(32, 32), transposed=True)
    assert assigned(gpt2)["h.0.crossattention.c_attn.weight"] == ("muon", keys_and_values)


def test_fused_projections_of_modules_that_are_not_of_transformers():
    model = nn.ModuleDict({"attention": nn.ModuleDict({"c_attn": nn.Linear(8, 24)})})
    assert assigned(model)["attention.c_attn.weight"] == ("muon", BlockSpec(rows=(8, 8, 8)))


@pytest.mark.parametrize("kind", [ViTConfig, Dinov2Config])
def test_positions_and_tokens_that_are_no_embedding_modules_go_to_adamw(kind):
    sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, image_size=16, patch_size=4)
    kinds = assigned(AutoModel.from_config(kind(**sizes)))
    tables = {key for key, (algorithm, _) in kinds.items() if "position_embeddings" in key or key.endswith("_token")}
    assert len(tables) >= 2 and all(kinds[key] == ("adamw", None) for key in tables)
    assert kinds["embeddings.patch_embeddings.projection.weight"] == ("muon", BlockSpec(flatten=True))


def test_options():
    model = tiny("deepseek_v3")
    kinds = assigned(model, exclude=["*.gate.weight"])
    assert kinds["model.layers.1.mlp.gate.weight"] == ("adamw", None)
    assert assigned(tiny("phi3"), block_specs="none")["model.layers.0.mlp.gate_up_proj.weight"][1] == BlockSpec()
    per_head = assigned(tiny("llama"), per_head=True)
    assert per_head["model.layers.0.self_attn.k_proj.weight"] == ("muon", BlockSpec(rows=(8, 8)))
    assert per_head["model.layers.0.self_attn.o_proj.weight"] == ("muon", BlockSpec())
    latent = assigned(tiny("deepseek_v3_without_q_lora"), per_head=True)
    assert latent["model.layers.0.self_attn.q_proj.weight"] == ("muon", BlockSpec(rows=(12, 12, 12, 12)))


def test_convolutions_are_kernels_and_frozen_parameters_are_left_out():
    model = nn.ModuleDict({"kernel": nn.Conv1d(4, 6, 3), "deep": nn.Conv1d(4, 4, 3, groups=4), "off": nn.Linear(2, 2)})
    model["off"].requires_grad_(False)
    groups = muon_param_groups(model, lr=0.5, weight_decay=0.25)
    assert [[tuple(p.shape) for p in group["params"]] for group in groups] == [[(6,), (4, 1, 3), (4,)], [(6, 4, 3)]]
    assert groups[1]["blocks"] == BlockSpec(flatten=True)
    assert all(group["lr"] == 0.5 and group["weight_decay"] == 0.25 for group in groups)


@pytest.mark.parametrize(
    ("options", "message"), [({"exclude": ["*.gat"]}, r"exclude = \['\*\.gat'\]"), ({"block_specs": "all"}, "'all'")]
)
def test_refuses_patterns_that_match_nothing_and_unknown_specs(options, message):
    with pytest.raises(UserError, match=message):
        muon_param_groups(nn.Linear(2, 2), **options)


def test_a_step_moves_every_parameter():
    model = tiny("deepseek_v3")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = Muon(muon_param_groups(model, lr=0.1))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    assert not [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
