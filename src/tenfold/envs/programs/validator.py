"""What a program may be, decided before anything runs: an allow-list of Python's syntax, names, arities and ranges.

This is the first of two fences, and the one with good messages; the code sandbox is the other. A program is one
function ``model()``, with helper functions beside or in it, in plain Python over the vocabulary below. Not allowed:
imports, classes, attributes other than a few methods of lists and dictionaries, names that begin with an underscore,
``try``, ``with``, ``global``, generators, and giving another meaning to a name of the vocabulary.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from tenfold.core.errors import UserError
from tenfold.envs.programs.inside.distributions import DISTRIBUTIONS
from tenfold.envs.programs.inside.faults import BranchOnRandom, ProgramFault
from tenfold.envs.programs.inside.running import MAX_TIME
from tenfold.envs.programs.inside.scalar import BUILTINS

LONGEST = 64_000  # characters
LONGEST_TEXT = 1000
LARGEST = 10**12
METHODS = ("append", "copy", "count", "extend", "get", "index", "items", "keys", "values")
FUNCTIONS = {
    "condition": (1, 1),
    "factor": (1, 1),
    "observe": (2, 3),
    "mean": (1, None),
    "any_previous_time": (2, 3),
    "rank_among": (2, 3),
    "exp": (1, 1),
    "log": (1, 2),
    "sqrt": (1, 1),
    "floor": (1, 1),
    "ceil": (1, 1),
}
KEYWORDS = {
    "observe": ("site_call", "value", "noise"),
    "any_previous_time": ("function", "t", "inclusive"),
    "rank_among": ("function", "entity", "n"),
} | {name: one.parameters for name, one in DISTRIBUTIONS.items()}
ARITIES = FUNCTIONS | {name: (len(one.parameters), len(one.parameters)) for name, one in DISTRIBUTIONS.items()}
ARITIES["flip"] = (0, 1)
VOCABULARY = (*ARITIES, "mem", *BUILTINS)
_NODES = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AnnAssign, ast.AugAssign,
    ast.For, ast.While, ast.If, ast.Expr, ast.Pass, ast.Break, ast.Continue, ast.Assert, ast.BoolOp, ast.NamedExpr,
    ast.BinOp, ast.UnaryOp, ast.Lambda, ast.IfExp, ast.Dict, ast.Set, ast.List, ast.Tuple, ast.ListComp, ast.SetComp,
    ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Compare, ast.Call, ast.keyword, ast.JoinedStr,
    ast.FormattedValue, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice, ast.Name, ast.expr_context,
    ast.boolop, ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip


class ProgramRefused(UserError):
    """A program that will not be run, or that ended in an error; the message is one line.

    Args:
        reason: what is wrong, and what is allowed.
        line: of the program, where it is known.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(f"program, line {line}: {reason}" if line else f"program: {reason}")
        self.reason, self.line = reason, line


def validate(source: str, queries: Sequence[str] = ()) -> ast.Module:
    """Refuse what a program may not be; the tree of one that may run.

    Args:
        source: the program.
        queries: names that the dictionary must have; any names if there are none.

    Raises:
        ProgramRefused: with the line.

    Example:
        >>> tree = validate("def model():\\n    return {'heads': flip(0.5)}")
        >>> validate("import os\\ndef model():\\n    return {'heads': flip(0.5)}")
        Traceback (most recent call last):
        ...
        tenfold.envs.programs.validator.ProgramRefused: program, line 1: import is not allowed in a program
    """
    if len(source) > LONGEST:
        raise ProgramRefused(f"it has {len(source)} characters; allowed: {LONGEST}")
    try:
        tree = ast.parse(source)
        _Check(tree).all()
    except SyntaxError as error:
        raise ProgramRefused(f"it is no Python: {error.msg}", error.lineno) from None
    except (RecursionError, MemoryError, ValueError) as error:
        if isinstance(error, ProgramRefused):
            raise
        raise ProgramRefused(f"it cannot be read ({type(error).__name__}): {str(error)[:80]}") from None
    _check_answers(tree, queries)
    return tree


