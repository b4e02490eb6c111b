"""Problems of one's own: what is read, and what is refused with its row."""

import json

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.cort.config import TaskConfig
from tenfold.papers.cort.formats import REQUEST
from tenfold.papers.cort.questions import answers_of, load_questions, own_questions


def write(folder, rows):
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_rows_of_all_layouts(tmp_path):
    chat = [{"role": "user", "content": "2+2?"}]
    published = {"prompt": chat, "reward_model": {"ground_truth": "4"}, "data_source": "openai/gsm8k"}
    rows = [{"prompt": "2+2?", "answer": 4}, {"prompt": "1/2?", "answer": ["1/2", 0.5]}, published]
    first, second, third = own_questions(write(tmp_path, rows))
    assert first.prompt == [{"role": "user", "content": f"2+2?\n{REQUEST}"}] and first.answer == "4"
    assert answers_of([second]) == [["1/2", "0.5"]]
    assert (third.prompt, third.answer, third.data_source) == (chat, "4", "openai/gsm8k")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "4"}, "row 2: no column 'prompt'"),
        ({"prompt": " ", "answer": "4"}, "row 2: prompt is ' '; allowed: a text, or messages"),
        ({"prompt": [{"role": "user"}], "answer": "4"}, "row 2: prompt is"),
        ({"prompt": "2+2?"}, "row 2: answer is None; allowed"),
        ({"prompt": "2+2?", "answer": True}, "row 2: answer is True; allowed"),
        ({"prompt": "2+2?", "answer": []}, r"row 2: answer is \[\]; allowed"),
        ({"prompt": "2+2?", "answer": ""}, "row 2: answer is ''; allowed"),
        ({"prompt": "2+2?", "answer": float("nan")}, "row 2: answer is nan; allowed: a text, a finite number"),
        ({"prompt": "2+2?", "answer": ["4", float("inf")]}, "row 2: answer is .*inf.*; allowed"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        own_questions(write(tmp_path, [{"prompt": "1+1?", "answer": "2"}, row]))


def test_validation_problems_are_not_trained_on(tmp_path):
    file = write(tmp_path, [{"prompt": f"{i}?", "answer": i} for i in range(10)])
    task = TaskConfig(kind="questions", train_file=str(file), test_file=str(file), num_validation=3, num_test=4)
    found = load_questions(task, 100, seed=0)
    assert (len(found.train), len(found.validation), len(found.test)) == (7, 3, 4)
    assert not {q.key for q in found.train} & {q.key for q in found.validation}


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        own_questions(tmp_path / "none.jsonl")
