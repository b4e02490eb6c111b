import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tenfold.cli.run import parse_seeds
from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.extras import EXTRAS, advice
from tenfold.core.results import run_from_directory

SHORT = ("--training.steps", "20", "--training.checkpoint-every", "5")


def facts(run):
    return json.loads((run / "run.json").read_text())


@pytest.mark.parametrize(
    ("text", "seeds"), [("1", (0,)), ("3", (0, 1, 2)), ("0,4,7", (0, 4, 7)), ("0 4", (0, 4)), ("4,", (4,))]
)
def test_seeds_are_a_count_or_a_list(text, seeds):
    assert parse_seeds(text) == seeds


PLAN = (10, 11, 12)


@pytest.mark.parametrize(
    ("text", "seeds"), [("plan", PLAN), ("1", (10,)), ("3", PLAN), ("0,1", (0, 1)), ("10,", (10,))]
)
def test_a_count_takes_the_first_seeds_of_the_plan(text, seeds):
    assert parse_seeds(text, PLAN) == seeds


@pytest.mark.parametrize("text", ["0", "", "-1", "two", "1,1", "1.5", ",", "plan,1", "plan"])
def test_other_seeds_are_refused(text):
    with pytest.raises(UserError, match="--seeds is"):
        parse_seeds(text)


@pytest.mark.parametrize("text", ["99999999999", "10001"])
def test_more_seeds_than_anyone_runs_are_refused_at_once(text):
    with pytest.raises(UserError, match=rf"--seeds is {text}; allowed: at most 10,000 seeds; for the seed .*: {text},"):
        parse_seeds(text)
    assert parse_seeds(f"{text},") == (int(text),)


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 19, "1," + "9" * 5000])
def test_endless_numbers_are_no_seeds(text):
    with pytest.raises(UserError, match=r"--seeds has a number of .* digits; allowed: at most 18"):
        parse_seeds(text, PLAN)


def test_more_seeds_than_planned_are_named_one_by_one():
    with pytest.raises(UserError, match="--seeds is 4, but the verdict is planned on 3 seeds, 10, 11, 12; name others"):
        parse_seeds("4", PLAN)


def test_the_planned_seeds_give_verdicts_and_more_are_a_second_look(tried_out, tenfold, tmp_path):
    run = tmp_path / "r"
    status, _, _ = tenfold("run", tried_out, *SHORT, "--seeds", "plan", "--out", run)
    assert status == 0 and facts(run)["seeds"] == [10, 11, 12, 13, 14] and facts(run)["looks"] == []
    assert facts(run)["plan"] == {"seeds": [10, 11, 12, 13, 14], "why": "five, the fewest: no pilot was run"}
    claim = json.loads((run / "report.json").read_text())["claims"][0]
    assert (claim["look"], claim["planned"], claim["seeds"]) == (1, 5, 5)
    assert tenfold("run", tried_out, "--resume", run, "--seeds", "15", "16")[0] == 0
    claim = json.loads((run / "report.json").read_text())["claims"][0]
    assert (claim["look"], claim["confidence"], claim["seeds"]) == (2, 0.975, 7)
    assert facts(run)["looks"] == [[10, 11, 12, 13, 14, 15, 16]]
    assert tenfold("report", run)[0] == 0
    assert json.loads((run / "report.json").read_text())["claims"][0]["look"] == 2, "judging again is no look"


def test_planned_seeds_that_results_hold_are_not_run_again(tried_out, tenfold, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    assert tenfold("run", tried_out, *SHORT, "--seeds", "2", "--out", first)[0] == 0
    entry = run_from_directory(first)
    monkeypatch.setattr("tenfold.core.entries.published_here", lambda paper: [entry])
    assert tenfold("run", tried_out, *SHORT, "--seeds", "plan", "--out", second)[0] == 0
    assert facts(second)["seeds"] == [12, 13, 14]
    monkeypatch.setattr("tenfold.core.entries.published_here", lambda paper: [entry, run_from_directory(second)])
    status, _, err = tenfold("run", tried_out, *SHORT, "--seeds", "plan")
    assert status == 2 and "all planned seeds of tried_out are published already" in err
    status, out, _ = tenfold("run", tried_out, "--training.steps", "21", "--seeds", "plan", "--dry-run")
    assert status == 0 and "seeds: 10, 11, 12, 13, 14" in out, "another configuration is another run"


def test_arms_are_named_with_blanks_or_commas(tried_out, tenfold):
    for words in (["plain,decayed"], ["plain", "decayed"], ["plain,", "decayed"]):
        status, out, _ = tenfold("run", tried_out, "--arms", *words, "--dry-run")
        assert status == 0 and "# arms: plain, decayed; seeds: 10" in out


def test_a_run_leaves_what_is_needed_to_repeat_it(tried_out, tenfold, tmp_path):
    status, out, _ = tenfold("run", tried_out, "--preset", "smoke", *SHORT, "--out", tmp_path / "r")
    assert status == 0
    assert f"Report: {tmp_path / 'r' / 'report.html'}" in out.replace("\n", " ")
    assert facts(tmp_path / "r")["command"].startswith("tenfold run tried_out --preset smoke --training.steps 20")
    assert yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())["training"]["steps"] == 20
    assert "undecided (no plan)" in out


