"""The command line from Python: the same runs, the same words, rows that a table takes."""

import subprocess
import sys

import pytest

import tenfold
from tenfold.core.directory import RunDirectory
from tenfold.core.errors import UserError

SHORT = {"preset": "smoke", "arms": ["sft"], "quiet": True}


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("from-python")
    one = tenfold.run("iw_sft", seeds=[0, 1], out=folder / "one", **SHORT)
    other = tenfold.run("iw_sft", seeds=[0, 1], out=folder / "other", cloning={"steps": 3}, **SHORT)
    return one, other


def test_a_run_from_python_is_the_command_that_its_folder_names(two_runs):
    facts = RunDirectory.open(two_runs[1].folder).facts()
    assert facts["seeds"] == [0, 1] and facts["arms"] == ["sft"] and facts["preset"] == "smoke"
    for word in ("tenfold run iw_sft", "--preset smoke", "--cloning.steps=3", "--seeds 0,1,", "--arms sft"):
        assert word in facts["command"]


def test_metrics_are_rows_and_claims_say_their_verdict(two_runs):
    rows = two_runs[0].metrics
    assert {(row["arm"], row["seed"]) for row in rows} == {("sft", 0), ("sft", 1)}
    stored = RunDirectory.open(two_runs[0].folder).scores("sft", 1).metrics
    assert {row["metric"]: row["value"] for row in rows if row["seed"] == 1} == stored
    whole = tenfold.run("iw_sft", preset="smoke", out=two_runs[0].folder.parent / "whole", quiet=True)
    assert whole.claims[0]["headline"] and {row["verdict"] for row in whole.claims} == {"undecided"}
    assert whole.figures()


def test_what_was_run_can_be_loaded_shown_and_compared(two_runs):
    loaded = tenfold.load(two_runs[0].folder)
    assert loaded.metrics == two_runs[0].metrics
    assert "iw_sft · smoke" in repr(loaded) and repr(loaded).splitlines()[0] in loaded._repr_html_()
    rows = tenfold.compare(*two_runs)
    assert rows == tenfold.compare(*(report.folder for report in two_runs))
    values = [{row["seed"]: row["value"] for row in r.metrics if row["metric"] == rows[0]["metric"]} for r in two_runs]
    assert rows[0]["seeds"] == 2
    assert rows[0]["difference"] == pytest.approx(sum(values[1][s] - values[0][s] for s in (0, 1)) / 2)


def test_what_is_no_run_is_not_loaded(two_runs, tmp_path):
    with pytest.raises(UserError, match="nothing"):
        tenfold.load(tmp_path / "results" / "nothing")
    with pytest.raises(UserError, match="at least 2 runs"):
        tenfold.compare(two_runs[0])


@pytest.mark.parametrize(
    "asked, said",
    [
        ({"paper": "hrn"}, "hrm"),
        ({"arms": ["iw"]}, "arms"),
        ({"seeds": [-1]}, "seeds"),
        ({"training": {"stepz": 3}}, "settings"),
        ({"training": 3}, "settings"),
        ({"preset": "huge"}, "preset"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(asked, said, tmp_path):
    with pytest.raises(UserError, match=said):
        tenfold.run(**({"paper": "hrm", "preset": "smoke", "out": tmp_path / "run"} | asked))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "code, heavy", [("", ("torch", "numpy", "scipy")), ("tenfold.list_papers()", ("torch", "scipy"))]
)
def test_importing_the_package_imports_nothing_heavy(code, heavy):
    code = f"import sys, tenfold\n{code}\nprint([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
