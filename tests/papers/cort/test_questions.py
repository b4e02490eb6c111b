"""Problems as a policy gets them; what no file may hold is the reader's matter (``tests/data/test_questions.py``)."""

import json

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.cort.config import TaskConfig
from tenfold.papers.cort.formats import REQUEST, THINK
from tenfold.papers.cort.method import is_right
from tenfold.papers.cort.questions import grade_of, load_questions, own_questions, products
from tenfold.study.questions import reference_of


def write(folder, rows):
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_rows_of_all_layouts(tmp_path):
    chat = [{"role": "user", "content": "2+2?"}]
    published = {"prompt": chat, "reward_model": {"ground_truth": "4"}, "data_source": "openai/gsm8k"}
    rows = [{"prompt": "2+2?", "answer": 4}, {"prompt": "1/2?", "answer": ["1/2", 0.5]}, published]
    first, second, third = own_questions(write(tmp_path, rows))
    assert first.prompt == [{"role": "user", "content": f"2+2?\n{REQUEST}"}] and reference_of(first) == "4"
    assert reference_of(second) == ["1/2", "0.5"]
    assert (third.prompt, third.answers, third.source) == (chat, ("4",), "openai/gsm8k")


def test_products_are_text_up_to_the_opened_thinking():
    (question,) = products(1, "test", 0)
    assert question.prompt == f"{question.key}\n{REQUEST}{THINK}\n"
    left, right = map(int, question.key.split("*"))
    assert question.answers == (str(left * right),)


def test_keys_tell_problems_apart(tmp_path):
    """Traces and the noise that they are sampled with are named by them."""
    rows = [{"id": 7, "prompt": "1+1?", "answer": 2}, {"prompt": "2+2?", "answer": 4}]
    assert [question.key for question in own_questions(write(tmp_path, rows))] == ["7", "2"]
    with pytest.raises(UserError, match=r"rows\.jsonl, row 3: key is '7' again; allowed: keys that differ"):
        own_questions(write(tmp_path, [*rows, {"key": "7", "prompt": "3+3?", "answer": 6}]))


def test_validation_problems_are_not_trained_on(tmp_path):
    file = write(tmp_path, [{"prompt": f"{i}?", "answer": i} for i in range(10)])
    task = TaskConfig(kind="questions", train_file=str(file), test_file=str(file), num_validation=3, num_test=4)
    found = load_questions(task, 100, seed=0)
    assert (len(found.train), len(found.validation), len(found.test)) == (7, 3, 4)
    assert not {q.key for q in found.train} & {q.key for q in found.validation}


def test_a_row_whose_answer_the_grade_cannot_read_is_refused_and_every_other_is_taken(tmp_path):
    rows = [{"prompt": "Where?", "answer": answer} for answer in ("(1,2)", "서울", "yes", "√2", "\\$7")]
    for grade in ("plain", "math"):
        if grade == "math":
            pytest.importorskip("math_verify")
        judge = grade_of(TaskConfig(grade=grade))
        found = own_questions(write(tmp_path, rows), judge)
        assert all(is_right(f"</think>\\boxed{{{row.answers[0]}}}", row.answers[0], judge) for row in found)
        with pytest.raises(UserError, match=r"row 6: answer is '\$', which the verifier cannot read"):
            own_questions(write(tmp_path, [*rows, {"prompt": "What?", "answer": "$"}]), judge)
