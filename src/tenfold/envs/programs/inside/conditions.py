"""First rewriting of a program's tree, for both executors: conditions get numbers, observed events come first.

    condition(slipped("tom", 1))      ->  _observe(0, slipped, ("tom", 1), {}, True)     if slipped is a bare flip
    condition(not slipped("tom", 1))  ->  _observe(0, slipped, ("tom", 1), {}, False)
    condition(shade("a") == "red")    ->  _observe(0, shade, ("a",), {}, "red")          if shade is a bare categorical
    observe(slipped("tom", 1), True)  ->  the same
    observe(weight("tom"), 70, 2)     ->  _observe_noisy(0, weight("tom"), 70, 2)
    condition(a > b)                  ->  _condition(0, a > b), or _soften(0, a, ">", b) where conditions are softened
    condition(a == b)                 ->  _condition_equal(0, a, b)

A memory cell that is observed before it is drawn is set to the observed value and its probability becomes a weight.
An observation that stands behind a use of the cell would come too late for that; conditions commute, so each one is
moved up to the place where its function, and what that function uses, has been defined.
"""

import ast
import io
import tokenize
from dataclasses import dataclass, field

from tenfold.envs.programs.inside.distributions import DISTRIBUTIONS

MODEL = "model"
_SOFT = {ast.Gt: ">", ast.GtE: ">", ast.Lt: "<", ast.LtE: "<"}


@dataclass
class Site:
    """A condition of the program: where it stands, and the sentence in the comment above it, or its own text."""

    line: int
    text: str
    sentence: str


@dataclass
class Prepared:
    """A program's tree, with its conditions."""

    tree: ast.Module
    sites: list[Site] = field(default_factory=list)

    @property
    def model(self) -> ast.FunctionDef:
        """The function ``model``."""
        return next(node for node in self.tree.body if isinstance(node, ast.FunctionDef) and node.name == MODEL)


def prepare(source: str, *, softened: bool = False) -> Prepared:
    """Parse and rewrite a program.

    Args:
        source: a program that the validator accepts.
        softened: make numeric comparisons in conditions logistic factors.

    Raises:
        SyntaxError: it is no Python.
    """
    prepared = Prepared(ast.parse(source))
    numbering = _Numbering(prepared.sites, comments_above(source), _bare_functions(prepared.tree), softened)
    prepared.tree = ast.fix_missing_locations(numbering.visit(prepared.tree))
    prepared.model.body = _observed_first(prepared.model.body)
    return prepared


def comments_above(source: str) -> dict[int, str]:
    """Line of a statement to the comment at its end or in the lines right above it."""
    alone: dict[int, str] = {}
    behind: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            is_alone = token.line[: token.start[1]].strip() == ""
            (alone if is_alone else behind)[token.start[0]] = token.string.lstrip("# ").strip()
    sentences = dict(behind)
    for line in range(1, source.count("\n") + 2):
        above: list[str] = []
        while line not in alone and line - len(above) - 1 in alone:
            above.insert(0, alone[line - len(above) - 1])
        if above and line not in sentences:
            sentences[line] = " ".join(above)
    return sentences


def _is_memoised(node: ast.FunctionDef) -> bool:
    return any(isinstance(decorator, ast.Name) and decorator.id == "mem" for decorator in node.decorator_list)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if is_text else body


