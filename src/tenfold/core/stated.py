"""What a recipe states, read from its text: the plan, the seeds of choices, the headline; and the source of its method.

``recipe.py`` states ``PLAN``, ``CHOSEN_ON`` and the headline's id and sentence as literals. So they can be read without
importing torch, and from the text of an older commit: a plan counts only if the commit that a run began with held it.
"""

import ast
import hashlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tenfold
from tenfold.core.discovery import Study
from tenfold.core.errors import UserError
from tenfold.core.types import Claim, Plan

VERDICTS_ONLY = ("PLAN", "CHOSEN_ON", "CLAIMS")
"""Names of a recipe that decide no number, only what is said about numbers."""


@dataclass(frozen=True)
class Stated:
    """What a recipe's text states.

    Args:
        plan: its ``PLAN``; ``None`` where it has none.
        chosen_on: its ``CHOSEN_ON``: the seeds on which anything was chosen.
        headline: id of the claim marked as the headline; empty where none is.
        sentence: that claim's text.
        arms: the names in ``ARMS``, where it is written out as a dictionary.
    """

    plan: Plan | None = None
    chosen_on: tuple[int, ...] = ()
    headline: str = ""
    sentence: str = ""
    arms: tuple[str, ...] = ()


def stated_in(text: str) -> Stated:
    """What the text of a ``recipe.py`` states.

    Args:
        text: Python source.

    Raises:
        ValueError: the text is no Python, or one of the names is no literal.

    Example:
        >>> stated_in("CHOSEN_ON = (0, 1)\\nPLAN = Plan(laptop=(2, 3, 4, 5, 6), why='five')").plan
        Plan(laptop=(2, 3, 4, 5, 6), why='five', gpu=(), paper=())
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"not Python: {error}") from error
    found = {name: value for name, value in _assigned(tree) if name in ("PLAN", "CHOSEN_ON", "ARMS")}
    plan, arms = found.get("PLAN"), found.get("ARMS")
    if plan is not None and not isinstance(plan, ast.Call):
        raise ValueError("PLAN is no call of Plan")
    headline = _headline(tree)
    return Stated(
        plan=None if plan is None else Plan(**_literals(plan, ("laptop", "why", "gpu", "paper"))),
        chosen_on=tuple(ast.literal_eval(found["CHOSEN_ON"])) if "CHOSEN_ON" in found else (),
        headline=headline.get("id", ""),
        sentence=headline.get("text", ""),
        arms=_names(arms) if isinstance(arms, ast.Dict) else (),
    )


def stated_by(study: Study) -> Stated:
    """What a study's recipe states.

    Raises:
        UserError: the recipe is no Python, states something that is no literal, or plans seeds of choices.
    """
    path = study.directory / "recipe.py"
    try:
        stated = stated_in(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {error}; PLAN, CHOSEN_ON and the headline must be written out") from None
    planned = () if stated.plan is None else (*stated.plan.laptop, *stated.plan.gpu, *stated.plan.paper)
    if both := sorted(set(planned) & set(stated.chosen_on)):
        raise UserError(
            f"{path}: PLAN and CHOSEN_ON both name {both}; a verdict needs seeds that nothing was chosen on"
        )
    return stated


def claims_hash(claims: Sequence[Claim]) -> str:
    """A hash of what decides about claims, so that a run is judged by those that it began with: not by their wording.

    Args:
        claims: those of a recipe.

    Returns:
        64 hexadecimal digits.
    """
    deciding = ("id", "kind", "metric", "split", "arm", "baseline", "direction", "margin", "headline", "gate")
    plain = [[str(getattr(claim, name)) for name in deciding] for claim in claims]
    return hashlib.sha256(repr(plain).encode()).hexdigest()


def stated_at(commit: str, study: Study) -> Stated | None:
    """What a study's recipe stated at a commit of its repository; ``None`` where the commit has no such file."""
    path = study.directory / "recipe.py"
    done = subprocess.run(
        ["git", "-C", str(path.parent), "show", f"{commit}:./{path.name}"], capture_output=True, text=True, check=False
    )
    return stated_in(done.stdout) if done.returncode == 0 else None


