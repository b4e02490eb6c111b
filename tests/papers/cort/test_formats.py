"""Programs, output blocks, answers and replayed programs against texts written by hand."""

import textwrap

import pytest

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.papers.cort.formats import (
    ProgramReader,
    dedented,
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
        ("1. So:\n   ```python\n   x = 1\n   print(x)\n   ```\n", "x = 1\nprint(x)\n"),
        ("\t```python\n\tif x:\n\t\tprint(x)\n\t```\n", "if x:\n\tprint(x)\n"),
        ("  ```python\n  x = 1\n\n      # a comment\n  print(x)\n  ```\n", "x = 1\n\n    # a comment\nprint(x)\n"),
        ("```python\n    print(1)\n```\n", "print(1)\n"),
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("```python\nprint(1)\n```\nmore\n", "print(1)\n"),
        ("```python\n1\n```\n```python\n2\n", None),
        ("```python\nprint('```')\n```\n", "print('```')\n"),
        ("", None),
    ],
)
def test_programs(text, program):
    assert parse_program(text) == program


def lines_of(generator, num):
    """Lines of a program that runs: assignments, blocks, blank lines, comments, prints."""
    blocks = (
        ["x = 3"],
        ["if True:", "    x = 4", "    y = x"],
        [""],
        ["   "],
        ["# why"],
        ["print(7)"],
        ["y = [", "1]"],
    )
    return [line for block in generator.choice(len(blocks), size=num) for line in blocks[block]]


@pytest.mark.parametrize("seed", range(40))
def test_a_program_means_the_same_wherever_its_fence_stands(seed):
    """And the reader, given it in pieces, finds what is found in the whole."""
    generator = numpy_generator(seed, "indented")
    lines = ["x = 0", *lines_of(generator, int(generator.integers(1, 9)))]
    indent = str(generator.choice(("", " ", "   ", "\t", "      ", "\t\t")))
    text = f"1. So:\n{indent}```python\n" + "".join(f"{indent}{line}\n" for line in lines) + f"{indent}```\n"
    found = parse_program(text)
    assert [line for line in found.split("\n") if line.strip()] == [line for line in lines if line.strip()]
    compile(found, "<found>", "exec")
    reader, at = ProgramReader(), 0
    while at < len(text):
        step = int(generator.integers(1, 7))
        reader.read(text[at : at + step])
        at += step
    assert reader.has_program and reader.program() == found


def test_the_common_indent_is_that_of_textwrap_where_tabs_and_blanks_do_not_mix():
    generator = numpy_generator(0, "dedent")
    for _ in range(200):
        lines = lines_of(generator, int(generator.integers(1, 9)))
        program = "".join(f"{'  ' * int(generator.integers(0, 3))}{line}\n" if line.strip() else "\n" for line in lines)
        assert dedented(program) == textwrap.dedent(program)


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
        ("v = 4\nsp.pprint(v)\n\n  \nsympy.pprint(v)\nrprint(v)\nprinted = 5", "4"),
        ("u = 5\nif u:\n    sp.pprint(u)", "5"),
        ("t = 6  # print it later", ""),
    ]
    assert replayed_program(earlier, "print(x + w)") == "x = 1\nw = 3\nv = 4\nprint(x + w)"


def test_failures_are_those_of_the_released_reward():
    assert all(map(is_failure, ("", " \n", "Done", "[]", "SyntaxError", "an exception", "TRACEBACK")))
    assert not any(map(is_failure, ("0", "None", "[1]", "Done 1")))


def test_the_stop_string_is_one_token_or_refused():
    require_stop_token(character_tokenizer(special=("`\n",)))
    with pytest.raises(UserError, match="one token"):
        require_stop_token(character_tokenizer())
