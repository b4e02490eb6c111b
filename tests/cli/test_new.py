import os
import subprocess
import sys
from pathlib import Path

from tenfold.cli.new import create

KINDS = ("loop", "control", "language")


def test_new_papers_pass_the_conformance_suite(tmp_path):
    """All of them in one process, which takes as long to begin as a paper's part of the suite."""
    for like in KINDS:
        create(f"fresh_{like}", tmp_path, like)
    suite = Path(__file__).parents[1] / "papers" / "test_conformance.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(suite), "-vv", "-k", "fresh_", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        env=os.environ | {"TENFOLD_PAPERS": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout
    assert all(f"is_short[fresh_{like}] PASSED" in done.stdout for like in KINDS)


def test_names_that_are_no_modules_or_are_taken_change_nothing(tenfold, tmp_path):
    for name in ("Upper", "two words", "class", "9th", "hrm"):
        status, _, err = tenfold("new", name, "--into", tmp_path)
        assert status == 2 and err.startswith(f"tenfold: name is {name!r}")
    assert list(tmp_path.iterdir()) == []
