"""Two processes on the CPU compute what one does, also resumed; a run that is killed at any moment loses nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import process_worker
import pytest
import torch
from process_worker import SETTINGS
from processes import launch

from tenfold.core.errors import UserError

LAUNCH = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "tenfold"),
)
pytestmark = pytest.mark.alone


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}


class Runs:
    """The worker's runs by two processes, and the same trained here by one."""

    def __init__(self, directory):
        self.two, self.one = directory / "two", directory / "one"
        self.two.mkdir()
        launch(process_worker.main, self.two, folder=self.two)
        self.weights = [torch.load(self.two / f"rank-{rank}.pt") for rank in range(2)]
        for name, training in SETTINGS.items():
            process_worker.run(self.one / name, **training | {"gradient_accumulation": 1})

    def losses(self, directory):
        lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
        return {line["step"]: line["train/loss"] for line in lines if "train/loss" in line}

    def carries(self, directory):
        """The last checkpoint's carry, one entry for each rank and accumulated piece."""
        newest = max((directory / "checkpoints").iterdir())
        return [torch.load(path)["carries"] for path in sorted(newest.glob("rank-*.pt"))]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("processes"))


@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_have_the_losses_of_one(runs, name):
    one, two = runs.losses(runs.one / name), runs.losses(runs.two / name)
    assert list(one) == list(two) == list(range(1, 13))
    for step, loss in one.items():
        assert two[step] == pytest.approx(loss, abs=1e-5), step
    assert one[12] < one[1]


@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_resumed_have_the_losses_of_one(runs, name):
    one, two = runs.losses(runs.one / name), runs.losses(runs.two / f"{name} resumed")
    assert list(one) == list(two)
    for step, loss in one.items():
        assert two[step] == pytest.approx(loss, abs=1e-5), step
    for whole, resumed in ((rank[name], rank[f"{name} resumed"]) for rank in runs.weights):
        assert all(torch.equal(resumed[weight], value) for weight, value in whole.items())


@pytest.mark.parametrize("name", SETTINGS)
def test_each_rank_saves_its_own_slots_which_together_are_those_of_one_process(runs, name):
    """Rows, exploration and halting are keyed by the global slot, so that all of it is equal slot by slot."""
    (one,), two = runs.carries(runs.one / name), runs.carries(runs.two / name)
    assert (len(one), len(two)) == (1, 2)
    for field in ("inputs", "labels", "puzzles", "steps", "halted", "loads"):
        pieces = zip(*two, strict=True)  # of the whole batch in order, each a part of every rank
        of_two = torch.cat([of_rank[field] for piece in pieces for of_rank in piece])
        assert torch.equal(of_two, one[0][field]), field
    assert not torch.equal(two[0][0]["inputs"], two[1][0]["inputs"])
    assert len(set(one[0]["loads"].tolist())) > 1, "slots that never wait for each other prove nothing about halting"


def test_weights_and_puzzle_table_are_the_same_on_both_ranks(runs):
    first, second = runs.weights
    for name, weights in first.items():
        for weight, value in weights.items():
            assert torch.equal(second[name][weight], value), (name, weight)
    table = first["offered"]["puzzle_embedding.weight"]
    assert table.shape[0] == 7 and (table != 0).all(1).sum() >= 6


def test_a_checkpoint_of_two_processes_is_refused_by_one(runs):
    with pytest.raises(UserError, match=r"step-00000007 was written by 2 process"):
        process_worker.run(runs.two / "left")


def scores(directory, arm="hrm"):
    """What a cell measured, without what depends on the clock."""
    stored = json.loads((directory / "cells" / arm / "seed-0" / "scores.json").read_text())
    for group in ("metrics", "curves"):
        stored[group] = {name: value for name, value in stored[group].items() if name != "cost/seconds"}
    return stored


def command(*more):
    return ["run", "hrm", "--preset", "smoke", "--arms", "hrm", *more]


