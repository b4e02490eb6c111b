"""What is kept of a published run: enough to draw its report again, and no more."""

import gzip
import json
from dataclasses import replace
from shutil import copytree

import fake_recipe
import pytest
from fake_recipe import arguments
from rich.console import Console

from tenfold.core import stored
from tenfold.core.cell import Cell
from tenfold.core.directory import RunDirectory
from tenfold.core.entries import read, write
from tenfold.core.errors import UserError
from tenfold.core.report import write_report
from tenfold.core.results import run_from_directory
from tenfold.core.runner import execute
from tenfold.core.stored import POINTS, store, stored_report

CURVE = [(float(step), step / 1000) for step in range(1000)]


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    def run(config, arm, seed, cell: Cell):
        measured = fake_recipe.run(config, arm, seed, cell)
        return replace(measured, curves={"train/long": CURVE}, samples={"seed": seed})

    recipe = type("Recipe", (), vars(fake_recipe) | {"run": staticmethod(run)})
    path = tmp_path_factory.mktemp("runs") / "run"
    execute(**arguments(path) | {"recipe": recipe}, seeds=[0, 1, 2, 3, 4], console=Console(quiet=True))
    return path


@pytest.fixture
def published(run_directory, tmp_path, monkeypatch):
    """A repository with the run's entry and stored data."""
    report = json.loads((run_directory / "report.json").read_text()) | {"changed": {}}
    (run_directory / "report.json").write_text(json.dumps(report))
    entry = run_from_directory(run_directory)
    write(tmp_path / "results" / "fake.json", [entry])
    return tmp_path, entry, store(run_directory, tmp_path, entry)


def test_the_report_is_drawn_again_from_what_is_stored(run_directory, published):
    repository, entry, path = published
    assert path == repository / "results" / "fake" / f"{entry['date'][:10]}-laptop.json.gz"
    report = stored_report(repository, "fake", read(repository / "results" / "fake.json"))
    run = RunDirectory.open(run_directory)
    assert report.config == run.config() and report.facts == run.facts()
    for arm in ("slow", "fast"):
        for seed in range(5):
            whole, kept = run.scores(arm, seed), report.scores[arm][seed]
            assert kept.metrics == whole.metrics and kept.items == whole.items and kept.samples == {"seed": seed}
    assert [judged.verdict for judged in report.judgements] == ["supported", "supported"]
    write_report(report, [], repository / "again")
    again = json.loads((repository / "again" / "report.json").read_text())
    before = json.loads((run_directory / "report.json").read_text())
    assert again["arms"]["fast"]["test/near"] == before["arms"]["fast"]["test/near"]
    assert again["claims"] == before["claims"]


def test_the_finished_seeds_of_a_run_that_was_stopped_are_drawn(run_directory, tmp_path):
    stopped = tmp_path / "stopped"
    copytree(run_directory, stopped)
    facts = RunDirectory.open(stopped).facts()
    RunDirectory.open(stopped).write_facts({k: v for k, v in facts.items() if k not in ("cell_seconds", "seconds")})
    report = json.loads((stopped / "report.json").read_text()) | {
        "changed": {},
        "seeds_finished": {arm: [0, 1] for arm in ("slow", "fast")},
    }
    report["arms"] = {arm: {name: v[:2] for name, v in row.items()} for arm, row in report["arms"].items()}
    (stopped / "report.json").write_text(json.dumps(report))
    entry = run_from_directory(stopped)
    store(stopped, tmp_path, entry)
    drawn = stored_report(tmp_path, "fake", [entry])
    write_report(drawn, [], tmp_path / "again")
    again = json.loads((tmp_path / "again" / "report.json").read_text())
    assert again["seeds"] == [0, 1] and len(again["arms"]["fast"]["cost/seconds"]) == 2
    assert {claim["verdict"] for claim in again["claims"]} == {"undecided"}


def test_curves_are_thinned_with_their_ends_kept(published):
    content = json.loads(gzip.decompress(published[2].read_bytes()))
    curve = content["scores"]["fast"]["0"]["curves"]["train/long"]
    assert len(curve) == POINTS and curve[0] == list(CURVE[0]) and curve[-1] == list(CURVE[-1])


def test_storing_again_changes_no_byte_and_another_run_of_the_day_has_its_own_file(run_directory, published):
    repository, entry, path = published
    before = path.read_bytes()
    assert store(run_directory, repository, entry) == path and path.read_bytes() == before
    other = store(run_directory, repository, entry | {"run": "another"})
    assert other.name == f"{entry['date'][:10]}-laptop-another.json.gz" and path.read_bytes() == before


def test_a_run_without_stored_data_has_only_its_table(published):
    repository, entry, path = published
    path.unlink()
    with pytest.raises(
        UserError, match="has no stored data to draw its report from; the table of its numbers is in fake"
    ):
        stored_report(repository, "fake", [entry])
    with pytest.raises(UserError, match="no run of fake is published"):
        stored_report(repository, "fake", [])


def test_a_report_that_is_drawn_again_describes_the_arms_of_its_recipe(published, monkeypatch):
    repository, entry, _ = published
    assert stored_report(repository, "fake", [entry]).arms == {}
    monkeypatch.setattr(stored, "studies", lambda: [type("Study", (), {"name": "fake"})])
    monkeypatch.setattr(stored, "recipe_module", lambda study: fake_recipe)
    again = stored_report(repository, "fake", [entry])
    assert again.arms == {arm: described.text for arm, described in fake_recipe.ARMS.items()}
