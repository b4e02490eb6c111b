"""Calls in Python are read and never evaluated; schemas of BFCL become JSON Schema. The package is not needed."""

import importlib.util

import pytest

from tenfold.core.errors import UserError
from tenfold.envs.bfcl import PythonCall, load_bfcl, read_python_calls
from tenfold.envs.bfcl.tasks import package_folder, real_schema


def test_calls_are_names_with_literals():
    assert read_python_calls(" [a(1, x=[{'b': (None, -2.5)}]), b()] ") == [
        PythonCall("a", (1,), {"x": [{"b": (None, -2.5)}]}),
        PythonCall("b"),
    ]
    assert read_python_calls("a('x')") == [PythonCall("a", ("x",))]
    assert read_python_calls("[]") == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("__import__('os').system('true')", "calls of functions by their names"),
        ("a(open('x'))", "the value of argument 0 is no literal"),
        ("a(x=b(1))", "the value of x is no literal"),
        ("a(**{'x': 1})", "may not be unpacked"),
        ("a(*[1])", "argument 0 is no literal"),
        ("a", "calls of functions by their names"),
        ("a(x=1", "not Python"),
        ("a(x=1, x=2)", "x is given twice"),
        ("a = b()", "not Python"),
        ("a(" + "[" * 5000, "not Python|nested too deeply"),
        ("a(" + "-" * 15000 + "1)", "nested too deeply|no literal|not Python"),
        ("a('\0')", "not Python|null"),
        ("a('" + "x" * 30_000 + "')", "has 30005 characters"),
        ("", "not Python"),
    ],
)
def test_what_is_no_call_is_refused_and_not_run(text, reason):
    with pytest.raises(UserError, match=reason):
        read_python_calls(text)


def test_types_become_those_of_json_schema_and_names_stay():
    written = {
        "type": "dict",
        "properties": {
            "type": {"type": "float", "description": "a dict"},
            "all": {"type": "array", "items": {"type": "dict", "properties": {"x": {"type": "any"}}}},
        },
        "required": ["type"],
    }
    assert real_schema(written) == {
        "type": "object",
        "properties": {
            "type": {"type": "number", "description": "a dict"},
            "all": {"type": "array", "items": {"type": "object", "properties": {"x": {}}}},
        },
        "required": ["type"],
    }
    assert written["type"] == "dict"


def test_a_missing_package_is_one_line_with_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps bfcl-eval mpmath"):
        package_folder()
    with pytest.raises(UserError, match="pip install --no-deps bfcl-eval mpmath"):
        load_bfcl()