def test_runs_go_where_the_environment_says_and_the_default_preset_is_laptop(tried_out, tenfold, tmp_path):
    assert tenfold("run", tried_out)[0] == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"tried_out-laptop-\d{8}-\d{6}", run.name)
    assert facts(run)["seeds"] == [10]


def test_yaml_lies_between_preset_and_flags(tried_out, tenfold, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("training: {steps: 30, weight_decay: 1e-3}\n")
    status, out, _ = tenfold("run", tried_out, "--config", path, "--training.steps", "7", "--dry-run")
    assert status == 0
    config = yaml.safe_load(out)
    assert config["training"]["steps"] == 7
    assert config["training"]["weight_decay"] == 1e-3
    assert config["data"]["num_train"] == 40


def test_dry_run_prints_an_estimate_and_runs_nothing(tried_out, tenfold, tmp_path):
    status, out, _ = tenfold("run", tried_out, "--dry-run", "--seeds", "2", "--arms", "decayed")
    assert status == 0
    assert "# arms: decayed; seeds: 10, 11" in out
    assert re.search(r"# largest model: 30 parameters\n# memory: about \d+ MB\n# time: 2 s a seed\n", out)
    out = tenfold("run", tried_out, "--dry-run", "--training.steps", "600")[1]
    assert re.search(r"# time: about \d+ s for each seed of all arms, estimated\n", out)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arms", "decayd"], "--arms names 'decayd'; did you mean decayed?"),
        (["--seeds", "x"], "--seeds is 'x'; allowed: plan, a number such as 3, or seeds with commas"),
        (["--task", "synthetic"], "task is 'synthetic', but only the preset paper has tasks, not laptop"),
        (["--preset", "paper", "--task", "synthetc"], "unknown task 'synthetc' of tried_out; did you mean synthetic?"),
        (["--config", "none.yaml"], "cannot read none.yaml"),
        (["--resume", "nowhere"], "nowhere is not a run directory"),
    ],
)
def test_bad_options_are_one_line(words, message, tried_out, tenfold):
    status, _, err = tenfold("run", tried_out, *words)
    assert status == 2
    assert message in err and err.count("\n") == 1


