"""The tables in the READMEs say what ``results/`` says."""

from pathlib import Path

from tenfold.core.results import stale

ROOT = Path(__file__).parents[1]


def test_no_readme_is_stale():
    assert stale(ROOT) == [], "run `tenfold report RUN --publish`, which writes the tables"
