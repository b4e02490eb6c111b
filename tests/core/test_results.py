"""Published results: schema, replacement, and README tables that are stale or not."""

import hashlib
import json
from copy import deepcopy

import fake_recipe
import pytest
from fake_recipe import arguments
from rich.console import Console

from tenfold.core.errors import UserError
from tenfold.core.results import (
    merge,
    publish,
    read,
    refresh_readmes,
    render_summary,
    render_tables,
    run_from_directory,
    stale,
    update_readme,
    write,
)
from tenfold.core.runner import execute


@pytest.fixture(scope="module", autouse=True)
def paper_folder(tmp_path_factory):
    """The fake recipe as a paper that is found by its folder, so that its preset is known."""
    folder = tmp_path_factory.mktemp("papers") / "fake"
    folder.mkdir()
    fields = "".join(f'{name} = "x"\n' for name in ("title", "authors", "arxiv", "claim", "needs"))
    (folder / "paper.toml").write_text(fields)
    (folder / "recipe.py").write_text("from fake_recipe import *\n")
    (folder / "config.py").write_text("from fake_recipe import Config\n\n\ndef smoke():\n    return Config()\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_PAPERS", str(folder.parent))
        yield folder


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    execute(**arguments(path), seeds=[0, 1, 2], console=Console(quiet=True))
    return path


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "tenfold"\n')
    paper = tmp_path / "src" / "tenfold" / "papers" / "fake"
    paper.mkdir(parents=True)
    (tmp_path / "README.md").write_text("# Top\n\n<!-- results -->\nhand-written\n<!-- /results -->\n\nafter\n")
    (paper / "README.md").write_text("# Fake\n<!-- results:fake --><!-- /results:fake -->\n")
    return tmp_path


def test_an_entry_has_the_documented_fields(run_directory):
    run = run_from_directory(run_directory)
    assert set(run) == {
        "paper", "preset", "changed", "seeds", "command", "commit", "tree_clean", "date", "hardware", "versions",
        "seconds", "report_sha256", "arms", "claims",
    }  # fmt: skip
    assert run["report_sha256"] == hashlib.sha256((run_directory / "report.html").read_bytes()).hexdigest()
    assert len(run["arms"]["fast"]["test/near"]) == 3 and run["changed"] == {}
    claim = run["claims"][0]
    assert claim["verdict"] == "supported" and claim["interval"][0] > claim["margin"]


def test_publishing_writes_the_file_and_both_tables(run_directory, repository):
    assert stale(repository) == []
    written = publish(run_directory, repository)
    readme, paper_readme = repository / "README.md", repository / "src/tenfold/papers/fake/README.md"
    assert written == [repository / "results" / "fake.json", readme, paper_readme]
    top = readme.read_text()
    assert "hand-written" not in top and top.endswith("<!-- /results -->\n\nafter\n") and "2 supported" in top
    assert "| Fast ends nearer. |" in paper_readme.read_text() and "tenfold run fake" in paper_readme.read_text()
    assert stale(repository) == []


def test_publishing_twice_changes_nothing(run_directory, repository):
    publish(run_directory, repository)
    before = (repository / "results" / "fake.json").read_bytes()
    assert publish(run_directory, repository) == [repository / "results" / "fake.json"]
    assert (repository / "results" / "fake.json").read_bytes() == before


def test_an_edited_number_makes_the_tables_stale(run_directory, repository):
    publish(run_directory, repository)
    path = repository / "results" / "fake.json"
    runs = read(path)
    runs[0]["arms"]["fast"]["test/near"] = [0.1, 0.2, 0.3]
    write(path, runs)
    paper_readme = repository / "src/tenfold/papers/fake/README.md"
    assert stale(repository) == [paper_readme]
    refresh_readmes(repository)
    assert stale(repository) == [] and "0.200 ± 0.248" in paper_readme.read_text()


def test_a_new_run_replaces_the_one_of_its_kind(run_directory):
    run = run_from_directory(run_directory)
    newer = {**run, "date": "2030-01-01"}
    elsewhere = {**run, "hardware": "another machine"}
    assert merge([run, elsewhere], newer) == [newer, elsewhere]
    assert merge([run], elsewhere) == [run, elsewhere]
    assert merge([], run) == [run]