def method_source(study: Study) -> str:
    """A hash of the code that a study's numbers come from, so that seeds are joined only if they ran the same.

    Taken over the study's recipe and every module of tenfold that it imports, directly or not, as Python reads them:
    comments, docstrings and layout do not count, nor do the recipe's plan and claims, pictures, and the core that
    keeps and shows what was measured.

    Returns:
        64 hexadecimal digits.
    """
    roots = (Path(tenfold.__file__).parents[1], study.paper_directory.parent)
    digest = hashlib.sha256()
    recipe = ".".join(["tenfold.papers", *study.directory.relative_to(study.paper_directory.parent).parts, "recipe"])
    for name, tree in sorted(_closure(recipe, roots).items()):
        if name == recipe:
            tree.body = [node for node in tree.body if _target(node) not in VERDICTS_ONLY]
        digest.update(f"{name}\n{ast.dump(_without_docstrings(tree))}\n".encode())
    return digest.hexdigest()


def _target(node: ast.stmt) -> str:
    """The name that a statement at the top of a module assigns, if it assigns one."""
    target: ast.expr | None = None
    if isinstance(node, ast.Assign):
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign):
        target = node.target
    return target.id if isinstance(target, ast.Name) else ""


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            yield _target(node), node.value


def _literals(call: ast.Call, names: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a call as values, positional ones called by ``names``."""
    given = dict(zip(names, call.args, strict=False)) | {word.arg: word.value for word in call.keywords if word.arg}
    return {name: ast.literal_eval(value) for name, value in given.items()}


def _names(dictionary: ast.Dict) -> tuple[str, ...]:
    """The keys of a dictionary; none unless all of them are texts."""
    keys = [key.value for key in dictionary.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return tuple(keys) if len(keys) == len(dictionary.keys) else ()


def _headline(tree: ast.Module) -> dict[str, str]:
    """Id and text of the call in which ``headline=True`` stands, whichever function makes the claim."""
    for node in ast.walk(tree):
        words = {word.arg: word.value for word in node.keywords} if isinstance(node, ast.Call) else {}
        mark = words.get("headline")
        if isinstance(node, ast.Call) and isinstance(mark, ast.Constant) and mark.value is True:
            given = dict(zip(("id", "text"), node.args, strict=False)) | words
            return {name: ast.literal_eval(given[name]) for name in ("id", "text")}
    return {}


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [inner for inner in node.body if not _is_text(inner)]
    return tree


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _closure(recipe: str, roots: tuple[Path, ...]) -> dict[str, ast.Module]:
    """Dotted name to content of the recipe and all that it imports of tenfold."""
    pending, seen = [recipe], set()
    found: dict[str, ast.Module] = {}
    while pending:
        name = pending.pop()
        path = _file(name, roots)
        if name in seen or path is None:
            continue
        seen.add(name)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not _decides_nothing(name):
            found[name] = tree
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        pending += list(_imports(tree, package))
    return found


def _decides_nothing(name: str) -> bool:
    """Whether no measured number depends on a module: pictures, and the core but for its seeding."""
    return name.endswith(".pictures") or (name.startswith("tenfold.core.") and name != "tenfold.core.seeding")


def _file(name: str, roots: tuple[Path, ...]) -> Path | None:
    """The file of a module of tenfold; papers may lie in a folder of their own."""
    package, papers = roots
    parts = name.split(".")
    bases = [package.joinpath(*parts)]
    if parts[:2] == ["tenfold", "papers"] and len(parts) > 2:
        bases.append(papers.joinpath(*parts[2:]))
    candidates = [path for base in bases for path in (base.with_suffix(".py"), base / "__init__.py")]
    return next((path for path in candidates if path.is_file()), None)


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Modules of tenfold that a file imports, at its top or within a function; each imported name may be one.

    Args:
        tree: the file.
        package: the package it lies in, which relative imports begin at.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("tenfold"))
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module.startswith("tenfold"):
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