@dataclass(frozen=True)
class _Signature:
    """What a call of a function of the program must bind to."""

    parameters: tuple[str, ...]
    num_required: int


class _Check:
    """One walk over a program's tree."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        self.functions: dict[str, _Signature | None] = {}
        self.bound: set[str] = set()

    def all(self) -> None:
        self._top_level()
        for node in ast.walk(self.tree):
            self._node(node)
            self._bind(node)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name):
                self._name(node)
            elif isinstance(node, ast.Call):
                self._call(node)

    def _top_level(self) -> None:
        models = [node for node in self.tree.body if isinstance(node, ast.FunctionDef) and node.name == "model"]
        for node in self.tree.body:
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not (isinstance(node, (ast.FunctionDef, ast.Assign, ast.AnnAssign)) or is_text):
                self._node(node)
                raise ProgramRefused("beside functions only assignments are allowed outside of model()", node.lineno)
        if len(models) != 1:
            raise ProgramRefused(f"it has {len(models)} functions model(); allowed: one")
        if any((models[0].args.args, models[0].args.kwonlyargs, models[0].decorator_list)):
            raise ProgramRefused("model() takes no parameters and no decorator", models[0].lineno)

    def _node(self, node: ast.AST) -> None:
        line = getattr(node, "lineno", None)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            raise ProgramRefused("import is not allowed in a program", line)
        if not isinstance(node, _NODES):
            raise ProgramRefused(f"{type(node).__name__} is not allowed in a program", line)
        if isinstance(node, ast.Attribute) and (node.attr not in METHODS or id(node) not in self.called):
            raise ProgramRefused(f".{node.attr} is not allowed; allowed methods: {', '.join(METHODS)}", line)
        if isinstance(node, ast.Constant):
            self._constant(node)
        if isinstance(node, ast.arguments) and (node.vararg or node.kwarg or node.posonlyargs):
            raise ProgramRefused(
                "a function has plain parameters only, no * and no /", getattr(node.vararg, "lineno", None)
            )
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if not (isinstance(decorator, ast.Name) and decorator.id == "mem"):
                    raise ProgramRefused("the only decorator is @mem", line)

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, str):
            if len(value) > LONGEST_TEXT:
                raise ProgramRefused(f"a text has {len(value)} characters; allowed: {LONGEST_TEXT}", node.lineno)
        elif value is not None and type(value) not in (bool, int, float):
            raise ProgramRefused(f"{value!r} is not allowed; allowed: numbers, texts, truths and None", node.lineno)
        elif isinstance(value, (int, float)) and abs(value) > LARGEST:
            raise ProgramRefused(f"a number is too large; allowed: up to {LARGEST:.0e}", node.lineno)

    def _bind(self, node: ast.AST) -> None:
        """Names that the program gives a meaning to; none of the vocabulary's, none with an underscore in front."""
        names: list[str] = []
        if isinstance(node, ast.FunctionDef):
            names = [node.name]
            arguments = [argument.arg for argument in node.args.args]
            signature = _Signature(tuple(arguments), len(arguments) - len(node.args.defaults))
            is_plain = node.name not in self.functions and not node.args.kwonlyargs
            self.functions[node.name] = signature if is_plain else None
        elif isinstance(node, ast.arg):
            names = [node.arg]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        for name in names:
            if name.startswith("_") and name != "_":
                raise ProgramRefused(f"the name {name} begins with an underscore", getattr(node, "lineno", None))
            if name in VOCABULARY:
                raise ProgramRefused(
                    f"the name {name} has a meaning already; use another one", getattr(node, "lineno", None)
                )
        self.bound.update(names)

    def _name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id not in self.bound and node.id not in VOCABULARY:
            raise ProgramRefused(f"the name {node.id} is not defined", node.lineno)
        if isinstance(node.ctx, ast.Del):
            raise ProgramRefused("del is not allowed in a program", node.lineno)

    def _call(self, node: ast.Call) -> None:
        if any(isinstance(argument, ast.Starred) for argument in node.args) or any(not k.arg for k in node.keywords):
            raise ProgramRefused("a call with * or ** is not allowed", node.lineno)
        if not isinstance(node.func, ast.Name):
            return
        name, given = node.func.id, len(node.args) + len(node.keywords)
        if name == "mem":
            raise ProgramRefused("mem is used as a decorator, @mem, on the line above a function", node.lineno)
        if name in ARITIES:
            self._vocabulary_call(node, name, given)
        signature = self.functions.get(name)
        if signature is not None and not _binds(node, signature):
            wanted = ", ".join(signature.parameters)
            raise ProgramRefused(f"{ast.unparse(node)} does not bind to {name}({wanted})", node.lineno)

    def _vocabulary_call(self, node: ast.Call, name: str, given: int) -> None:
        fewest, most = ARITIES[name]
        if given < fewest or (most is not None and given > most):
            allowed = f"{fewest}" if fewest == most else f"{fewest} to {most}" if most else f"at least {fewest}"
            raise ProgramRefused(f"{name} is called with {given} arguments; allowed: {allowed}", node.lineno)
        for keyword in node.keywords:
            if keyword.arg not in KEYWORDS.get(name, ()):
                known = ", ".join(KEYWORDS.get(name, ())) or "none"
                raise ProgramRefused(f"{name} has no parameter {keyword.arg}; it has: {known}", node.lineno)
        if name == "observe":
            self._observation(node, given)
        elif name == "any_previous_time" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            time = node.args[1].value
            if not isinstance(time, int) or not 0 <= time <= MAX_TIME:
                raise ProgramRefused(f"any_previous_time: t is {time!r}; allowed: 0 to {MAX_TIME}", node.lineno)
        elif name in DISTRIBUTIONS:
            _check_constants(node, name)

    def _observation(self, node: ast.Call, given: int) -> None:
        site = node.args[0] if node.args else next(k.value for k in node.keywords if k.arg == "site_call")
        site = site.body if isinstance(site, ast.Lambda) else site
        is_call = isinstance(site, ast.Call) and isinstance(site.func, ast.Name)
        if given == 2 and not is_call:
            raise ProgramRefused(
                "observe without noise needs a call of a function, as in observe(f(x), value)", node.lineno
            )


