"""The tables in the READMEs say what ``results/`` says, and what they must at least hold is there."""

from pathlib import Path

from tenfold.core.results import read, stale

ROOT = Path(__file__).parents[1]


def test_no_readme_is_stale():
    assert stale(ROOT) == [], "run `tenfold report RUN --publish`, which writes the tables"


def test_the_laptop_preset_of_hrm_is_published_with_three_seeds():
    runs = read(ROOT / "results" / "hrm.json")
    plain = [run for run in runs if run["preset"] == "laptop" and not run["changed"]]
    assert any(len(run["seeds"]) >= 3 for run in plain), "publish a run of `tenfold run hrm --seeds 3`"