def _bare_functions(tree: ast.Module) -> dict[str, str]:
    """Memoised functions whose body is nothing but a draw, and the distribution's name."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        body = _without_docstring(node.body)
        drawn = body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None
        is_draw = isinstance(drawn, ast.Call) and isinstance(drawn.func, ast.Name) and drawn.func.id in DISTRIBUTIONS
        if is_draw and _is_memoised(node) and node.name not in seen:
            found[node.name] = drawn.func.id  # type: ignore[union-attr]
        else:
            found.pop(node.name, None)  # two functions of one name: neither is known
        seen.add(node.name)
    return found


class _Numbering(ast.NodeTransformer):
    """Gives every condition a number, and rewrites it."""

    def __init__(self, sites: list[Site], sentences: dict[int, str], bare: dict[str, str], softened: bool) -> None:
        self.sites, self.sentences, self.bare, self.softened = sites, sentences, bare, softened

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        """``condition(a and b)`` is two conditions, each with a chance to be observed."""
        call = node.value
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "condition"):
            return self.generic_visit(node)
        if len(call.args) != 1 or not (isinstance(call.args[0], ast.BoolOp) and isinstance(call.args[0].op, ast.And)):
            return self.generic_visit(node)
        parts: list[ast.stmt] = []
        for test in call.args[0].values:
            single = ast.Expr(ast.Call(ast.Name("condition", ast.Load()), [test], []))
            for new in ast.walk(single):
                if not hasattr(new, "lineno"):
                    ast.copy_location(new, node)
            rewritten = self.visit_Expr(single)
            parts.extend(rewritten if isinstance(rewritten, list) else [rewritten])  # type: ignore[list-item]
        return parts

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Rewrite the calls of ``condition`` and ``observe``, inner ones first."""
        if not isinstance(node.func, ast.Name) or node.func.id not in ("condition", "observe"):
            return self.generic_visit(node)
        number = ast.Constant(self._new_site(node))
        self.generic_visit(node)
        if node.func.id == "condition":
            return ast.copy_location(self._condition(number, node.args[0]), node)
        given = dict(zip(("site_call", "value", "noise"), node.args, strict=False))
        given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        called = given["site_call"].body if isinstance(given["site_call"], ast.Lambda) else given["site_call"]
        if "noise" in given:
            return ast.copy_location(_call("_observe_noisy", number, called, given["value"], given["noise"]), node)
        assert isinstance(called, ast.Call), "the validator asks for a call"
        return ast.copy_location(_observation(number, called, given["value"]), node)

    def _new_site(self, node: ast.Call) -> int:
        text = ast.unparse(node)
        self.sites.append(Site(node.lineno, text, self.sentences.get(node.lineno, text)))
        return len(self.sites) - 1

    def _condition(self, number: ast.Constant, test: ast.expr) -> ast.expr:
        observed, value = test, ast.Constant(True)
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            observed, value = test.operand, ast.Constant(False)
        if self._is_bare(observed, {"flip"}):
            return _observation(number, observed, value)  # type: ignore[arg-type]
        if not isinstance(test, ast.Compare) or len(test.ops) != 1:
            return _call("_condition", number, test)
        left, operator, right = test.left, test.ops[0], test.comparators[0]
        if isinstance(operator, ast.Eq):
            discrete = {name for name, one in DISTRIBUTIONS.items() if one.discrete}
            if self._is_bare(left, discrete) and isinstance(right, ast.Constant):
                return _observation(number, left, right)  # type: ignore[arg-type]
            return _call("_condition_equal", number, left, right)
        if self.softened and type(operator) in _SOFT:
            return _call("_soften", number, left, ast.Constant(_SOFT[type(operator)]), right)
        return _call("_condition", number, test)

    def _is_bare(self, node: ast.expr, distributions: set[str]) -> bool:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            return False
        return self.bare.get(node.func.id) in distributions


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _observation(number: ast.Constant, called: ast.Call, value: ast.expr) -> ast.Call:
    keywords = ast.Dict([ast.Constant(keyword.arg) for keyword in called.keywords], [k.value for k in called.keywords])
    return _call("_observe", number, called.func, ast.Tuple(called.args, ast.Load()), keywords, value)


def _observed_first(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of ``model`` with each observation as far up as what it needs allows.

    Of several that can stand in one place, those that need less come first: an event is observed before what follows
    from it.
    """
    movable: dict[int, list[tuple[int, int, ast.stmt]]] = {}
    others: list[list[ast.stmt]] = []
    for index, statement in enumerate(body):
        needed = _needed(statement, body[:index]) if _is_plain_observation(statement) else None
        if needed is None:
            others.append([statement])
            continue
        places = [place for place in range(index) if _changes(body[place], needed)]
        target = max(places, default=-1)
        movable.setdefault(target, []).append((len(needed), index, statement))
        others.append([])
    result = [statement for _, _, statement in sorted(movable.get(-1, []), key=lambda entry: entry[:2])]
    for index, kept in enumerate(others):
        result += kept
        result += [statement for _, _, statement in sorted(movable.get(index, []), key=lambda entry: entry[:2])]
    return result


def _is_plain_observation(statement: ast.stmt) -> bool:
    """Whether it observes a call whose arguments are constants and names."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    call = statement.value
    if not isinstance(call.func, ast.Name) or call.func.id != "_observe":
        return False
    given = [*call.args[2].elts, *call.args[3].values, call.args[4]]  # type: ignore[attr-defined]
    return all(isinstance(argument, (ast.Constant, ast.Name)) for argument in given)


def _needed(statement: ast.stmt, before: list[ast.stmt]) -> set[str]:
    """Names that a statement uses, and those that the functions among them use, and so on."""
    functions = {node.name: node for node in before if isinstance(node, ast.FunctionDef)}
    needed: set[str] = set()
    waiting = _names(statement)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting |= _names(functions[name]) if name in functions else set()
    return needed


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _changes(statement: ast.stmt, names: set[str]) -> bool:
    """Whether a statement binds one of the names, or may change what it stands for."""
    if isinstance(statement, ast.FunctionDef):
        return statement.name in names
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in names:
            return True
        if isinstance(node, ast.FunctionDef) and node.name in names:
            return True
        is_store = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
        if (is_store or isinstance(node, ast.Attribute)) and _names(node.value) & names:  # type: ignore[attr-defined]
            return True
    return False
