"""Second rewriting, for the vector executor: what numpy cannot overload becomes a call, and dead particles go.

    a if c else b               ->  _where(c, lambda: a, lambda: b)
    a and b;  not a;  a < b < c ->  _and(a, lambda: b);  _not(a);  _and(a < b, lambda: b < c)
    a + b                       ->  _number(a) + _number(b): the sum of two truths is a number, not a truth
    x += a                      ->  x = _number(x) + _number(a): never in place, for arrays are shared
    if c: return a              ->  return _where(c, then, otherwise), with the branches as functions
    if c: x = a                 ->  (x,) = _where(c, then, otherwise)

A branch whose test is a plain truth runs alone, as before; of a test that differs between particles both sides run, and
each particle takes its own. After each statement of ``model`` that holds conditions, ``a, b = _compact(lambda: a,
lambda: b)`` leaves out the particles that failed, in the names assigned so far and in all memory cells. What is not
lifted, such as ``while`` over random numbers, meets a truth of many particles and ends in
:class:`~tenfold.envs.programs.inside.faults.BranchOnRandom`.
"""

import ast
import copy

from tenfold.envs.programs.inside.conditions import Prepared

_CONDITIONS = {"_condition", "_condition_equal", "_observe", "_observe_noisy", "_soften"}


def lift(prepared: Prepared) -> ast.Module:
    """The tree for the vector executor; the given one stays as it is."""
    tree = copy.deepcopy(prepared.tree)
    lifted = _Lifting().visit(tree)
    model = next(node for node in lifted.body if isinstance(node, ast.FunctionDef) and node.name == "model")
    model.body = _with_compaction(model.body, _conditioning_functions(lifted))
    return ast.fix_missing_locations(lifted)


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _later(expression: ast.expr) -> ast.Lambda:
    return ast.Lambda(ast.arguments([], [], None, [], [], None, []), expression)


def _number(expression: ast.expr) -> ast.expr:
    is_number = isinstance(expression, ast.Constant) and type(expression.value) in (int, float)
    return expression if is_number else _call("_number", expression)


