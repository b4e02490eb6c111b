"""Papers are found by folder: each holds a ``paper.toml`` with what can be said without importing torch.

There is no list of papers to edit. The folders are those of the package ``tenfold.papers`` and those under each
directory in the environment variable ``TENFOLD_PAPERS`` (separated like ``PATH``), so that a paper of one's own
need not live inside an installed package. A paper's modules are imported only when it is named.

A paper is *available* once its folder holds a ``recipe.py``; without one it is announced, not runnable.
"""

import importlib
import inspect
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tenfold.core.config import nearest
from tenfold.core.errors import UserError

PRESETS = ("smoke", "laptop", "gpu", "paper")


@dataclass(frozen=True)
class Paper:
    """What a ``paper.toml`` says.

    Args:
        name: the folder's name, which is also the name on the command line.
        title: the title of the publication.
        authors: its authors.
        arxiv: its arXiv number.
        claim: what it claims, in one line.
        needs: what running it takes, in one line.
        times: preset to time, for the presets whose time is known.
        verbs: own verbs of the command line, each with one line of help; functions of ``commands.py``.
        directory: the folder.
    """

    name: str
    title: str
    authors: str
    arxiv: str
    claim: str
    needs: str
    times: Mapping[str, str]
    verbs: Mapping[str, str]
    directory: Path

    @property
    def available(self) -> bool:
        """Whether the paper can be run."""
        return (self.directory / "recipe.py").is_file()


def papers() -> list[Paper]:
    """All papers, in the order of their names.

    Raises:
        UserError: a ``paper.toml`` is not TOML or lacks a field.

    Example:
        >>> "hrm" in [paper.name for paper in papers()]
        True
    """
    found: dict[str, Paper] = {}
    for root in _roots():
        for path in sorted(root.glob("*/paper.toml")):
            found.setdefault(path.parent.name, _read(path))
    return [found[name] for name in sorted(found)]


def find(name: str) -> Paper:
    """The paper called ``name``; :class:`UserError` with the nearest name when there is none.

    Example:
        >>> find("hrm").arxiv
        '2506.21734'
    """
    known = {paper.name: paper for paper in papers()}
    if name not in known:
        raise UserError(f"unknown paper {name!r}; {nearest(name, known)}")
    return known[name]


def find_available(name: str) -> Paper:
    """The paper called ``name`` if it can be run, else :class:`UserError`."""
    paper = find(name)
    if not paper.available:
        ready = ", ".join(other.name for other in papers() if other.available)
        raise UserError(f"paper {name!r} is announced but not available yet; available: {ready}")
    return paper


def config_module(name: str) -> ModuleType:
    """The module with the paper's configuration and presets; it imports no torch."""
    return _module(name, "config")


def recipe_module(name: str) -> ModuleType:
    """The module with the paper's arms, claims and ``run``."""
    return _module(name, "recipe")


def commands_module(name: str) -> ModuleType:
    """The module with the paper's own verbs."""
    return _module(name, "commands")


def preset_config(name: str, preset: str, task: str | None = None) -> Any:
    """The configuration of a paper's preset.

    Args:
        name: the paper.
        preset: one of :data:`PRESETS`.
        task: for ``paper``, one of the module's ``TASKS``; ``None`` for the default of ``paper()``.

    Raises:
        UserError: the preset or the task is unknown, or a task is given for another preset.
    """
    module = config_module(name)
    if preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}; {nearest(preset, PRESETS)}")
    if preset != "paper":
        if task is not None:
            raise UserError(f"task is {task!r}, but only the preset paper has tasks, not {preset}")
        return getattr(module, preset)()
    if task is None:
        return module.paper()
    if task not in module.TASKS:
        raise UserError(f"unknown task {task!r} of {name}; {nearest(task, module.TASKS)}")
    return module.paper(task=task)


def default_task(name: str) -> str:
    """The task of ``paper()`` when none is given."""
    return str(inspect.signature(config_module(name).paper).parameters["task"].default)


def _roots() -> list[Path]:
    """The directories that hold paper folders; the first one with a name wins."""
    extra = os.environ.get("TENFOLD_PAPERS", "").split(os.pathsep)
    return [
        Path(importlib.import_module("tenfold.papers").__path__[0]),
        *(Path(root).resolve() for root in extra if root),
    ]


def _module(name: str, part: str) -> ModuleType:
    root = find_available(name).directory.parent
    package = importlib.import_module("tenfold.papers")
    if str(root) not in package.__path__:
        package.__path__.append(str(root))
    return importlib.import_module(f"tenfold.papers.{name}.{part}")


def _read(path: Path) -> Paper:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML: {error}") from None
    for field in ("title", "authors", "arxiv", "claim", "needs"):
        if not isinstance(data.get(field), str):
            raise UserError(f"{path}: {field} is {data.get(field)!r}; allowed: a text")
    known = {"title", "authors", "arxiv", "claim", "needs", "times", "verbs"}
    for field in data.keys() - known:
        raise UserError(f"{path}: unknown key {field}; {nearest(field, sorted(known))}")
    return Paper(
        name=path.parent.name,
        directory=path.parent,
        times=data.pop("times", {}),
        verbs=data.pop("verbs", {}),
        **data,
    )