def _binds(node: ast.Call, signature: _Signature) -> bool:
    if len(node.args) > len(signature.parameters):
        return False
    filled = list(signature.parameters[: len(node.args)])
    filled += [keyword.arg for keyword in node.keywords if keyword.arg]
    required = signature.parameters[: signature.num_required]
    return len(set(filled)) == len(filled) and set(required) <= set(filled) <= set(signature.parameters)


def _check_constants(node: ast.Call, name: str) -> None:
    """Parameters that are written out are in range."""
    try:
        args = [ast.literal_eval(argument) for argument in node.args]
        kwargs = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except ValueError:
        return  # something that is known only when it runs
    try:
        DISTRIBUTIONS[name].check(*args, **kwargs)
    except ProgramFault as error:
        raise ProgramRefused(str(error), node.lineno) from None
    except (TypeError, BranchOnRandom):
        raise ProgramRefused(f"{ast.unparse(node)[:80]}: a parameter is of the wrong kind", node.lineno) from None


def _check_answers(tree: ast.Module, queries: Sequence[str]) -> None:
    """The dictionary that ``model`` returns has the queries, as far as it is written out."""
    model = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "model")
    last = model.body[-1]
    if not any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(model)):
        raise ProgramRefused("model() returns nothing; it must return a dictionary of queries", model.lineno)
    if not queries or not isinstance(last, ast.Return) or not isinstance(last.value, ast.Dict):
        return
    names = [key.value for key in last.value.keys if isinstance(key, ast.Constant)]
    if missing := [query for query in queries if query not in names]:
        raise ProgramRefused(
            f"the dictionary of model() has no {missing[0]!r}; needed: {', '.join(queries)}", last.lineno
        )
