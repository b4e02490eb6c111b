"""The reward table of the specification, its options, the rivals, and what the reward functions read."""

import pytest

from tenfold.core.errors import UserError
from tenfold.core.types import Trajectory
from tenfold.data.questions import Question
from tenfold.eval.token_f1 import token_f1
from tenfold.papers.sem.grammar import Response, Search, parse, render
from tenfold.papers.sem.method import (
    RULES,
    Gold,
    SearchReward,
    boundary_contrast_like,
    components,
    confidence_rewards,
    otc_like,
    research,
    rival_rewards,
    search_r1,
    sem,
    sem_rewards,
)
from tenfold.papers.sem.prompts import CLOSED_BOOK, SEM, prompt_of

FOUND = Search("river of Rome", "Rome is on the Tiber.")


def direct(first, problem=""):
    return Response("", first, final_answer=first, problem=problem)


def searched(first, final, num_searches=1, problem=""):
    return Response("", first, (FOUND,) * num_searches, final, problem)


GOLD = Gold(("river Tiber",))
HALF = "the Tiber and Arno"  # 1 word of 3 shared with 2: F1 = 2 * 1 / 5 = 0.4
FIFTH = "blue river"  # 1 of 2 and 2: F1 = 0.5


@pytest.mark.spec("sem", "1")
@pytest.mark.parametrize(
    ("expected", "response", "options"),
    [
        # a1 good, no search, one pair
        (1.0, direct("the River Tiber!"), {}),
        (0.5, direct(FIFTH), {}),  # exactly tau
        (0.4, direct(HALF), {"tau": 0.4}),  # exactly another tau
        (0.0, direct(HALF), {}),  # below tau
        (0.0, direct(FIFTH), {"tau": 0.51}),
        # a1 good, but searched
        (0.0, searched("river Tiber", "river Tiber"), {}),
        (0.0, searched(FIFTH, "river Tiber"), {}),  # exactly tau
        (0.0, searched(HALF, "river Tiber"), {"tau": 0.4}),
        # a1 bad, well-formed search, a2
        (1.0, searched("Po", "river Tiber"), {}),
        (1.0, searched(HALF, "river Tiber"), {}),
        (1.0, searched(FIFTH, "river Tiber"), {"tau": 0.51}),
        (0.4, searched("Po", HALF), {}),  # F1(a2) has no threshold
        (0.0, searched("Po", "Arno"), {}),
        (1.0, searched("Po", "river Tiber", 3), {}),
        # a1 bad, no search
        (0.0, direct("Po"), {}),
        # malformed
        (0.0, direct("river Tiber", "two pairs"), {}),
        (0.0, searched("Po", "river Tiber", problem="cut"), {}),
        (0.0, searched("river Tiber", "river Tiber", problem="cut"), {"searched_but_known_reward": 0.3}),
    ],
)
def test_the_reward_table(expected, response, options):
    assert sem(response, GOLD, **options) == pytest.approx(expected)


@pytest.mark.spec("sem", "1")
def test_the_best_alias_counts_and_yes_is_no_part_of_an_answer():
    assert sem(direct("Tiber"), Gold(("Tevere", "Tiber"))) == 1.0
    assert sem(direct("Tiber"), Gold(("Tevere", "the river Tiber of Rome"))) == 0.0
    assert sem(direct("Tiber river"), Gold(("Tevere", "the river Tiber of Rome"))) == pytest.approx(2 / 3)
    for gold in ("yes", "no", "noanswer"):
        assert sem(direct(gold.upper()), Gold((gold,))) == 1.0
        assert sem(direct(f"{gold} it is"), Gold((gold,))) == 0.0
        assert sem(searched("Po", f"{gold} it is"), Gold((gold,))) == 0.0
    assert sem(searched("yes it is", "yes"), Gold(("yes",))) == 1.0, "the first answer was none, so the second counts"


@pytest.mark.spec("sem", "3")
@pytest.mark.parametrize("letter", "ABCD")
def test_every_form_of_an_option_is_right(letter):
    choices = ("Paris", "a city", "the Tiber", "D. melanogaster")
    text = choices["ABCD".index(letter)]
    gold = Gold((letter,), choices)
    for answer in (letter, f"({letter})", letter.lower(), f"{letter}. {text}", f"{letter}) {text}", text):
        assert gold.f1(answer) == 1.0 and gold.exact(answer), answer
        assert sem(direct(answer), gold) == 1.0
    wrong = "ABCD".replace(letter, "")
    assert [gold.f1(other) for other in wrong] == [0.0] * 3


@pytest.mark.spec("sem", "3")
def test_the_token_f1_of_the_letter_a_is_nothing():
    assert token_f1("A", "A", "squad") == 0.0, "which is why options have a scorer of their own"
    assert Gold(("A",), choice=True).f1("A") == 1.0


