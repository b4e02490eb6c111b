"""Models built from a seed, written as transformers writes them, and post-norm blocks against the formula."""

import math

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from tenfold.core.errors import UserError
from tenfold.models.byte_transformer import byte_transformer_config
from tenfold.models.causal_lm import causal_lm, load_causal_lm, save_causal_lm
from tenfold.models.post_norm_transformer import post_norm_transformer_config

CONFIGS = [byte_transformer_config(width=32, context=16), post_norm_transformer_config(width=32, context=16)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_equal_seeds_give_equal_weights_whatever_was_drawn_before(config):
    first = causal_lm(config, seed=3).state_dict()
    torch.rand(7)
    for other, equal in ((causal_lm(config, seed=3), True), (causal_lm(config, seed=4), False)):
        matrices = [name for name, weight in first.items() if weight.ndim == 2]
        assert all(torch.equal(other.state_dict()[name], first[name]) == equal for name in matrices)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_an_untrained_model_says_eight_bits_for_any_byte(config):
    tokens = torch.randint(256, (32, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = causal_lm(config, seed=0).eval()(tokens).logits
    bits = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()) / math.log(2)
    assert bits.item() == pytest.approx(8, abs=0.05)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_a_saved_model_loads_in_transformers_with_the_same_logits(config, tmp_path, capfd):
    model = causal_lm(config, seed=0).eval()
    save_causal_lm(model, tmp_path / "model")
    loaded = load_causal_lm(tmp_path / "model")
    assert capfd.readouterr() == ("", ""), "no progress bar"
    tokens = torch.arange(16)[None]
    with torch.no_grad():
        expected = model(tokens).logits
        assert torch.equal(loaded(tokens).logits, expected)
        assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()(tokens).logits, expected)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no config"):
        load_causal_lm(tmp_path)


def test_post_norm_blocks_are_layer_norm_after_each_residual_sum_and_none_at_the_end():
    model = causal_lm(post_norm_transformer_config(width=32, layers=2, heads=4, context=16), seed=0).eval()
    weights = {name: weight.detach() for name, weight in model.transformer.named_parameters()}
    tokens = torch.randint(256, (3, 16), generator=torch.Generator().manual_seed(1))
    x = weights["tokens_embed.weight"][tokens] + weights["positions_embed.weight"]
    for layer in range(2):
        w = {name.removeprefix(f"h.{layer}."): value for name, value in weights.items() if f"h.{layer}." in name}
        q, k, v = (
            part.unflatten(-1, (4, 8)).transpose(1, 2)
            for part in (x @ w["attn.c_attn.weight"] + w["attn.c_attn.bias"]).split(32, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(-2)
        x = x + mixed @ w["attn.c_proj.weight"] + w["attn.c_proj.bias"]
        x = F.layer_norm(x, (32,), w["ln_1.weight"], w["ln_1.bias"])
        inner = torch.relu(x @ w["mlp.c_fc.weight"] + w["mlp.c_fc.bias"])
        x = x + inner @ w["mlp.c_proj.weight"] + w["mlp.c_proj.bias"]
        x = F.layer_norm(x, (32,), w["ln_2.weight"], w["ln_2.bias"])
    with torch.no_grad():
        torch.testing.assert_close(model(tokens).logits, x @ model.lm_head.weight.T, atol=1e-5, rtol=1e-4)
    assert model.lm_head.weight is not model.transformer.tokens_embed.weight


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"width": 30}, "width = 30: must be a multiple of the 4 heads"),
        ({"layers": 0}, "layers = 0"),
        ({"dropout": 1.0}, "dropout = 1.0"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        post_norm_transformer_config(**sizes)


@pytest.mark.parametrize("kind", [byte_transformer_config, post_norm_transformer_config])
def test_weights_start_by_fan_in_embeddings_with_unit_variance_and_the_head_small(kind):
    model = causal_lm(kind(width=64, layers=2, context=256), seed=0)
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            fan_in = weight.shape[0] if "c_" in name else weight.shape[1]  # GPT's Conv1D is [in, out]
            wanted = 1.0 if "embed" in name else 0.1 / 64 if name == "lm_head.weight" else fan_in**-0.5
            assert weight.std().item() == pytest.approx(wanted, rel=0.05), name
        else:
            assert weight.std().item() == 0, name
