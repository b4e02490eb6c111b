"""Papers are found by folder: each holds a ``paper.toml`` with what can be said without importing torch.

There is no list of papers to edit. The folders are those of the package ``tenfold.papers``, those under each directory
in the environment variable ``TENFOLD_PAPERS`` (separated like ``PATH``), and those of installed packages that name
themselves by an entry point of the group ``tenfold.papers``, so that a paper of one's own need not live in here.
A paper's modules are imported only when it is named.

A *study* is one experiment: a folder with a ``recipe.py`` and a ``config.py``. Most papers hold one, in their own
folder; a paper that holds several has a folder within it for each, and its ``paper.toml`` names the default one. The
default study goes by the paper's name (``kimi_k2``), the others by both (``kimi_k2/agentic``). A paper is *available*
once it holds a study; without one it is announced, not runnable.
"""

import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tenfold.core.config import nearest
from tenfold.core.errors import UserError
from tenfold.core.extras import EXTRAS

ENTRY_POINTS = "tenfold.papers"
PRESETS = ("smoke", "laptop", "gpu", "paper")


@dataclass(frozen=True)
class Study:
    """One experiment of a paper.

    Args:
        name: what it is called everywhere: the paper's name, and ``paper/study`` where it is not the default one.
        paper: folder name of the paper.
        title: the title of the publication.
        claim: what is claimed, in one line.
        needs: what running it takes, in one line.
        times: preset to time, for the presets whose time is known.
        own: what ``tenfold train`` does with data of a user's own, in one line; empty where it is not offered.
        extras: the optional parts without which it does not run.
        directory: the folder with its ``config.py`` and ``recipe.py``.
        paper_directory: the paper's folder, whose README holds its results.
    """

    name: str
    paper: str
    title: str
    claim: str
    needs: str
    times: Mapping[str, str]
    own: str
    extras: tuple[str, ...]
    directory: Path
    paper_directory: Path


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
        times: preset to time of the default study, for the presets whose time is known.
        verbs: own verbs of the command line, each with one line of help; functions of ``commands.py``.
        directory: the folder.
        studies: its experiments, the default one first; none for a paper that is announced.
        place: where it stands in the digest, counted from 1; 0 for a paper that is not in it.
        korean: ``claim`` and ``headline`` in Korean, for the digest's page.
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
    studies: tuple[Study, ...] = ()
    place: int = 0
    korean: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def available(self) -> bool:
        """Whether the paper can be run."""
        return bool(self.studies)


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


def studies() -> list[Study]:
    """All experiments that can be run, in the order of their papers, default ones first."""
    return [study for paper in papers() for study in paper.studies]


def find_study(target: str) -> Study:
    """The study that ``target`` names: a paper (its default study) or ``paper/study``.

    Raises:
        UserError: there is no such paper or study, or the paper cannot be run yet.

    Example:
        >>> find_study("hrm").name
        'hrm'
    """
    name, _, wanted = target.partition("/")
    paper = find(name)
    if not paper.available:
        ready = ", ".join(other.name for other in papers() if other.available)
        raise UserError(f"paper {name!r} is announced but not available yet; available: {ready}")
    if not wanted:
        return paper.studies[0]
    known = {study.directory.name: study for study in paper.studies}
    if wanted not in known or paper.studies[0].directory == paper.directory:
        others = ", ".join(study.name for study in paper.studies)
        raise UserError(f"unknown study {target!r}; {paper.name} has {others}")
    return known[wanted]


def config_module(target: str) -> ModuleType:
    """The module with a study's configuration and presets; it imports no torch."""
    return _module(find_study(target), "config")


def recipe_module(target: str) -> ModuleType:
    """The module with a study's arms, claims and ``run``."""
    return _module(find_study(target), "recipe")


def own_training_module(target: str) -> ModuleType:
    """The module that trains on a user's own data."""
    return _module(find_study(target), "own_training")


def commands_module(paper: str) -> ModuleType:
    """The module with a paper's own verbs."""
    return _imported(f"{paper}.commands", find(paper).directory.parent)


def touch_module(paper: str) -> ModuleType | None:
    """The module with a paper's tab of the studio; ``None`` for a paper without one."""
    found = find(paper)
    if not (found.directory / "touch.py").is_file():
        return None
    return _imported(f"{paper}.touch", found.directory.parent)


def presets_of(target: str) -> list[str]:
    """The presets that a study has, of :data:`PRESETS`."""
    module = config_module(target)
    return [preset for preset in PRESETS if hasattr(module, preset)]


def preset_config(target: str, preset: str, task: str | None = None) -> Any:
    """The configuration of a study's preset.

    Args:
        target: the study.
        preset: one of :data:`PRESETS`.
        task: for ``paper``, one of the module's ``TASKS``; ``None`` for the default of ``paper()``.

    Raises:
        UserError: the study has no such preset or task, or a task is given for another preset.
    """
    module = config_module(target)
    if preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}; {nearest(preset, PRESETS)}")
    if not hasattr(module, preset):
        raise UserError(f"{target} has no preset {preset}; it has {', '.join(presets_of(target))}")
    if preset != "paper":
        if task is not None:
            raise UserError(f"task is {task!r}, but only the preset paper has tasks, not {preset}")
        return getattr(module, preset)()
    if task is None:
        return module.paper()
    if task not in module.TASKS:
        raise UserError(f"unknown task {task!r} of {target}; {nearest(task, module.TASKS)}")
    return module.paper(task=task)


