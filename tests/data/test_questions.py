"""The one reader of questions: the spellings it takes, and what it says of rows that cannot be used."""

import json

import pytest

from tenfold.core.errors import UserError
from tenfold.data.questions import read_questions

CHAT = [{"role": "user", "content": "2 + 2?"}]


def read(tmp_path, *rows, **options):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return read_questions(path, **options)


@pytest.mark.parametrize(
    ("row", "prompt", "answers"),
    [
        ({"prompt": "2 + 2?", "answer": "4"}, "2 + 2?", ("4",)),
        ({"question": "2 + 2?", "answers": ["4", "four"]}, "2 + 2?", ("4", "four")),
        ({"messages": CHAT, "answer": 4}, CHAT, ("4",)),
        ({"prompt": CHAT, "answer": 4.0}, CHAT, ("4",)),
        ({"prompt": "2 + 2?", "reward_model": {"ground_truth": "4"}}, "2 + 2?", ("4",)),
        ({"prompt": "0.5?", "answer": 0.5}, "0.5?", ("0.5",)),
    ],
)
def test_spellings_that_are_in_use(tmp_path, row, prompt, answers):
    (question,) = read(tmp_path, row)
    assert (question.prompt, question.answers) == (prompt, answers)


def test_keys_sources_choices_and_facts(tmp_path):
    rows = (
        {"question": "?", "answer": "A", "id": "q7", "choices": ["Po", "Tiber"], "data_source": "own", "hop": 2},
        {"question": "?", "answer": "x"},
    )
    first, second = read(tmp_path, *rows, facts=("hop",))
    assert (first.key, first.source, first.choices, first.facts) == ("q7", "own", ("Po", "Tiber"), {"hop": 2})
    assert (second.key, second.source, second.choices, second.facts) == ("2", "", (), {})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "4"}, "no column 'prompt' (or question, messages); it has answer"),
        ({"prompt": "?"}, "no column 'answer' (or answers); it has prompt"),
        ({"prompt": "?", "question": "?", "answer": "4"}, "has prompt and question, which mean the same"),
        ({"prompt": " ", "answer": "4"}, "prompt is ' '; allowed: a text, or messages with role and content"),
        ({"prompt": 3, "answer": "4"}, "prompt is '3'; allowed: a text, or messages"),
        ({"messages": [{"role": "user"}], "answer": "4"}, "messages is "),
        ({"messages": "2 + 2?", "answer": "4"}, "messages is '2 + 2?'; allowed"),
        ({"prompt": "?", "answer": " "}, "answer is ' '; allowed: a text, a finite number, or a list of them"),
        ({"prompt": "?", "answer": []}, "answer is []; allowed"),
        ({"prompt": "?", "answer": True}, "answer is True; allowed"),
        ({"prompt": "?", "answer": [1, None]}, "answer is [1, None]; allowed"),
        ({"prompt": "?", "answer": float("nan")}, "answer is nan; allowed"),
        ({"prompt": "?", "reward_model": "4"}, "reward_model.ground_truth is None; allowed"),
        ({"prompt": "?", "answer": "4", "choices": "Po"}, "choices is 'Po'; allowed: a list of texts"),
    ],
)
def test_rows_that_cannot_be_used_are_named_with_what_is_allowed(tmp_path, row, message):
    with pytest.raises(UserError) as refused:
        read(tmp_path, {"prompt": "good", "answer": "1"}, row)
    assert f"rows.jsonl, row 2: {message}" in str(refused.value)


def test_what_an_experiment_cannot_use_is_named_with_its_row(tmp_path):
    def check(question):
        if question.answers != ("1",):
            raise UserError(f"answer is {question.answers[0]!r}, which the verifier cannot read")

    with pytest.raises(UserError, match="row 2: answer is 'x', which the verifier cannot read"):
        read(tmp_path, {"prompt": "a", "answer": "1"}, {"prompt": "b", "answer": "x"}, check=check)
