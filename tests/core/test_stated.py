"""What a recipe states, read from its text, also at another commit; and the hash of the code behind its numbers."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.core.discovery import find_study, recipe_module, studies
from tenfold.core.errors import UserError
from tenfold.core.stated import claims_hash, method_source, stated_at, stated_by, stated_in
from tenfold.core.types import Claim

RECIPE = """
from tenfold.core.types import Claim, Plan

CLAIMS = (
    Claim(id="other", text="It does not matter."),
    made("main", "It " "works.", "superiority", headline=True),
)
CHOSEN_ON = (0, 1)
PLAN = Plan((10, 11, 12, 13, 14), why="five", gpu=(20, 21, 22, 23, 24))
"""


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """A paper in a repository of its own."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "paper.toml").write_text("".join(f'{n} = "x"\n' for n in ("title", "authors", "arxiv", "claim", "needs")))
    (folder / "recipe.py").write_text(RECIPE)
    monkeypatch.setenv("TENFOLD_PAPERS", str(tmp_path))
    return folder


def git(folder, *arguments):
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_plan_choices_and_headline_are_read_without_importing():
    stated = stated_in(RECIPE)
    assert stated.plan is not None and stated.plan.laptop == (10, 11, 12, 13, 14) and stated.plan.gpu[0] == 20
    assert (stated.chosen_on, stated.headline, stated.sentence) == ((0, 1), "main", "It works.")
    assert stated_in("x = 1").plan is None and stated_in("x = 1").headline == ""


@pytest.mark.parametrize("text", ["def", "PLAN = seeds()[0]", "PLAN = Plan(laptop=tuple(range(5)), why='x')"])
def test_what_is_no_literal_is_refused(text):
    with pytest.raises(ValueError):
        stated_in(text)


@pytest.mark.parametrize("name", [study.name for study in studies()])
def test_the_text_says_what_the_module_says(name):
    recipe, stated = recipe_module(name), stated_by(find_study(name))
    (headline,) = [claim for claim in recipe.CLAIMS if claim.headline]
    assert stated.plan == recipe.PLAN and stated.chosen_on == recipe.CHOSEN_ON
    assert (stated.headline, stated.sentence) == (headline.id, headline.text)


def test_a_recipe_that_states_nothing_readable_is_one_line(paper):
    (paper / "recipe.py").write_text("PLAN = Plan(laptop=(1, 2, 3, 4, 5))\n")
    with pytest.raises(UserError, match=r"recipe\.py: .*why"):
        stated_by(find_study("mine"))
    (paper / "recipe.py").write_text(RECIPE.replace("CHOSEN_ON = (0, 1)", "CHOSEN_ON = (0, 12)"))
    with pytest.raises(UserError, match=r"PLAN and CHOSEN_ON both name \[12\]"):
        stated_by(find_study("mine"))


def test_the_hash_of_claims_sees_what_decides_and_not_the_wording():
    claim = Claim("a", "A works.", "threshold", "test/f1", "test", "A", None, "higher", 0.5, "steps", "ours")
    assert claims_hash([claim]) == claims_hash([replace(claim, text="Other words.", source="theirs")])
    for change in ({"margin": 0.4}, {"direction": "lower"}, {"headline": True}, {"id": "b"}, {"metric": "test/f2"}):
        assert claims_hash([claim]) != claims_hash([replace(claim, **change)])


def test_a_commit_is_asked_for_the_plan_that_it_held(paper):
    study = find_study("mine")
    git(paper, "init", "-q")
    git(paper, "add", ".")
    git(paper, "commit", "-qm", "first")
    first = git(paper, "rev-parse", "HEAD")
    (paper / "recipe.py").write_text(RECIPE.replace("(10, 11, 12, 13, 14)", "(30, 31, 32, 33, 34)"))
    git(paper, "commit", "-qam", "second")
    held, now = stated_at(first, study), stated_by(study)
    assert held is not None and held.plan is not None and held.plan.laptop == (10, 11, 12, 13, 14)
    assert now.plan is not None and now.plan.laptop == (30, 31, 32, 33, 34)
    assert stated_at("0" * 40, study) is None


def source_after(paper, change, file="recipe.py"):
    text = (paper / file).read_text()
    (paper / file).write_text(change(text))
    found = method_source(find_study("mine"))
    (paper / file).write_text(text)
    return found


def test_the_method_source_ignores_words_plans_and_claims_and_sees_code(paper):
    (paper / "recipe.py").write_text(RECIPE + "from tenfold.papers.mine.method import step\nRATE = 1\n")
    (paper / "method.py").write_text('def step(x):\n    """Words."""\n    return x\n')
    before = method_source(find_study("mine"))
    assert before == method_source(find_study("mine")) and len(before) == 64
    assert source_after(paper, lambda text: text.replace("Words", "Other words"), "method.py") == before
    assert source_after(paper, lambda text: "# a comment\n" + text) == before
    assert (
        source_after(
            paper, lambda text: text.replace("(10, 11, 12, 13, 14)", "(5, 6, 7, 8, 9)").replace("works", "fails")
        )
        == before
    )
    assert source_after(paper, lambda text: text.replace("RATE = 1", "RATE = 2")) != before
    assert source_after(paper, lambda text: text.replace("return x", "return 2 * x"), "method.py") != before


def test_the_method_source_follows_imports_into_the_shared_layers(paper):
    (paper / "recipe.py").write_text("from tenfold.optim import Muon\n")
    with_muon = method_source(find_study("mine"))
    (paper / "recipe.py").write_text("from tenfold.core.files import to_json\n")
    assert with_muon != method_source(find_study("mine"))
    import tenfold.optim.muon

    assert Path(tenfold.optim.muon.__file__).is_file(), "the module that the hash must have seen"
