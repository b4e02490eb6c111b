import io
import json

from rich.console import Console

from tenfold.cli.published import print_published
from tenfold.core.results import publish
from tenfold.core.runner import partial_report

SHORT = ("--training.steps", "100", "--training.save-every", "50")


def printed(report, repository):
    console = Console(file=io.StringIO(), width=200)
    print_published(report, console, repository)
    return console.file.getvalue()


def test_a_runs_verdicts_stand_beside_the_published_ones(tried_out, tenfold, tmp_path):
    repository, long, short = tmp_path / "repository", tmp_path / "long", tmp_path / "short"
    assert tenfold("run", tried_out, *SHORT, "--seeds", "8", "--out", long)[0] == 0
    assert tenfold("run", tried_out, *SHORT, "--out", short)[0] == 0
    report = partial_report(short)
    assert printed(report, repository) == ""
    (repository / "results").mkdir(parents=True)
    (repository / "README.md").write_text("<!-- results -->\n<!-- /results -->\n")
    readme = repository / "src" / "tenfold" / "papers" / tried_out / "README.md"
    readme.parent.mkdir(parents=True)
    readme.write_text(f"<!-- results:{tried_out} -->\n<!-- /results:{tried_out} -->\n")
    publish(long, repository)
    (stored,) = json.loads((repository / "results" / f"{tried_out}.json").read_text())
    row = next(line for line in printed(report, repository).splitlines() if line.startswith("│ decay "))
    assert "undecided (1 seed)" in row
    assert stored["claims"][0]["verdict"] in row
    assert "8 seeds" in printed(report, repository)


def test_report_publishes_into_the_current_checkout(tried_out, tenfold, tmp_path, monkeypatch):
    assert tenfold("run", tried_out, *SHORT, "--out", tmp_path / "r")[0] == 0
    monkeypatch.chdir(tmp_path)
    status, _, err = tenfold("report", tmp_path / "r", "--publish")
    assert status == 2 and "has no folder results" in err
