"""Sizes of models on disk are those of the loaded models; nothing is guessed for a name on the hub."""

import math

import torch

from tenfold.policies import tiny_policy
from tenfold.policies.cache import SlotCache
from tenfold.policies.sizes import estimate_of_model


def test_a_folder_has_as_many_parameters_as_the_model_in_it(tmp_path):
    policy = tiny_policy("01+=", width=16, layers=1, heads=2, context=32, seed=0)
    policy.model.save_pretrained(tmp_path)
    found = estimate_of_model(str(tmp_path))
    assert found["parameters"] == policy.num_parameters == sum(weight.numel() for weight in policy.model.parameters())
    assert found["memory_bytes"] == 16 * policy.num_parameters and math.isnan(found["seconds"])


def test_what_is_not_on_disk_is_unknown(tmp_path):
    assert all(math.isnan(value) for value in estimate_of_model(str(tmp_path / "none")).values())


def test_the_cache_is_as_large_as_the_one_that_a_rollout_makes(tmp_path):
    policy = tiny_policy("01+=", width=16, layers=3, heads=2, context=32, seed=0)
    policy.model.save_pretrained(tmp_path)
    cache = SlotCache(num_layers=3, num_places=5)
    cache.reserve(7)
    cache.aim(5, torch.zeros(5, 1, dtype=torch.int64))
    policy.model(torch.zeros(5, 1, dtype=torch.int64), past_key_values=cache, attention_mask=torch.zeros(5, 1, 1, 8))
    made = sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values))
    without, asked = (estimate_of_model(str(tmp_path), rows=rows, tokens=cache.num_columns) for rows in (0, 5))
    assert asked["memory_bytes"] - without["memory_bytes"] == made > 0


def test_adapters_and_narrow_weights_take_less_and_a_reference_more():
    sizes = [
        estimate_of_model("smollm2-135m", **options)["memory_bytes"] / 134.5e6
        for options in ({}, {"adapters": True}, {"dtype": "bfloat16"}, {"reference": True})
    ]
    assert sizes == [16.0, 4.0, 8.0, 20.0]
