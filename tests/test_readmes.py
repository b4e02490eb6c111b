"""The tables in the READMEs say what ``results/`` says, and what the READMEs say about commands is true."""

import re
from pathlib import Path

import pytest

from tenfold.core import discovery
from tenfold.core.digest import FOLDER, is_stale
from tenfold.core.tables import published, stale

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("src/tenfold/papers/*/README.md")])


def test_no_readme_is_stale():
    assert stale(ROOT) == [], "run `tenfold report RUN --publish`, which writes the tables"


def test_every_paper_that_ran_before_plans_is_published():
    assert set(published(ROOT)) >= {"cort", "hrm", "iw_sft", "kimi_k2", "rlcr", "sem", "universal_pretraining"}


MADE_BY_THE_READER = ("my_idea", "my_paper", "sums")


def commands(document):
    """Each command of tenfold in a document's shell blocks, with its comment."""
    blocks = re.findall(r"^```(?:bash|sh)?\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("tenfold ")]
    return [tuple(part.strip() for part in line.partition("#")[::2]) for line in lines]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_comments_of_commands_are_true(document):
    """A command that is said to have made a table is the one that is stored with it; verdicts come from plans."""
    stored = {run["command"] for runs in published(ROOT).values() for run in runs}
    for command, comment in commands(document):
        if re.search(r"the table|\babove\b|these numbers", comment):
            assert command in stored, f"{command}: no published run says so"
        if command.startswith("tenfold run") and "verdict" in comment and "no verdict" not in comment:
            assert "--seeds plan" in command, f"{command}: verdicts come from the planned seeds"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_name_what_is_there(document):
    for command, _ in commands(document):
        words = command.split()
        names_a_study = words[1] in ("run", "show", "tune", "train") and re.fullmatch(
            r"[a-z_/0-9]+", " ".join(words[2:3])
        )
        if names_a_study and words[2] not in MADE_BY_THE_READER:
            assert discovery.find_study(words[2]), command


def test_the_digest_is_not_stale():
    for name in ("index.html", "index.ko.html"):
        assert not is_stale(ROOT / FOLDER / name, ROOT), "run `tenfold digest`, which writes the pages"


def test_the_korean_front_page_keeps_in_step():
    """As many headings, the same code but for its comments, the same documents, and each paper's line."""
    english, korean = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))
    assert english.count("\n## ") == korean.count("\n## ")
    assert code_without_comments(korean) == code_without_comments(english) != []
    assert set(LINK.findall(english)) - set(LINK.findall(korean)) - {"README.ko.md"} == set()
    for paper in discovery.papers():
        assert paper.title in korean and paper.korean["claim"] in korean


def code_without_comments(text):
    blocks = re.findall(r"```(?:python|bash)\n(.*?)```", text, flags=re.DOTALL)
    return [[line.partition("#")[0].rstrip() for line in block.splitlines()] for block in blocks]


LINK = re.compile(r"\]\(((?:docs|results|C)[^)#]*)\)")
