"""RLCR's problems: HotpotQA-Modified and Big-Math-Digits on small made-up rows, and how they are put to a policy."""

import json
from dataclasses import replace

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.rlcr.config import TaskConfig, paper
from tenfold.papers.rlcr.prompts import BLOCKS, SYSTEM_PROMPTS, render, require_same_blocks
from tenfold.papers.rlcr.questions import VERIFIERS, big_math_digits, hotpotqa_modified, load_questions, read_file
from tenfold.rewards import FORMATS


def hotpot_row(number, sentence="Words. "):
    titles = [f"title {k}" for k in range(10)]
    return {
        "_id": f"row-{number}",
        "question": f"Question {number}?",
        "answer": "yes",
        "context": [[title, [sentence, f"About {title}."]] for title in titles],
        "supporting_facts": [["title 3", 0], ["title 3", 1], ["title 7", 0]],
    }


def test_two_paragraphs_are_dropped_and_the_gold_ones_among_them_are_counted():
    found = hotpotqa_modified([hotpot_row(k) for k in range(600)], seed=0)
    hidden = [0, 0, 0]
    for question in found:
        kept = [f"title {k}: " in question.prompt for k in range(10)]
        assert sum(kept) == 8
        assert 2 - kept[3] - kept[7] == question.facts["num_hidden"]
        hidden[question.facts["num_hidden"]] += 1
    assert all(150 < count < 250 for count in hidden)
    one_gold = [question for question in found if question.facts["num_hidden"] == 1]
    assert 0.35 < sum("title 3: " in question.prompt for question in one_gold) / len(one_gold) < 0.65
    assert found == hotpotqa_modified([hotpot_row(k) for k in range(600)], seed=0)
    assert [q.prompt for q in hotpotqa_modified([hotpot_row(k) for k in range(9)], 1)] != [q.prompt for q in found[:9]]


def test_what_is_dropped_depends_on_the_row_and_not_on_its_neighbours():
    rows = [hotpot_row(k) for k in range(20)]
    assert hotpotqa_modified(rows, 0)[5:6] == hotpotqa_modified(rows[5:6], 0)


def test_long_problems_are_left_out():
    assert hotpotqa_modified([hotpot_row(0, "x" * 800)], 0) == []


@pytest.mark.parametrize(
    ("answer", "rate", "kept"),
    [("42", 0.5, True), ("-1.5", 0.1, True), ("42", 0.0, False), ("42", 0.75, False), ("x+1", 0.5, False),
     ("1" * 20, 0.5, False), ("nan", 0.5, False), ("42", None, False)],
)  # fmt: skip
def test_big_math_keeps_short_numbers_of_medium_difficulty(answer, rate, kept):
    rows = [{"problem": "How many?", "answer": answer, "llama8b_solve_rate": rate}]
    assert [question.answers[0] for question in big_math_digits(rows)] == ([answer] if kept else [])


def questions_in(path, verifier="exact", layout="json_lines"):
    """The problems of a file, by the task that names it."""
    return read_file(TaskConfig("questions", str(path), str(path), layout, verifier=verifier), path)


@pytest.mark.parametrize(("answer", "text"), [(4.0, "4"), (4, "4"), (0.5, "0.5"), ("4.0", "4.0")])
def test_numbers_in_json_are_read_as_everywhere(answer, text, tmp_path):
    assert big_math_digits([{"problem": "?", "answer": answer, "llama8b_solve_rate": 0.5}])[0].answers == (text,)
    assert hotpotqa_modified([hotpot_row(0) | {"answer": answer}], 0)[0].answers == (text,)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "?", "answer": answer}))
    assert questions_in(path)[0].answers == (text,)


def test_an_answer_that_the_verifier_cannot_read_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "answer": "2"}\n{"prompt": "b", "answer": ["3", "$$"]}')
    assert [question.answers for question in questions_in(path)] == [("2",), ("3", "$$")]
    pytest.importorskip("math_verify")
    with pytest.raises(UserError, match=r"rows.jsonl, row 2: answer is '\$\$', which the verifier cannot read"):
        questions_in(path, verifier="math")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"rows.json: not JSON"),
        ("{}", r"rows.json: allowed: a JSON list with at least one row"),
        ('[{"problem": "a", "answer": "1"}]', "row 1: no column 'llama8b_solve_rate'"),
        (None, "rows.json: there is no such file"),
    ],
)
def test_a_published_file_that_cannot_be_read_is_named(text, message, tmp_path):
    path = tmp_path / "rows.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        questions_in(path, layout="big_math")


