"""Sizes of models on disk are those of the loaded models; nothing is guessed for a name on the hub."""

import math

from tenfold.policies import tiny_policy
from tenfold.policies.sizes import estimate_on_disk


def test_a_folder_has_as_many_parameters_as_the_model_in_it(tmp_path):
    policy = tiny_policy("01+=", width=16, layers=1, heads=2, context=32, seed=0)
    policy.model.save_pretrained(tmp_path)
    found = estimate_on_disk(str(tmp_path))
    assert found["parameters"] == policy.num_parameters == sum(weight.numel() for weight in policy.model.parameters())
    assert found["memory_bytes"] == 16 * policy.num_parameters and math.isnan(found["seconds"])


def test_what_is_not_on_disk_is_unknown(tmp_path):
    assert all(math.isnan(value) for value in estimate_on_disk(str(tmp_path / "none")).values())
