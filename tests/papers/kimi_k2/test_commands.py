"""The verbs: a grid of rates that goes on where it was, and the table of compute budgets."""

import json
from dataclasses import replace

import pytest

from tenfold.cli.main import main
from tenfold.core.errors import UserError
from tenfold.papers.kimi_k2 import commands
from tenfold.papers.kimi_k2 import config as presets
from tenfold.papers.kimi_k2.data import Text

batch = Text.batch


@pytest.fixture
def short(monkeypatch):
    """The smoke preset with four steps."""
    config = presets.smoke()
    part = replace(config.dense, warmup_steps=1, decay_steps=3)
    monkeypatch.setattr(presets, "smoke", lambda: replace(config, dense=part, experts=part))


def tune(out, **changes):
    commands.tune(out, preset="smoke", device="cpu", **{"adamw_rates": (1e-3,), "muon_rates": (1e-2,)} | changes)
    return json.loads((out / "tuning.json").read_text())


def test_every_arm_gets_as_many_rates_on_both_models(short, tmp_path, capsys):
    rows = tune(tmp_path / "out", adamw_rates=(1e-3, 2e-3), muon_rates=(1e-2, 3e-2))
    tried = {(row["arm"], row["part"]): [] for row in rows}
    for row in rows:
        tried[row["arm"], row["part"]].append(row["learning_rate"])
    assert len(tried) == 6
    assert {tuple(rates) for (arm, _), rates in tried.items() if arm == "adamw"} == {(1e-3, 2e-3)}
    assert {tuple(rates) for (arm, _), rates in tried.items() if arm != "adamw"} == {(1e-2, 3e-2)}
    assert all(1 < row["validation_loss"] < 5 for row in rows)
    assert capsys.readouterr().out.count("validation loss") == 12


def test_tuning_goes_on_where_it_was_and_takes_more_rates(short, tmp_path, monkeypatch):
    first = tune(tmp_path / "out")
    taken = []
    monkeypatch.setattr(Text, "batch", lambda *given: taken.append(given) or batch(*given))
    again = tune(tmp_path / "out", adamw_rates=(1e-3, 2e-3), muon_rates=(1e-2, 3e-2))
    assert len(taken) == 3 * 2 * 4, "what was trained is not trained again"
    assert [row for row in again if row["learning_rate"] in (1e-3, 1e-2)] == first


def test_tuning_refuses_unequal_grids_and_other_folders(short, tmp_path):
    with pytest.raises(UserError, match="adamw_rates has 1 rates, muon_rates 2: must be equally many"):
        tune(tmp_path / "out", muon_rates=(1e-2, 2e-2))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(UserError, match=r"allowed: a new or empty folder, or one that has a tuning\.yaml"):
        tune(tmp_path / "taken")
    tune(tmp_path / "out")
    with pytest.raises(UserError, match=r"seed is 7, but .* was begun with 1000"):
        tune(tmp_path / "out", seed=7)


def test_scaling_is_a_verb_that_prints_a_row_for_each_budget(capsys):
    assert main(["scaling", "kimi_k2", "--flops", "1e20", "1e21"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3
    assert rows[1].split() == ["1.0e+20", "0.812", "B", "20.52", "B", "9.0e-04", "1.23", "M", "2.487", "2.587"]
