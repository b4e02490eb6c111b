import math
from dataclasses import dataclass

import pytest
import yaml

from tenfold.core import directory
from tenfold.core.directory import (
    RunDirectory,
    claim_folder,
    is_run,
    new_run_path,
    runs_root,
    scores_from_plain,
    scores_to_plain,
)
from tenfold.core.errors import UserError
from tenfold.core.types import Scores

FACTS = {"paper": "hrm", "arms": ["plain", "hrm"], "seeds": [0, 1]}


def test_a_created_run_opens_again(tmp_path):
    RunDirectory.create(tmp_path / "run", FACTS, "training:\n  steps: 5\n")
    run = RunDirectory.open(tmp_path / "run")
    assert run.facts() == FACTS
    assert run.config() == {"training": {"steps": 5}}
    assert run.cells() == [("plain", 0), ("hrm", 0), ("plain", 1), ("hrm", 1)]


def test_a_cell_is_finished_once_its_scores_are_there(tmp_path):
    run = RunDirectory.create(tmp_path / "run", FACTS, "{}\n")
    (run.cell("plain", 0) / "checkpoints").mkdir(parents=True)
    assert run.finished() == []
    run.write_scores("hrm", 1, Scores({"test/exact": 0.5}))
    assert run.finished() == [("hrm", 1)]
    assert run.scores("hrm", 1).metrics == {"test/exact": 0.5}
    assert run.seconds("hrm", 1) == 0.0


def test_scores_come_back_as_they_were():
    scores = Scores(
        metrics={"a/b": 1.0}, items={"a/b": [0.0, 1.0]}, curves={"c/d": [(1.0, 2.0)]}, samples={"boards": [[1, 2]]}
    )
    assert scores_from_plain(scores_to_plain(scores)) == scores


def test_a_metric_that_is_not_a_number_is_still_none_after_reading(tmp_path):
    run = RunDirectory.create(tmp_path / "run", FACTS, "{}\n")
    run.write_scores("hrm", 0, Scores({"a/b": math.nan}))
    assert math.isnan(run.scores("hrm", 0).metrics["a/b"])


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="is not empty: allowed is a new or empty directory"):
        RunDirectory.create(tmp_path, FACTS, "{}\n")
    with pytest.raises(UserError, match="is not a run directory"):
        RunDirectory.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_start_that_was_killed_between_its_first_two_writes_is_begun_again(tmp_path):
    """What it leaves is its configuration, and perhaps a temporary file; another configuration is somebody's own."""
    for leftover in ("", ".run.json.7.tmp"):
        folder = tmp_path / f"run{leftover}"
        folder.mkdir()
        (folder / "config.yaml").write_text("rate: 0.5\n")
        if leftover:
            (folder / leftover).write_text("{")
        with pytest.raises(UserError, match=rf"is not a run directory: .* goes on with --out {folder}"):
            RunDirectory.open(folder)
        with pytest.raises(UserError, match="is not empty"):
            RunDirectory.create(folder, FACTS, "rate: 0.7\n")
        assert RunDirectory.create(folder, FACTS, "rate: 0.5\n").facts() == FACTS


DAMAGES = ("", "{", "[1", "null", "[]", "{}", '"text"', "\0\0\0", "[" * 100_000)


@pytest.mark.parametrize("content", DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_file_of_a_run_is_named_with_what_to_do(tmp_path, content):
    run = RunDirectory.create(tmp_path / "run", FACTS, "{}\n")
    run.write_scores("hrm", 1, Scores({"test/exact": 0.5}))
    (run.cell("hrm", 1) / "scores.json").write_text(content)
    (run.cell("hrm", 1) / "seconds.json").write_text(content)
    with pytest.raises(
        UserError, match=r"scores\.json is damaged \(.*\); delete it, and `tenfold run hrm --resume .*run`"
    ):
        run.scores("hrm", 1)
    with pytest.raises(UserError, match=r"seconds\.json is damaged \(.*\); delete it; the time"):
        run.seconds("hrm", 1)
    (run.path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json is damaged \(.*\); put back a copy of it, or begin a new run"):
        run.facts()
    if content != "{}":
        (run.path / "config.yaml").write_text(content if content != "{" else "a: [")
        with pytest.raises(UserError, match=r"config\.yaml is damaged \(.*\); put back"):
            run.config()


def test_a_damaged_note_of_what_a_folder_is_about_is_named(tmp_path):
    claim_folder(tmp_path, "about.yaml", {"seed": 1}, Settings())
    (tmp_path / "about.yaml").write_text("seed: [")
    with pytest.raises(UserError, match=r"about\.yaml is damaged \(it is no YAML\); give another --out"):
        claim_folder(tmp_path, "about.yaml", {"seed": 1}, Settings())


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not empty"):
        RunDirectory.create(tmp_path / "file", FACTS, "{}\n")


@dataclass(frozen=True)
class Settings:
    rate: float = 0.5
    sizes: tuple[int, ...] = (1, 2)


def test_a_folder_is_claimed_once_and_goes_on_with_the_same(tmp_path):
    out = tmp_path / "tuning"
    claim_folder(out, "about.yaml", {"seed": 1}, Settings())
    (out / "checkpoints").mkdir()
    claim_folder(out, "about.yaml", {"seed": 1}, Settings())
    with pytest.raises(UserError, match=r"seed is 2, but .* was begun with 1; give another --out"):
        claim_folder(out, "about.yaml", {"seed": 2}, Settings())
    with pytest.raises(UserError, match=r"rate is 1e-05, but .* was begun with 0.5; give another --out"):
        claim_folder(out, "about.yaml", {"seed": 1}, Settings(rate=1e-5))
    claim_folder(out, "about.yaml", {"seed": 2}, Settings(), ignored=("seed",))
    assert yaml.safe_load((out / "about.yaml").read_text()) == {"seed": 1, "rate": 0.5, "sizes": [1, 2]}
    with pytest.raises(UserError, match=r"allowed: a new or empty folder, or one that has a other\.yaml"):
        claim_folder(out, "other.yaml", {"seed": 1}, Settings())


def test_processes_beside_the_main_one_claim_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(directory, "is_main_process", lambda: False)
    claim_folder(tmp_path / "tuning", "about.yaml", {"seed": 1}, Settings())
    assert not (tmp_path / "tuning").exists()


def test_an_existing_run_is_not_overwritten(tmp_path):
    RunDirectory.create(tmp_path / "run", FACTS, "{}\n")
    assert is_run(tmp_path / "run")
    with pytest.raises(UserError, match="continue it with --resume"):
        RunDirectory.create(tmp_path / "run", FACTS, "{}\n")


def test_where_runs_go(tmp_path, monkeypatch):
    monkeypatch.delenv("TENFOLD_RUNS", raising=False)
    assert str(runs_root()) == "runs"
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path))
    first = new_run_path("hrm", "smoke")
    assert first.parent == tmp_path and not first.exists()
    first.mkdir()
    assert new_run_path("hrm", "smoke") != first
