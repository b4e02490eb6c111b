"""Calls that are written as Python, read with ``ast`` and never evaluated.

The package BFCL hands what a model wrote to ``eval``, behind a list of ten forbidden names. Here a call is a name and
literal arguments, or it is refused with the reason.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenfold.core.errors import UserError

MOST_CHARACTERS = 20_000
"""Of a text with calls; Python's parser takes more than a time in proportion for some longer ones."""


@dataclass(frozen=True)
class PythonCall:
    """A call of a function by its name.

    Args:
        name: of the function.
        positional: arguments by their place; literals.
        arguments: arguments by their name; literals.
    """

    name: str
    positional: tuple[Any, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)


def read_python_calls(text: str) -> list[PythonCall]:
    """The calls of a text: one call, or a list of calls.

    Args:
        text: such as ``[cd(folder="a"), ls()]`` or ``cd("a")``.

    Raises:
        UserError: it is something else; with the reason.

    Example:
        >>> read_python_calls("[cd(folder='a'), sort('b.txt')]")[1]
        PythonCall(name='sort', positional=('b.txt',), arguments={})
        >>> try:
        ...     read_python_calls("cd(folder=__import__('os').getcwd())")
        ... except UserError as error:
        ...     print(error)
        calls = cd(folder=__import__('os').getcwd()): the value of folder is no literal
    """
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"calls = {text[:40]}…: has {len(text)} characters; allowed are {MOST_CHARACTERS}")
    try:
        body = ast.parse(text.strip(), mode="eval").body
        nodes = body.elts if isinstance(body, ast.List | ast.Tuple) else [body]
        return [_read(node) for node in nodes]
    except SyntaxError as error:
        raise UserError(f"calls = {text[:80]}: not Python ({error.msg})") from None
    except (RecursionError, MemoryError):
        raise UserError(f"calls = {text[:80]}: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"calls = {text[:80]}: {error}") from None


def _read(node: ast.expr) -> PythonCall:
    """A call from its syntax.

    Raises:
        ValueError: it is none, or an argument is no literal.
    """
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ValueError("allowed are calls of functions by their names")
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError("arguments may not be unpacked")
        if keyword.arg in arguments:
            raise ValueError(f"{keyword.arg} is given twice")
        arguments[keyword.arg] = _literal(keyword.value, keyword.arg)
    positional = tuple(_literal(value, f"argument {place}") for place, value in enumerate(node.args))
    return PythonCall(node.func.id, positional, arguments)


def _literal(node: ast.expr, name: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        raise ValueError(f"the value of {name} is no literal") from None
