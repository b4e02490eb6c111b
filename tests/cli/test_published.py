import io
import json

import pytest
from rich.console import Console

from tenfold.cli.published import print_published
from tenfold.core import results
from tenfold.core.discovery import find_study
from tenfold.core.entries import read, write
from tenfold.core.results import publish
from tenfold.core.runner import partial_report
from tenfold.core.stated import stated_by

SHORT = ("--training.steps", "100", "--training.checkpoint-every", "25")


def printed(report, repository):
    console = Console(file=io.StringIO(), width=250)
    print_published(report, console, repository)
    return console.file.getvalue()


@pytest.fixture(autouse=True)
def _plan_of_the_commit(tried_out, monkeypatch):
    """The paper lies in no repository; what its plan was at the commit of a run is that of today."""
    monkeypatch.setattr(results, "stated_at", lambda commit, study: stated_by(find_study(tried_out)))


@pytest.fixture
def repository(tried_out, tmp_path):
    """A source checkout that has a place for the paper's tables."""
    root = tmp_path / "repository"
    readme = root / "src" / "tenfold" / "papers" / tried_out / "README.md"
    readme.parent.mkdir(parents=True)
    readme.write_text(f"<!-- results:{tried_out} -->\n<!-- /results:{tried_out} -->\n")
    (root / "README.md").write_text("<!-- results -->\n<!-- /results -->\n")
    (root / "pyproject.toml").write_text('[project]\nname = "tenfold"\n')
    return root


def test_a_runs_verdicts_stand_beside_the_published_ones(tried_out, tenfold, repository, tmp_path):
    long, short = tmp_path / "long", tmp_path / "short"
    assert tenfold("run", tried_out, *SHORT, "--seeds", "plan", "--out", long)[0] == 0
    assert tenfold("run", tried_out, *SHORT, "--out", short)[0] == 0
    report = partial_report(short)
    assert printed(report, repository) == ""
    publish(long, repository)
    (stored,) = json.loads((repository / "results" / f"{tried_out}.json").read_text())
    assert stored["changed"] == {"training.steps": 100, "training.checkpoint_every": 25}
    shown = printed(report, repository)
    row = next(line for line in shown.splitlines() if line.startswith("│ decay "))
    assert "undecided (1 of 5 seeds)" in row
    assert stored["claims"][0]["verdict"] in row
    assert "5 seeds" in shown and "this run" not in shown.partition("┏")[0]


def test_the_published_run_with_the_same_changes_is_preferred_else_the_title_says_what_differs(
    tried_out, tenfold, repository, tmp_path
):
    assert tenfold("run", tried_out, *SHORT, "--out", tmp_path / "r")[0] == 0
    report = partial_report(tmp_path / "r")
    publish(tmp_path / "r", repository)
    path = repository / "results" / f"{tried_out}.json"
    (same,) = read(path)
    values = {arm: {name: value * 3 for name, value in row.items()} for arm, row in same["arms"].items()}
    longer = {**same, "run": "longer", "seeds": [10, 11, 12], "arms": values, "changed": {"training.steps": 150}}
    smoke = {**longer, "run": "smoke", "preset": "smoke", "date": "2030-01-01"}
    write(path, [same, longer, smoke])
    assert "published with" not in printed(report, repository)
    write(path, [longer, smoke])
    text = "published with training.steps 150, this run 100; training.checkpoint_every"
    assert text in printed(report, repository) and ", this run 25\n" in printed(report, repository)
    write(path, [smoke])
    text = "published with preset smoke with training.steps 150, this run laptop with training.steps 100, training.chec"
    assert text in printed(report, repository)


def test_report_publishes_into_the_current_checkout(tried_out, tenfold, repository, tmp_path, monkeypatch):
    assert tenfold("run", tried_out, *SHORT, "--out", tmp_path / "r")[0] == 0
    monkeypatch.chdir(tmp_path)
    status, _, err = tenfold("report", tmp_path / "r", "--publish")
    assert status == 2 and "has no pyproject.toml of tenfold" in err
    monkeypatch.chdir(repository)
    status, out, _ = tenfold("report", tmp_path / "r", "--publish")
    assert status == 0 and "Published:" in out and (repository / "results" / f"{tried_out}.json").is_file()
