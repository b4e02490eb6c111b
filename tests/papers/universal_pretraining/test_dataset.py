"""The endless dataset: streams, positions, workers, export, and what generation costs a training."""

import os
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tenfold.core.errors import UserError
from tenfold.papers.universal_pretraining import dataset as module
from tenfold.papers.universal_pretraining.dataset import UniversalDataset, Waiting
from tenfold.papers.universal_pretraining.generators import Mixture, RandomComputation
from tenfold.papers.universal_pretraining.method import IterationBuffer, RandomLSTM

DATA = RandomComputation(
    IterationBuffer(size=30, length=16, written=4, reset=(2, 2)),
    RandomLSTM(hidden=8, layers=2, gain=(3.0, 3.0)),
    source_every=2,
    mixture=Mixture(0.5, 0.25, 0.25),
)


def make(**changes):
    return UniversalDataset(DATA, **{"batch_size": 4, "rank": 0, **changes})


def rows(dataset, count):
    return torch.stack(list(islice(dataset, count)))


# ------------------------------------------------------------------------------------------------------------ streams


@pytest.mark.spec("universal_pretraining", "1")
def test_equal_seeds_equal_streams():
    stream = rows(make(), 20)
    assert stream.shape == (20, 16) and stream.dtype == torch.int64
    assert torch.equal(stream, rows(make(), 20))
    for other in (make(seed=1), make(rank=1)):
        assert not torch.equal(stream, rows(other, 20))


def test_each_iteration_starts_anew():
    dataset = make()
    assert torch.equal(rows(dataset, 6), rows(dataset, 6))


def test_the_rank_is_that_of_the_launcher(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    assert torch.equal(rows(make(rank=None), 5), rows(make(rank=3), 5))
    monkeypatch.delenv("RANK")
    assert torch.equal(rows(make(rank=None), 5), rows(make(rank=0), 5))


def test_workers_have_streams_of_their_own_that_do_not_depend_on_their_number():
    def stream(num_workers, count):
        return torch.cat(list(islice(DataLoader(make(), batch_size=4, num_workers=num_workers), count)))

    one, two = stream(1, 2), stream(2, 4)
    assert torch.equal(one, rows(make(), 8)), "the first worker's stream is that without workers"
    assert torch.equal(two[:4], one[:4]) and torch.equal(two[8:12], one[4:])
    assert not torch.equal(two[4:8], two[:4])
    assert torch.equal(two, stream(2, 4))


def test_labels_are_a_copy_of_the_tokens():
    entry = next(iter(make(labels=True)))
    assert set(entry) == {"input_ids", "labels"}
    assert torch.equal(entry["input_ids"], entry["labels"])
    entry["labels"][0] = -100
    assert entry["input_ids"][0] >= 0


def test_a_causal_language_model_takes_the_entries():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=256, n_positions=16, n_embd=8, n_layer=1, n_head=1))
    batch = next(iter(DataLoader(make(labels=True), batch_size=4)))
    assert model(**batch).loss.item() == pytest.approx(np.log(256), abs=0.3)


# ---------------------------------------------------------------------------------------------------------- positions


@pytest.mark.spec("universal_pretraining", "1")
@pytest.mark.parametrize("taken", [0, 1, 3, 4, 5, 8, 11])
def test_a_saved_position_goes_on_identically(taken):
    whole, dataset = rows(make(), 16), make()
    first = list(islice(dataset, taken))
    saved = dataset.state_dict()
    list(islice(dataset, 3))
    resumed = make()
    resumed.load_state_dict(saved)
    assert torch.equal(torch.stack([*first, *islice(resumed, 16 - taken)]), whole)
    assert torch.equal(rows(resumed, 3), whole[taken : taken + 3]), "and every iteration starts there"


