"""Clipping multiplies each head's logits by exactly its factor, on every layout, and touches nothing else."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny_models import CONFIGS, FURTHER, further, measured, tiny, tokens
from torch import nn
from transformers import AutoModelForCausalLM

from tenfold.core.errors import UserError
from tenfold.optim import (
    Layout,
    QKClip,
    attention_modules,
    fused_projection,
    head_factors,
    known_layouts,
    layout_of,
    qk_layouts,
    register_layout,
    separate_projections,
    verify_layouts,
)

ONE_FACTOR = {"qwen3", "gemma3", "qwen3_next"}
MODES = ("compensated", "q_only", "group")
GROUPED = {"llama", "mistral", "qwen2", "gemma2", "olmo2", "phi3"}


def middle(largest):
    """A threshold between the heads' maxima."""
    return largest.sort().values[1:3].mean().item()


def clipped(name, **options):
    """A model, the same model after one clip, the threshold, and the maxima of the first attention before it."""
    model = tiny(name)
    tau = middle(next(iter(measured(model).values())))
    before = copy.deepcopy(model)
    clip = QKClip(model, tau=tau, **options)
    model(input_ids=tokens(), use_cache=False)
    clip.step()
    clip.detach()
    return before, model, tau, next(iter(clip.max_logits.values()))


@pytest.mark.spec("kimi_k2", "B1")
@pytest.mark.parametrize("alpha", [0.5, 0.2])
@pytest.mark.parametrize(
    ("name", "gqa"), [(name, gqa) for name in CONFIGS for gqa in (MODES if name in GROUPED else MODES[:1])]
)
def test_the_first_attention_measured_again_has_its_maxima_times_gamma(name, gqa, alpha):
    """Its input does not depend on its own weights, so that clipping alone explains what is measured then."""
    _, model, tau, largest = clipped(name, gqa=gqa, alpha=alpha)
    gamma = (tau / largest).clamp(max=1)
    assert (gamma < 1).any() and (gamma == 1).any()
    if name in ONE_FACTOR:
        gamma = gamma.min().expand(4)
    elif gqa == "group":
        gamma = gamma.view(2, 2).amin(dim=1).repeat_interleave(2)
    again = next(iter(measured(model).values()))
    torch.testing.assert_close(again, gamma * largest, atol=0, rtol=2e-6)


@pytest.mark.spec("kimi_k2", "B1")
@pytest.mark.parametrize("gqa", MODES)
@pytest.mark.parametrize("name", CONFIGS)
def test_every_logit_of_every_module_is_scaled_exactly(name, gqa):
    model = tiny(name)
    before = copy.deepcopy(model.state_dict())
    errors = verify_layouts(model, gqa=gqa)
    assert len(errors) == (1 if name == "qwen3_next" else 2)
    assert max(errors.values()) < 2e-6
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training and model.config._attn_implementation == ("eager" if name == "gemma2" else "sdpa")


@pytest.mark.spec("kimi_k2", "B1")
@pytest.mark.parametrize("name", FURTHER)
def test_further_classes_scale_exactly_too(name):
    model = further(name)
    assert {type(module).__name__ for module in attention_modules(model).values()} == {f"{name}Attention"}
    assert max(verify_layouts(model).values()) < 5e-6


def test_every_listed_class_is_proven_here():
    proven = {f"{name}Attention" for name in FURTHER}
    for name in CONFIGS:
        proven |= {type(module).__name__ for module in attention_modules(tiny(name)).values()}
    assert set(known_layouts()) == proven


def test_clamped_projections_are_refused():
    model = tiny("llama")
    model.config.clip_qkv = 8.0
    with pytest.raises(UserError, match="clip_qkv"):
        QKClip(model)


