"""The tool answers everything with text: limits, duplicates, budgets, failures, each told in the facts too."""

import json

import pytest

from tenfold.core.errors import UserError
from tenfold.envs.search import (
    FakeRetriever,
    Notices,
    Passage,
    RetrievalError,
    SearchTool,
    count_words,
    cut_to_tokens,
)

ROME = Passage("1", "Rome", "Rome is on the Tiber.", 2.0)
NOTE = Passage("2", "", "A note.", 1.0)


def tool(retriever=None, **settings):
    return SearchTool(retriever or FakeRetriever({"Tiber": [ROME, NOTE], "tiber  river": [ROME]}), **settings)


def test_passages_are_numbered_lines_and_the_facts_tell_which():
    result = tool().open().call("I wonder. <search>Po</search> no <search> Tiber\n</search>")
    assert result.text == "[1] Rome: Rome is on the Tiber.\n[2] A note." and result.ok
    assert result.facts == {
        "tool": "search",
        "query": "Tiber",
        "ids": ["1", "2"],
        "duplicate": False,
        "cut": False,
        "tokens": count_words(result.text),
        "error": None,
    }
    assert json.loads(json.dumps(result.facts)) == result.facts


def test_what_the_query_of_a_turn_is():
    calls = ["<search>Tiber</search>", "Tiber", " Tiber\n", "<search>a</search><search>Tiber</search>"]
    assert [tool().query_of(text) for text in calls] == ["Tiber"] * 4
    assert tool().query_of("a thought, never opened</search>") == ""
    assert tool(tag="find").query_of("x <find>Tiber</find>") == "Tiber" and tool(tag="find").stop == "</find>"


@pytest.mark.parametrize("query", ["", " ", "\n\t"])
def test_an_empty_query_is_told(query):
    retriever = FakeRetriever()
    result = tool(retriever).open().call(f"<search>{query}</search>")
    assert (result.text, result.ok, result.facts["error"]) == ("The query is empty.", False, "empty")
    assert retriever.asked == []


def test_a_query_at_the_limit_is_asked_and_one_above_it_is_told():
    retriever = FakeRetriever()
    session = tool(retriever, max_query_characters=5).open()
    assert session.call("abcde").ok
    result = session.call("abcdef")
    assert (result.text, result.ok) == ("The query is longer than 5 characters.", False)
    assert (result.facts["error"], result.facts["query"]) == ("too long", "abcde"), "no flood of facts"
    assert retriever.asked == [(("abcde",), 5)]


@pytest.mark.parametrize(
    ("error", "told"), [(RetrievalError("http://x: down"), "http://x: down"), (KeyError("id"), "KeyError: 'id'")]
)
def test_a_failing_retriever_is_an_observation_and_may_recover(error, told):
    retriever = FakeRetriever({"Tiber": [ROME]}, error=error)
    session = tool(retriever).open()
    result = session.call("Tiber")
    assert (result.text, result.ok, result.facts["error"]) == ("The search failed.", False, told)
    retriever.error = None
    again = session.call("Tiber")
    assert again.ok and not again.facts["duplicate"], "what failed was not answered before"
    assert session.num_searches == 1


def test_a_retriever_that_is_set_up_wrongly_is_not_the_policys_concern():
    with pytest.raises(UserError, match="encode"):
        tool(FakeRetriever(error=UserError("encode: no"))).open().call("Tiber")


def test_a_retriever_with_a_wrong_number_of_answers_is_an_observation():
    class Wrong:
        def search(self, queries, k):
            return []

    result = tool(Wrong()).open().call("Tiber")
    assert not result.ok and result.facts["error"].startswith("ValueError")


def test_nothing_found_is_told_and_is_a_search():
    session = tool().open()
    result = session.call("Po")
    assert (result.text, result.ok, result.facts["ids"], session.num_searches) == ("Nothing was found.", True, [], 1)


def test_duplicates_are_flagged_counted_and_not_asked_again():
    retriever = FakeRetriever({"Tiber": [ROME]})
    session, other = tool(retriever).open(), tool(retriever).open()
    first, second, third = (session.call(query) for query in ("Tiber", " tiber", "TIBER\n"))
    assert second.text == f"This query was asked before.\n{first.text}" == third.text
    assert [result.facts["duplicate"] for result in (first, second, third)] == [False, True, True]
    assert (session.num_searches, session.num_duplicates) == (3, 2)
    assert not other.call("Tiber").facts["duplicate"], "another trajectory"
    assert retriever.asked == [(("Tiber",), 5)] * 2


def test_a_closed_session_has_forgotten():
    session = tool().open()
    session.call("Tiber")
    session.close()
    assert not session.call("Tiber").facts["duplicate"]


def test_other_texts():
    notices = Notices(empty="?", too_long="> {limit}", failed="!", nothing="-", repeated="")
    session = tool(notices=notices, max_query_characters=5, show=lambda rank, passage: passage.text).open()
    answers = [session.call(query).text for query in ("", "123456", "Po", "Tiber", "tiber")]
    assert answers == ["?", "> 5", "-", "Rome is on the Tiber.\nA note.", "Rome is on the Tiber.\nA note."]


@pytest.mark.parametrize("limit", range(1, 16))
def test_results_never_exceed_the_budget_of_tokens(limit):
    result = tool(max_result_tokens=limit).open().call("Tiber")
    whole = "[1] Rome: Rome is on the Tiber.\n[2] A note."
    assert count_words(result.text) == result.facts["tokens"] <= limit
    assert result.facts["cut"] == (limit < count_words(whole)) == (result.text != whole)
    assert whole.startswith(result.text.removesuffix("...")), "cut, not changed"


def test_as_much_as_fits_is_kept():
    text = " ".join(f"word{i}" for i in range(1000))
    for limit in (3, 4, 50, 999):
        cut = cut_to_tokens(text, limit, count_words)
        assert cut == " ".join(f"word{i}" for i in range(limit - 3)) + "..." and count_words(cut) == limit
    assert cut_to_tokens(text, 1000, count_words) == text and cut_to_tokens(text, 2, count_words) == ""


def test_any_counter_is_held_to_its_count():
    """A tokenizer that merges across words, so that a longer text may have fewer tokens."""

    def count(text):
        return len(text.replace("ab ab", "X").replace("  ", " "))

    text = "ab ab " * 50
    for limit in range(3, 60):
        assert count(cut_to_tokens(text, limit, count)) <= limit


def test_duplicates_and_refusals_are_within_the_budget_too():
    session = tool(max_result_tokens=4).open()
    for query in ("Tiber", "Tiber", "", "x" * 999, "Po"):
        assert count_words(session.call(query).text) <= 4


@pytest.mark.parametrize("limits", [{"k": 0}, {"max_query_characters": 0}, {"max_result_tokens": 0}])
def test_limits_out_of_range(limits):
    with pytest.raises(UserError, match="allowed: 1 or more"):
        tool(**limits)