def test_a_shortened_run_stands_beside_that_of_the_preset(run_directory, repository, tmp_path):
    short = tmp_path / "short"
    config = fake_recipe.Config(fake_recipe.Training(steps=10))
    execute(**arguments(short) | {"config": config}, seeds=[0], console=Console(quiet=True))
    publish(run_directory, repository)
    publish(short, repository)
    full, shortened = read(repository / "results" / "fake.json")
    assert (full["changed"], shortened["changed"]) == ({}, {"training.steps": 10})
    tables = (repository / "src/tenfold/papers/fake/README.md").read_text()
    assert "**smoke, 3 seeds**" in tables and "**smoke with training.steps 10, 1 seed**" in tables
    assert merge([full, shortened], {**shortened, "changed": {"training.steps": 12}})[:2] == [full, shortened]


def test_fewer_seeds_do_not_replace_more(run_directory, repository, tmp_path):
    publish(run_directory, repository)
    before = (repository / "results" / "fake.json").read_bytes()
    execute(**arguments(tmp_path / "single"), seeds=[0], console=Console(quiet=True))
    with pytest.raises(UserError, match="run of smoke has 3 seeds; one with 1 seed cannot replace it"):
        publish(tmp_path / "single", repository)
    assert (repository / "results" / "fake.json").read_bytes() == before


def test_summary_takes_the_run_with_the_most_seeds(run_directory):
    run = run_from_directory(run_directory)
    single = {**run, "seeds": [0], "preset": "gpu", "date": "2030-01-01"}
    assert "smoke, 3 seeds" in render_summary({"fake": [run, single]})
    shortened = {**run, "changed": {"training.steps": 10}, "date": "2030-01-01"}
    assert "smoke, 3 seeds" in render_summary({"fake": [run, shortened]})
    assert "smoke with training.steps 10, 3 seeds" in render_summary({"fake": [shortened]})


def test_numbers_that_are_missing_or_not_finite_are_shown_as_such(run_directory):
    run = deepcopy(run_from_directory(run_directory))
    run["arms"]["fast"]["test/other"] = [None, 0.5, 0.5]
    assert "| `test/other` | – | not a number |" in render_tables([run])


def test_an_unfinished_run_is_not_published(run_directory, repository, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    report = json.loads((run_directory / "report.json").read_text())
    report["seeds_finished"]["fast"] = [0, 1]
    (copy / "report.json").write_text(json.dumps(report))
    (copy / "report.html").write_text("")
    with pytest.raises(UserError, match="arm fast finished seeds"):
        publish(copy, repository)
    with pytest.raises(UserError, match="has no report"):
        publish(tmp_path, repository)


def test_publishing_needs_a_checkout(run_directory, tmp_path):
    with pytest.raises(UserError, match=r"has no pyproject\.toml of tenfold"):
        publish(run_directory, tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\n')
    with pytest.raises(UserError, match=r"has no pyproject\.toml of tenfold"):
        publish(run_directory, tmp_path)
    assert not (tmp_path / "results").exists()


def test_a_report_without_changes_from_a_preset_is_not_published(run_directory, tmp_path):
    report = json.loads((run_directory / "report.json").read_text())
    (tmp_path / "report.html").write_text("")
    (tmp_path / "report.json").write_text(json.dumps(report | {"changed": None}))
    with pytest.raises(UserError, match="paper 'fake' has no preset here"):
        run_from_directory(tmp_path)
    del report["changed"]
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(UserError, match="has no changed"):
        run_from_directory(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run.pop("hardware"), "run 0 has no hardware"),
        (lambda run: run.pop("changed"), "run 0 has no changed"),
        (lambda run: run.update(seeds="three"), "seeds is 'three'"),
        (lambda run: run["arms"]["fast"].update({"test/near": [1.0]}), "fast has 1 values of test/near for 3 seeds"),
        (lambda run: run["claims"][0].update(verdict="yes"), "verdict is 'yes'; allowed are supported"),
        (lambda run: run["claims"][0].pop("effect"), "a claim has no effect"),
    ],
)
def test_a_file_that_breaks_the_schema_is_refused(run_directory, tmp_path, change, message):
    run = deepcopy(run_from_directory(run_directory))
    change(run)
    (tmp_path / "fake.json").write_text(json.dumps([run]))
    with pytest.raises(UserError, match=message):
        read(tmp_path / "fake.json")


def test_a_readme_without_a_place_for_the_tables_is_named(tmp_path):
    (tmp_path / "README.md").write_text("# Nothing\n")
    with pytest.raises(UserError, match=r"README\.md has no place for the results"):
        update_readme(tmp_path / "README.md", "results", "text")


def test_the_fake_recipe_is_the_one_that_was_run(run_directory):
    assert list(run_from_directory(run_directory)["arms"]) == list(fake_recipe.ARMS)