def test_files_are_split_without_overlap_and_read_in_their_layout(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps([hotpot_row(k) for k in range(20)]))
    (tmp_path / "test.json").write_text(json.dumps([hotpot_row(k) for k in range(20, 30)]))
    task = TaskConfig(
        kind="questions",
        layout="hotpotqa",
        train_file=str(tmp_path / "train.json"),
        test_file=str(tmp_path / "test.json"),
        num_validation=5,
        num_test=4,
    )
    found = load_questions(task, 100, seed=0)
    assert (len(found.train), len(found.validation), len(found.test)) == (15, 5, 4)
    texts = [question.prompt for part in (found.train, found.validation, found.test) for question in part]
    assert len(set(texts)) == 24
    assert len(load_questions(replace(task, num_train=3), 100, seed=0).train) == 3
    with pytest.raises(UserError, match="num_validation = 20"):
        load_questions(replace(task, num_validation=20), 100, seed=0)
    assert load_questions(task, 100, seed=1).test == found.test  # what is dropped belongs to the data, not to the run
    (tmp_path / "test.json").write_text(json.dumps([hotpot_row(0, "x" * 800)]))
    with pytest.raises(UserError, match=r"test\.json: has no usable problem"):
        load_questions(task, 100, seed=0)
    (tmp_path / "test.json").write_text(json.dumps([hotpot_row(0), 3]))
    with pytest.raises(UserError, match="row 2: is of type int; allowed: a JSON object"):
        load_questions(task, 100, seed=0)


def test_masked_addition_has_three_parts_of_its_own():
    found = load_questions(TaskConfig(num_validation=7, num_test=9), 50, seed=0)
    assert (len(found.train), len(found.validation), len(found.test)) == (50, 7, 9)
    assert found.validation != found.test[:7]
    assert found.test == load_questions(TaskConfig(num_test=9), 3, seed=0).test


def test_instructions_come_before_a_problem_and_before_a_conversation():
    plain, conversation = render("1+1=", "tac"), render([{"role": "user", "content": "1+1="}], "tac")
    assert plain[0] == conversation[0] == {"role": "system", "content": SYSTEM_PROMPTS["tac"]}
    assert "PROBLEM: 1+1=" in plain[1]["content"] and conversation[1]["content"] == "1+1="


def test_unknown_instructions_are_refused_and_the_published_ones_exist():
    with pytest.raises(UserError, match="system_prompt = 'x'"):
        render("1+1=", "x")
    assert render("1+1=", "none") == "1+1="
    for task in ("hotpotqa", "big-math"):
        assert paper(task).task.system_prompt in SYSTEM_PROMPTS


def test_instructions_ask_for_the_blocks_that_are_rewarded():
    for name, asked in BLOCKS.items():
        require_same_blocks(name, asked)
        require_same_blocks("blocks", asked)
        places = [SYSTEM_PROMPTS[name].find(f"<{block}>") for block in FORMATS[asked]]
        assert -1 not in places and places == sorted(places)
        assert all(f"<{block}>" not in SYSTEM_PROMPTS[name] for block in set(FORMATS["tabc"]) - set(FORMATS[asked]))
    with pytest.raises(
        UserError, match="system_prompt = tabc: asks for other blocks than tac; allowed: none, blocks, tac"
    ):
        require_same_blocks("tabc", "tac")


def test_every_reference_is_readable_and_verifiers_differ_in_what_they_forgive(tmp_path):
    pytest.importorskip("math_verify")
    answers = ["(1,2)", "[0,1)", "서울", "yes", "sqrt(2)", "\\$7"]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": "a", "answer": answer}) + "\n" for answer in answers))
    for name, verifier in VERIFIERS.items():
        assert [question.answers[0] for question in questions_in(path, verifier=name)] == answers
        assert verifier("1/2", "0.5") is (name in ("math", "math_or_squad"))
        assert verifier("1.5", "15") is (name in ("squad", "math_or_squad"))
