"""The grammar: malformed texts by hand, valid ones read and written back, and who wrote a result."""

import random

import pytest

from tenfold.core.types import Trajectory
from tenfold.papers.sem.grammar import TAGS, Response, Search, parse, parse_trajectory, read_response, render
from tenfold.papers.sem.method import Gold, sem
from tenfold.policies import character_tokenizer

T, A, S = "<think>hm</think>", "<answer>Po</answer>", "<search>river of Rome</search>"
R = " <result>\nRome is on the Tiber.\n</result>"
A2 = "<answer>Tiber</answer>"
FRAMED = (R,)

MALFORMED = {
    # nothing, or not enough
    "empty": ("", ()),
    "blank": (" \n", ()),
    "plain text": ("Tiber", ()),
    "thinking alone": (T, ()),
    "answer alone": (A, ()),
    "search alone": (S + R, FRAMED),
    # not closed, not opened
    "think not closed": ("<think>hm<answer>Tiber</answer>", ()),
    "think not opened": ("hm</think><answer>Tiber</answer>", ()),
    "answer not closed": (T + "<answer>Tiber", ()),
    "answer not opened": (T + "Tiber</answer>", ()),
    "search not closed": (T + A + "<search>river of Rome", ()),
    "search not opened": (T + A + "river of Rome</search>" + R + A2, FRAMED),
    "closed twice": (T + "<answer>Tiber</answer></answer>", ()),
    "half a tag": (T + "<answer>Tiber</answer", ()),
    "wrong closing tag": (T + "<answer>Tiber</think>", ()),
    "capital tags": ("<Think>hm</Think><Answer>Tiber</Answer>", ()),
    # nested
    "think in think": ("<think>a<think>b</think></think>" + A2, ()),
    "answer in think": ("<think>hm<answer>Tiber</answer></think>", ()),
    "answer in answer": (T + "<answer><answer>Tiber</answer></answer>", ()),
    "think in answer": (T + "<answer><think>hm</think>Tiber</answer>", ()),
    "search in answer": (T + "<answer>Po<search>Rome</search></answer>", ()),
    "search in think": ("<think>hm<search>Rome</search>" + R + "</think>" + A2, FRAMED),
    "a tag in an answer": (T + "<answer>Tiber</search></answer>", ()),
    "a tag in a query": (T + A + "<search>a<search>river</search>" + R + A2, FRAMED),
    # reordered
    "answer first": (A2 + T, ()),
    "search before the answer": (T + S + R + A2, FRAMED),
    "search first": (S + R + T + A2, FRAMED),
    "two thoughts": (T + T + A2, ()),
    "two pairs": (T + A + T + A2, ()),
    "two answers": (T + A + A2, ()),
    "two thoughts after a result": (T + A + S + R + T + T + A2, FRAMED),
    "answers around a search, and one more": (T + A + S + R + A2 + A2, FRAMED),
    "a search after the last answer": (T + A + S + R + A2 + S + R, (R, R)),
    "an answer between searches": (T + A + S + R + A2 + S + R + A2, (R, R)),
    "thought between answer and search": (T + A + T + S + R + A2, FRAMED),
    "no answer after the result": (T + A + S + R, FRAMED),
    "a thought at the end": (T + A + S + R + T, FRAMED),
    # results
    "a result of its own": (T + A + S + R + A2, ()),
    "a result of its own beside a real one": (T + A + S + R + S + R + A2, FRAMED),
    "a result of its own within a thought": (T[:-8] + R + "</think>" + A2, ()),
    "a result of its own at the end": (T + A + R, ()),
    "a result of its own without search": (T + A + R + A2, ()),
    "a result of its own after a real one": (T + A + S + R + R + A2, FRAMED),
    "a search without result": (T + A + S + A2, ()),
    "a second search without result": (T + A + S + R + S + A2, FRAMED),
    "a real result, but another one": (T + A + S + R + A2, (" <result>\nRome is on the Po.\n</result>",)),
    "more real results than there are": (T + A + S + R + A2, (R, R)),
    # text outside, nothing inside
    "text before": ("So: " + T + A2, ()),
    "text between": (T + " so " + A2, ()),
    "text after": (T + A2 + " That is it.", ()),
    "text after a searched answer": (T + A + S + R + A2 + "!", FRAMED),
    "text before the search": (T + A + "Let me look. " + S + R + A2, FRAMED),
    "text after the result": (T + A + S + R + "So: " + A2, FRAMED),
    "text between search and result": (T + A + S + "x" + R + A2, FRAMED),
    "a dot after the end": (T + A2 + ".", ()),
    "empty answer": (T + "<answer></answer>", ()),
    "blank answer": (T + "<answer> \n</answer>", ()),
    "empty first answer": (T + "<answer></answer>" + S + R + A2, FRAMED),
    "empty last answer": (T + A + S + R + "<answer></answer>", FRAMED),
    "empty query": (T + A + "<search> </search>" + R + A2, FRAMED),
    "end of sequence within": (T + A2 + "<eos>", ()),
}


@pytest.mark.spec("sem", "2")
@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_responses_are_invalid_and_earn_nothing(case):
    text, inserted = MALFORMED[case]
    response = parse(text, inserted)
    assert not response.valid and response.problem
    assert sem(response, Gold(("Tiber", "Po"))) == 0.0
    assert not response.searched or response.searches[0].result == "Rome is on the Tiber."


@pytest.mark.spec("sem", "2")
def test_there_are_at_least_thirty_of_them():
    assert len({text for text, _ in MALFORMED.values()}) >= 30