def default_task(target: str) -> str:
    """The task of ``paper()`` when none is given; empty for a study without a published setting."""
    module = config_module(target)
    if not hasattr(module, "paper"):
        return ""
    return str(inspect.signature(module.paper).parameters["task"].default)


def _roots() -> list[Path]:
    """The directories that hold paper folders; the first one with a name wins."""
    extra = os.environ.get("TENFOLD_PAPERS", "").split(os.pathsep)
    return [
        Path(importlib.import_module("tenfold.papers").__path__[0]),
        *(Path(root).resolve() for root in extra if root),
        *_installed_roots(tuple(sys.path)),
    ]


@functools.cache  # a command asks several times
def _installed_roots(path: tuple[str, ...]) -> list[Path]:
    """Those of installed packages, which name a package that holds paper folders as an entry point.

    Args:
        path: where packages are looked for now.
    """
    found = []
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        package = importlib.util.find_spec(point.module)
        if package is None or not package.submodule_search_locations:
            raise UserError(f"entry point {point.name} of {ENTRY_POINTS}: {point.module} is no package with papers")
        found += [Path(folder) for folder in package.submodule_search_locations]
    return found


def _module(study: Study, part: str) -> ModuleType:
    root = study.paper_directory.parent
    inner = study.directory.relative_to(root).parts
    return _imported(".".join([*inner, part]), root)


def _imported(name: str, root: Path) -> ModuleType:
    """A module of a paper, by its name within the package of papers."""
    package = importlib.import_module("tenfold.papers")
    if str(root) not in package.__path__:
        package.__path__.append(str(root))
    return importlib.import_module(f"tenfold.papers.{name}")


TEXTS = ("title", "authors", "arxiv", "claim", "needs")
OPTIONAL = ("times", "verbs", "own", "extras", "study", "studies", "place", "korean")
OF_A_STUDY = ("claim", "needs", "times", "own", "extras")


def _read(path: Path) -> Paper:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML: {error}") from None
    for field in TEXTS:
        if not isinstance(data.get(field), str):
            raise UserError(f"{path}: {field} is {data.get(field)!r}; allowed: a text")
    _refuse_unknown(data, (*TEXTS, *OPTIONAL), f"{path}: ")
    return Paper(
        name=path.parent.name,
        directory=path.parent,
        times=data.get("times", {}),
        verbs=data.get("verbs", {}),
        studies=_studies(path, data),
        place=data.get("place", 0),
        korean=data.get("korean", {}),
        **{field: data[field] for field in TEXTS},
    )


def _studies(path: Path, data: Mapping[str, Any]) -> tuple[Study, ...]:
    """The experiments in a paper's folder; what the file does not say of one of them is that of the paper."""
    folder, default = path.parent, data.get("study", "")
    inner = sorted(recipe.parent for recipe in folder.glob("*/recipe.py"))
    if (folder / "recipe.py").is_file():
        if inner:
            raise UserError(f"{folder} holds a recipe.py and studies ({inner[0].name}); allowed: one or the other")
        for field in ("study", "studies"):
            if field in data:
                raise UserError(f"{path}: {field} is set, but the paper has one study, in its own folder; leave it out")
        return (_study(folder.name, folder, folder, data, {}),)
    if not inner:
        return ()
    if default not in [study.name for study in inner]:
        names = ", ".join(study.name for study in inner)
        raise UserError(f"{path}: study is {default!r}; allowed: the default one of {names}")
    said = data.get("studies", {})
    _refuse_unknown(said, [study.name for study in inner], f"{path}: studies: ")
    for name, facts in said.items():
        _refuse_unknown(facts, OF_A_STUDY, f"{path}: studies.{name}: ")
    first = _study(folder.name, folder, folder / default, data, said.get(default, {}))
    others = [study for study in inner if study.name != default]
    plain = {field: value for field, value in data.items() if field not in ("times", "own")}
    return (
        first,
        *(_study(f"{folder.name}/{other.name}", folder, other, plain, said.get(other.name, {})) for other in others),
    )


def _study(name: str, paper: Path, directory: Path, data: Mapping[str, Any], said: Mapping[str, Any]) -> Study:
    facts = {field: data[field] for field in OF_A_STUDY if field in data} | dict(said)
    return Study(
        name=name,
        paper=paper.name,
        title=data["title"],
        claim=facts["claim"],
        needs=facts["needs"],
        times=facts.get("times", {}),
        own=facts.get("own", ""),
        extras=_extras(name, facts.get("extras", [])),
        directory=directory,
        paper_directory=paper,
    )


def _extras(study: str, names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in EXTRAS:
            raise UserError(f"paper.toml of {study}: extras names {name!r}; {nearest(name, EXTRAS)}")
    return tuple(names)


def _refuse_unknown(data: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for field in data:
        if field not in known:
            raise UserError(f"{where}unknown key {field}; {nearest(field, sorted(known))}")