def test_a_yaml_with_an_unknown_key_names_the_key_and_the_line(tried_out, tenfold, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("data:\n  num_train: 4\ntraining:\n  stps: 3\n")
    status, _, err = tenfold("run", tried_out, "--config", path)
    assert (status, err) == (2, f"tenfold: {path}:4: unknown key training.stps; did you mean training.steps?\n")


def test_misspelt_flags_and_bad_values_get_a_suggestion(tried_out, tenfold):
    status, _, err = tenfold("run", tried_out, "--training.stpes", "3")
    assert status == 2 and "--training.steps" in err
    status, _, err = tenfold("run", tried_out, "--data.num-train", "0")
    assert status == 2 and "data.num_train is 0; allowed: at least 1" in err


def test_help_lists_options_and_fields(tried_out, tenfold):
    status, out, _ = tenfold("run", tried_out, "--help")
    assert status == 0
    assert "--resume" in out and "--training.steps" in out and "Optimizer steps." in out


def test_a_run_is_extended_by_seeds_and_arms_but_not_changed(tried_out, tenfold, tmp_path):
    run = tmp_path / "r"
    assert tenfold("run", tried_out, *SHORT, "--out", run, "--arms", "plain")[0] == 0
    before = (run / "cells" / "plain" / "seed-10" / "scores.json").stat().st_mtime_ns
    assert tenfold("run", tried_out, "--resume", run, "--seeds", "3", "--arms", "decayed")[0] == 0
    assert facts(run)["seeds"] == [10, 11, 12] and facts(run)["arms"] == ["plain", "decayed"]
    assert (run / "cells" / "plain" / "seed-10" / "scores.json").stat().st_mtime_ns == before
    for words, message in [
        (["--training.steps", "21"], f"--training.steps is 21, but {run} is a run with 20"),
        (["--preset", "smoke"], f"--preset is smoke, but {run} is a run with laptop"),
        (["--dtype", "bfloat16"], f"--dtype is bfloat16, but {run} is a run with float32"),
        (["--out", "elsewhere"], "--out is elsewhere"),
    ]:
        status, _, err = tenfold("run", tried_out, "--resume", run, *words)
        assert status == 2 and message in err, err
    assert tenfold("run", tried_out, "--resume", run, "--training.steps", "20", "--preset", "laptop")[0] == 0


def test_a_run_of_a_published_setting_is_resumed_with_its_task(tried_out, tenfold, tmp_path):
    assert tenfold("run", tried_out, "--preset", "paper", *SHORT)[0] == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("tried_out-paper-synthetic-")
    assert facts(run)["preset"] == "paper:synthetic" and facts(run)["dtype"] == "bfloat16"
    assert tenfold("run", tried_out, "--resume", run, "--seeds", "2")[0] == 0
    assert facts(run)["preset"] == "paper:synthetic" and facts(run)["seeds"] == [0, 1]


def test_a_stopped_run_says_how_to_go_on_and_does(tried_out, tenfold, tmp_path, monkeypatch):
    run = tmp_path / "r"
    with monkeypatch.context() as patch:
        patch.setattr(Cell, "stop_requested", lambda cell: True)
        status, out, _ = tenfold("run", tried_out, *SHORT, "--out", run)
    assert status == 130
    assert f"tenfold run tried_out --resume {run}" in out.replace("\n", " ")
    assert tenfold("run", tried_out, "--resume", run)[0] == 0
    assert (run / "report.html").exists()


def test_another_papers_run_is_not_resumed(tried_out, paper_root, tenfold, tmp_path):
    run = tmp_path / "r"
    assert tenfold("run", tried_out, *SHORT, "--out", run)[0] == 0
    stored = facts(run) | {"paper": "hrm"}
    (run / "run.json").write_text(json.dumps(stored))
    status, _, err = tenfold("run", tried_out, "--resume", run)
    assert status == 2 and "is a run of hrm, not of tried_out" in err


def test_the_first_line_says_what_is_about_to_run(tried_out, tenfold, tmp_path):
    _, out, _ = tenfold("run", tried_out, *SHORT, "--seeds", "2", "--out", tmp_path / "r")
    assert out.splitlines()[0] == "tenfold run tried_out: preset laptop, seeds 10, 11; 2 s a seed"


def test_a_finished_run_given_again_says_so(tried_out, tenfold, tmp_path):
    assert tenfold("run", tried_out, *SHORT, "--out", tmp_path / "r")[0] == 0
    status, out, _ = tenfold("run", tried_out, "--resume", tmp_path / "r")
    assert status == 0 and "All 2 cells of this run are finished; its report is written again." in out


def test_ctrl_c_within_the_report_says_that_nothing_is_lost(tried_out, tenfold, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("tenfold.core.runner.write_report", interrupted)
    status, out, _ = tenfold("run", tried_out, *SHORT, "--out", tmp_path / "r")
    assert status == 130
    assert f"only the report was cut short. To write it: tenfold report {tmp_path / 'r'}" in out.replace("\n", " ")
    monkeypatch.undo()


def test_a_missing_extra_is_told_before_a_run_has_a_folder(tried_out, paper_root, tenfold, tmp_path, monkeypatch):
    toml = paper_root / tried_out / "paper.toml"
    before = toml.read_text()
    monkeypatch.setitem(EXTRAS, "math", "no_such_module")
    try:
        toml.write_text('extras = ["math"]\n' + before)
        status, _, err = tenfold("run", tried_out, *SHORT)
    finally:
        toml.write_text(before)
    assert status == 2 and f"tried_out needs the extra math: {advice('math')}" in err
    assert not (tmp_path / "runs").exists()


def test_mistakes_are_told_before_torch_is_imported(tried_out, tmp_path):
    code = "import sys; from tenfold.cli.main import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    for words in (["--arms", "none"], ["--seeds", "9"], ["--out", str(Path(__file__).parent)]):
        done = subprocess.run([sys.executable, "-c", code, "run", tried_out, *words], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "False", (words, done.stderr)


def test_an_estimate_above_the_device_is_told_before_the_run(tried_out, tenfold, monkeypatch):
    words = ("run", tried_out, "--preset", "smoke", "--seeds", "1", "--dry-run")
    assert "on each device" not in tenfold(*words)[2]
    monkeypatch.setattr("tenfold.train.distributed.memory_of", lambda device: 1.0)
    status, _, err = tenfold(*words[:-1])
    assert status == 0 and "on each device, which has about 0 MB" in err and "rollout_batch_size" in err
