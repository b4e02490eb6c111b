"""Rates of the arms through the verb of the house, and the table of compute budgets."""

import json
from dataclasses import replace

import pytest

from tenfold.cli.main import main
from tenfold.papers.kimi_k2.pretraining import config as presets
from tenfold.papers.kimi_k2.pretraining.data import Text
from tenfold.papers.kimi_k2.pretraining.recipe import ARMS, GRID

batch = Text.batch


@pytest.fixture
def short(monkeypatch):
    """The smoke preset with four steps."""
    config = presets.smoke()
    part = replace(config.dense, warmup_steps=1, decay_steps=3)
    monkeypatch.setattr(presets, "smoke", lambda: replace(config, dense=part, experts=part))


def tune(out, *rates):
    words = ["tune", "kimi_k2", "--out", str(out), "--preset", "smoke", "--device", "cpu", "--rates", *rates]
    assert main(words) == 0
    return json.loads((out / "tuning.json").read_text())


def test_every_arm_gets_a_grid_of_one_size_on_both_models():
    assert len({len(rates) for rates in GRID.values()}) == 1
    assert {field.partition(".")[2] for field in GRID} == {arm.rate for arm in ARMS.values()}
    assert {field.partition(".")[0] for field in GRID} == {"dense", "experts"}


def test_tuning_measures_each_rate_and_goes_on_where_it_was(short, tmp_path, monkeypatch):
    first = tune(tmp_path / "out", "1e-3")
    assert [row["field"] for row in first] == list(GRID)
    assert all(1 < row["validation/loss"] < 5 for row in first)
    assert len({row["validation/loss"] for row in first}) == 4, (
        "one rate: Muon and MuonClip agree, where no logit is large"
    )
    taken = []
    monkeypatch.setattr(Text, "batch", lambda *given: taken.append(given) or batch(*given))
    again = tune(tmp_path / "out", "1e-3", "3e-2")
    assert len(taken) == len(GRID) * 4, "what was trained is not trained again"
    assert [row for row in again if row["learning_rate"] == 1e-3] == first


def test_scaling_is_a_verb_that_prints_a_row_for_each_budget(capsys):
    assert main(["scaling", "kimi_k2", "--flops", "1e20", "1e21"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3
    assert rows[1].split() == ["1.0e+20", "0.812", "B", "20.52", "B", "9.0e-04", "1.23", "M", "2.487", "2.587"]