def test_the_command_line_runs_on_two_processes_as_on_one(tmp_path):
    """With the default run directory and device: nothing but the launcher tells the processes of each other."""
    from tenfold.cli.run import main

    steps = ("--training.steps", "8", "--training.log-every", "2")
    done = subprocess.run(
        [sys.executable, *LAUNCH, *command(*steps)],
        env=environment(TENFOLD_RUNS=str(tmp_path / "runs")),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Report:") == 1
    (two,) = (tmp_path / "runs").iterdir()  # one directory: the ranks agree on its name
    assert (two / "report.html").is_file() and len(list(two.rglob("scores.json"))) == 1
    assert {path.name for path in two.rglob("rank-*.pt")} == {"rank-0.pt", "rank-1.pt"}
    main(command(*steps, "--out", str(tmp_path / "one"))[1:])
    ours, theirs = (scores(directory) for directory in (tmp_path / "one", two))
    assert list(ours["metrics"]) == list(theirs["metrics"])
    losses = [[loss for _, loss in kept["curves"]["train/loss"]] for kept in (ours, theirs)]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


class Killed:
    """A real run, started again and again with ``--resume`` and killed with SIGKILL at random moments."""

    def __init__(self, directory, arguments):
        self.directory, self.arguments = directory, arguments

    def start(self):
        begun = (self.directory / "run.json").exists()
        where = ["run", "hrm", "--resume", str(self.directory)] if begun else self.arguments
        with open(self.directory.with_suffix(".log"), "a") as log:
            return subprocess.Popen([sys.executable, "-m", "tenfold", *where], env=environment(), stdout=log)

    def kill_after(self, is_time, delay):
        """Kill it ``delay`` seconds after ``is_time()`` first holds; returns whether it was still running."""
        process = self.start()
        while process.poll() is None and not is_time():
            time.sleep(0.001)
        time.sleep(delay)
        was_running = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        return was_running

    def checkpoints(self):
        return {path.name for path in self.directory.glob("cells/*/*/checkpoints/step-*")}

    def new_checkpoint(self, unfinished=False):
        """A condition that holds once a checkpoint is there (or is being written) that was not there before."""
        before = self.checkpoints()
        return lambda: any(name.endswith(".tmp") or not unfinished for name in self.checkpoints() - before)


def resume_and_compare(killed, arguments, directory, arms):
    from tenfold.cli.run import main

    main(["hrm", "--resume", str(killed.directory)])
    main([*arguments[1:], "--out", str(directory)])
    for arm in arms:
        assert scores(killed.directory, arm) == scores(directory, arm), arm
        logs = [folder / "cells" / arm / "seed-0" / "metrics.jsonl" for folder in (killed.directory, directory)]
        assert logs[0].read_bytes() == logs[1].read_bytes(), arm


def test_a_run_killed_at_several_moments_ends_with_the_scores_of_one_that_was_not(tmp_path):
    training = ("--training.steps", "80", "--training.checkpoint-every", "4", "--training.log-every", "3")
    arguments = command(*training)
    killed = Killed(tmp_path / "killed", [*arguments, "--out", str(tmp_path / "killed")])
    moments = random.Random(0)
    while_writing = killed.kill_after(killed.new_checkpoint(unfinished=True), 0)
    while_training = killed.kill_after(killed.new_checkpoint(), moments.uniform(0, 0.3))
    assert while_writing and while_training
    assert not list(killed.directory.rglob("scores.json"))
    resume_and_compare(killed, arguments, tmp_path / "whole", ["hrm"])


@pytest.mark.slow
def test_a_run_of_all_arms_killed_many_times_ends_with_the_scores_of_one_that_was_not(tmp_path):
    training = ("--training.steps", "160", "--training.checkpoint-every", "4", "--training.log-every", "3")
    arguments = ["run", "hrm", "--preset", "smoke", "--device", "cpu", *training]
    killed = Killed(tmp_path / "killed", [*arguments, "--out", str(tmp_path / "killed")])
    moments = random.Random(1)
    kills = [
        killed.kill_after(killed.new_checkpoint(unfinished=number % 3 == 0), moments.uniform(0, 1.5))
        for number in range(10)
    ]
    assert sum(kills) >= 3
    resume_and_compare(killed, arguments, tmp_path / "whole", ["plain", "hrm", "trm"])
