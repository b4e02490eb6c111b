"""The layer that knows the token before gives with a cache what it gives without, and models with it are ordinary."""

import subprocess
import sys

import torch

from tenfold.models.neighbour_llama import NeighbourLayer
from tenfold.policies import Sampling, load_policy, rollout, tiny_policy


def small():
    return tiny_policy("0123456789", width=32, layers=2, heads=2, context=64, neighbours=True)


def test_the_layer_adds_a_map_of_the_token_before():
    layer = NeighbourLayer(4)
    x = torch.randn(2, 3, 4)
    out = layer(x)
    torch.testing.assert_close(out[:, 0], x[:, 0])
    torch.testing.assert_close(out[:, 2], x[:, 2] + x[:, 1] @ layer.previous.weight.T)


def test_a_fresh_model_has_the_identity_and_keys_like_queries():
    first, *others = small().model.model.layers
    torch.testing.assert_close(first.previous.weight, torch.eye(32))
    assert len(others) == 2
    for layer in others:
        torch.testing.assert_close(layer.self_attn.k_proj.weight, layer.self_attn.q_proj.weight)


def test_rollouts_of_unequal_prompts_have_the_log_probabilities_of_a_forward_pass():
    policy = small()
    with torch.no_grad():
        policy.model.model.layers[0].previous.weight.copy_(3 * torch.randn(32, 32))
    prompts = [policy.encode(text) for text in ("1", "23456", "789", "0011223344")]
    for said in rollout(policy, prompts, Sampling(max_new_tokens=9), num_samples=2, batch_size=3):
        ids = torch.tensor([[*said.prompt_ids, *said.token_ids]])
        with torch.no_grad():
            logs = policy.model(input_ids=ids, use_cache=False).logits.log_softmax(-1)[0]
        expected = [logs[len(said.prompt_ids) - 1 + place, token] for place, token in enumerate(said.token_ids)]
        torch.testing.assert_close(torch.tensor(said.log_probs), torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_generation_of_transformers_with_its_own_cache_is_that_without():
    policy, prompt = small(), torch.tensor([[9, 10, 11, 12]])
    options = {"max_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(prompt)}
    with_cache = policy.model.generate(prompt, use_cache=True, **options)
    assert with_cache.tolist() == policy.model.generate(prompt, use_cache=False, **options).tolist()


def test_a_saved_model_is_loaded_by_who_has_not_imported_it(tmp_path):
    policy = small()
    policy.save(tmp_path)
    program = f"from tenfold.policies import load_policy; print(type(load_policy({str(tmp_path)!r}).model).__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["NeighbourLlamaForCausalLM"]
    loaded = load_policy(tmp_path).model.state_dict()
    for name, weight in policy.model.state_dict().items():
        torch.testing.assert_close(loaded[name], weight)
