"""Rewards read what the policy said: no message of another role, and no page that an environment put there."""

import itertools

import pytest

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.core.types import Trajectory
from tenfold.papers.cort.method import AccuracyReward
from tenfold.papers.sem.method import confidence_rewards, sem_rewards
from tenfold.rewards import CalibrationReward, CorrectnessReward, FormatReward, said_texts, text_of

PAGE = "quiz </think><answer>Paris</answer>"
SURE = "</think><answer>Paris</answer><confidence>1</confidence>"


def message(role, content):
    return {"role": role, "content": content}


def rewards():
    """Each general reward, with what it pays for Paris."""
    return [
        (FormatReward("ta"), PAGE), (CorrectnessReward("ta"), PAGE),
        (CorrectnessReward("ta", gate_on_format=False), PAGE),
        (FormatReward("tac"), SURE), (CorrectnessReward("tac"), SURE), (CalibrationReward("tac"), SURE),
        (AccuracyReward(), "</think>\\boxed{Paris}"), *((reward, SURE) for reward in confidence_rewards()[0]),
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["tool", "user", "system", "environment"])
def test_a_message_of_another_role_earns_nothing(role):
    for reward, right in rewards():
        chats = [
            [message("assistant", "so"), message(role, right)],
            [message(role, right)],
            [message("assistant", "so"), message(role, right), message("assistant", "")],
            [message("assistant", right)],
            [message("assistant", "I search"), message(role, "no"), message("assistant", right)],
        ]
        prompts, answers = ["capital of France?"] * 5, ["Paris"] * 5
        assert reward(prompts, chats, answer=answers) == [0, 0, 0, 1, 1], reward.__name__


def test_what_an_environment_wrote_earns_nothing():
    cut = Trajectory((1,), [2, 3], [True, False], [0.0, 0.0], "stop")
    whole = Trajectory((1,), [2, 3], [True, True], [0.0, 0.0], "stop")
    for reward, right in rewards():
        columns = {"prompts": ["?"] * 2, "completions": [right, right], "answer": ["Paris"] * 2}
        assert reward(**columns, said=["so", right], trajectory=[cut, whole]) == [0, 1], reward.__name__
        assert reward(**columns, trajectory=[whole, whole]) == [1, 1]
    with pytest.raises(UserError, match="an environment wrote into a completion; needed: a column 'said'"):
        FormatReward("ta")(["?"], [PAGE], trajectory=[cut])


def test_tags_do_not_reach_from_one_message_into_the_next():
    parts = [message("assistant", "</think><ans"), message("tool", "?"), message("assistant", "wer>Paris</answer>")]
    assert FormatReward("ta")(["?"], [parts]) == [0.0]


def test_messages_are_read_however_their_content_is_given():
    chat = [{"content": "a"}, message("assistant", None), {"role": "assistant", "tool_calls": []}]
    chat += [message("assistant", [{"type": "text", "text": "b"}, {"type": "image"}]), message("tool", "c")]
    assert text_of(chat).split() == ["a", "b"] and text_of("text") == "text" and said_texts([], {}) == []


@pytest.mark.filterwarnings("ignore:blocks = 'ta'")
def test_only_the_assistants_words_count_in_any_conversation():
    """Conversations drawn by chance: the score is that of the assistant's messages alone."""
    generator = numpy_generator(0, "conversations")
    pieces = [
        "so",
        "</think>",
        "<answer>Paris</answer>",
        "<answer>Po</answer>",
        PAGE,
        "<confidence>0.5</confidence>",
        "",
    ]
    reward, _ = sem_rewards()[0][0], None
    for _ in range(200):
        roles = generator.choice(["assistant", "tool", "user"], size=4)
        chat = [message(str(role), str(generator.choice(pieces))) for role in roles]
        own = [one for one in chat if one["role"] == "assistant"]
        for function in (CorrectnessReward("ta"), FormatReward("ta"), reward):
            both = function(prompts=["?"] * 2, completions=[chat, own], answer=["Paris"] * 2)
            assert both[0] == both[1]


def test_other_blocks_than_the_completions_have_are_told():
    completions = [PAGE, "so</think><answer>4</answer>"]
    with pytest.warns(UserWarning, match="blocks = 'tabc': all completions have the form 'ta'"):
        assert CorrectnessReward()(["?"] * 2, completions, answer=["Paris"] * 2) == [0.0, 0.0]
    assert CorrectnessReward()(["?"] * 2, [PAGE, "so"], answer=["Paris"] * 2) == [0.0, 0.0], "some are malformed"


@pytest.mark.parametrize("answers", [[4, 5], [4.0, 5.0], [[4, "four"], [5, "five"]], ["4", "5"]])
def test_answers_may_be_numbers_and_their_column_may_have_another_name(answers):
    said = "<answer>4</answer><confidence>1</confidence>"
    for reward in (CorrectnessReward("ac"), CalibrationReward("ac")):
        assert reward(["?"] * 2, [said, said], answer=answers) == [1.0, 0.0]
    for reward in (CorrectnessReward("ac", column="solution"), CalibrationReward("ac", column="solution")):
        assert reward(["?"] * 2, [said, said], solution=answers, answer=["0", "0"]) == [1.0, 0.0]
        with pytest.raises(UserError, match="the data set needs a column 'solution'"):
            reward(["?"], [said], answer=["4"])
    assert list(
        itertools.chain(
            *(
                reward(["?"], ["<think></think><answer>4</answer>"], answer=answers[:1])
                for reward in sem_rewards()[0][:1]
            )
        )
    ) == [1.0]
