"""Runs of a recipe without a model: order, resuming, interruption by signal, and what is refused."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import fake_recipe
import pytest
from fake_recipe import arguments
from rich.console import Console

from tenfold.core import runner
from tenfold.core.directory import RunDirectory
from tenfold.core.errors import Interrupted, UserError
from tenfold.core.runner import execute, partial_report, rebuild_report


def quiet():
    return Console(file=io.StringIO(), width=200)


def recipe_with(run):
    return SimpleNamespace(**vars(fake_recipe) | {"run": run})


def log_of(directory, arm="slow", seed=0):
    return (RunDirectory(directory).cell(arm, seed) / "metrics.jsonl").read_text()


def test_a_run_is_judged_and_leaves_everything_needed_to_believe_it(tmp_path):
    report = execute(**arguments(tmp_path / "run"), seeds=[0, 1, 2, 3, 4], console=quiet())
    assert [judgement.verdict for judgement in report.judgements] == ["supported", "supported"]
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    for name in ("command", "commit", "tree_clean", "date", "hardware", "versions", "seconds", "device", "dtype"):
        assert name in facts
    assert facts["seeds"] == [0, 1, 2, 3, 4] and facts["arms"] == ["slow", "fast"]
    for name in ("config.yaml", "report.html", "report.json", "plots/learning-curves.svg"):
        assert (tmp_path / "run" / name).is_file()
    assert len(log_of(tmp_path / "run").splitlines()) == 20


def test_cells_run_seed_by_seed_in_the_order_of_the_arms(tmp_path):
    order = []

    def run(config, arm, seed, cell):
        order.append((arm, seed))
        return fake_recipe.run(config, arm, seed, cell)

    settings = arguments(tmp_path / "run") | {"recipe": recipe_with(run), "arms": ["fast", "slow"]}
    execute(**settings, seeds=[1, 0], console=quiet())
    assert order == [("slow", 0), ("fast", 0), ("slow", 1), ("fast", 1)]


def test_finished_cells_are_skipped_and_seeds_can_be_added(tmp_path):
    execute(**arguments(tmp_path / "run"), seeds=[0], console=quiet())
    visited = []

    def run(config, arm, seed, cell):
        visited.append((arm, seed))
        return fake_recipe.run(config, arm, seed, cell)

    report = execute(**arguments(tmp_path / "run") | {"recipe": recipe_with(run)}, seeds=[0, 1], console=quiet())
    assert visited == [("slow", 1), ("fast", 1)]
    assert report.seeds == [0, 1] and len(report.facts["resumptions"]) == 1
    again = execute(**arguments(tmp_path / "run"), seeds=[0, 1], console=quiet())
    assert again.scores == report.scores and len(again.facts["resumptions"]) == 1


def stopping(after):
    """The fake recipe, asked to stop after some progress calls."""
    calls = [0]

    def run(config, arm, seed, cell):
        forward = cell.progress

        def progress(*values):
            calls[0] += 1
            if calls[0] == after:
                cell.request_stop()
            forward(*values)

        cell.progress = progress
        return fake_recipe.run(config, arm, seed, cell)

    return recipe_with(run)


@pytest.mark.parametrize("after", [1, 7, 20, 33])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, after):
    whole = execute(**arguments(tmp_path / "whole"), seeds=[0], console=quiet())
    console = quiet()
    with pytest.raises(Interrupted):
        execute(**arguments(tmp_path / "cut") | {"recipe": stopping(after)}, seeds=[0], console=console)
    assert f"tenfold run fake --resume {tmp_path / 'cut'}" in console.file.getvalue()
    resumed = execute(**arguments(tmp_path / "cut"), seeds=[0], console=quiet())
    assert resumed.scores == whole.scores
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")


def test_a_stop_between_cells_needs_no_training(tmp_path):
    def run(config, arm, seed, cell):
        scores = fake_recipe.run(config, arm, seed, cell)
        cell.request_stop()
        return scores

    with pytest.raises(Interrupted):
        execute(**arguments(tmp_path / "run") | {"recipe": recipe_with(run)}, seeds=[0], console=quiet())
    assert RunDirectory(tmp_path / "run").finished() == [("slow", 0)]


def test_a_partial_run_has_a_report(tmp_path):
    with pytest.raises(Interrupted):
        execute(**arguments(tmp_path / "run") | {"recipe": stopping(45)}, seeds=[0, 1], console=quiet())
    report = partial_report(tmp_path / "run", fake_recipe)
    assert {arm: list(by_seed) for arm, by_seed in report.scores.items()} == {"slow": [0], "fast": [0]}
    assert {judgement.verdict for judgement in report.judgements} == {"undecided"}
    rebuild_report(tmp_path / "run", fake_recipe)
    assert "not finished: 2 of 4 cells" in (tmp_path / "run" / "report.html").read_text()


def test_rebuilding_a_report_changes_nothing(tmp_path):
    execute(**arguments(tmp_path / "run"), seeds=[0, 1, 2], console=quiet())
    names = ("report.json", "report.html", "plots/learning-curves.svg")
    before = {name: (tmp_path / "run" / name).read_bytes() for name in names}
    rebuild_report(tmp_path / "run", fake_recipe)
    assert {name: (tmp_path / "run" / name).read_bytes() for name in names} == before


def test_something_else_in_the_directory_is_refused(tmp_path):
    execute(**arguments(tmp_path / "run"), seeds=[0], console=quiet())
    changed = replace(fake_recipe.Config(), training=fake_recipe.Training(steps=21))
    for change, message in (
        ({"config": changed}, "another configuration"),
        ({"paper": "other"}, "paper fake"),
        ({"dtype": "bfloat16"}, "dtype float32"),
        ({"arms": ["fats"]}, "no arm 'fats'; allowed are slow, fast"),
    ):
        with pytest.raises(UserError, match=message):
            execute(**arguments(tmp_path / "run") | change, seeds=[0], console=quiet())


def test_other_ranks_train_and_write_nothing(tmp_path, monkeypatch):
    main = execute(**arguments(tmp_path / "main"), seeds=[0], console=quiet())
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    def run(config, arm, seed, cell):
        assert not cell.is_main
        value = main.scores[arm][seed].metrics["test/near"]
        return fake_recipe.Scores({"test/near": value})

    other = execute(**arguments(tmp_path / "other") | {"recipe": recipe_with(run)}, seeds=[0], console=quiet())
    assert other.judgements[0].effect == main.judgements[0].effect
    assert not (tmp_path / "other").exists(), "the main rank would take it for something else"


def test_global_generators_start_alike_for_each_arm(tmp_path):
    import numpy as np
    import torch

    draws = []

    def run(config, arm, seed, cell):
        draws.append((np.random.rand(), torch.rand(()).item()))
        return fake_recipe.Scores({"test/near": 0.0})

    execute(**arguments(tmp_path / "run") | {"recipe": recipe_with(run)}, seeds=[0, 1], console=quiet())
    assert draws[0] == draws[1] != draws[2] == draws[3]


def test_handlers_are_put_back_and_a_second_interrupt_is_immediate(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def run(config, arm, seed, cell):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second signal must have ended this")

    with pytest.raises(KeyboardInterrupt):
        execute(**arguments(tmp_path / "run") | {"recipe": recipe_with(run)}, seeds=[0], console=quiet())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_run_works_outside_the_main_thread(tmp_path):
    reports = []
    thread = threading.Thread(
        target=lambda: reports.append(execute(**arguments(tmp_path / "run"), seeds=[0], console=quiet()))
    )
    thread.start()
    thread.join()
    assert len(reports) == 1


PROGRAM = """
import sys
from pathlib import Path
import fake_recipe
from tenfold.core.runner import execute
settings = fake_recipe.arguments(Path(sys.argv[1]))
settings["config"] = fake_recipe.Config(fake_recipe.Training(steps=60, save_every=7, pause=0.02))
execute(**settings, seeds=[0])
"""


def start(directory):
    environment = os.environ | {"PYTHONPATH": os.path.dirname(fake_recipe.__file__), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(directory)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_steps(directory, count):
    log = RunDirectory(directory).cell("slow", 0) / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.alone
def test_killed_and_resumed_ends_at_the_same_numbers(tmp_path):
    process = start(tmp_path / "killed")
    wait_for_steps(tmp_path / "killed", 23)
    process.kill()
    process.communicate()
    assert not RunDirectory(tmp_path / "killed").finished()
    settings = {"config": fake_recipe.Config(fake_recipe.Training(steps=60, save_every=7, pause=0.02))}
    resumed = execute(**arguments(tmp_path / "killed") | settings, seeds=[0], console=quiet())
    whole = execute(**arguments(tmp_path / "whole") | settings, seeds=[0], console=quiet())
    assert resumed.scores == whole.scores
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number):
    process = start(tmp_path / "run")
    wait_for_steps(tmp_path / "run", 10)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0 and "Stopping after this step" in err
    assert f"To continue: tenfold run fake --resume {tmp_path / 'run'}" in out
    state = json.loads((RunDirectory(tmp_path / "run").cell("slow", 0) / "checkpoints" / "state.json").read_text())
    assert state["step"] >= 10


def test_scores_that_are_not_json_fail_loudly(tmp_path):
    recipe = recipe_with(lambda *_: fake_recipe.Scores({"test/near": 0.0}, samples={"board": object()}))
    with pytest.raises(TypeError):
        execute(**arguments(tmp_path / "run") | {"recipe": recipe}, seeds=[0], console=quiet())


def test_seed_everything_is_repeatable():
    import random

    runner.seed_everything(5)
    first = random.random()
    runner.seed_everything(5)
    assert random.random() == first


def test_a_run_that_grows_names_every_command_that_it_takes(tmp_path):
    first = execute(**arguments(tmp_path / "run"), seeds=[0], console=quiet())
    more = arguments(tmp_path / "run") | {"command": "tenfold run fake --resume run --seeds 2"}
    grown = execute(**more, seeds=[0, 1], console=quiet())
    same = execute(**more, seeds=[0, 1], console=quiet())
    assert grown.facts["command"].splitlines() == [first.facts["command"], more["command"]]
    assert same.facts["command"] == grown.facts["command"]
