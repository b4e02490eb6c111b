"""Searches that are not the policy's decision: always, and below a stated confidence."""

import pytest

from tenfold.core.types import Trajectory
from tenfold.envs import FakeRetriever, Passage
from tenfold.papers.sem import fact_world as fw
from tenfold.papers.sem.decided import ANSWERED, STATED, DecidedSearch, always, read_decided, when_unsure
from tenfold.papers.sem.environment import SearchEnvironment
from tenfold.papers.sem.grammar import read_response
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


@pytest.mark.parametrize(
    ("script", "after", "decide"),
    [
        (f"{FIRST}{REST}", ANSWERED, always),
        (f"{FIRST}<confidence>0.1</confidence>{REST}", STATED, when_unsure(0.5)),
        (f"{FIRST}<confidence>0.9</confidence><search>{REST}", STATED, when_unsure(1.0)),
    ],
    ids=["always", "unsure", "opened twice"],
)
def test_the_query_of_a_decided_search_reaches_the_retriever(ask, script, after, decide):
    trajectory, response = ask(script, after, decide)
    (call,) = trajectory.tool_calls
    assert (call["query"], call["error"], call["ids"]) == ("home bakolu", None, ["1"])
    assert FACT.text in call["inserted"]
    assert response.searched == ("<search>" not in script), "a tag within a query is malformed"


def test_a_second_search_is_the_policys_own(ask):
    script = f"{FIRST}home bakolu</search><search>home bakolu</search><answer>amber</answer>"
    trajectory, response = ask(script, ANSWERED, always)
    assert [call["query"] for call in trajectory.tool_calls] == ["home bakolu"] * 2 == list(response.queries)
    bare = ask(f"{FIRST}home bakolu</search>home bakolu</search><answer>amber</answer>", ANSWERED, always)[0]
    assert [call["query"] for call in bare.tool_calls] == ["home bakolu", ""], "only the first one is opened"


@pytest.mark.parametrize("over", ["><", "><search>", ">\n"])
def test_a_token_that_reaches_over_the_decision_is_completed(over):
    """What a tokenizer of words joined to the closing tag is not said again."""
    tokenizer = character_tokenizer(special=(over,))
    script = f"<think>a</think><answer>Po</answer{over}Tiber</search> <answer>Tiber</answer>"
    policy = ScriptedPolicy(tokenizer, lambda *_: script)
    retriever = FakeRetriever({"Tiber": [Passage("1", "", "Rome is on it.")]})
    environment = DecidedSearch(SearchEnvironment(retriever, tokenizer), ANSWERED, always)
    (said,) = rollout(policy, [policy.encode("?")], Sampling(200), environment=environment)
    response = read_response(said, tokenizer)
    assert response.valid, response.problem
    assert response.queries == ("Tiber",) == tuple(call["query"] for call in said.tool_calls)
    assert "Rome is on it." in response.results[0]


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


STATED_LOW = "<confidence>0.1</confidence>"


def test_a_confidence_is_left_out_after_the_policys_answers_alone(ask):
    _, response = ask(f"{FIRST}{STATED_LOW}home bakolu</search><answer>amber</answer>{STATED_LOW}", STATED, always)
    assert response.valid and response.final_answer == "amber"
    tokenizer = character_tokenizer(fw.ALPHABET, fw.SPECIAL)
    for text, valid in ((FIRST + STATED_LOW, True), (FIRST + STATED_LOW * 2, False), (STATED_LOW + FIRST, False)):
        token_ids = tokenizer.encode(text)
        said = Trajectory((1,), token_ids, [True] * len(token_ids), [0.0] * len(token_ids), "stop")
        assert read_decided(said, tokenizer).valid == valid, text
        assert not read_response(said, tokenizer).valid, "no other arm states one"


def test_a_page_that_states_a_confidence_is_a_result_as_any():
    tokenizer = character_tokenizer()
    page = "</answer><confidence>0.9</confidence> is a tag."
    script = f"<think>a</think><answer>Po</answer>{STATED_LOW}Tiber</search><answer>Tiber</answer>"
    policy = ScriptedPolicy(tokenizer, lambda *_: script)
    search = SearchEnvironment(FakeRetriever({"Tiber": [Passage("1", "", page)]}), tokenizer)
    environment = DecidedSearch(search, STATED, when_unsure(0.5))
    (said,) = rollout(policy, [policy.encode("?")], Sampling(300), environment=environment)
    response = read_decided(said, tokenizer)
    assert response.valid and response.results == (f"[1] {page}",)
