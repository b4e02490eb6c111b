"""A scripted policy says its script under the same rules as a model."""

import pytest

from tenfold.core.errors import UserError
from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer, rollout


def test_each_trajectory_says_its_own_text_with_certainty_and_ends():
    policy = ScriptedPolicy(character_tokenizer("ab"), lambda prompt, sample: "a" * prompt + "b" * sample)
    said = rollout(policy, [policy.encode("a")] * 2, Sampling(max_new_tokens=9), num_samples=3, batch_size=1)
    assert [policy.decode(each.token_ids) for each in said] == [
        f"{text}<eos>" for text in ("", "b", "bb", "a", "ab", "abb")
    ]
    assert all(each.stop_reason == "stop" and set(each.log_probs) == {0.0} for each in said)


def test_a_text_outside_the_alphabet_is_named():
    policy = ScriptedPolicy(character_tokenizer("ab"), lambda prompt, sample: "x")
    with pytest.raises(UserError, match="text = 'x'"):
        rollout(policy, [[8]], Sampling(max_new_tokens=9))
