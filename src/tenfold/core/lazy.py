"""Packages whose names are imported when they are asked for, so that one does not cost what all of them need."""

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def names_when_asked(package: str, file: str) -> Callable[[str], Any]:
    """A ``__getattr__`` for a package that imports its names under ``if TYPE_CHECKING:``.

    That block is the list of names: type checkers read it as it stands, this function reads where each name is from.

    Args:
        package: ``__name__`` of the package.
        file: its ``__file__``.

    Example:
        >>> import tenfold.optim
        >>> get = names_when_asked("tenfold.optim", tenfold.optim.__file__)
        >>> get("AdamATan2").__module__
        'tenfold.optim.adam_atan2'
    """
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    homes = {alias.asname or alias.name: (str(node.module), alias.name) for node in imports for alias in node.names}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = homes[name]
        return getattr(importlib.import_module(module), original)

    return get
