"""Kimi K2's configurations: parameter counts, published values, and training with MuonClip and balanced experts."""

import os
import subprocess
import sys
from pathlib import Path
from statistics import mean

import pytest
import torch
from transformers import AutoModelForCausalLM, DeepseekV3ForCausalLM

from tenfold.core.errors import UserError
from tenfold.models import RouterBias, kimi_k2_config, parameter_counts
from tenfold.optim import MuonClip, QKClip, verify_layouts


def built(config):
    with torch.device("meta"):
        return DeepseekV3ForCausalLM(config)


def number(model):
    return sum(parameter.numel() for parameter in model.parameters())


VARIANTS = {
    "as it is": {},
    "plain queries": dict(q_lora_rank=None),
    "biases": dict(attention_bias=True),
    "plain queries and biases": dict(q_lora_rank=None, attention_bias=True),
    "tied": dict(tie_word_embeddings=True),
    "other shapes": dict(num_hidden_layers=4, first_k_dense_replace=2, n_shared_experts=3, v_head_dim=24),
    "dense alone": dict(first_k_dense_replace=5),
}


@pytest.mark.spec("kimi_k2", "C6")
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_the_analytic_count_is_that_of_the_tiny_model(changes):
    config = kimi_k2_config("tiny", **changes)
    assert parameter_counts(config).total == number(built(config))


@pytest.mark.spec("kimi_k2", "C6")
def test_the_full_model_has_the_reported_size():
    config = kimi_k2_config("full")
    model = built(config)
    counts = parameter_counts(config)
    assert number(model) == counts.total == pytest.approx(1.04e12, rel=0.02)
    assert counts.activated == pytest.approx(32.6e9, rel=0.02)


def test_activated_parameters_are_all_but_those_of_the_experts_that_are_not_chosen():
    config = kimi_k2_config("small")
    model = built(config)
    stacks = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    counts = parameter_counts(config)
    assert counts.total == number(model)
    assert counts.total - counts.activated == stacks * 94 // 96


def test_the_full_model_scales_logits_as_yarn_asks():
    attention = built(kimi_k2_config("full")).model.layers[5].self_attn
    assert attention.scaling == pytest.approx(192**-0.5 * 1.3466**2, rel=1e-4)


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
def test_every_scale_has_the_structure_of_k2(scale):
    config = kimi_k2_config(scale)
    assert config.n_shared_experts == config.first_k_dense_replace == config.n_group == 1 and config.num_mtp_layers == 0
    assert config.num_key_value_heads == config.num_attention_heads and not config.tie_word_embeddings


def test_the_sparsity_of_small_and_full_is_48():
    for scale in ("small", "full"):
        config = kimi_k2_config(scale)
        assert config.n_routed_experts / config.num_experts_per_tok == 48


def test_the_gate_factor_follows_the_experts_unless_it_is_given():
    assert kimi_k2_config("full").routed_scaling_factor == 2.827
    assert kimi_k2_config("tiny").routed_scaling_factor == 1.409
    assert kimi_k2_config("tiny", n_routed_experts=64, num_experts_per_tok=6).routed_scaling_factor == 2.446
    assert kimi_k2_config("full", n_routed_experts=64, num_experts_per_tok=6).routed_scaling_factor == 2.446
    assert kimi_k2_config("tiny", routed_scaling_factor=1.0).routed_scaling_factor == 1.0


def test_what_transformers_would_swallow_is_refused():
    with pytest.raises(UserError, match="num_expert = 4: DeepseekV3Config has no such field"):
        kimi_k2_config("tiny", num_expert=4)
    with pytest.raises(UserError, match="scale = 'huge': must be one of tiny, small, full"):
        kimi_k2_config("huge")


def test_a_saved_model_loads_in_transformers_as_it_is(tmp_path):
    torch.manual_seed(0)
    model = DeepseekV3ForCausalLM(kimi_k2_config("tiny")).eval()
    model.model.layers[1].mlp.gate.e_score_correction_bias.copy_(torch.linspace(-1, 1, 8))
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokens = torch.arange(20)[None]
    assert torch.equal(again(tokens).logits, model(tokens).logits)


def test_importing_the_layer_does_not_import_transformers():
    program = "import sys, tenfold.models; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def source_batches(steps, batch=8, length=64):
    """Windows of the standard library's source, as bytes below 128."""
    paths = sorted(Path(os.__file__).parent.glob("*.py"))[:60]
    text = b"".join(path.read_bytes() for path in paths)[:1_000_000]
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).clamp(max=127).long()
    starts = torch.randint(len(data) - length, (steps, batch), generator=torch.Generator().manual_seed(0))
    return [torch.stack([data[start : start + length] for start in row]) for row in starts.tolist()]


def trained(rate):
    """A tiny K2 after 100 steps, with the loss and the load violation of each."""
    torch.manual_seed(0)
    model = DeepseekV3ForCausalLM(kimi_k2_config("tiny"))
    optimizer = MuonClip(model, lr=0.01, tau=100.0)
    balance = RouterBias(model, rate=rate).attach(optimizer)
    losses, violations = [], []
    for batch in source_batches(100):
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        violations.append(balance.metrics["router/load_violation"])
    optimizer.qk_clip.detach()
    return model, losses, violations


@pytest.mark.spec("kimi_k2", "T3")
def test_tiny_k2_learns_with_muon_clip_and_its_experts_become_even():
    model, losses, violations = trained(rate=0.01)
    assert mean(losses[-10:]) < losses[0] - 1
    assert mean(violations[-20:]) < 0.5 * mean(violations[:10])
    assert_clips_are_exact(model, source_batches(1)[0])


def test_without_the_bias_the_experts_stay_uneven():
    _, losses, violations = trained(rate=0.0)
    assert mean(losses[-10:]) < losses[0] - 1
    assert mean(violations[-20:]) > 2  # of at most 3, where two of the eight experts get everything


def assert_clips_are_exact(model, batch):
    """Check B1 on both layers: logits scale by exactly γ; rows of the values and the shared rotary key do not move."""
    errors = verify_layouts(model)
    assert list(errors) == ["model.layers.0.self_attn", "model.layers.1.self_attn"]
    assert max(errors.values()) < 1e-5
    before = {name: value.clone() for name, value in model.state_dict().items()}
    clip = QKClip(model, tau=1e-3)
    model(input_ids=batch, use_cache=False)
    assert clip.step()["qk_clip/heads_clipped"] == 8
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    parts = [(layer, part) for layer in (0, 1) for part in ("q_b_proj", "kv_b_proj")]
    assert changed == {f"model.layers.{layer}.self_attn.{part}.weight" for layer, part in parts}
    for layer in (0, 1):
        name = f"model.layers.{layer}.self_attn.kv_b_proj.weight"
        values = [weights[name].view(4, 32, 16)[:, 16:] for weights in (before, model.state_dict())]
        assert torch.equal(*values)
