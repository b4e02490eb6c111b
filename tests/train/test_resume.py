"""Stopped, crashed or killed trainings on trl end as unbroken ones do; two processes end as one does."""

import shutil
import signal
import time
from dataclasses import replace

import pytest
import torch
from language_training import GRPO, KINDS, SETTINGS, cell_of, train_grpo, weights_of, work
from processes import launch, start
from stopping import StopAfter

from tenfold.core.errors import Interrupted, UserError
from tenfold.train import checkpoint


def train(kind, directory, stop=None, crash=False):
    display = None if stop is None else StopAfter(stop, crash)
    cell = cell_of(kind, directory, display=display)
    if display is not None:
        display.cell = cell
    torch.manual_seed(time.time_ns() % 2**31)  # another process would be in another state
    return KINDS[kind](cell, SETTINGS[kind])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Weights and log of unbroken trainings, by kind, each run once."""
    done = {}

    def of(kind):
        if kind not in done:
            directory = tmp_path_factory.mktemp(kind)
            done[kind] = weights_of(train(kind, directory)), (directory / "metrics.jsonl").read_bytes()
        return done[kind]

    return of


def assert_same(weights, directory, whole):
    expected, log = whole
    for name, value in expected.items():
        assert torch.equal(weights[name], value), name
    assert (directory / "metrics.jsonl").read_bytes() == log


@pytest.mark.parametrize(
    "kind", ["sft", "sft_experts", "sft_lora", "sft_muon", "grpo", "grpo_kl", "grpo_lora", "grpo_iterations"]
)
def test_stopped_and_resumed_equals_training_without_a_break(tmp_path, whole, kind):
    for stop in (1, 5) if kind != "grpo_iterations" else (1,):
        with pytest.raises(Interrupted) as stopped:
            train(kind, tmp_path, stop)
        assert checkpoint.step_of(stopped.value.checkpoint) == stopped.value.step
    assert_same(weights_of(train(kind, tmp_path)), tmp_path, whole(kind))


@pytest.mark.parametrize(("kind", "stop", "reached"), [("sft", 2, 3), ("grpo", 2, 4), ("grpo_iterations", 1, 4)])
def test_a_request_to_stop_waits_for_the_next_round_of_generation(tmp_path, kind, stop, reached):
    """Asked for while a step is shown, and so first seen at the end of the next; cycles have 1, 2 and 4 steps."""
    with pytest.raises(Interrupted) as stopped:
        train(kind, tmp_path, stop)
    assert stopped.value.step == reached


def test_after_a_crash_training_goes_on_from_the_last_complete_checkpoint(tmp_path, whole):
    with pytest.raises(ConnectionError):
        train("grpo", tmp_path, stop=5, crash=True)
    folder = tmp_path / "checkpoints"
    assert checkpoint.newest_complete(folder).name == "step-00000004"
    # What trl would resume from: a directory without an optimizer; and one of ours that lacks its marker.
    shutil.copytree(folder / "step-00000004", folder / "checkpoint-6")
    (folder / "checkpoint-6" / "optimizer.pt").unlink()
    shutil.copytree(folder / "step-00000004", folder / "step-00000006")
    (folder / "step-00000006" / checkpoint.MARKER).unlink()
    assert_same(weights_of(train("grpo", tmp_path)), tmp_path, whole("grpo"))
    assert sorted(path.name for path in folder.glob("*-*")) == ["step-00000006", "step-00000008"]


@pytest.mark.parametrize("kind", ["sft", "sft_lora", "grpo"])
def test_finished_training_is_read_back_without_a_step(tmp_path, whole, kind):
    train(kind, tmp_path)
    written = (tmp_path / "checkpoints" / "step-00000008").stat().st_mtime_ns
    assert_same(weights_of(train(kind, tmp_path)), tmp_path, whole(kind))
    assert (tmp_path / "checkpoints" / "step-00000008").stat().st_mtime_ns == written


def test_a_checkpoint_of_another_number_of_processes_is_refused(tmp_path):
    with pytest.raises(Interrupted) as stopped:
        train("grpo", tmp_path, stop=1)
    (stopped.value.checkpoint / checkpoint.MARKER).write_text("4\n")
    with pytest.raises(UserError, match=r"step-00000002 was written by 4 process.* not by 1"):
        train("grpo", tmp_path)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json", "COMPLETE"]
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_with_a_warning(tmp_path, whole, name):
    with pytest.raises(Interrupted):
        train("sft", tmp_path, stop=5)
    newest, before = sorted((tmp_path / "checkpoints").iterdir(), reverse=True)[:2]
    (newest / name).write_bytes(
        (newest / name).read_bytes()[: (newest / name).stat().st_size // 2 if name != "COMPLETE" else 0]
    )
    with pytest.warns(UserWarning, match=rf"{newest.name}/{name} is damaged .*; going on from {before.name}"):
        assert_same(weights_of(train("sft", tmp_path)), tmp_path, whole("sft"))


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["sft", "grpo"])
def test_a_killed_training_ends_as_one_that_was_not(tmp_path, kind):
    """Killed while a checkpoint is written, and while it trains; resumed each time by a new process."""
    steps, folder = 40, tmp_path / kind / "checkpoints"
    for moment in ("checkpoint-*", "step-*"):
        process = start(work, [kind], tmp_path, steps, log=tmp_path / "log")
        seen = set(folder.glob(moment))
        while process.is_alive() and not set(folder.glob(moment)) - seen:
            time.sleep(0.001)
        assert process.is_alive(), list(tmp_path.glob("log")) and (tmp_path / "log").read_text()
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL and not (tmp_path / kind / "weights.pt").exists()
    unbroken = cell_of(kind, tmp_path / "unbroken")
    settings = replace(SETTINGS[kind], steps=steps)
    expected = weights_of(KINDS[kind](unbroken, settings))
    resumed = weights_of(KINDS[kind](cell_of(kind, tmp_path / kind), settings))
    assert_same(resumed, tmp_path / kind, (expected, (tmp_path / "unbroken" / "metrics.jsonl").read_bytes()))


KINDS_OF_TWO = ("sft", "sft_lora", "grpo_on_policy", "grpo_environment", "grpo_policy_loss", "grpo")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """The weights of trainings on two processes, stopped by nobody, and of one that is resumed by two."""
    directory = tmp_path_factory.mktemp("two_processes")
    launch(work, KINDS_OF_TWO, directory, folder=directory)
    return directory


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS_OF_TWO[:-1])
def test_two_processes_with_half_of_each_batch_end_as_one(tmp_path, two_processes, kind, whole):
    """Whole-batch weights, groups, keys of the noise and the rows of each step must not depend on their number.

    (Where a round of generation feeds several steps, trl shuffles it within each process: other steps, same data.)
    """
    alone, _ = whole(kind)
    together = torch.load(two_processes / kind / "weights.pt", weights_only=True)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=0, atol=1e-5)
    curves = cell_of(kind, two_processes / kind).curves()
    assert (two_processes / kind / "checkpoints" / "step-00000008" / checkpoint.MARKER).read_text().splitlines()[
        0
    ] == "2"
    losses = [value for _, value in curves["train/loss"]]
    assert len(losses) == 3 and all(value == value for value in losses)


@pytest.mark.alone
def test_two_processes_resume_what_they_saved(tmp_path, two_processes):
    """The last checkpoint is taken away; what is left is resumed by two processes to the same end."""
    copy = tmp_path / "grpo"
    shutil.copytree(two_processes / "grpo", copy)
    shutil.rmtree(copy / "checkpoints" / "step-00000008")
    (copy / "weights.pt").unlink()
    launch(work, ["grpo"], tmp_path, folder=tmp_path)
    expected = torch.load(two_processes / "grpo" / "weights.pt", weights_only=True)
    resumed = torch.load(copy / "weights.pt", weights_only=True)
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())
    assert (copy / "metrics.jsonl").read_bytes() == (two_processes / "grpo" / "metrics.jsonl").read_bytes()


def test_settings_of_another_cycle_are_refused_before_anything_is_built(tmp_path):
    with pytest.raises(UserError, match="checkpoint_every = 5"):
        train_grpo(cell_of("grpo", tmp_path), replace(GRPO, checkpoint_every=5))
    assert not (tmp_path / "checkpoints").exists()
