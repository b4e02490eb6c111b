"""A paper of our own, made by ``tenfold new`` outside the package, on which the commands are tried."""

import pytest

from tenfold.cli.main import main


@pytest.fixture(scope="session")
def paper_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("papers")
    assert main(["new", "tried_out", "--into", str(root)]) == 0
    return root


@pytest.fixture
def tried_out(paper_root, tmp_path, monkeypatch):
    """The name of the paper; runs go to the test's own folder."""
    monkeypatch.setenv("TENFOLD_PAPERS", str(paper_root))
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "160")
    return "tried_out"


@pytest.fixture
def tenfold(capsys):
    """Runs a command in this process; returns exit status, output and errors."""

    def call(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
