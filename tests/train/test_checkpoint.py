"""Interrupted and resumed training equals training without a break, bit for bit; what is not whole is ignored."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted, UserError
from tenfold.core.seeding import torch_generator
from tenfold.train import checkpoint
from tenfold.train.distributed import broadcast
from tenfold.train.loop import LoopConfig, train

CONFIG = LoopConfig(
    steps=10,
    batch_size=8,
    gradient_accumulation=2,
    ema_decay=0.9,
    log_every=4,
    evaluate_every=5,
    checkpoint_every=3,
)


@dataclass(frozen=True)
class Memory:
    hidden: Tensor
    age: Tensor


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))


def optimizers(model):
    """Two of them; momentum and Adam's moments are state that a resumed run must have."""
    return [
        torch.optim.Adam(model[0].parameters(), lr=0.05),
        torch.optim.SGD([*model[1].parameters(), *model[3].parameters()], lr=0.1, momentum=0.9),
    ]


def step_function(model, carry, step, slots):
    """The global generator is used on purpose (dropout): its state must be restored too."""
    x = torch.randn(8, 3, generator=torch_generator("rows", step))[slots.start : slots.stop]
    hidden = model(x + carry.hidden)
    loss = (hidden - x.flip(1)).square().mean() + carry.age.float().mean()
    if step == 5:
        loss = loss * torch.nan
    return loss, Memory(hidden.detach(), carry.age + 1), {"train/odd_steps": torch.tensor(step % 2.0)}


def evaluate(model, step):
    return {"validation/weight": float(model[0].weight.detach().sum())}


def initial_carry(model, rows):
    return Memory(torch.zeros(rows, 3), torch.zeros(rows, dtype=torch.long))


def stopping_cell(directory, step=None):
    """A cell that is asked to stop after ``step``."""

    class Recorder:
        def update(self, done, total, metrics, rate):
            if done == step:
                cell.request_stop()

    cell = Cell(arm="method", seed=0, directory=directory, display=Recorder())
    return cell


def run(cell, config=CONFIG):
    return train(
        make_model(),
        optimizers,
        step_function,
        config,
        cell,
        initial_carry=initial_carry,
        schedule=lambda step: 1 / step,
        evaluate=evaluate,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    return run(stopping_cell(directory)), (directory / "metrics.jsonl").read_bytes()


def assert_same(trained, directory, whole):
    reference, log = whole
    for mine, right in ((trained.model, reference.model), (trained.last, reference.last)):
        for name, value in right.state_dict().items():
            assert torch.equal(mine.state_dict()[name], value), name
    assert (directory / "metrics.jsonl").read_bytes() == log
    assert trained.skipped == reference.skipped == 1


def resume(directory):
    torch.manual_seed(12345)  # another process would be in another state
    torch.rand(7)
    return run(stopping_cell(directory))


@pytest.mark.parametrize("stops", [(1,), (3,), (5,), (9,), (2, 6, 7)], ids=str)
def test_stopped_and_resumed_equals_training_without_a_break(tmp_path, whole, stops):
    for stop in stops:
        with pytest.raises(Interrupted) as stopped:
            run(stopping_cell(tmp_path, stop))
        assert stopped.value.step == stop
    assert_same(resume(tmp_path), tmp_path, whole)


def test_after_a_crash_training_goes_on_from_the_last_checkpoint(tmp_path, whole):
    class Crash(Exception):
        pass

    class Recorder:
        def update(self, done, total, metrics, rate):
            if done == 8:
                raise Crash

    with pytest.raises(Crash):
        run(Cell(arm="method", seed=0, directory=tmp_path, display=Recorder()))
    assert checkpoint.newest_complete(tmp_path / "checkpoints").name == "step-00000006"
    assert b'"step": 8' in (tmp_path / "metrics.jsonl").read_bytes(), "logged beyond the checkpoint"
    assert_same(resume(tmp_path), tmp_path, whole)


def test_without_a_checkpoint_training_starts_anew_and_so_does_its_log(tmp_path, whole):
    (tmp_path / "metrics.jsonl").write_text('{"step": 4, "train/loss": 99.0}\n')
    assert_same(resume(tmp_path), tmp_path, whole)


def test_finished_training_is_read_back_without_a_step(tmp_path, whole):
    run(stopping_cell(tmp_path))
    seconds = run(stopping_cell(tmp_path)).seconds
    assert_same(resume(tmp_path), tmp_path, whole)
    assert seconds > 0, "the seconds of the steps that were done before"


def test_incomplete_checkpoints_are_ignored_and_swept_away(tmp_path, whole):
    with pytest.raises(Interrupted):
        run(stopping_cell(tmp_path, 5))
    folder = tmp_path / "checkpoints"
    unmarked, unfinished = folder / "step-00000007", folder / "step-00000008.tmp"
    shutil.copytree(folder / "step-00000005", unmarked)
    (unmarked / checkpoint.MARKER).unlink()
    shutil.copytree(folder / "step-00000005", unfinished)  # killed between marker and rename
    assert checkpoint.newest_complete(folder).name == "step-00000005"
    assert_same(resume(tmp_path), tmp_path, whole)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000009", "step-00000010"]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_checkpoints_stay(tmp_path, keep):
    run(stopping_cell(tmp_path), replace(CONFIG, keep_checkpoints=keep))
    names = [f"step-{step:08d}" for step in (3, 6, 9, 10)]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == names[-keep:]


def test_a_damaged_tail_of_the_newest_checkpoint_costs_only_the_steps_since_the_one_before(tmp_path, whole):
    with pytest.raises(Interrupted):
        run(stopping_cell(tmp_path, 7))
    (tmp_path / "checkpoints" / "step-00000007" / checkpoint.MARKER).unlink()
    assert_same(resume(tmp_path), tmp_path, whole)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def empty(path):
    path.write_bytes(b"")


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES = (cut, empty, zero, lambda path: path.unlink())
FILES = ("model.safetensors", "optimizer.bin", "optimizer_1.bin", "random_states_0.pkl", "rank-0.pt", checkpoint.MARKER)


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory):
    """A training with the checkpoints 6 and 7."""
    directory = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Interrupted):
        run(stopping_cell(directory, 7))
    return directory


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_with_a_warning(tmp_path, whole, stopped_run, name):
    for number, damage in enumerate(DAMAGES[: 3 if name == checkpoint.MARKER else 4]):
        directory = tmp_path / str(number)
        shutil.copytree(stopped_run, directory)
        damage(directory / "checkpoints" / "step-00000007" / name)
        with pytest.warns(UserWarning, match=rf"step-00000007/{name} is .*; going on from step-00000006"):
            resumed = checkpoint.newest_whole(directory / "checkpoints")
        assert resumed.name == "step-00000006"
    with pytest.warns(UserWarning, match="going on from step-00000006"):
        assert_same(resume(directory), directory, whole)


