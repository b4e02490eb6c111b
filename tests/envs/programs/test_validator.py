"""What may not be a program is refused before it runs, with the line."""

import pytest

from tenfold.envs.programs import ProgramRefused, validate

from .examples import COINS, FULL, TUG_OF_WAR, rare


def model(body):
    return "def model():\n" + "".join(f"    {line}\n" for line in body.splitlines())


@pytest.mark.parametrize("program", [COINS, FULL, TUG_OF_WAR, rare(0.1, 0.1, 0.1)])
def test_whole_programs_are_accepted(program):
    validate(program)


@pytest.mark.spec("msa", "7")
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os\n" + model("return {'x': 1}"), "line 1: import is not allowed"),
        (model("from os import path\nreturn {'x': 1}"), "line 2: import is not allowed"),
        (model("return {'x': ().__class__.__bases__}"), "line 2: .__bases__ is not allowed"),
        (model("return {'x': '{0.__class__}'.format(1)}"), "line 2: .format is not allowed"),
        (model("return {'x': __import__('os')}"), "line 2: the name __import__ is not defined"),
        (model("return {'x': open('/etc/passwd')}"), "line 2: the name open is not defined"),
        (model("return {'x': eval('1')}"), "line 2: the name eval is not defined"),
        (model("return {'x': getattr(1, 'real')}"), "line 2: the name getattr is not defined"),
        (model("_observe = 1\nreturn {'x': 1}"), "line 2: the name _observe begins with an underscore"),
        (model("return {'x': _where(True, 1, 2)}"), "line 2: the name _where is not defined"),
        (model("try:\n    x = 1\nexcept ValueError:\n    x = 2\nreturn {'x': x}"), "Try is not allowed"),
        (model("class A:\n    pass\nreturn {'x': 1}"), "ClassDef is not allowed"),
        (model("global x\nreturn {'x': 1}"), "Global is not allowed"),
        (model("def f():\n    yield 1\nreturn {'x': f()}"), "Yield is not allowed"),
        (model("flip = 1\nreturn {'x': flip}"), "line 2: the name flip has a meaning already"),
        (model("items = [].append\nreturn {'x': 1}"), "line 2: .append is not allowed"),
        (model("x = b'1'\nreturn {'x': 1}"), "line 2: b'1' is not allowed"),
        (model(f"x = {10**15}\nreturn {{'x': x}}"), "line 2: a number is too large"),
        ("x = 1 +" + "1+" * 40_000 + "1\n" + model("return {'x': 1}"), "characters; allowed"),
        ("x = " + "(" * 300 + "1" + ")" * 300 + "\n" + model("return {'x': 1}"), "nested|no Python"),
        ("x = " + "-" * 20_000 + "1\n" + model("return {'x': 1}"), "cannot be read|no Python"),
        (model("return {'x': max(*[1, 2])}"), "Starred is not allowed"),
        (model("x = {}\nreturn {'x': dict(**x)}"), "a call with \\* or \\*\\*"),
        (model("del x\nreturn {'x': 1}"), "is not allowed"),
    ],
)
def test_what_reaches_outside_of_the_vocabulary_is_refused(program, reason):
    with pytest.raises(ProgramRefused, match=reason) as caught:
        validate(program)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("x = 1", "it has 0 functions model"),
        ("def model(x):\n    return {'x': x}", "model\\(\\) takes no parameters"),
        (model("x = 1"), "returns nothing"),
        (model("return {'x': y}"), "line 2: the name y is not defined"),
        (model("return {'x': gaussian(1)}"), "gaussian is called with 1 arguments; allowed: 2"),
        (model("return {'x': gaussian(mean=0, variance=1)}"), "gaussian has no parameter variance; it has: mean, sd"),
        (model("return {'x': flip(1.2)}"), "flip: p is 1.2; allowed: 0 to 1"),
        (model("return {'x': categorical([0.5, 0.4], [1, 2])}"), "the sum of probs is 0.9; allowed: 1"),
        (model("def f(a):\n    return a\nreturn {'x': f(1, 2)}"), "line 4: f\\(1, 2\\) does not bind to f\\(a\\)"),
        (model("def f(a):\n    return a\nreturn {'x': f(b=2)}"), "does not bind"),
        (model("def f(a):\n    return a\nreturn {'x': any_previous_time(f, 400)}"), "t is 400; allowed: 0 to 60"),
        (model("observe(1 + 2, 3)\nreturn {'x': 1}"), "observe without noise needs a call"),
        (model("condition(True, False)\nreturn {'x': 1}"), "condition is called with 2 arguments; allowed: 1"),
        ("print('a')\n" + model("return {'x': 1}"), "only assignments are allowed outside of model"),
    ],
)
def test_names_arities_and_ranges_are_checked(program, reason):
    with pytest.raises(ProgramRefused, match=reason):
        validate(program)


def test_the_queries_that_are_needed_are_asked_for():
    validate(model("return {'a': 1, 'b': 2}"), ("a", "b"))
    with pytest.raises(ProgramRefused, match="the dictionary of model\\(\\) has no 'c'; needed: a, c"):
        validate(model("return {'a': 1, 'b': 2}"), ("a", "c"))
