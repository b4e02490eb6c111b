"""Metrics reach trackers while training goes on: what ``metrics.jsonl`` has, under the name of the training."""

import importlib.util
from pathlib import Path

import pytest

import tenfold
from tenfold.cli.main import main
from tenfold.core import extras
from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.train import tracking
from tenfold.train.tracking import Trackers

OTHERS = "ignore::DeprecationWarning"
"""Of the trackers' own packages."""


class Recorded:
    """In place of a tracker of accelerate: keeps what it is told."""

    opened: list

    def __init__(self, project, **options):
        self.project, self.options, self.lines, self.ended = project, options, [], False

    def start(self):
        Recorded.opened.append(self)

    def log(self, metrics, step):
        self.lines.append((step, metrics))

    def finish(self):
        self.ended = True


@pytest.fixture
def opened(monkeypatch):
    """The runs that are opened at a wandb that keeps what it is told."""
    Recorded.opened = []
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", Recorded)
    monkeypatch.setattr(extras, "is_installed", lambda extra: True)
    return Recorded.opened


def test_a_run_streams_what_it_logs_and_each_training_is_a_run_of_its_own(opened, tmp_path):
    options = {"preset": "smoke", "seeds": [0, 1], "arms": ["sft"], "quiet": True}
    report = tenfold.run("iw_sft", out=tmp_path / "run", report_to="wandb", **options)
    assert {run.project for run in opened} == {"tenfold-iw_sft"} and all(run.ended for run in opened)
    names = [run.options["name"] for run in opened]
    assert names[:2] == ["run/shared/seed-0/cloning", "run/sft/seed-0/fine-tuning"]
    assert len(set(names)) == len(names) == 4 and opened[0].options["config"]["cloning"]
    for run in opened:
        parts = run.options["name"].split("/")[1:]
        folder = report.folder.joinpath(*(parts if parts[0] == "shared" else ["cells", *parts]))
        curves = Cell(arm="", seed=0, directory=folder, is_main=False).curves()
        assert curves == {
            name: [(step, metrics[name]) for step, metrics in run.lines if name in metrics] for name in curves
        }


def test_metrics_come_while_training_goes_on(opened, tmp_path):
    with Trackers("wandb", "hrm", tmp_path, {}, "cpu") as trackers:
        cell = Cell(arm="hrm", seed=0, directory=tmp_path / "cells" / "hrm" / "seed-0", tracker=trackers)
        cell.log(1, {"train/loss": 2.0})
        assert [(run.lines, run.ended) for run in opened] == [([(1, {"train/loss": 2.0})], False)]
        (part,) = cell.parts({"warm": 3}).values()
        part.log(1, {"train/loss": 3.0})
        assert [run.options["name"].partition("/")[2] for run in opened] == ["hrm/seed-0", "hrm/seed-0/warm"]


def test_nothing_is_reported_unless_it_is_asked_for(opened, tmp_path):
    tenfold.run("iw_sft", preset="smoke", arms=["sft"], out=tmp_path / "run", quiet=True)
    assert opened == []


def test_unknown_and_absent_trackers_are_refused_in_a_sentence(tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match=r"report_to is 'mlflow'; allowed: none, trackio, wandb, tensorboard"):
        tenfold.run("iw_sft", report_to="mlflow")
    with pytest.raises(SystemExit):
        main(["run", "iw_sft", "--report-to", "mlflow"])
    assert "trackio" in capsys.readouterr().err
    monkeypatch.setattr(extras, "is_installed", lambda extra: False)
    assert main(["run", "iw_sft", "--preset", "smoke", "--report-to", "wandb", "--out", str(tmp_path / "run")]) == 2
    assert "--report-to wandb needs the extra wandb: pip install" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.extra
@pytest.mark.filterwarnings(OTHERS)
@pytest.mark.skipif(importlib.util.find_spec("trackio") is None, reason="trackio is missing: make test-extra")
def test_trackio_has_a_run_on_this_machine_and_goes_on_with_it(tmp_path, monkeypatch):
    import trackio.sqlite_storage as storage

    monkeypatch.setattr(storage, "TRACKIO_DIR", tmp_path / "trackio")
    folder = tmp_path / "run"
    for step in (1, 2):
        with Trackers("trackio", "hrm", folder, {"steps": 2}, "cpu") as trackers:
            cell = Cell(arm="hrm", seed=0, directory=folder / "cells" / "hrm" / "seed-0", tracker=trackers)
            cell.log(step, {"train/loss": 1 / step, "validation/none": float("nan")})
    assert Path(storage.SQLiteStorage.get_project_db_path("tenfold-hrm")).is_relative_to(tmp_path)
    assert storage.SQLiteStorage.get_runs("tenfold-hrm") == ["run/hrm/seed-0"]
    lines = storage.SQLiteStorage.get_logs("tenfold-hrm", "run/hrm/seed-0")
    assert [(line["step"], line["train/loss"]) for line in lines] == [(1, 1.0), (2, 0.5)]
