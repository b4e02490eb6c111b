"""The documents speak of what exists: links lead somewhere, commands parse, and the examples in docstrings run."""

import doctest
import importlib
import pkgutil
import re
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

import tenfold
from tenfold.cli.main import VERBS, main
from tenfold.core.discovery import papers
from tenfold.data.sudoku import parse_board
from tenfold.papers.hrm.config import laptop
from tenfold.papers.hrm.reasoner import Reasoner

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("src/tenfold/papers/*/README.md")]
MODULES = sorted(
    info.name for info in pkgutil.walk_packages(tenfold.__path__, "tenfold.") if "__main__" not in info.name
)
AVAILABLE = [paper.name for paper in papers() if paper.available]


def skip_without_isolation(text):
    """What opens a code sandbox runs only where programs can be isolated."""
    opens = any(name in text for name in ("Sandbox(", "MatplotlibRenderer(", "ChartRecorder(", "SvgRenderer("))
    if opens and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is missing: apt install bubblewrap")


def commands(path):
    """The ``tenfold`` commands in the code blocks of a document."""
    blocks = re.findall(r"```bash\n(.*?)```", path.read_text(), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("tenfold ")]


ALL_COMMANDS = sorted({tuple(words) for path in DOCUMENTS for words in commands(path)})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("words", ALL_COMMANDS, ids=" ".join)
def test_the_verbs_in_the_documents_exist(words):
    assert words[0] in {*VERBS, "--help", *(verb for paper in papers() for verb in paper.verbs)}


PROGRAMS = [
    (path, program)
    for path in DOCUMENTS
    for program in re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL)
]


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # trl asks transformers by old names
@pytest.mark.parametrize(("path", "program"), PROGRAMS, ids=[str(path.relative_to(ROOT)) for path, _ in PROGRAMS])
def test_the_programs_in_the_documents_run(path, program, tmp_path, monkeypatch, capsys):
    skip_without_isolation(program)
    monkeypatch.chdir(tmp_path)
    architecture = asdict(laptop().arms.hrm)  # the programs of HRM's document load a folder of this name
    Reasoner(architecture=architecture, box=(2, 3)).save_pretrained("my-model")
    exec(compile(program, str(path), "exec"), {})


BOARDS = [words[words.index("--puzzle") + 1] for words in ALL_COMMANDS if "--puzzle" in words]


@pytest.mark.parametrize("board", [board for board in BOARDS if board != "…"])
def test_the_puzzles_in_the_documents_are_puzzles(board):
    assert parse_board(board, {16: (2, 2), 36: (2, 3), 81: (3, 3)}[len(board)]).any()


RUNS = [words for words in ALL_COMMANDS if words[0] == "run" and words[1] in AVAILABLE and "--resume" not in words]


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_the_runs_in_the_documents_have_flags_that_exist(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").touch()
    assert main([*words, "--dry-run"]) == 0


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tenfold"):
            raise
        pytest.skip(f"needs the package {error.name}")
    skip_without_isolation(Path(module.__file__).read_text())
    assert doctest.testmod(module, extraglobs={"torch": torch, "np": np}).failed == 0  # the names everyone imports
