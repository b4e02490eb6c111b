"""Rows of a user's own, prompts, and labels by what a policy itself knows."""

import json

import pytest

from tenfold.core.errors import UserError
from tenfold.data.questions import Question
from tenfold.papers.sem.prompts import prompt_of, question_text
from tenfold.papers.sem.questions import balanced, closed_book_accuracy, gold_of, labelled, read_own
from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer


class Scripted(ScriptedPolicy):
    """Encodes as :class:`tenfold.policies.Policy` does."""

    def encode(self, text, *, start=False):
        return super().encode(text)


def written(tmp_path, *rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def question(number, answer="Tiber"):
    return Question(f"question {number}", (answer,), str(number), source="made up")


def test_rows_of_ones_own(tmp_path):
    path = written(
        tmp_path,
        {"question": "River of Rome?", "answers": ["Tiber", "Tevere"], "source": "atlas", "id": 7},
        {"question": "2 + 2?", "answers": 4, "expected": "direct"},
        {"question": "River of Rome?", "answers": "B", "choices": ["Po", "Tiber"]},
        {"question": "River of Rome?", "answers": "Tiber", "choices": ["Po", "Tiber"]},
    )
    rome, four, letter, text = read_own(path)
    assert (rome.answers, rome.source, rome.key) == (("Tiber", "Tevere"), "atlas", "7")
    assert (four.answers, four.facts, four.key, four.source) == (("4",), {"expected": "direct"}, "2", "own")
    assert letter.choices == ("Po", "Tiber") and text.answers == ("Tiber",)
    for one in (letter, text):
        assert [gold_of(one).exact(said) for said in ("B", "(b)", "Tiber", "A", "Po")] == [True] * 3 + [False] * 2
    _, user = prompt_of(letter)
    assert user["content"] == question_text("River of Rome?", ("Po", "Tiber"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "x", "answers": "C", "choices": ["a", "b"]}, "row 2: references = 'C'"),
        ({"question": "x", "answers": "A", "choices": ["a"] * 27}, "row 2: choices: there are 27; allowed: at most 26"),
        ({"question": "x", "answers": "x", "expected": "maybe"}, "row 2: expected is 'maybe'"),
        ({"messages": [{"role": "user", "content": "x"}], "answers": "x"}, "row 2: the question is a conversation"),
    ],
)
def test_what_cannot_be_asked_or_graded_is_refused_with_its_row(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        read_own(written(tmp_path, {"question": "River?", "answers": "Tiber"}, row))


def test_labels_by_what_the_policy_knows():
    tokenizer = character_tokenizer()
    right = {0: 4, 1: 2, 2: 1, 3: 0}

    def script(prompt, sample):
        answer = "the Tiber" if sample < right[prompt] else "Po"
        return f"<think>hm</think><answer>{answer}</answer>" + "<answer>Tiber</answer>" * (prompt == 3)

    questions = [question(number) for number in right]
    policy = Scripted(tokenizer, script)
    accuracies = closed_book_accuracy(policy, questions, Sampling(99), num_samples=4, instructions="")
    assert accuracies == [1.0, 0.5, 0.25, 0.0], "the first answer is what it knew"
    parts = labelled(questions, accuracies, known_from=0.5)
    assert [one.key for one in parts["direct"]] == ["0", "1"] and [one.key for one in parts["search"]] == ["2", "3"]
    assert {one.facts["expected"] for one in parts["direct"]} == {"direct"}
    mixed = balanced(questions, accuracies, known_from=0.5, seed=0)
    assert {one.facts["expected"] for one in mixed} == {"search", "direct"}
    assert len({one.key for one in mixed}) == len(mixed)
    with pytest.raises(UserError, match="4 known and 0 unknown questions; allowed: at least one of each"):
        balanced(questions, [1.0] * 4)


def test_an_answer_of_which_nothing_is_left_to_compare_is_refused(tmp_path):
    for answer in ("A", "C++", "-3", "서울", "½"):
        assert read_own(written(tmp_path, {"question": "What?", "answers": answer}))[0].answers == (answer,)
    with pytest.raises(UserError, match=r"row 1: answer is '\.\.\.', which leaves nothing to compare"):
        read_own(written(tmp_path, {"question": "What?", "answers": "..."}))
