"""The source checkout that this package runs from, where it does: its results and READMEs lie there."""

import tomllib
from pathlib import Path

import tenfold

ROOT = Path(tenfold.__file__).parents[2]
"""The root of the checkout; of an installed package, a folder that has neither results nor a ``pyproject.toml``."""


def is_checkout(path: Path = ROOT) -> bool:
    """Whether a folder is the root of a checkout: its ``pyproject.toml`` has the name tenfold."""
    project = path / "pyproject.toml"
    return project.is_file() and tomllib.loads(project.read_text()).get("project", {}).get("name") == "tenfold"
