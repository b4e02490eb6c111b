"""Rollouts on a device that is pretended, and in the precision of a GPU's trainings."""

import pytest
import torch
from pretended import pretended_device

from tenfold.policies import Sampling, rollout, stopping, tiny_policy
from tenfold.policies.cache import SlotCache
from tenfold.policies.stopping import StopStrings

CROSSINGS_OF_A_TOKEN = 5
"""Tokens and positions to the device, the noise, and drawn tokens and their log-probabilities back."""


@pytest.fixture
def policy():
    return tiny_policy("0123456789+=;", width=16, layers=2, heads=2)


@pytest.fixture
def caches(monkeypatch):
    """All caches that are made."""
    made = []
    begin = SlotCache.__init__

    def begin_and_remember(cache, *args, **options):
        begin(cache, *args, **options)
        made.append(cache)

    monkeypatch.setattr(SlotCache, "__init__", begin_and_remember)
    return made


def test_a_token_of_a_batch_crosses_no_more_than_it_must(policy):
    prompts = [policy.encode(text) for text in ("1+2=", "12+3=", "4+5+6=")]
    policy.tokenizer.eos_token_id, sampling = None, [Sampling(length, temperature=0.0) for length in (4, 12)]
    with pretended_device() as on:
        policy.model.to("cuda")
        crossings = []
        for each in sampling:
            on.forget_crossings()
            rollout(policy, prompts, each, num_samples=2, seed=1)
            crossings.append(on.num_crossings)
    assert 0 < crossings[1] - crossings[0] <= CROSSINGS_OF_A_TOKEN * 8
    assert not on.products


def test_tokens_are_those_of_the_host(policy):
    prompts = [policy.encode("1+2="), policy.encode("31+2=")]
    here = rollout(policy, prompts, Sampling(8), num_samples=2)
    with pretended_device():
        policy.model.to("cuda")
        there = rollout(policy, prompts, Sampling(8), num_samples=2)
    assert [each.token_ids for each in there] == [each.token_ids for each in here]


def test_keys_and_values_are_kept_in_one_type_under_autocast(policy, caches):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rollout(policy, [policy.encode("1+2=")], Sampling(3))
    assert caches
    for cache in caches:
        for layer in cache.layers:
            assert layer.keys.dtype == layer.values.dtype == torch.bfloat16


def test_the_vocabulary_is_spelled_once_for_a_tokenizer_and_its_stop_strings(policy, monkeypatch):
    spelled = []
    pieces = stopping._pieces
    monkeypatch.setattr(stopping, "_pieces", lambda *given: spelled.append(given) or pieces(*given))
    for _ in range(3):
        rollout(policy, [policy.encode("1+2=")], Sampling(3, stop=(";",)))
    assert len(spelled) == 1
    StopStrings(policy.tokenizer, ("=;",))
    assert len(spelled) == 2
    policy.tokenizer.add_tokens(["7;"])
    stops = StopStrings(policy.tokenizer, (";",))
    assert len(spelled) == 3 and stops.found(policy.tokenizer.encode("1+7;")) == ";"
    StopStrings(tiny_policy("12;").tokenizer, (";",))
    assert len(spelled) == 4