# Which entries along the output axis may change in the attention's parameters; all others are bit-identical.
MAY_CHANGE = {
    "llama_multi_head": {"q_proj": lambda row: True, "k_proj": lambda row: True},
    "llama": {"q_proj": lambda row: True, "k_proj": lambda row: True},
    "qwen2": {"q_proj": lambda row: True, "k_proj": lambda row: True},
    "qwen3": {"q_norm": lambda row: True, "k_norm": lambda row: True},
    "gemma3": {"q_norm": lambda row: True, "k_norm": lambda row: True},
    "olmo2": {"q_norm": lambda row: True, "k_norm": lambda row: True},
    "phi3": {"qkv_proj": lambda row: row < (4 + 2) * 8},
    "gpt_neox": {"query_key_value": lambda row: row // 8 % 3 < 2},
    "gpt2": {"c_attn": lambda column: column < 2 * 32},
    "deepseek_v3": {"q_b_proj": lambda row: True, "kv_b_proj": lambda row: row % (8 + 6) < 8},
    "deepseek_v3_without_q_lora": {"q_proj": lambda row: True, "kv_b_proj": lambda row: row % (8 + 6) < 8},
    "qwen3_next": {"q_norm": lambda row: True, "k_norm": lambda row: True},
}


@pytest.mark.spec("kimi_k2", "B1")
@pytest.mark.parametrize("name", MAY_CHANGE)
def test_values_shared_rotary_keys_and_all_else_are_bit_identical(name):
    before, after, *_ = clipped(name)
    changed = set()
    for (key, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        *_, layer, kind = key.split(".")
        if name == "gpt2" and kind == "weight" and layer == "c_attn":
            old, new = old.T, new.T
        for row in (old != new).reshape(len(old), -1).any(dim=1).nonzero().flatten().tolist():
            assert MAY_CHANGE[name].get(layer, lambda row: False)(row), (key, row)
            changed.add(layer)
    assert changed == set(MAY_CHANGE[name])


@pytest.mark.spec("kimi_k2", "B2")
@pytest.mark.parametrize("name", ["llama_multi_head", "gpt2", "gpt_neox", "deepseek_v3"])
def test_heads_at_or_below_the_threshold_are_bit_identical(name):
    model = tiny(name)
    tau = next(iter(measured(model).values())).sort().values[2].item()  # the third head is exactly at the threshold
    before = copy.deepcopy(model)
    clip = QKClip(model, tau=tau)
    model(input_ids=tokens(), use_cache=False)
    clip.step()
    first = next(iter(clip.max_logits.values()))
    assert (first < tau).sum() == 2 and (first == tau).sum() == 1
    for module_name, module in clip.modules.items():
        layout, old_layout = layout_of(module), layout_of(before.get_submodule(module_name))
        below = clip.max_logits[module_name] <= tau
        factors = head_factors(torch.where(below, 1.0, 0.5), layout)
        for scaled, old in zip(layout.scaled, old_layout.scaled, strict=True):
            rows, old_rows = scaled.parameter.movedim(scaled.axis, 0), old.parameter.movedim(old.axis, 0)
            untouched = scaled.factors(factors) == 1
            assert torch.equal(rows[untouched], old_rows[untouched])


@pytest.mark.spec("kimi_k2", "B2")
@pytest.mark.parametrize("name", CONFIGS)
def test_no_threshold_changes_no_parameter(name):
    model = tiny(name)
    before = copy.deepcopy(model.state_dict())
    measured(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_grouped_modes_by_hand():
    layout = Layout(heads=4, key_heads=2, scaled=())
    gamma = torch.tensor([0.25, 1.0, 1.0, 1.0])
    compensated = head_factors(gamma, layout)
    assert compensated.query.tolist() == [0.5, 2.0, 1.0, 1.0] and compensated.key.tolist() == [0.5, 1.0]
    q_only = head_factors(gamma, layout, gqa="q_only")
    assert q_only.query.tolist() == gamma.tolist() and q_only.key.tolist() == [1.0, 1.0]
    group = head_factors(gamma, layout, gqa="group")
    assert group.query.tolist() == [0.5, 0.5, 1.0, 1.0] and group.logits.tolist() == [0.25, 0.25, 1.0, 1.0]


def test_a_wrong_layout_is_found(monkeypatch):
    monkeypatch.setattr(qk_layouts, "_LAYOUTS", dict(qk_layouts._LAYOUTS))

    class OtherAttention(nn.Identity):
        pass

    register_layout("OtherAttention", separate_projections)
    model = tiny("qwen3")
    for module in model.modules():
        if type(module).__name__ == "Qwen3Attention":
            module.__class__ = type("OtherAttention", (type(module),), {})
    with pytest.raises(UserError, match="q_norm of OtherAttention"):
        verify_layouts(model)
    register_layout("OtherAttention", lambda module: Layout(4, 2, separate_projections_without_check(module)))
    with pytest.raises(UserError, match=r"layers\.0\.self_attn \(OtherAttention\): its layout is wrong"):
        verify_layouts(model)


def test_a_layout_that_scales_values_is_found(monkeypatch):
    model = tiny("phi3")
    right = layout_of(model.model.layers[0].self_attn).scaled[0].factors

    def wrong(module):
        layout = fused_projection(module)
        scaled = tuple(
            replace(part, factors=lambda heads: torch.cat([right(heads)[:48], heads.key.repeat_interleave(8)]))
            for part in layout.scaled
        )
        return replace(layout, scaled=scaled)

    monkeypatch.setitem(qk_layouts._LAYOUTS, "Phi3Attention", wrong)
    with pytest.raises(UserError, match=r"self_attn \(Phi3Attention\): its layout is wrong, logits are off by inf"):
        verify_layouts(model)


def separate_projections_without_check(module):
    bare = copy.copy(module)
    bare._modules = {name: child for name, child in module._modules.items() if "norm" not in name}
    return separate_projections(bare).scaled


def test_classes_that_a_wrapper_derived_are_known_by_their_base():
    model = tiny("llama")
    for module in model.modules():
        if type(module).__name__ == "LlamaAttention":
            module.__class__ = type("WrappedLlamaAttention", (type(module),), {"__module__": __name__})
    assert max(verify_layouts(model).values()) < 2e-6


def test_a_known_class_in_an_unknown_form_is_refused():
    config = CONFIGS["gpt2"]()
    config.add_cross_attention = True
    with pytest.raises(UserError, match=r"GPT2Attention: QK-Clip expects 96 entries .* that has 64"):
        QKClip(AutoModelForCausalLM.from_config(config))


def test_unknown_modules_are_refused_by_name():
    model = tiny("llama")
    for module in model.modules():
        if type(module).__name__ == "LlamaAttention":
            module.__class__ = type("StrangeAttention", (nn.Module,), {"forward": type(module).forward})
    with pytest.raises(UserError, match=r"StrangeAttention: .* register_layout"):
        QKClip(model)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers by an old name
def test_adapters_are_refused_by_name():
    peft = pytest.importorskip("peft")
    model = tiny("llama")
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], r=2))
    with pytest.raises(UserError, match="q_proj of LlamaAttention is a Linear"):
        QKClip(adapted.base_model.model)


@pytest.mark.parametrize("kind", ["subclass", "weight"])
def test_quantised_projections_are_refused_by_name(kind):
    class Linear4bit(nn.Linear):
        pass

    model = tiny("llama")
    projection = model.model.layers[0].self_attn.q_proj
    if kind == "subclass":
        projection.__class__ = Linear4bit
    else:
        projection.weight = nn.Parameter(projection.weight.detach().to(torch.int8), requires_grad=False)
    with pytest.raises(UserError, match="q_proj of LlamaAttention is a Linear"):
        QKClip(model)