def test_where_no_checkpoint_is_whole_nothing_is_begun_anew_unasked(tmp_path, stopped_run):
    shutil.copytree(stopped_run, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    for step in (6, 7):
        cut(folder / f"step-0000000{step}" / "optimizer.bin")
    with pytest.raises(UserError, match=rf"optimizer.bin is damaged .* no older .* delete {folder} to train from the"):
        resume(tmp_path / "run")


def test_a_damaged_checkpoint_beyond_the_training_does_not_push_out_whole_ones(tmp_path, stopped_run):
    shutil.copytree(stopped_run, tmp_path / "run")
    cut(tmp_path / "run" / "checkpoints" / "step-00000007" / "model.safetensors")
    with pytest.warns(UserWarning, match="going on from"), pytest.raises(Interrupted) as stopped:
        train(
            make_model(),
            optimizers,
            step_function,
            replace(CONFIG, keep_checkpoints=1, checkpoint_every=100),
            stopping_cell(tmp_path / "run", 7),
            initial_carry=initial_carry,
        )
    assert checkpoint.newest_whole(tmp_path / "run" / "checkpoints") == stopped.value.checkpoint


def test_checkpoints_of_earlier_versions_have_no_list_of_files_and_are_looked_through_all_the_same(
    tmp_path, whole, stopped_run
):
    shutil.copytree(stopped_run, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    for step in (6, 7):
        (folder / f"step-0000000{step}" / checkpoint.MARKER).write_text("1\n")
    assert checkpoint.newest_whole(folder).name == "step-00000007"
    cut(folder / "step-00000007" / "random_states_0.pkl")
    with pytest.warns(UserWarning, match="random_states_0.pkl"):
        assert_same(resume(tmp_path / "run"), tmp_path / "run", whole)


def test_everything_is_on_the_disk_before_the_checkpoint_has_its_name(tmp_path, monkeypatch):
    """A loss of power may undo what was not synced, in any order."""
    synced = []
    monkeypatch.setattr(checkpoint, "sync", lambda path: synced.append(path.relative_to(tmp_path).as_posix()))
    run(stopping_cell(tmp_path), replace(CONFIG, steps=3))
    temporary = "checkpoints/step-00000003.tmp"
    before = synced[: synced.index(f"{temporary}/{checkpoint.MARKER}")]
    names = {path.name for path in (tmp_path / "checkpoints" / "step-00000003").iterdir()} - {checkpoint.MARKER}
    assert {f"{temporary}/{name}" for name in names} | {temporary} == set(before)
    assert synced[-1] == "checkpoints", "the new name, too"


def test_a_checkpoint_of_another_number_of_processes_is_refused(tmp_path):
    with pytest.raises(Interrupted) as stopped:
        run(stopping_cell(tmp_path, 2))
    (stopped.value.checkpoint / checkpoint.MARKER).write_text("4\n")
    with pytest.raises(UserError, match=r"step-00000002 was written by 4 process.* not by 1"):
        run(stopping_cell(tmp_path))


def test_there_is_no_newest_checkpoint_in_a_folder_that_is_not_there(tmp_path):
    assert checkpoint.newest_complete(tmp_path / "nothing") is None


def test_steps_are_compared_as_numbers(tmp_path):
    for name in ("step-99999999", "step-100000000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / checkpoint.MARKER).write_text("1\n")
    newest = checkpoint.newest_complete(tmp_path)
    assert checkpoint.step_of(newest) == 100_000_000


def test_one_process_agrees_with_itself():
    assert broadcast({"directory": "runs/a"}) == {"directory": "runs/a"}


def test_all_files_and_then_the_marker_are_on_the_disk_before_the_checkpoint_has_its_name(tmp_path, monkeypatch):
    events, written = [], tmp_path / "unfinished"
    (written / "part").mkdir(parents=True)
    for name in ("model.safetensors", "part/rank-0.pt"):
        (written / name).write_bytes(b"1")
    rename = Path.rename
    monkeypatch.setattr(checkpoint, "sync", lambda path: events.append(str(path.relative_to(tmp_path))))
    monkeypatch.setattr(Path, "rename", lambda path, to: (events.append(f"rename to {to.name}"), rename(path, to)))
    alone = SimpleNamespace(wait_for_everyone=lambda: None, is_main_process=True, num_processes=1)
    checkpoint.seal(alone, written, tmp_path, step=3)
    marker = events.index("unfinished/COMPLETE")
    assert {"unfinished/model.safetensors", "unfinished/part/rank-0.pt", "unfinished/part"} <= set(events[:marker])
    assert events[-2:] == ["rename to step-00000003", "."] and "unfinished" in events[marker:-2]
