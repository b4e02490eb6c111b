"""A constraint on what is said: only what it allows, with the log-probabilities of what it leaves."""

import itertools

import numpy as np
import pytest
import torch
from acting import Echo, digits_policy

from tenfold.core.errors import UserError
from tenfold.core.types import Reply
from tenfold.policies import GrammarConstraint, Sampling, ScriptedPolicy, rollout

SUMS = r"""
start: NUMBER ("+" NUMBER)* "=" NUMBER
NUMBER: /[1-9][0-9]?/
"""


class OneOf:
    """Allows one of a few sequences of tokens, each with an end."""

    def __init__(self, size, sequences):
        self.size, self.sequences = size, [tuple(sequence) for sequence in sequences]

    def start(self, prompt_ids):
        return ()

    def mask(self, said):
        allowed = np.zeros(self.size, dtype=bool)
        for sequence in self.sequences:
            if sequence[: len(said)] == said and len(sequence) > len(said):
                allowed[sequence[len(said)]] = True
        return allowed

    def accept(self, said, token):
        return (*said, token)


def one_of(policy, *texts):
    end = policy.tokenizer.eos_token_id
    return OneOf(len(policy.tokenizer), [[*policy.encode(text), end] for text in texts])


def masked_log_probs(policy, constraint, trajectory, temperature):
    """By one forward pass over all tokens, and the constraint from its start."""
    ids = torch.tensor([[*trajectory.prompt_ids, *trajectory.token_ids]])
    logits_TV = policy.model(input_ids=ids).logits[0, len(trajectory.prompt_ids) - 1 : -1].float()
    state, found = constraint.start(trajectory.prompt_ids), []
    for logits_V, token in zip(logits_TV, trajectory.token_ids, strict=True):
        allowed = torch.from_numpy(constraint.mask(state))
        found.append((logits_V.masked_fill(~allowed, -torch.inf) / temperature).log_softmax(-1)[token].item())
        state = constraint.accept(state, token)
    return found


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_log_probabilities_are_those_of_the_masked_distribution(temperature):
    policy = digits_policy()
    constraint = one_of(policy, "12", "13", "7", "7777")
    said = rollout(
        policy,
        [policy.encode("1+2="), policy.encode("5=")],
        Sampling(8, temperature),
        num_samples=12,
        constraint=constraint,
        batch_size=5,
    )
    assert {policy.decode(each.token_ids) for each in said} == {"12<eos>", "13<eos>", "7<eos>", "7777<eos>"}
    with torch.no_grad():
        for each in said:
            assert each.log_probs == pytest.approx(masked_log_probs(policy, constraint, each, temperature), abs=1e-4)


def test_probabilities_over_all_allowed_texts_sum_to_one():
    policy = digits_policy()
    texts = ["".join(digits) for digits in itertools.product("12", repeat=2)]
    constraint = one_of(policy, *texts)
    said = rollout(policy, [policy.encode("3=")], Sampling(3), num_samples=200, constraint=constraint)
    of_text = {policy.decode(each.token_ids): sum(each.log_probs) for each in said}
    assert len(of_text) == 4 and sum(np.exp(list(of_text.values()))) == pytest.approx(1, abs=1e-4)


def test_the_tokens_of_an_environment_are_none_of_its_business():
    policy = digits_policy()
    constraint = one_of(policy, "1#2")
    said = rollout(
        policy, [policy.encode("3=")], Sampling(8, stop=("#",)), constraint=constraint, environment=Echo([Reply("999")])
    )
    assert policy.decode(said[0].token_ids) == "1#9992<eos>"


def test_a_grammar_is_followed_to_its_end():
    policy = digits_policy()
    constraint = GrammarConstraint(policy.tokenizer, SUMS)
    said = rollout(policy, [policy.encode("=")], Sampling(30), num_samples=30, constraint=constraint)
    texts = [policy.decode(each.token_ids) for each in said]
    assert all(constraint.accepts(text.removesuffix("<eos>")) for text in texts if text.endswith("<eos>"))
    assert sum(text.endswith("<eos>") for text in texts) > 20


def test_forced_text_is_accepted_token_by_token():
    """A grammar of one text forces every token; a stub in place of a true tokenization would skip some."""
    policy = digits_policy()
    constraint = GrammarConstraint(policy.tokenizer, 'start: "12+34" "=46"')
    said = rollout(policy, [policy.encode("=")], Sampling(20), constraint=constraint)
    assert policy.decode(said[0].token_ids) == "12+34=46<eos>"
    assert sum(said[0].log_probs) == pytest.approx(0, abs=1e-5)


def test_a_grammar_that_is_none_and_a_policy_that_cannot_are_refused():
    policy = digits_policy()
    with pytest.raises(UserError, match="grammar: "):
        GrammarConstraint(policy.tokenizer, "start: missing")
    script = ScriptedPolicy(policy.tokenizer, lambda prompt, sample: "1")
    with pytest.raises(UserError, match="ScriptedPolicy cannot restrict what it samples"):
        rollout(script, [policy.encode("=")], Sampling(3), constraint=one_of(policy, "1"))


def test_a_constraint_that_allows_nothing_is_an_error():
    policy = digits_policy()
    with pytest.raises(UserError, match="it allows no token here"):
        rollout(
            policy, [policy.encode("=")], Sampling(3), constraint=OneOf(len(policy.tokenizer), [policy.encode("1")])
        )
