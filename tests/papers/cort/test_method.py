"""The reward table of the specification, and the filter on traces written by hand."""

import pytest

from tenfold.core.errors import UserError
from tenfold.core.types import Trajectory
from tenfold.eval.math_match import math_match
from tenfold.eval.voting import in_one_form
from tenfold.papers.cort.method import (
    COMPUTE,
    AccuracyReward,
    CodeReward,
    HintSpec,
    JudgeReward,
    code_reward,
    cort_rewards,
    dropped_because,
    is_right,
    same_answer,
)

FINE, FAILS = "9716", "Traceback (most recent call last):\nNameError: name 'x' is not defined"


def reward(answer, outputs, *, end="</think>", **options):
    """R of one completion whose programs gave these outputs."""
    functions, weights = cort_rewards(**options)
    text = f"so {end}\n\\boxed{{{answer}}}"
    calls = tuple({"output": output} for output in outputs)
    trajectory = Trajectory((1,), [2], [True], [0.0], "stop", tool_calls=calls)
    columns = {"prompts": ["p"], "completions": [text], "answer": ["4"], "trajectory": [trajectory]}
    return sum(weight * function(**columns)[0] for function, weight in zip(functions, weights, strict=True))


@pytest.mark.spec("cort", "6")
@pytest.mark.parametrize(
    ("expected", "answer", "outputs", "options"),
    [
        (1.0, "4", [FINE], {}),
        (0.9, "4", [FAILS], {}),
        (0.0, "5", [FINE], {}),
        (-0.1, "5", [FAILS], {}),
        (0.9, "4", [], {}),
        (-0.1, "5", [], {}),
        (1.0, "4", [], {"penalize_no_code": False}),
        (0.0, "5", [], {"penalize_no_code": False}),
        (1.0, "4", [FAILS, FINE, ""], {}),
        (0.9, "4", [FAILS, "", "[]", "Done"], {}),
        (0.0, "4", [FINE], {"end": ""}),
        (-0.1, "4", [FAILS], {"end": ""}),
        (0.5, "4", [FAILS], {"code_weight": 0.5}),
    ],
)
def test_the_reward_table(expected, answer, outputs, options):
    assert reward(answer, outputs, **options) == pytest.approx(expected)


def test_what_is_read_without_a_rollout_and_which_sources_are_not_penalised():
    text = "```python\nprint(1)\n```\n```output\nKeyError: 1\n```\n"
    assert CodeReward()(["p"], [text]) == [-1.0]
    assert CodeReward()(["p"], ["no code"]) == [-1.0]
    sources = ["acc_reward", "openai/gsm8k", "lighteval/MATH", "numina"]
    assert CodeReward()(["p"] * 4, [text] * 4, data_source=sources) == [0.0, 0.0, 0.0, -1.0]
    assert CodeReward()(["p"], [[{"role": "assistant", "content": text}]]) == [-1.0]
    claimed = Trajectory((1,), [2], [True], [0.0], "stop", tool_calls=())
    assert CodeReward()(["p"], ["```output\n4\n```\n"], trajectory=[claimed]) == [-1.0], "a claimed output is none"


def test_a_judge_is_a_third_part():
    assert reward("4", [FINE], judge=lambda text: 2) == pytest.approx(1.1)
    assert reward("4", [FINE], judge=lambda text: 0) == pytest.approx(0.9)
    with pytest.raises(UserError, match="said 3; allowed: 0, 1, 2"):
        JudgeReward(lambda text: 3)(["p"], ["text"])


def test_answers_are_read_after_the_thinking_and_compared_as_asked():
    assert AccuracyReward(math_match)(["p"], ["</think>\\boxed{\\frac{1}{2}}"], answer=["0.5"]) == [1.0]
    assert AccuracyReward()(["p"], ["</think>\\boxed{0.5}"], answer=[["1/2", "0.5"]]) == [1.0]
    assert not is_right("\\boxed{4}</think>", "4"), "a box within the thinking is none"
    assert not is_right("</think>5</think>\\boxed{4}", "4"), "what follows a second end is not read"
    assert is_right("</think>\\boxed{3}, no: \\boxed{4}", "4")


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("1,2", "12", False), ("10,00", "1,000", False), ("(3,5)", "(35)", False), ("(1,234)", "(1234)", False),
        ("1 2", "12", False), ("9,716", "9716", True), ("( 3, 5 )", "(3,5)", True), ("$9,716$.", "9716", True),
        ("−３", "-3", True), ("$", "$", False), ("1,000,000.5", "1000000.5", True), ("x + 1", "x+1", True),
        ("10\u202f000", "10000", True), ("", "", False),
        ("9,716.0", "9716", True), ("3.50", "3.5", True), (".5", "0.50", True), ("(1.0, 2)", "(1,2)", True),
        ("3.05", "3.5", False), ("100", "1", False), ("1.10.0", "1.1.0", False), ("Python 3.10", "Python 3.1", False),
    ],
)  # fmt: skip
def test_separators_of_thousands_are_no_commas_of_pairs(answer, reference, same):
    assert same_answer(answer, reference) is same and same_answer(reference, answer) is same


