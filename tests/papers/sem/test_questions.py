"""Rows of a user's own, prompts, and labels by what a policy itself knows."""

import json

import pytest

from tenfold.core.errors import UserError
from tenfold.data.question_answering import DataMix, Question
from tenfold.papers.sem.prompts import question_text
from tenfold.papers.sem.questions import as_dataset, closed_book_accuracy, labelled, own_questions
from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer


class Scripted(ScriptedPolicy):
    """Encodes as :class:`tenfold.policies.Policy` does."""

    def encode(self, text, *, start=False):
        return super().encode(text)


def written(tmp_path, *rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def question(number, answer="Tiber", **facts):
    return Question(str(number), f"question {number}", (answer,), "open", "made up", "search", **facts)


def test_rows_of_ones_own(tmp_path):
    path = written(
        tmp_path,
        {"question": "River of Rome?", "answers": ["Tiber", "Tevere"], "source": "atlas", "id": 7},
        {"question": "2 + 2?", "answers": 4, "expected": "direct"},
        {"question": "River of Rome?", "answers": "B", "choices": ["Po", "Tiber"]},
        {"question": "River of Rome?", "answers": "Tiber", "choices": ["Po", "Tiber"]},
    )
    rome, four, letter, text = own_questions(path)
    assert (rome.answers, rome.kind, rome.expected, rome.source, rome.id) == (
        ("Tiber", "Tevere"),
        "open",
        "search",
        "atlas",
        "7",
    )
    assert (four.answers, four.expected, four.id) == (("4",), "direct", "2")
    assert (letter.kind, letter.expected, text.answers) == ("choice", "direct", ("Tiber",))
    rows = as_dataset([rome, letter])
    assert rows[1]["choices"] == ["Po", "Tiber"] and rows[0]["choices"] == []
    assert rows[1]["prompt"][1]["content"] == question_text("River of Rome?", ("Po", "Tiber"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": " ", "answers": "x"}, "row 2: question is ' '"),
        ({"question": 3, "answers": "x"}, "row 2: question is 3"),
        ({"question": "x", "answers": []}, "row 2: answers is \\[\\]"),
        ({"question": "x", "answers": [""]}, "row 2: answers is"),
        ({"question": "x", "answers": True}, "row 2: answers is True"),
        ({"question": "x", "answers": {"a": 1}}, "row 2: answers is"),
        ({"question": "x"}, "row 2: no column 'answers'"),
        ({"question": "x", "answers": "C", "choices": ["a", "b"]}, "row 2: references = 'C'"),
        ({"question": "x", "answers": "A", "choices": "ab"}, "row 2: choices is 'ab'"),
        ({"question": "x", "answers": "A", "choices": ["a"] * 27}, "row 2: choices is"),
        ({"question": "x", "answers": "x", "expected": "maybe"}, "row 2: expected is 'maybe'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_row(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        own_questions(written(tmp_path, {"question": "River?", "answers": "Tiber"}, row))


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
    assert [one.id for one in parts["direct"]] == ["0", "1"] and [one.id for one in parts["search"]] == ["2", "3"]
    assert {one.expected for one in parts["direct"]} == {"direct"}
    rows = DataMix({"direct": 0.5, "search": 0.5}, seed=0).rows(parts)
    assert set(rows["expected"]) == {"direct", "search"}