@pytest.mark.parametrize(
    ("expected", "response", "options"),
    [
        (0.3, searched("river Tiber", "river Tiber"), {"searched_but_known_reward": 0.3}),
        (0.3, searched("river Tiber", "Po"), {"searched_but_known_reward": 0.3}),
        (1.0, searched("Po", "river Tiber"), {"searched_but_known_reward": 0.3}),
        (0.0, direct("Po"), {"searched_but_known_reward": 0.3}),
        (0.5, searched("Po", "river Tiber"), {"a2_discount": 0.5}),
        (1.0, direct("river Tiber"), {"a2_discount": 0.5}),
        (0.8, searched("Po", "river Tiber", 2), {"search_cost": 0.1}),
        (0.0, searched("Po", "Arno", 2), {"search_cost": 0.1}),
        (1.0, direct("river Tiber"), {"search_cost": 0.1}),
    ],
)
def test_options_answer_the_known_weaknesses(expected, response, options):
    assert sem(response, GOLD, **options) == pytest.approx(expected)


def test_the_parts_are_told_apart():
    parts = components(searched("Po", HALF), GOLD)
    assert (parts.valid, parts.searched, parts.one_pair, parts.well_searched) == (True, True, False, True)
    assert (parts.first_f1, parts.final_f1) == pytest.approx((0.0, 0.4))
    parts = components(direct(FIFTH), GOLD)
    assert (parts.valid, parts.searched, parts.one_pair, parts.well_searched) == (True, False, True, False)
    assert (parts.first_f1, parts.final_f1) == (0.5, 0.0)
    assert not any(getattr(components(direct("Po", "bad"), GOLD), name) for name in ("valid", "one_pair"))


PAIR, QUERY, END = "<think>hm</think><answer>Po</answer>", "<search>river of Rome</search>", "<answer>Tiber</answer>"
RESULT = FOUND.inserted


@pytest.mark.parametrize(
    ("text", "f", "s", "t", "u"),
    [
        (PAIR, 1, 0, 1, 0),
        (f"{PAIR}{QUERY}{RESULT}{END}", 1, 1, 0, 1),
        (f"{PAIR}{QUERY}{RESULT}<think>so</think>{QUERY}{RESULT}{END}", 1, 1, 0, 1),
        # something else is wrong
        (f"{PAIR}.", 0, 0, 1, 0),
        (f"{PAIR}{PAIR}", 0, 0, 0, 0),
        (f"So: {PAIR}", 0, 0, 0, 0),
        (f"{PAIR}{QUERY}{RESULT}{END}.", 0, 1, 0, 1),
        (f"{PAIR}{QUERY}{RESULT}{END}{END}", 0, 1, 0, 1),
        (f"{QUERY}{RESULT}{END}", 0, 1, 0, 1),
        (f"{PAIR}{QUERY}{RESULT}", 0, 1, 1, 1),
        # the search is
        (f"{PAIR}{QUERY}{END}", 0, 0, 1, 0),
        (f"{PAIR}<search>river of Rome{END}", 0, 0, 1, 0),
        (f"{PAIR}{QUERY}x{RESULT}{END}", 0, 0, 1, 0),
        (f"{PAIR}{QUERY}{RESULT}{QUERY}{END}", 0, 1, 1, 0),
        (f"{PAIR}{QUERY}{RESULT}<search>river", 0, 1, 1, 0),
        (f"{PAIR}{QUERY}{RESULT}<result>mine</result>{END}", 0, 1, 1, 0),
        (f"{PAIR}{QUERY}{RESULT}{END}{QUERY}{RESULT}{END}", 0, 1, 0, 0),
    ],
)
def test_pairs_and_searches_are_told_apart_from_the_whole(text, f, s, t, u):
    """Specification, section 3: t and u say what they say of a malformed response too; f gates what is paid."""
    response = parse(text, (RESULT,) * text.count(RESULT))
    parts = components(response, GOLD)
    assert (parts.valid, parts.searched, parts.one_pair, parts.well_searched) == (f, s, t, u), response.problem
    assert f or sem(response, GOLD) == sem(response, Gold(("Po", "Tiber"))) == 0.0


def test_a_result_that_is_not_in_the_text_is_no_well_formed_search():
    response = parse(f"{PAIR}{QUERY}{RESULT}{END}", (RESULT, RESULT))
    assert (response.problem, response.well_searched) == ("a result is missing", False)


def test_rivals_on_the_same_responses():
    assert [search_r1(one, GOLD) for one in (direct("river Tiber"), direct(FIFTH), searched("Po", "River Tiber."))] == [
        1.0,
        0.0,
        1.0,
    ]
    assert search_r1(searched("river Tiber", "river Tiber", problem="text after"), GOLD) == 1.0
    assert search_r1(Response("", None, problem="no text"), GOLD) == 0.0
    assert [research(one, GOLD) for one in (direct(HALF), direct("Po"), direct("river Tiber", "bad"))] == [0.4, 0.1, 0]
    assert research(searched("Po", HALF), GOLD) == 0.4
    lean, wordy, wrong = searched("Po", "river Tiber"), searched("Po", "river Tiber", 3), direct("Po")
    group = [lean, wordy, wrong]
    assert [otc_like(one, GOLD, group) for one in group] == [1.0, 0.5, 0.0]
    known = [direct("river Tiber"), searched("river Tiber", "river Tiber"), searched("Po", "river Tiber"), wrong]
    assert [boundary_contrast_like(one, GOLD, known) for one in known] == [1.0, 0.8, 0.8, 0.0]
    unknown = [direct("river Tiber"), lean, wrong]
    assert [boundary_contrast_like(one, GOLD, unknown) for one in unknown] == [0.8, 1.0, 0.0]