def test_votes_group_answers_as_they_are_graded():
    answers = ["9,716", "1,2", "9716", "12", "９７１６"]
    assert in_one_form(answers, same_answer) == ["9,716", "1,2", "9,716", "12", "9,716"]


def test_a_blank_before_the_brace_of_a_box_is_none_of_its_content():
    assert is_right("</think>\\boxed {4}", "4") and is_right("</think>\\boxed{3} \\boxed\n{ 4 }", "4")


def test_code_reward_is_that_of_the_equation():
    assert code_reward([""]) == -1.0 and code_reward(["0"]) == 0.0
    assert code_reward(["AttributeError"]) == -1.0 and code_reward(["no EXCEPTIONS"]) == -1.0


CODE = "```python\nprint(347*28)\n```\n```output\n9716\n```\n"
HAND = "347*20=6940. 347*8=2776. 6940+2776=9716."
BOX = "</think>\n\\boxed{9716}"
TRACES = {
    "clean": (f"We multiply.\n{CODE}So 9716.{BOX}", True, None),
    "clean, two programs": (
        f"First.\n{CODE}Half:\n```python\nprint(9716/2)\n```\n```output\n4858.0\n```\n</think>\\boxed{{4858}}",
        True,
        None,
    ),
    "clean, one equation on the way": (f"Note 28 = 4*7=28.\n{CODE}{BOX}", True, None),
    "no program at all": (f"{HAND}{BOX}", True, None),
    "wrong": (f"We multiply.\n{CODE}</think>\\boxed{{9717}}", False, "wrong"),
    "wrong and delayed": (f"{HAND}\n{CODE}{BOX}", False, "wrong"),
    "delayed": (f"{HAND} Let me verify.\n{CODE}{BOX}", True, "delayed"),
    "delayed, in another notation": (
        f"347 \\times 20 = 6,940 and 347 · 8 = 2,776, so 6,940 + 2,776 = 9,716.\n{CODE}{BOX}",
        True,
        "delayed",
    ),
    "delayed in a later stretch": (
        f"Easy.\n```python\nprint(1)\n```\n```output\n1\n```\nNow {HAND}\n{CODE}{BOX}",
        True,
        "delayed",
    ),
    "working that the program does not repeat": (f"2*3=6. 6+1=7.\n{CODE}{BOX}", True, None),
    "distrust": (f"Go.\n{CODE}Wait, let me check: {HAND} Yes.{BOX}", True, "distrust"),
    "distrust, double-check": (f"Go.\n{CODE}To be sure, let me double-check. {HAND}{BOX}", True, "distrust"),
    "distrust that ends in another value": (
        f"Go.\n{CODE}Let me verify: 347*20=6900. 6900+2776=9676. No, 9716.{BOX}",
        True,
        "distrust",
    ),
    "a check by a new program": (
        f"Go.\n{CODE}Wait, let me check: {HAND}\n```python\nprint(347*28 == 9716)\n```\n```output\nTrue\n```\n{BOX}",
        True,
        None,
    ),
    "a check of the code's logic": (
        f"Go.\n{CODE}Wait, let me check the code: it multiplies both factors, as asked. So 9716.{BOX}",
        True,
        None,
    ),
    "an opener without arithmetic": (f"Go.\n{CODE}Wait, is that right? Yes: 9716.{BOX}", True, None),
    "a check of another number": (
        f"Go.\n{CODE}Wait, let me check the half: 4858*2=9700. 9700+10=9710.</think>\\boxed{{4858}}",
        True,
        None,
    ),
    "working on from the result": (
        f"Go.\n{CODE}Half of it: 9716/2=4858. 4858-8=4850.</think>\\boxed{{4850}}",
        True,
        None,
    ),
}


@pytest.mark.spec("cort", "8")
@pytest.mark.parametrize("name", TRACES)
def test_the_filter_on_traces_written_by_hand(name):
    text, right, expected = TRACES[name]
    assert dropped_because(text, right) == expected


def test_the_filter_is_as_strict_as_asked():
    text = f"347*28=9716.\n{CODE}{BOX}"
    assert dropped_because(text, True) is None
    assert dropped_because(text, True, num_steps=1) == "delayed"
    with pytest.raises(UserError, match="num_steps = 0"):
        dropped_because(text, True, num_steps=0)


def test_hints_are_replaceable():
    assert COMPUTE.inserted.endswith("\n```python\n")
    assert HintSpec("Trust it.", "trust").inserted == "Trust it."
    with pytest.raises(UserError, match="kind = 'other'"):
        HintSpec("x", "other")
    with pytest.raises(UserError, match="needs words"):
        HintSpec("", "trust")
