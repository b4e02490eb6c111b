"""What the code of a module does with its parameters, read from the source of its class.

Names and shapes do not always tell whether a parameter is a matrix. The code does: ``x @ self.mixer`` multiplies by a
matrix, ``x * self.gain`` entry by entry, and ``self.places[numbers]`` looks up rows. What is found here is evidence:
code may pass a parameter on under another name, and classes that were made without a file have no source.
"""

import ast
import inspect
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

MATRIX, ELEMENTWISE, TABLE = "matrix", "elementwise", "table"

LINEAR = ("linear", "bilinear", "matmul", "einsum", "tensordot", "multi_dot")  # and all that ends with mm
LOOK_UP = ("embedding", "embedding_bag", "index_select")
ENTRY_BY_ENTRY = (
    "exp", "log", "sigmoid", "tanh", "softplus", "relu", "prelu", "silu", "logaddexp", "mul", "lerp", "addcmul",
    "layer_norm", "rms_norm", "group_norm", "instance_norm", "batch_norm",
)  # fmt: skip
ELEMENTWISE_OPERATORS = (ast.Mult, ast.Div, ast.Add, ast.Sub, ast.Pow)
# Methods whose result has the entries of the tensor, in another form.
SAME_ENTRIES = (
    "to", "float", "half", "bfloat16", "double", "type", "type_as", "view", "reshape", "expand", "unsqueeze", "squeeze",
    "t", "transpose", "permute", "contiguous", "clone", "flatten", "unflatten", "T", "mT",
)  # fmt: skip


@cache
def parameter_uses(kind: Any) -> dict[str, frozenset[str]]:
    """What the methods of a class do with attributes of the module.

    Args:
        kind: class of a module (a subclass of ``nn.Module``).

    Returns:
        By the attribute's path from the module, such as ``"gain"`` or ``"head.weight"``: a set of ``"matrix"``,
        ``"elementwise"`` and ``"table"``. Empty where there is no source.

    Example:
        >>> from torch import nn
        >>> parameter_uses(nn.Bilinear)["weight"], parameter_uses(nn.Identity)
        (frozenset({'matrix'}), {})
    """
    uses: dict[str, set[str]] = defaultdict(set)
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        if _is_own(function) and name not in ("__init__", "reset_parameters", "extra_repr"):
            for path, use in _uses_in(function):
                uses[path].add(use)
    return {path: frozenset(found) for path, found in uses.items()}


def _is_own(function: Callable[..., Any]) -> bool:
    """Whether a method comes from a class of a model, and not from those that all modules have."""
    origin = getattr(inspect.unwrap(function), "__module__", None) or ""
    return origin not in ("torch.nn.modules.module", "transformers.modeling_utils", "transformers.generation.utils")


@cache
def _uses_in(function: Callable[..., Any]) -> tuple[tuple[str, str], ...]:
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        return ()  # made without a file, or a piece that does not stand alone
    _call_it_self(tree)
    return tuple(found for node in ast.walk(tree) for found in _uses_at(node))


def _call_it_self(tree: ast.Module) -> None:
    """Give the module that the method belongs to its usual name, whatever the method calls it."""
    method = tree.body[0]
    if isinstance(method, ast.FunctionDef) and method.args.args:
        own_name = method.args.args[0].arg
        for node in ast.walk(method):
            if isinstance(node, ast.Name) and node.id == own_name:
                node.id = "self"


def _uses_at(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The uses that one expression makes, without those within its parts."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield from _each((node.left, node.right), MATRIX)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ELEMENTWISE_OPERATORS):
        yield from _each((node.left, node.right), ELEMENTWISE)
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name | ast.Attribute | ast.Call):
        yield from _each((node.value,), TABLE)
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        operands = [*node.args, *(keyword.value for keyword in node.keywords)]
        if name in LOOK_UP:
            yield from _each(operands, TABLE)
        elif name in LINEAR or name.endswith("mm") or name.startswith("conv"):
            yield from _each(operands, MATRIX)
            # A weight may be scaled on its way: linear(x, self.weight * self.scale).
            yield from _each((part for weight in node.args[1:2] for part in ast.walk(weight)), MATRIX)
        elif name in ENTRY_BY_ENTRY:
            receiver = [node.func.value] if isinstance(node.func, ast.Attribute) else []
            yield from _each([*operands, *receiver], ELEMENTWISE)


def _each(operands: Iterable[ast.AST], use: str) -> Iterator[tuple[str, str]]:
    for operand in operands:
        path = _path(operand)
        if path:
            yield path, use


def _path(node: ast.AST) -> str:
    """``"a.b"`` of ``self.a.b``, seen through casts, views, indices and signs; empty for anything else."""
    while True:
        match node:
            case ast.UnaryOp(operand=inner) | ast.Subscript(value=inner):
                node = inner
            case ast.Call(func=ast.Attribute(value=inner, attr=method)) if method in SAME_ENTRIES:
                node = inner
            case ast.Attribute(value=inner, attr="T" | "mT" | "data"):
                node = inner
            case _:
                break
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return ".".join(names) if isinstance(node, ast.Name) and node.id == "self" else ""
