import re
import subprocess
import sys

import pytest

from tenfold.core import discovery
from tenfold.core.errors import UserError

TEN = ["cort", "dino_world", "hrm", "iw_sft", "kimi_k2", "msa", "rlcr", "rrvf", "sem", "universal_pretraining"]


def test_the_ten_papers_are_found_by_folder(monkeypatch):
    monkeypatch.delenv("TENFOLD_PAPERS", raising=False)
    papers = discovery.papers()
    assert [paper.name for paper in papers] == TEN
    for paper in papers:
        assert re.fullmatch(r"\d{4}\.\d{5}", paper.arxiv)
        assert len(paper.claim) <= 130
        assert set(paper.times) <= set(discovery.PRESETS)


def test_a_misspelt_paper_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match=r"unknown paper 'hmr'; did you mean hrm\?"):
        discovery.find("hmr")


def test_papers_outside_the_package_are_found_and_imported(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    fields = "".join(f'{name} = "x"\n' for name in ("title", "authors", "arxiv", "claim", "needs"))
    (folder / "paper.toml").write_text(fields)
    monkeypatch.setenv("TENFOLD_PAPERS", str(tmp_path))
    program = (
        "from tenfold.core import discovery as d; print(d.find('mine').available); "
        "import pathlib; folder = d.find('mine').directory; (folder / 'recipe.py').write_text('ARMS = {}'); "
        "print(d.recipe_module('mine').ARMS)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "{}"]


def test_papers_of_installed_packages_are_found_by_their_entry_point(tmp_path, monkeypatch):
    package, facts = tmp_path / "my_package", tmp_path / "my_package-1.0.dist-info"
    for folder in (package / "papers" / "theirs", facts):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[tenfold.papers]\nmine = my_package.papers\n")
    fields = "".join(f'{name} = "x"\n' for name in ("title", "authors", "arxiv", "claim", "needs"))
    (package / "papers" / "theirs" / "paper.toml").write_text(fields)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"entry point mine of tenfold.papers: my_package.papers is no package"):
        monkeypatch.setattr(discovery.importlib.util, "find_spec", lambda name: None)
        discovery.papers()
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path)
    assert discovery.find("theirs").directory == package / "papers" / "theirs"


@pytest.mark.parametrize(
    ("text", "message"),
    [("title = 3", "title is 3; allowed: a text"), ("title =", "not TOML")],
)
def test_a_bad_paper_toml_names_file_and_field(text, message, tmp_path):
    path = tmp_path / "paper.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        discovery._read(path)


def test_a_paper_without_recipe_cannot_be_imported(tmp_path, monkeypatch):
    announced = [paper for paper in discovery.papers() if not paper.available]
    if not announced:
        pytest.skip("every paper is available")
    with pytest.raises(UserError, match="announced but not available yet"):
        discovery.recipe_module(announced[0].name)