def test_a_position_survives_a_file(tmp_path):
    dataset = make()
    first = rows(dataset, 5)
    torch.save(dataset.state_dict(), tmp_path / "position.pt")
    resumed = make()
    resumed.load_state_dict(torch.load(tmp_path / "position.pt"))
    assert torch.equal(torch.cat((first, rows(resumed, 5))), rows(make(), 10))


def test_the_position_outside_of_workers_does_not_move():
    dataset = make()
    before = dataset.state_dict()
    list(islice(DataLoader(dataset, batch_size=4, num_workers=1), 2))
    after = dataset.state_dict()
    assert after["taken"] == 0 and int(after["step"]) == 0 and torch.equal(before["rows"], after["rows"])


def test_a_position_of_another_buffer_is_refused():
    saved = make().state_dict()
    saved["rows"] = saved["rows"][:, :-1]
    with pytest.raises(UserError, match=r"rows \(30, 15\): must be the buffer's size and length, \(30, 16\)"):
        make().load_state_dict(saved)


# ------------------------------------------------------------------------------------------------------------- export


def test_export_of_bytes_and_of_arrow_hold_the_stream(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the package datasets is optional")
    stream = rows(make(), 7)
    file = make().export(tmp_path / "a" / "rows.bin", 7)
    assert torch.equal(torch.from_numpy(np.fromfile(file, dtype=np.uint8)).view(7, 16).long(), stream)
    folder = make(labels=True).export(tmp_path / "rows", 7)
    table = datasets.load_from_disk(str(folder))
    assert torch.equal(torch.tensor(table["input_ids"][:]), stream)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "rows"], "nothing else is left"


def test_export_without_datasets_names_what_is_missing_and_writes_bytes(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the package datasets; a file that ends in \.bin does not"):
        make().export(tmp_path / "rows", 3)
    assert make().export(tmp_path / "rows.bin", 3).stat().st_size == 3 * 16


def test_export_refuses_a_folder_that_exists_and_no_rows(tmp_path):
    pytest.importorskip("datasets", reason="the package datasets is optional")
    with pytest.raises(UserError, match="exists already; name a new folder"):
        make().export(tmp_path, 3)
    with pytest.raises(UserError, match="rows = 0: must be at least 1"):
        make().export(tmp_path / "rows.bin", 0)
    with pytest.raises(UserError, match="batch_size = 0"):
        make(batch_size=0)


def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="the package datasets is optional")
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        make().export(tmp_path / "rows", 3)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ the cost of waiting


class WithProcess(UniversalDataset):
    """Rows together with the process that made them."""

    def __iter__(self):
        return ((row, os.getpid()) for row in super().__iter__())


@pytest.mark.spec("universal_pretraining", "12")
def test_a_worker_process_generates_and_the_share_of_a_step_is_printed(capsys):
    model = torch.nn.Sequential(torch.nn.Embedding(256, 64), torch.nn.Linear(64, 256))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(WithProcess(DATA, batch_size=4, rank=0), batch_size=4, num_workers=1, prefetch_factor=4)
    waiting = Waiting(islice(loader, 12))
    for tokens, processes in waiting:
        assert set(processes.tolist()) != {os.getpid()}, "made elsewhere"
        logits = model(tokens[:, :-1])
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
    print(waiting)
    printed = capsys.readouterr().out
    assert f"generator share of a training step: {100 * waiting.share:.1f} %" in printed
    assert waiting.steps == 11 and 0 <= waiting.share <= 1


def test_waiting_is_told_from_working(monkeypatch):
    """Batches take 3 seconds each, steps 1 second; the first batch, which starts the workers, does not count."""
    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])

    def batches():
        for number in range(5):
            clock[0] += 100 if number == 0 else 3
            yield number

    waiting = Waiting(batches())
    assert np.isnan(waiting.share)
    for _ in waiting:
        clock[0] += 1
    assert (waiting.steps, waiting.waited, waiting.total, waiting.share) == (4, 12, 16, 0.75)
    assert str(waiting) == "generator share of a training step: 75.0 % (waited 12.00 s of 16.00 s in 4 steps)"
