"""Puzzle datasets: what a group sampler visits, what evaluation pads, what the disk keeps."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data.puzzles import (
    GroupSampler,
    PuzzleDataset,
    evaluation_batches,
    load_splits,
    save_splits,
    total_steps,
)


def numbered_dataset(groups=10, variants=3, examples_per_group=(1,), ignore_label_id=None):
    """A dataset whose first two input tokens are (group, variant) and whose labels are the example number."""
    rows, identifiers, puzzle_indices, group_indices = [], [], [0], [0]
    for group in range(groups):
        for variant in range(variants):
            count = examples_per_group[group % len(examples_per_group)]
            rows += [(group, variant, example) for example in range(count)]
            identifiers.append(group * variants + variant)
            puzzle_indices.append(len(rows))
        group_indices.append(len(identifiers))
    inputs = np.array(rows, dtype=np.uint8)
    return PuzzleDataset(
        inputs=inputs,
        labels=np.roll(inputs, 1, axis=1),
        puzzle_identifiers=np.array(identifiers, dtype=np.int32),
        puzzle_indices=np.array(puzzle_indices, dtype=np.int32),
        group_indices=np.array(group_indices, dtype=np.int32),
        vocab_size=200,
        seq_len=3,
        num_puzzle_identifiers=groups * variants,
        ignore_label_id=ignore_label_id,
    )


@pytest.mark.spec("hrm", "27")
def test_an_epoch_visits_each_group_once_and_takes_one_puzzle_of_it():
    dataset = numbered_dataset(groups=12, variants=5)
    sampler = GroupSampler(dataset, batch_size=4, seed=1)
    variants_seen = set()
    for epoch in range(6):
        batches = [sampler.batch(3 * epoch + k) for k in range(3)]
        rows = np.concatenate([batch.inputs for batch in batches])
        assert sorted(rows[:, 0]) == list(range(12))
        variants_seen |= set(rows[:, 1])
        identifiers = np.concatenate([batch.puzzle_identifiers for batch in batches])
        np.testing.assert_array_equal(identifiers, rows[:, 0] * 5 + rows[:, 1])
    assert variants_seen == set(range(5))


@pytest.mark.spec("hrm", "27")
def test_total_steps_of_the_published_sudoku_run():
    grid = np.ones((1000, 3, 4), dtype=np.uint8)
    dataset = PuzzleDataset.from_groups(grid, grid, vocab_size=11)
    assert total_steps(dataset, epochs=20_000, batch_size=768) == 26_041


@pytest.mark.spec("hrm", "27")
@pytest.mark.parametrize("batch_size", [14, 1])
def test_an_epoch_of_unequal_puzzles_visits_each_group_once(batch_size):
    """Six groups of 1, 2 or 4 examples: 14 rows an epoch. At 1 a batch, a puzzle fills it and loses its other rows."""
    dataset = numbered_dataset(groups=6, variants=3, examples_per_group=(1, 2, 4))
    sampler = GroupSampler(dataset, batch_size, seed=2)
    batches_per_epoch = {14: 1, 1: 6}[batch_size]
    variants_seen = set()
    for epoch in range(8):
        batches = [sampler.batch(batches_per_epoch * epoch + k) for k in range(batches_per_epoch)]
        rows = np.concatenate([batch.inputs for batch in batches])
        visits = [group for group in range(6) for _ in range((1, 2, 4)[group % 3] if batch_size == 14 else 1)]
        assert sorted(rows[:, 0]) == visits and len(np.unique(rows, axis=0)) == len(rows)
        assert len(np.unique(rows[:, :2], axis=0)) == 6, "one puzzle of each group"
        variants_seen |= {tuple(row) for row in rows[:, :2]}
    assert len(variants_seen) > 12, "not always the same puzzle"


@pytest.mark.spec("hrm", "27")
def test_total_steps_count_the_mean_examples_of_a_puzzle_and_round_down():
    dataset = numbered_dataset(groups=6, variants=2, examples_per_group=(1, 2, 4))  # 7/3 examples a puzzle
    assert [total_steps(dataset, epochs, batch_size=4) for epochs in (1, 9, 10)] == [3, 31, 35]
    groups_of_one_and_three = replace(
        numbered_dataset(groups=4, variants=1, examples_per_group=(1, 5, 5, 5)),
        group_indices=np.array([0, 1, 4], dtype=np.int32),
    )
    # 2 groups · 16/4 examples, as published, although an epoch holds 1 + 5
    assert total_steps(groups_of_one_and_three, epochs=10, batch_size=8) == 10


def test_batches_are_a_pure_function_of_their_number():
    dataset = numbered_dataset(groups=11, variants=4, examples_per_group=(1, 2, 3))
    forwards = GroupSampler(dataset, batch_size=5, seed=3)
    first = [forwards.examples(k) for k in range(20)]
    backwards = GroupSampler(dataset, batch_size=5, seed=3)
    for k in reversed(range(20)):
        np.testing.assert_array_equal(backwards.examples(k), first[k])
    other = GroupSampler(dataset, batch_size=5, seed=4)
    assert any((other.examples(k) != first[k]).any() for k in range(20))


def test_batches_equal_the_published_procedure_written_as_a_loop():
    """Groups in order, one puzzle each, all its examples until the batch is full, the rest of that puzzle lost."""
    dataset = numbered_dataset(groups=11, variants=2, examples_per_group=(1, 2, 4))
    batch_size = 6
    sampler = GroupSampler(dataset, batch_size=batch_size, seed=0)
    k = 0
    for epoch in range(5):
        puzzles = list(sampler._epoch(epoch))
        while True:
            expected_sizes = []
            while puzzles and sum(expected_sizes) < batch_size:
                group = puzzles.pop(0) // 2
                count = (1, 2, 4)[group % 3]
                expected_sizes.append(min(count, batch_size - sum(expected_sizes)))
            if sum(expected_sizes) < batch_size:
                break
            rows = sampler.batch(k).inputs
            assert len(rows) == len(np.unique(rows, axis=0)) == batch_size
            changes = np.flatnonzero(np.diff(rows[:, 0])) + 1
            assert np.diff([0, *changes, batch_size]).tolist() == expected_sizes
            k += 1


def test_a_truncated_puzzle_gives_a_random_part_of_its_examples():
    dataset = numbered_dataset(groups=1, variants=1, examples_per_group=(6,))
    sampler = GroupSampler(dataset, batch_size=2, seed=0)
    seen = {tuple(sampler.examples(k)) for k in range(200)}
    assert len(seen) == 30  # ordered pairs of six


def test_several_epochs_to_a_pass_drop_rows_only_at_its_end():
    dataset = numbered_dataset(groups=10, variants=1)
    sampler = GroupSampler(dataset, batch_size=4, seed=0, epochs_per_pass=2)
    rows = np.concatenate([sampler.batch(k).inputs for k in range(5)])
    assert sorted(rows[:, 0]) == sorted([*range(10), *range(10)])
    assert sorted(rows[:10, 0]) == list(range(10))


def test_a_small_set_fills_a_batch_exactly_or_is_refused():
    dataset = numbered_dataset(groups=8, variants=1)
    assert sorted(GroupSampler(dataset, 8, seed=0).batch(5).inputs[:, 0]) == list(range(8))
    with pytest.raises(UserError, match=r"batch_size is 9.*the 8 examples.*epochs_per_pass"):
        GroupSampler(dataset, 9, seed=0)
    assert GroupSampler(dataset, 9, seed=0, epochs_per_pass=3).batch(0).inputs.shape == (9, 3)


def test_evaluation_takes_every_example_in_order_and_pads_the_last_batch():
    dataset = numbered_dataset(groups=5, variants=1, examples_per_group=(1, 2))
    batches = list(evaluation_batches(dataset, 4))
    assert [valid for _, valid in batches] == [4, 3]
    rows = np.concatenate([batch.inputs[:valid] for batch, valid in batches])
    np.testing.assert_array_equal(rows, dataset.inputs)
    last = batches[-1][0]
    assert last.inputs.shape == (4, 3)
    assert (last.inputs[3:] == 0).all() and (last.labels[3:] == -100).all() and (last.puzzle_identifiers[3:] == 0).all()


def test_ignored_labels_become_minus_100():
    dataset = numbered_dataset(groups=3, variants=1, ignore_label_id=2)
    labels = dataset.take(np.arange(3)).labels
    np.testing.assert_array_equal(labels, np.where(dataset.labels == 2, -100, dataset.labels.astype(int)))
    assert (labels == -100).any()
    assert labels.dtype == np.int64


def test_disk_round_trip_keeps_everything(tmp_path):
    dataset = numbered_dataset(ignore_label_id=0)
    names = ["<blank>", *(f"p{i}" for i in range(29))]
    save_splits(tmp_path, {"train": dataset, "test": dataset}, names)
    splits, read_names = load_splits(tmp_path)
    assert read_names == names and sorted(splits) == ["test", "train"]
    for name, value in vars(dataset).items():
        np.testing.assert_array_equal(getattr(splits["train"], name), value)
    facts = json.loads((tmp_path / "train" / "dataset.json").read_text())
    assert (facts["total_groups"], facts["mean_puzzle_examples"], facts["sets"]) == (10, 1.0, ["all"])
    assert not list(tmp_path.rglob("*.tmp"))


def test_wide_integers_on_disk_are_read_as_bytes(tmp_path):
    """The authors' Sudoku builder stores int64."""
    dataset = numbered_dataset()
    dataset.save(tmp_path)
    np.save(tmp_path / "all__inputs.npy", dataset.inputs.astype(np.int64))
    assert PuzzleDataset.load(tmp_path).inputs.dtype == np.uint8
    np.save(tmp_path / "all__inputs.npy", dataset.inputs.astype(np.int64) + 1000)
    with pytest.raises(UserError, match=r"inputs holds 1000\.\..*0\.\.255"):
        PuzzleDataset.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 5}, "inputs holds token 9, but vocab_size is 5"),
        ({"seq_len": 4}, "seq_len = 4"),
        ({"num_puzzle_identifiers": 3}, "num_puzzle_identifiers is 3"),
        ({"group_indices": np.array([0, 5, 5, 30], dtype=np.int32)}, "group_indices must be strictly increasing"),
        ({"puzzle_indices": np.array([0, 30], dtype=np.int32)}, "puzzle_indices has 2 entries"),
        ({"inputs": np.zeros((30, 3))}, "inputs has dtype float64"),
    ],
)
def test_inconsistent_datasets_are_refused(change, message):
    fields = vars(numbered_dataset()) | change
    with pytest.raises(UserError, match=message):
        PuzzleDataset(**fields)


def test_missing_files_and_fields_are_named(tmp_path):
    with pytest.raises(UserError, match=r"dataset\.json is missing"):
        PuzzleDataset.load(tmp_path)
    numbered_dataset().save(tmp_path)
    (tmp_path / "all__labels.npy").unlink()
    with pytest.raises(UserError, match=r"all__labels\.npy is missing"):
        PuzzleDataset.load(tmp_path)
    facts = json.loads((tmp_path / "dataset.json").read_text())
    del facts["pad_id"]
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="lacks the field pad_id"):
        PuzzleDataset.load(tmp_path)


def test_identifier_names_must_match_the_table(tmp_path):
    with pytest.raises(UserError, match="identifiers has 1 names, but split train has 30"):
        save_splits(tmp_path, {"train": numbered_dataset()})


def test_sampler_reaches_far_batches_of_uneven_groups():
    dataset = numbered_dataset(groups=9, variants=2, examples_per_group=(1, 3))
    sampler = GroupSampler(dataset, batch_size=4, seed=0)
    far = sampler.examples(500)
    walked = list(islice((GroupSampler(dataset, 4, seed=0).examples(k) for k in (499, 500)), 2))[1]
    np.testing.assert_array_equal(far, walked)
