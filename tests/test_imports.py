"""The rules of direction, and the promise that the command line answers without the heavy libraries."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import tenfold

HEAVY = {"torch", "scipy", "matplotlib", "accelerate", "transformers"}
LIGHT_PACKAGES = ("core", "cli")


def light_modules():
    root = Path(tenfold.__file__).parent
    paths = [path for package in LIGHT_PACKAGES for path in sorted((root / package).glob("*.py"))]
    return [f"tenfold.{path.parent.name}.{path.stem}" for path in paths if path.stem != "__init__"]


def heavy_after(program):
    shown = f"{program}\nimport sys; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_core_and_cli_import_nothing_heavy():
    assert heavy_after("\n".join(f"import {name}" for name in light_modules())) == ""


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list"], ["new", "--help"], ["run"]])
def test_quick_commands_import_nothing_heavy(words):
    program = "import contextlib\nfrom tenfold.cli.main import main\nwith contextlib.suppress(SystemExit):\n"
    assert heavy_after(f"{program}    main({words!r})") == ""


def test_the_import_contracts_hold():
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed: pip install -e '.[dev]'")
    root = Path(__file__).parents[1]
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stdout
