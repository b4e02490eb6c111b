"""Programs, output blocks, answers and replayed programs against texts written by hand."""

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.cort.formats import (
    final_answer,
    is_failure,
    output_block,
    parse_program,
    replayed_program,
    require_stop_token,
    user_prompt,
)
from tenfold.policies import character_tokenizer


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("a\n```python\nx = 1\nprint(x)\n```\n", "x = 1\nprint(x)\n"),
        ("a ```python\nprint(1)\n```\n", "print(1)\n"),
        ("```python  \nprint(1)\n``` \n", "print(1)\n"),
        ("```python\n```\n", ""),
        ("```text\n```python\nprint(1)\n```\n", "print(1)\n"),
        ("```python\nprint(1)\n", None),
        ("```python\nprint(1)```\n", None),
        ("```python3\nprint(1)\n```\n", None),
        ("```\nprint(1)\n```\n", None),
        ("", None),
    ],
)
def test_programs(text, program):
    assert parse_program(text) == program


def test_blocks_and_prompts():
    assert output_block("") == "```output\n\n```\n"
    assert output_block("1", "[SYSTEM] no more") == "```output\n1\n[SYSTEM] no more\n```\n"
    assert output_block("", "[SYSTEM] no more") == "```output\n[SYSTEM] no more\n```\n"
    problem, request = user_prompt("How many?").split("\n")
    assert problem == "How many?" and "python programs" in request and "\\boxed{}" in request


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("</think>\\boxed{4}", "4"),
        ("</think>\\boxed{\\frac{1}{2}} ", "\\frac{1}{2}"),
        ("</think>\\boxed{1} and \\boxed{2}", "2"),
        ("\\boxed{1}</think>no box", None),
        ("</think>\\boxed{1", None),
        ("\\boxed{1}", None),
    ],
)
def test_answers(text, answer):
    assert final_answer(text) == answer


def test_replayed_programs_leave_out_printing_and_failures():
    earlier = [
        ("x = 1\nprint(x)", "1"),
        ("y = 2\nprint(z)", "NameError: name 'z' is not defined"),
        ("for i in range(2):\n    print(i)", "0\n1"),
        ("pprint(x)\nw = 3", "1"),
        ("print(0)", "0"),
    ]
    assert replayed_program(earlier, "print(x + w)") == "x = 1\nw = 3\nprint(x + w)"


def test_failures_are_those_of_the_released_reward():
    assert all(map(is_failure, ("", " \n", "Done", "[]", "SyntaxError", "an exception", "TRACEBACK")))
    assert not any(map(is_failure, ("0", "None", "[1]", "Done 1")))


def test_the_stop_string_is_one_token_or_refused():
    require_stop_token(character_tokenizer(special=("`\n",)))
    with pytest.raises(UserError, match="one token"):
        require_stop_token(character_tokenizer())
