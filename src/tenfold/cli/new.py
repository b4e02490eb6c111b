"""``tenfold new NAME``: a paper folder that runs and passes the conformance tests, to be changed into one's own.

There are three to begin with, in ``cli/templates``: ``loop`` (a model of one's own, trained by ``tenfold.train.loop``),
``control`` (demonstrations, a policy network, episodes), and ``language`` (a language model: a warm start that arms
share, GRPO, and training on a user's own questions). The folder goes into the package's papers when the package is a
source tree; anywhere else, ``--into`` names the place, and the environment variable ``TENFOLD_PAPERS`` makes tenfold
look there.
"""

import keyword
import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tenfold.core.discovery import papers
from tenfold.core.errors import UserError

TEMPLATES = Path(__file__).parent / "templates"
Like = Literal["loop", "control", "language"]


@dataclass(frozen=True)
class NewCommand:
    """Start a paper folder that runs and passes the conformance tests."""

    name: Annotated[str, tyro.conf.Positional]
    """Name of the new folder, and of the paper on the command line: lower-case letters, digits and _."""
    like: Like = "loop"
    """What the paper trains: a model by a plain loop, a policy that acts, or a language model."""
    into: Path | None = None
    """The folder to make the new one in; by default the papers of this source tree."""


def main(arguments: Sequence[str]) -> int:
    """Make the folder and say what to do next."""
    command = tyro.cli(NewCommand, args=arguments, prog="tenfold new")
    root = _source_papers() if command.into is None else command.into
    folder = create(command.name, root, command.like)
    print(f"Made {folder}")
    if command.into is not None:
        print(f"Let tenfold find it: export TENFOLD_PAPERS={root.resolve()}")
    print(f"Run it:              tenfold run {command.name} --preset smoke")
    print("Then change the files; docs/add-a-paper.md tells what each must hold.")
    return 0


def create(name: str, root: Path, like: Like = "loop") -> Path:
    """Make the folder ``root / name`` and return it.

    Raises:
        UserError: the name is not one for a Python module, or is taken.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     sorted(path.name for path in create("my_paper", Path(folder)).iterdir())
        ['README.md', '__init__.py', 'config.py', 'method.py', 'paper.toml', 'recipe.py']
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"name is {name!r}; allowed: lower-case letters, digits and _, beginning with a letter")
    folder = root / name
    if folder.exists() or name in [paper.name for paper in papers()]:
        raise UserError(f"name is {name!r}, which is taken; choose another")
    folder.mkdir(parents=True)
    for file in sorted(path for path in (TEMPLATES / like).iterdir() if path.is_file()):
        text = file.read_text(encoding="utf-8")
        (folder / file.name).write_text(text.replace("paper_name", name), encoding="utf-8")
    (folder / "__init__.py").touch()
    return folder


def _source_papers() -> Path:
    """The papers folder of the source tree that this package runs from."""
    package = Path(__file__).resolve().parents[1]
    if package.is_relative_to(sysconfig.get_paths()["purelib"]):
        raise UserError("tenfold is installed, not a source tree: name a folder with --into")
    return package / "papers"