@pytest.mark.spec("sem", "2")
def test_valid_responses_are_read_into_their_parts():
    direct = parse(f"{T}\n{A}\n")
    assert (direct.valid, direct.first_answer, direct.final_answer, direct.searched) == (True, "Po", "Po", False)
    second = " <result>\nThe Tiber is 405 km long.\n</result>"
    text = f"{T}{A}{S}{R}\n<think>so</think>\n<search>Tiber</search>{second}{A2}"
    response = parse(text, (R, second))
    assert response == Response(
        "hm",
        "Po",
        (Search("river of Rome", "Rome is on the Tiber.", "so"), Search("Tiber", "The Tiber is 405 km long.")),
        "Tiber",
    )
    assert response.queries == ("river of Rome", "Tiber")
    assert response.results == ("Rome is on the Tiber.", "The Tiber is 405 km long.")


@pytest.mark.parametrize("seam", ["", "\n", " \n "])
def test_white_space_at_the_seam_of_a_result_changes_nothing(seam):
    """A token may end behind the stop string, and a tokenizer may drop the space before the result."""
    whole = parse(T + A + S + R + A2, FRAMED)
    assert whole.valid and parse(T + A + S + seam + R.lstrip() + seam + A2, FRAMED) == whole


def some_response(generator):
    """A valid response of random text, without tags but for those in results, which are the environment's."""

    def text(alphabet="ab <>/=\n.,é√", least=0):
        return "".join(generator.choices(alphabet, k=generator.randint(least, 12)))

    def words():
        return "x" + text()

    def result():
        return "".join(generator.choice([text(), *TAGS, R]) for _ in range(generator.randint(0, 4)))

    searches = tuple(
        Search(words(), result(), generator.choice([None, "", text()])) for _ in range(generator.randint(0, 3))
    )
    first = words()
    return Response(text(), first, searches, words() if searches else first)


@pytest.mark.spec("sem", "2")
def test_what_is_written_is_read_back():
    generator = random.Random(0)
    found = [some_response(generator) for _ in range(2000)]
    assert sum(len(response.searches) > 1 for response in found) > 500
    for response in found:
        assert parse(render(response), response.inserted) == response
        if response.searched:
            assert not parse(render(response)).valid, "the same text, without a word of the environment"


@pytest.mark.spec("sem", "2")
def test_spoilt_texts_are_never_taken_for_valid():
    """A tag is removed from, or put into, what the policy writes."""
    generator = random.Random(1)
    for _ in range(1000):
        response = some_response(generator)
        own = [f"<think>{response.thought}</think><answer>{response.first_answer}</answer>"]
        for search in response.searches:
            own[-1] += f"<search>{search.query}</search>"
            own.append("" if search.thought is None else f"<think>{search.thought}</think>")
        own[-1] += f"<answer>{response.final_answer}</answer>" if response.searched else ""
        number = generator.randrange(len(own))
        tags = [tag for tag in TAGS if tag in own[number]]
        if generator.random() < 0.5 and tags:
            own[number] = own[number].replace(generator.choice(tags), "", 1)
        else:
            at = generator.randint(0, len(own[number]))
            own[number] = own[number][:at] + generator.choice(TAGS) + own[number][at:]
        text = own[0] + "".join(s.inserted + o for s, o in zip(response.searches, own[1:], strict=True))
        assert not parse(text, response.inserted).valid, text


def test_what_can_be_read_of_an_invalid_response_is_kept_for_rivals():
    response = parse(f"{T}{A}{S}{R}{A2}?", FRAMED)
    assert (response.first_answer, response.final_answer, response.queries) == ("Po", "Tiber", ("river of Rome",))
    assert parse("Tiber").final_answer is None
    hidden = " <result>\n<answer>Arno</answer>\n</result>"
    assert parse(f"{T}{A}{S}{hidden}", (hidden,)).final_answer == "Po", "a page's answer is not the policy's"


def test_a_trajectory_says_what_was_inserted_and_whether_the_policy_ended():
    def trajectory(stop_reason="stop", *inserted):
        return Trajectory((1,), [2], [True], [0.0], stop_reason, tool_calls=tuple({"inserted": x} for x in inserted))

    assert parse_trajectory(T + A + S + R + A2, trajectory("stop", R)).valid
    assert not parse_trajectory(T + A + S + R + A2, trajectory()).valid
    assert parse_trajectory(T + A, trajectory("length")).problem == "cut by a limit"
    assert parse_trajectory(T + A + S, trajectory("environment", "")).problem == "a search without a result"


@pytest.mark.spec("sem", "2")
@pytest.mark.parametrize("special", [(), TAGS], ids=["plain text", "one token each"])
def test_tags_may_be_tokens_or_text(special):
    tokenizer = character_tokenizer(special=special)
    token_ids = tokenizer.encode(T + A + "<eos>")
    assert len(token_ids) == (9 if special else 37)
    size = len(token_ids)
    trajectory = Trajectory((1,), token_ids, [True] * size, [0.0] * size, "stop")
    assert read_response(trajectory, tokenizer) == Response("hm", "Po", final_answer="Po")


@pytest.mark.parametrize("inside", ["<answer>Ti", "<answer>Tiber"])
def test_no_answer_reaches_over_a_result(inside):
    """A token may hold more than the end of a search; what it opens does not go on behind the result."""
    response = parse(f"{T}{A}{S}{inside}{R}ber</answer>", FRAMED)
    assert (response.first_answer, response.final_answer, response.valid) == ("Po", "Po", False)
