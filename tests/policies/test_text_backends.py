"""Policies, records and scripts behind one interface of texts."""

import pytest

from tenfold.core.types import Message
from tenfold.policies import GrammarConstraint, Recorder, RolloutBackend, ScriptedBackend, tiny_policy
from tenfold.policies.text_backends import BackendError

HELLO = [Message("user", "Hello")]


def backend(**settings):
    return RolloutBackend(tiny_policy(width=16, layers=1, heads=2, context=64), **settings)


def test_a_policy_answers_without_its_end_token_and_equal_calls_in_order_repeat():
    first, again = backend(), backend()
    said = [first.generate(HELLO, 3, 1.0, 12) for _ in range(2)]
    assert said == [again.generate(HELLO, 3, 1.0, 12) for _ in range(2)]
    assert len(said[0]) == 3 and said[0] != said[1]
    assert not any("<eos>" in text for text in said[0])


def test_a_policy_with_a_grammar_answers_within_it():
    asked = backend()
    asked.constraint = GrammarConstraint(asked.policy.tokenizer, 'start: "yes" | "no"')
    assert set(asked.generate(HELLO, 8, 1.0, 12)) <= {"yes", "no"}


def test_a_conversation_that_is_too_long_is_an_error_of_the_model():
    with pytest.raises(BackendError, match=r"the conversation has \d+ tokens; the model reads 64"):
        backend().generate([Message("user", "Hello" * 30)], 1, 1.0, 12)


def test_a_record_is_replayed_and_nothing_else():
    recorder = Recorder(ScriptedBackend(["a", "b", "c", "d"]))
    asked = [(HELLO, 2, 0.5, 9), (HELLO, 1, 0.5, 9), (HELLO, 1, 0.5, 9)]
    said = [recorder.generate(*call) for call in asked]
    assert said == [["a", "b"], ["c"], ["d"]]
    replay = ScriptedBackend.of_calls(recorder.calls)
    assert [replay.generate(*call) for call in asked] == said
    with pytest.raises(BackendError, match="nothing is recorded for this call, which ends with 'Hello'"):
        replay.generate(HELLO, 1, 0.5, 9)
    with pytest.raises(BackendError, match="nothing is recorded"):
        ScriptedBackend.of_calls(recorder.calls).generate(HELLO, 1, 0.6, 9)