class _Lifting(ast.NodeTransformer):
    """Rewrites expressions, and the bodies of functions."""

    def __init__(self) -> None:
        self.fresh = 0

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        """``a if c else b``."""
        self.generic_visit(node)
        return ast.copy_location(_call("_where", node.test, _later(node.body), _later(node.orelse)), node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        """``a and b``, ``a or b``; the second is evaluated where the first does not settle it."""
        self.generic_visit(node)
        name = "_and" if isinstance(node.op, ast.And) else "_or"
        result = node.values[-1]
        for value in reversed(node.values[:-1]):
            result = _call(name, value, _later(result))
        return ast.copy_location(result, node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """``not a``, ``-a``."""
        self.generic_visit(node)
        if isinstance(node.op, ast.Not):
            return ast.copy_location(_call("_not", node.operand), node)
        return ast.copy_location(ast.UnaryOp(node.op, _number(node.operand)), node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Arithmetic."""
        self.generic_visit(node)
        if isinstance(node.op, ast.Mod) or (isinstance(node.op, (ast.Mult, ast.Add)) and _may_be_a_sequence(node)):
            return node
        return ast.copy_location(ast.BinOp(_number(node.left), node.op, _number(node.right)), node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """``a < b < c``: each value once, the last only where needed."""
        self.generic_visit(node)
        if len(node.ops) == 1:
            return node
        names = [self._name("compared") for _ in node.comparators[:-1]]
        inner: ast.expr | None = None
        for i in range(len(node.ops) - 1, -1, -1):
            left = node.left if i == 0 else ast.Name(names[i - 1], ast.Load())
            right = node.comparators[i]
            if i < len(names):
                right = ast.NamedExpr(ast.Name(names[i], ast.Store()), right)
            single = ast.Compare(left, [node.ops[i]], [right])
            inner = single if inner is None else _call("_and", single, _later(inner))
        assert inner is not None
        return ast.copy_location(inner, node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        """``f"{x}"``: of one value only."""
        self.generic_visit(node)
        node.value = _call("_single", node.value)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.stmt]:
        """``x += a``, ``d[k] += a``."""
        before: list[ast.stmt] = []
        target = node.target
        if isinstance(target, ast.Subscript):
            key = self._name("key")
            before.append(ast.Assign([ast.Name(key, ast.Store())], self.visit(target.slice)))
            target = ast.Subscript(self.visit(target.value), ast.Name(key, ast.Load()), ast.Store())
        read = copy.deepcopy(target)
        read.ctx = ast.Load()
        value = self.visit(ast.copy_location(ast.BinOp(read, node.op, node.value), node))
        after = ast.Assign([target], value)
        return [ast.copy_location(statement, node) for statement in (*before, after)]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """The body of a function, with its branches as functions of their own."""
        self.generic_visit(node)
        known = {argument.arg for argument in [*node.args.args, *node.args.kwonlyargs]}
        node.body = self._branches(node.body, known)
        return node

    def _name(self, what: str) -> str:
        self.fresh += 1
        return f"_{what}_{self.fresh}"

    def _branches(self, body: list[ast.stmt], known: set[str]) -> list[ast.stmt]:
        """Statements with those ``if`` lifted that only assign names, or after which the function returns."""
        result: list[ast.stmt] = []
        known = set(known)
        for index, statement in enumerate(body):
            if isinstance(statement, ast.If):
                rest = body[index + 1 :]
                if _returns(statement.body) and (_returns(statement.orelse) or _returns(rest)):
                    otherwise = statement.orelse if _returns(statement.orelse) else [*statement.orelse, *rest]
                    return result + self._returned(statement, otherwise, known)
                if _only_assigns(statement):
                    result += self._assigned(statement, known)
                    known |= _assigned_names(statement)
                    continue
            result.append(statement)
            known |= _assigned_names(statement)
        return result

    def _returned(self, node: ast.If, otherwise: list[ast.stmt], known: set[str]) -> list[ast.stmt]:
        then = self._function(node.body, known)
        other = self._function(otherwise, known)
        call = _call("_where", node.test, ast.Name(then.name, ast.Load()), ast.Name(other.name, ast.Load()))
        return [ast.copy_location(statement, node) for statement in (then, other, ast.Return(call))]

    def _assigned(self, node: ast.If, known: set[str]) -> list[ast.stmt]:
        names = sorted(_assigned_names(node))
        functions = []
        for body in (node.body, node.orelse):
            last = ast.Return(ast.Tuple([ast.Name(name, ast.Load()) for name in names], ast.Load()))
            functions.append(self._function([*body, last], known, names))
        call = _call("_where", node.test, *(ast.Name(function.name, ast.Load()) for function in functions))
        target = ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())
        return [ast.copy_location(statement, node) for statement in (*functions, ast.Assign([target], call))]

    def _function(self, body: list[ast.stmt], known: set[str], names: list[str] | None = None) -> ast.FunctionDef:
        """A branch; what it assigns starts from the value that the name has before it."""
        names = sorted(set().union(*map(_assigned_names, body))) if names is None else names
        defaults: list[ast.expr] = [ast.Name(name if name in known else "_unset", ast.Load()) for name in names]
        arguments = ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, defaults)
        body = self._branches(body, known | set(names)) or [ast.Pass()]
        return ast.FunctionDef(self._name("branch"), arguments, body, [])


def _may_be_a_sequence(node: ast.BinOp) -> bool:
    """``[0] * n``, ``"a" + b``: written out, so no arithmetic."""
    kinds = (ast.List, ast.Tuple, ast.JoinedStr, ast.ListComp)
    for side in (node.left, node.right):
        if isinstance(side, kinds) or (isinstance(side, ast.Constant) and isinstance(side.value, str)):
            return True
    return False


def _returns(body: list[ast.stmt]) -> bool:
    """Whether each way through the statements ends in ``return``, with no loop that could return earlier."""
    if not body:
        return False
    if any(
        isinstance(node, ast.Return)
        for statement in body[:-1]
        if not isinstance(statement, (ast.If, ast.FunctionDef))
        for node in ast.walk(statement)
    ):
        return False
    last = body[-1]
    if isinstance(last, ast.If):
        return _returns(last.body) and _returns(last.orelse)
    return isinstance(last, ast.Return)


def _only_assigns(node: ast.If) -> bool:
    """Whether both branches do nothing but assign names."""
    for statement in [*node.body, *node.orelse]:
        if isinstance(statement, ast.If):
            if not _only_assigns(statement):
                return False
        elif isinstance(statement, ast.Assign):
            if not all(_is_names(target) for target in statement.targets):
                return False
        elif not isinstance(statement, (ast.Pass, ast.FunctionDef)):
            return False
    return True


def _is_names(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple):
        return all(_is_names(element) for element in target.elts)
    return isinstance(target, ast.Name)


def _assigned_names(statement: ast.AST) -> set[str]:
    """Names that a statement binds in the scope it stands in."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return set()
    names = {statement.id} if isinstance(statement, ast.Name) and isinstance(statement.ctx, ast.Store) else set()
    for child in ast.iter_child_nodes(statement):
        names |= _assigned_names(child)
    return names


def _conditioning_functions(tree: ast.AST) -> set[str]:
    """Functions that hold a condition, or call one that does."""
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    found = set(_CONDITIONS)
    while True:
        more = {name for name, node in functions.items() if name not in found and _called(node) & found}
        if not more:
            return found
        found |= more


def _called(node: ast.AST) -> set[str]:
    calls = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    return {function.id for function in calls if isinstance(function, ast.Name)}


def _with_compaction(body: list[ast.stmt], conditioning: set[str]) -> list[ast.stmt]:
    result: list[ast.stmt] = []
    names: set[str] = set()
    for statement in body:
        result.append(statement)
        if isinstance(statement, ast.FunctionDef):
            continue
        names |= {name for name in _assigned_names(statement) if not name.startswith("_branch")}
        if _called(statement) & conditioning and not isinstance(statement, ast.Return):
            result.append(_compaction(sorted(names)))
    return result


def _compaction(names: list[str]) -> ast.stmt:
    call = _call("_compact", *(_later(ast.Name(name, ast.Load())) for name in names))
    if not names:
        return ast.Expr(call)
    return ast.Assign([ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())], call)
