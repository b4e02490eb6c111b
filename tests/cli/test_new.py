import os
import subprocess
import sys
from pathlib import Path

import pytest

from tenfold.cli.new import create


@pytest.mark.parametrize("like", ["loop", "control", "language"])
def test_a_new_paper_passes_the_conformance_suite(tmp_path, like):
    create("fresh_start", tmp_path, like)
    suite = Path(__file__).parents[1] / "papers" / "test_conformance.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(suite), "-k", "fresh_start", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        env=os.environ | {"TENFOLD_PAPERS": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout and "passed" in done.stdout


def test_names_that_are_no_modules_or_are_taken_change_nothing(tenfold, tmp_path):
    for name in ("Upper", "two words", "class", "9th", "hrm"):
        status, _, err = tenfold("new", name, "--into", tmp_path)
        assert status == 2 and err.startswith(f"tenfold: name is {name!r}")
    assert list(tmp_path.iterdir()) == []