@pytest.mark.spec("sem", "4")
@pytest.mark.parametrize("completion", ["", "I don't know.", "Salvi", "<think>hm</think>", "</answer>", "<answer>"])
def test_the_examples_in_a_prompt_are_no_answer(completion):
    question = Question("Who is the architect of the Trevi Fountain?", ("Nicola Salvi",), "1")
    prompt = prompt_of(question, instructions=SEM)
    assert "<answer>Nicola Salvi</answer>" in prompt[0]["content"] and "<answer>" in CLOSED_BOOK
    chat = [{"role": "assistant", "content": completion}]
    for rule in (*RULES.values(), lambda response, gold, group: gold.f1(response.first_answer)):
        for said in (completion, chat):
            assert SearchReward(rule, "r")([prompt], [said], answer=[["Nicola Salvi"]]) == [0.0]
    text = "\n".join(message["content"] for message in prompt)
    functions, _ = sem_rewards()
    assert [function([text], [completion], answer=["Nicola Salvi"]) for function in functions] == [[0.0]] * 7


def test_reward_functions_read_columns_as_trl_gives_them():
    functions, weights = sem_rewards()
    assert weights == [1.0] + [0.0] * 6
    response = searched("Po", "river Tiber")
    text, results = render(response), list(response.inserted)
    trajectory = Trajectory((1,), [2], [True], [0.0], "stop", tool_calls=({"inserted": results[0]},))
    columns = {
        "answer": [["river Tiber"]],
        "choices": [[]],
        "kind": ["open"],
        "source": ["x"],
        "completion_ids": [[1]],
    }
    expected = [[1.0], [1.0], [1.0], [0.0], [1.0], [0.0], [1.0]]
    assert [function(["p"], [text], trajectory=[trajectory], **columns) for function in functions] == expected
    assert [function(["p"], [text], inserted=[results], **columns) for function in functions] == expected
    assert functions[0](["p"], [text], **columns) == [0.0], "no environment said so"
    plain = {"answer": ["B"], "choices": [["Po", "Tiber"]], "kind": ["open"]}
    for answer, reward in (("B", 1.0), ("Tiber", 0.0)):
        said = f"<think></think><answer>{answer}</answer>"
        assert functions[0](["p"], [said], **plain) == [reward], "options are none where a text is asked for"
    choice = {"answer": ["B"], "choices": [["Po", "Tiber"]], "kind": ["choice"]}
    assert functions[0](["p"], ["<think></think><answer>Tiber</answer>"], **choice) == [1.0]


def test_equal_prompts_in_a_row_are_a_group():
    one, three = searched("Po", "Tiber"), searched("Po", "Tiber", 3)
    texts, inserted = [render(three), render(one), render(three)], [three.inserted, one.inserted, three.inserted]
    reward = SearchReward(otc_like)
    assert reward.__name__ == "otc_like"
    columns = {"answer": ["Tiber"] * 3, "inserted": inserted}
    assert reward(["p", "p", "q"], texts, **columns) == [0.5, 1.0, 1.0]
    assert parse(texts[0], inserted[0]).searches == (FOUND,) * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.0}, "tau = 0.0: must be above 0"),
        ({"tau": 1.1}, "at most 1"),
        ({"a2_discount": 1.5}, "a2_discount = 1.5"),
        ({"searched_but_known_reward": -0.1}, "searched_but_known_reward = -0.1"),
        ({"search_cost": -1.0}, "search_cost = -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        sem_rewards(**options)


def test_rows_without_answers_are_refused():
    reward = SearchReward(sem)
    with pytest.raises(UserError, match="answer = \\[\\]"):
        reward(["p"], ["x"], answer=[[]])
    with pytest.raises(UserError, match="kind = 'closed'"):
        reward(["p"], ["x"], answer=["x"], kind=["closed"])


def test_a_korean_answer_with_its_particle_is_paid_for():
    gold = Gold(("서울",))
    assert sem(direct("서울은"), gold) == pytest.approx(0.8) and sem(direct("부산"), gold) == 0.0
    assert sem(searched("부산", "서울입니다"), gold) > 0.5
    assert sem(direct("서울은"), Gold(("서울",), normalisation="squad")) == 0.0


def test_the_published_normalisation_is_one_of_its_own():
    said = ["<think></think><answer>3</answer>"]
    for normalisation, paid in (("careful", 0.0), ("squad", 1.0)):
        for functions, _ in (sem_rewards(normalisation=normalisation), rival_rewards("search_r1", normalisation)):
            assert functions[0](["?"], said, answer=["-3"]) == [paid]
        correctness = confidence_rewards(normalisation)[0][1]
        assert correctness(["?"], [said[0] + "<confidence>1</confidence>"], answer=["-3"]) == [paid]
    with pytest.raises(UserError, match="normalisation = 'none'"):
        sem_rewards(normalisation="none")
