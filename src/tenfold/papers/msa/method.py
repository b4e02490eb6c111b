"""The idea of MSA, as pure functions: what makes a stage's candidate sound, and which candidate is kept.

Parse: sentences become conditions on functions that do not exist yet (placeholders). Graph: concepts, each after those
it depends on. Program: defines every placeholder and takes the conditions over word for word. A candidate's score is

    Φ = structural · judge,        kept = argmax Φ, the first of equals

with structural 0 or 1 and the judge's rating from 0 to 10 (1 where nobody is asked).
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenfold.envs.programs import VOCABULARY, ProgramRefused, validate

_EXPRESSIONS = (
    ast.Expression, ast.Call, ast.keyword, ast.Constant, ast.Name, ast.Load, ast.List, ast.Tuple, ast.BoolOp, ast.And,
    ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.cmpop, ast.BinOp, ast.operator, ast.Dict,
)  # fmt: skip
_RATING = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)(?![\d.]*\d)")


class Unsound(Exception):
    """What is wrong with a candidate, in one line."""


@dataclass(frozen=True)
class Placeholder:
    """How a function that is yet to be written is called.

    Args:
        name: of the function.
        calls: for each call, the number of arguments by position and the names of the others.
    """

    name: str
    calls: tuple[tuple[int, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Parse:
    """Sentences with their conditions, and questions with their expressions.

    Args:
        conditions: pairs of a sentence and a Python expression.
        queries: pairs of a question and a Python expression.
    """

    conditions: tuple[tuple[str, str], ...]
    queries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Concept:
    """A node of the graph, with those it depends on."""

    name: str
    depends_on: tuple[str, ...]


def check_parse(parse: Parse, num_conditions: int, num_queries: int) -> list[Placeholder]:
    """The placeholders of a sound parse.

    Raises:
        Unsound: a sentence has no condition, or an expression is more than calls, literals and comparisons.
    """
    for what, found, wanted in (
        ("conditions", len(parse.conditions), num_conditions),
        ("queries", len(parse.queries), num_queries),
    ):
        if found != wanted:
            raise Unsound(f"{found} {what} for {wanted} sentences")
    calls: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for sentence, text in (*parse.conditions, *parse.queries):
        for node in ast.walk(_expression(text, sentence)):
            if isinstance(node, ast.Call):
                assert isinstance(node.func, ast.Name)
                keywords = tuple(str(keyword.arg) for keyword in node.keywords)
                if node.func.id not in VOCABULARY:
                    calls.setdefault(node.func.id, []).append((len(node.args), keywords))
                for handed in _handed(node):  # called by the helper, with an entity or a time
                    calls.setdefault(handed.id, []).append((1, ()))
    return [Placeholder(name, tuple(dict.fromkeys(found))) for name, found in calls.items()]


def _expression(text: str, sentence: str) -> ast.Expression:
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Unsound(f"the expression for {sentence!r} is no Python: {text[:60]!r}") from None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    functions = {id(node.func) for node in calls} | {id(name) for node in calls for name in _handed(node)}
    for node in ast.walk(tree):
        if not isinstance(node, _EXPRESSIONS):
            raise Unsound(f"the expression for {sentence!r} has {type(node).__name__}; allowed: calls and comparisons")
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
            raise Unsound(f"the expression for {sentence!r} calls something that is no function")
        if isinstance(node, ast.Name) and id(node) not in functions and node.id not in VOCABULARY:
            raise Unsound(f"the expression for {sentence!r} has the bare name {node.id}; names of things are texts")
    return tree


def _handed(call: ast.Call) -> list[ast.Name]:
    """The function that is handed to a helper, as in ``rank_among(strength, "ann")``."""
    is_helper = isinstance(call.func, ast.Name) and call.func.id in ("rank_among", "any_previous_time")
    return [argument for argument in call.args[:1] if is_helper and isinstance(argument, ast.Name)]


def check_graph(graph: Sequence[Concept], placeholders: Sequence[Placeholder]) -> None:
    """Refuse a graph whose order is not one in which concepts can be defined, or that leaves out a placeholder.

    Raises:
        Unsound: with the concept.

    Example:
        >>> check_graph([Concept("strength", ()), Concept("wins", ("strength",))], [Placeholder("wins", ((2, ()),))])
    """
    if not graph:
        raise Unsound("the graph has no concepts")
    names = {concept.name for concept in graph}
    seen: set[str] = set()
    for concept in graph:
        for name in (concept.name, *concept.depends_on):
            if not name.isidentifier():
                raise Unsound(f"{name!r} is no name for a concept; allowed: letters, digits and underscores")
        if concept.name in seen:
            raise Unsound(f"{concept.name} is listed twice")
        for name in concept.depends_on:
            if name == concept.name or (name in names and name not in seen):
                raise Unsound(
                    f"{concept.name} depends on {name}, which comes later or is itself: a cycle, or wrong order"
                )
            if name not in names:
                raise Unsound(f"{concept.name} depends on {name}, which is not listed")
        seen.add(concept.name)
    for placeholder in placeholders:
        if placeholder.name not in names:
            raise Unsound(f"{placeholder.name} is used by the conditions or questions, and is not in the graph")


def check_program(source: str, parse: Parse, placeholders: Sequence[Placeholder]) -> None:
    """Refuse a program that is not allowed, defines too little, or changes what was observed or asked.

    Raises:
        Unsound: in one line.
    """
    try:
        tree = validate(source, [f"query{i + 1}" for i in range(len(parse.queries))])
    except ProgramRefused as error:
        raise Unsound(str(error)) from None
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for placeholder in placeholders:
        if placeholder.name not in functions:
            raise Unsound(f"{placeholder.name} is not defined")
        for call in placeholder.calls:
            _check_binding(functions[placeholder.name], call)
    wanted = [_normal(text) for _, text in parse.conditions]
    found = [ast.unparse(node.args[0]) for node in _calls(functions["model"], "condition")]
    if found != wanted:
        missing = next((text for text in wanted if text not in found), None)
        what = f"condition({missing}) is missing" if missing else "there are other conditions, or in another order"
        raise Unsound(f"the conditions are not those of the parse: {what}")
    _check_queries(functions["model"], parse)


def _check_binding(function: ast.FunctionDef, call: tuple[int, tuple[str, ...]]) -> None:
    parameters = [argument.arg for argument in function.args.args]
    required = parameters[: len(parameters) - len(function.args.defaults)]
    filled = [*parameters[: call[0]], *call[1]]
    fits = call[0] <= len(parameters) and len(set(filled)) == len(filled)
    if not (fits and set(required) <= set(filled) <= set(parameters)):
        raise Unsound(f"{function.name}({', '.join(parameters)}) does not take the arguments that the parse gives it")


def _check_queries(model: ast.FunctionDef, parse: Parse) -> None:
    last = model.body[-1]
    if not isinstance(last, ast.Return) or not isinstance(last.value, ast.Dict):
        raise Unsound("model() must end with return and a dictionary of the queries")
    entries = zip(last.value.keys, last.value.values, strict=True)
    found = {key.value: value for key, value in entries if isinstance(key, ast.Constant)}
    for number, (_, text) in enumerate(parse.queries):
        name = f"query{number + 1}"
        if ast.unparse(found[name]) != _normal(text):
            raise Unsound(f"{name} is {ast.unparse(found[name])[:60]}; the parse has {_normal(text)[:60]}")


def _calls(model: ast.FunctionDef, name: str) -> list[ast.Call]:
    """Calls of a function in the order in which they stand."""
    found = [
        node
        for node in ast.walk(model)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name and node.args
    ]
    return sorted(found, key=lambda node: (node.lineno, node.col_offset))


def _normal(text: str) -> str:
    return ast.unparse(ast.parse(text, mode="eval").body)


def rating(text: str) -> float:
    """The first number of a judge's answer, clamped to 0 to 10; 0 if there is none.

    Example:
        >>> rating("Score: 7.5 of 10"), rating("excellent"), rating("11")
        (7.5, 0.0, 10.0)
    """
    found = _RATING.search(text)
    return min(max(float(found.group(1)), 0.0), 10.0) if found else 0.0


def best(scores: Sequence[float]) -> int:
    """The index of the highest score, the first of equals.

    Example:
        >>> best([0.0, 7.0, 7.0])
        1
    """
    return max(range(len(scores)), key=lambda i: (scores[i], -i))


def drawn(graph: Sequence[Concept]) -> Mapping[str, int]:
    """The depth of each concept, 0 for those that depend on nothing: where it stands in a picture."""
    depth: dict[str, int] = {}
    for concept in graph:
        depth[concept.name] = 1 + max((depth[name] for name in concept.depends_on), default=-1)
    return depth
