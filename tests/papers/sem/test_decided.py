"""Searches that are not the policy's decision: always, and below a stated confidence."""

import pytest

from tenfold.envs import FakeRetriever, Passage
from tenfold.papers.sem import fact_world as fw
from tenfold.papers.sem.decided import ANSWERED, STATED, DecidedSearch, always, read_decided, when_unsure
from tenfold.papers.sem.environment import SearchEnvironment
from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer, rollout

FACT = Passage("1", "", "home bakolu=amber")


@pytest.fixture
def ask():
    """What a policy with a script ends up saying."""
    tokenizer = character_tokenizer(fw.ALPHABET, fw.SPECIAL)

    def said(script, after, decide):
        policy = ScriptedPolicy(tokenizer, lambda *_: script)
        retriever = FakeRetriever({"home bakolu": [FACT]})
        search = SearchEnvironment(retriever, tokenizer, show=fw.show)
        environment = DecidedSearch(search, after, decide)
        prompt = policy.encode("home bakolu?")
        (trajectory,) = rollout(policy, [prompt], Sampling(60), environment=environment)
        return trajectory, read_decided(trajectory, tokenizer)

    return said


FIRST = "<think>coral,coral same</think><answer>coral</answer>"
REST = "home bakolu</search><answer>amber</answer>"


def test_always_opens_one_search_and_ends_at_the_second_answer(ask):
    trajectory, response = ask(f"{FIRST}{REST}", ANSWERED, always)
    assert response.valid and response.queries == ("home bakolu",)
    assert (response.first_answer, response.final_answer) == ("coral", "amber")
    assert trajectory.stop_reason == "stop" and len(trajectory.tool_calls) == 1


def test_the_opening_tag_of_a_decided_search_is_the_environments(ask):
    trajectory, _ = ask(f"{FIRST}{REST}", ANSWERED, always)
    opening = character_tokenizer(fw.ALPHABET, fw.SPECIAL).convert_tokens_to_ids("<search>")
    assert [sampled for token, sampled in zip(trajectory.token_ids, trajectory.loss_mask, strict=True)
            if token == opening] == [False]  # fmt: skip


@pytest.mark.parametrize(("confidence", "searched"), [("0.1", True), ("0.3", True), ("0.5", False), ("0.9", False)])
def test_a_confidence_below_the_threshold_opens_a_search(ask, confidence, searched):
    script = f"{FIRST}<confidence>{confidence}</confidence>{REST}"
    _, response = ask(script, STATED, when_unsure(0.5))
    assert response.valid and response.searched == searched
    assert response.final_answer == ("amber" if searched else "coral")


def test_a_confidence_that_cannot_be_read_searches(ask):
    _, response = ask(f"{FIRST}<confidence>amber</confidence>{REST}", STATED, when_unsure(0.5))
    assert response.searched


def test_a_policy_that_searches_by_itself_is_answered_as_ever(ask):
    _, response = ask(f"{FIRST}<search>{REST}", STATED, when_unsure(0.5))
    assert response.valid and response.final_answer == "amber"
