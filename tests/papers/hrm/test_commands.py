"""The verbs of HRM on a run and on a user's own puzzles, with models that have hardly been trained."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tenfold.cli.main import main
from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted, UserError
from tenfold.core.types import Scores
from tenfold.data.sudoku import board_text
from tenfold.data.sudoku_generator import generate
from tenfold.papers.hrm import commands, recipe
from tenfold.papers.hrm import config as presets
from tenfold.papers.hrm.own_puzzles import config_for_file
from tenfold.papers.hrm.reasoner import Reasoner, Solution

SOLVED = "1234341221434321"
PUZZLE = "12343412214343.1"


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    """A run whose arm ``hrm`` was trained for a moment on 4x4 Sudokus."""
    root = tmp_path_factory.mktemp("run")
    config = presets.smoke()
    config = replace(
        config,
        data=replace(config.data, num_train=32, num_validation=4, num_test=4),
        training=replace(config.training, steps=3, batch_size=16, evaluate_every=0),
    )
    recipe.run(config, "hrm", 0, Cell(arm="hrm", seed=0, directory=root / "cells/hrm/seed-0", device="cpu"))
    return root


def write_csv(path, count, box=(2, 2), clues=8, columns=("puzzle", "solution", "guesses")):
    made = generate(count, box, seed=3, clues=clues)
    cells = {
        "puzzle": [board_text(board) for board in made.puzzles],
        "solution": [board_text(board) for board in made.solutions],
        "guesses": made.ratings["guesses"].tolist(),
    }
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(cells[name] for name in columns), strict=True))
    return path


# -------------------------------------------------------------------------------------------------------------- solve


@pytest.fixture
def solve_with(monkeypatch, tmp_path, capsys):
    """What ``solve`` prints when the model says the given solution."""

    class Oracle:
        box = (2, 2)

        def __init__(self, solution):
            self.solution = solution

        def solve(self, puzzles, **options):
            return [self.solution]

    def call(puzzle, solution):
        monkeypatch.setattr(Reasoner, "from_pretrained", lambda folder: Oracle(solution))
        (tmp_path / "config.json").write_text("{}")
        commands.solve(tmp_path, (puzzle,))
        return capsys.readouterr().out

    return call


def test_solve_prints_the_board_after_each_segment_that_changed_it_and_the_vote(solve_with):
    wrong, better = "2" * 16, "1" + SOLVED[1:-1] + "2"
    out = solve_with(PUZZLE, Solution(SOLVED, (wrong, wrong, better, better), 0.87, 3))
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "segment 1 segment 3 vote"
    assert lines[1] == "2 2 2 2 1 2 3 4 1 2 3 4"
    assert lines[5] == "2 2 2 2 4 3 2 2 4 3 2 1"
    assert SOLVED in lines and "Confidence 0.87; the learned rule halts after segment 3." in out
    assert "vote" not in solve_with(PUZZLE, Solution(SOLVED, (wrong, SOLVED), 0.87, 3))


def test_solve_shows_what_the_model_of_the_run_says(run_directory, capsys):
    commands.solve(run_directory, (PUZZLE,), segments=6)
    out = capsys.readouterr().out
    solution = Reasoner.from_pretrained(run_directory / "cells/hrm/seed-0/model").solve([PUZZLE], segments=6)[0]
    assert solution.board in out.splitlines()
    assert f"Confidence {solution.confidence:.2f}" in out and f"after segment {solution.halting_step}." in out


def test_solve_is_a_verb_of_the_command_line(run_directory, capsys):
    words = ["solve", "hrm", str(run_directory), "--puzzle", PUZZLE, SOLVED, "--symmetry-votes", "2"]
    assert main(words) == 0
    assert capsys.readouterr().out.count("Confidence") == 2


@pytest.mark.parametrize(
    ("board", "puzzle", "verdict"),
    [
        (SOLVED, PUZZLE, True),
        (SOLVED, "1234 3412 2143 43.1", True),
        (SOLVED, "." * 16, True),
        (SOLVED, "2" + "." * 15, False),  # a given was changed
        (SOLVED[::-1].replace("1", "."), "." * 16, False),  # a cell is empty
        ("1234" * 4, "." * 16, False),  # against the rules
    ],
)
def test_solve_says_whether_the_answer_obeys_rules_and_givens(board, puzzle, verdict, solve_with):
    out = solve_with(puzzle, Solution(board, (board,), 0.9, 1))
    assert f"The answer {'obeys' if verdict else 'breaks'} the rules and the givens." in out


def test_solve_refuses_what_is_no_puzzle_in_one_line(run_directory, capsys):
    for puzzle, message in (("123", "puzzle 1 has 3 cells"), ("11" + "." * 14, "the digit 1 twice in row 1")):
        assert main(["solve", "hrm", str(run_directory), "--puzzle", puzzle]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("words", [["--puzzle", PUZZLE], ["--puzzle", PUZZLE, SOLVED], [PUZZLE, "--puzzle"]])
def test_solve_without_a_run_does_not_take_the_puzzle_for_one(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["solve", "hrm", *words]) == 2
    error = capsys.readouterr().err
    assert "run" in error and ("tenfold solve hrm RUN --puzzle BOARD" in error or "does not exist" in error)
    assert error.count("\n") == 1


def test_a_run_that_does_not_exist_is_named(tmp_path):
    for call in (lambda run: commands.solve(run, (PUZZLE,)), lambda run: commands.export(run, tmp_path / "out")):
        with pytest.raises(UserError, match=r"nowhere', which does not exist; allowed: a run directory"):
            call(tmp_path / "nowhere")


def test_an_arm_that_was_not_trained_is_named_with_those_that_were(run_directory, tmp_path):
    with pytest.raises(UserError, match=r"no trained model of arm 'trm', seed 4 .*cells/hrm/seed-0"):
        commands.solve(run_directory, (PUZZLE,), arm="trm", seed=4)
    with pytest.raises(UserError, match="trained there: none"):
        commands.solve(tmp_path, (PUZZLE,))


# ------------------------------------------------------------------------------------------------------------- export


def test_an_exported_folder_loads_and_solves_like_the_run(run_directory, tmp_path, capsys):
    commands.export(run_directory, tmp_path / "mine")
    assert str(tmp_path / "mine") in capsys.readouterr().out
    original = Reasoner.from_pretrained(run_directory / "cells/hrm/seed-0/model")
    assert Reasoner.from_pretrained(tmp_path / "mine").solve([PUZZLE]) == original.solve([PUZZLE])
    commands.solve(tmp_path / "mine", (PUZZLE,))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"], "nothing temporary is left"


def test_export_overwrites_nothing(run_directory, tmp_path):
    (tmp_path / "empty").mkdir()
    commands.export(run_directory, tmp_path / "empty")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("keep")
    for taken in ("full", "full/precious"):
        with pytest.raises(UserError, match="not an empty folder"):
            commands.export(run_directory, tmp_path / taken)
    assert (tmp_path / "full" / "precious").read_text() == "keep"


# -------------------------------------------------------------------------------------------------------------- train


@pytest.mark.parametrize("arm", ["hrm", "trm"])
def test_train_makes_a_model_of_ones_own_puzzles_that_solve_takes(arm, tmp_path, capsys):
    file = write_csv(tmp_path / "puzzles.csv", 40)
    commands.train(file, tmp_path / "out", arm=arm, preset="smoke", steps=3, device="cpu")
    assert "test/exact_accuracy " in capsys.readouterr().out
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert 0 <= scores["test/exact_accuracy"] <= 1
    reasoner = Reasoner.from_pretrained(tmp_path / "out" / "model")
    assert reasoner.core.config.kind == arm and reasoner.box == (2, 2)
    commands.solve(tmp_path / "out", (PUZZLE,), arm=arm)
    assert "Confidence" in capsys.readouterr().out


def test_train_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    file = write_csv(tmp_path / "puzzles.csv", 40)
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="after step 2"):
        asked = iter([False, True])
        patch.setattr(Cell, "stop_requested", lambda cell: next(asked))
        commands.train(file, tmp_path / "stepwise", preset="smoke", steps=4, device="cpu")
    moved = file.rename(tmp_path / "moved.csv")
    for out in ("stepwise", "at once"):
        commands.train(moved, tmp_path / out, preset="smoke", steps=4, device="cpu")
    one, other = (Reasoner.from_pretrained(tmp_path / out / "model").state_dict() for out in ("stepwise", "at once"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"preset": "laptop"}, "preset is laptop, but .* was begun with smoke; give another --out"),
        ({"arm": "trm"}, "arm is trm, but .* was begun with hrm"),
        ({"seed": 1}, "seed is 1, but .* was begun with 0"),
        ({"dtype": "bfloat16"}, "dtype is bfloat16, but .* was begun with float32"),
        ({"steps": 2}, "training.steps is 2, but .* was begun with 1"),
        ({"num_train": 8}, "data.num_train is 8, but .* was begun with 16"),
        ({"data": "other.csv"}, "data_sha256 is [0-9a-f]{64}, but .* was begun with [0-9a-f]{64}"),
    ],
)
def test_a_folder_of_another_training_is_refused(changed, message, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(recipe, "run", lambda *arguments: trained.append(arguments) or Scores({"test/x": 1.0}))
    monkeypatch.chdir(tmp_path)
    asked = {"data": write_csv(tmp_path / "puzzles.csv", 20), "preset": "smoke", "steps": 1, "out": tmp_path / "out"}
    write_csv(tmp_path / "other.csv", 20, clues=7)
    commands.train(**asked)
    commands.train(**asked)
    with pytest.raises(UserError, match=message):
        commands.train(**(asked | changed | ({"data": Path(changed["data"])} if "data" in changed else {})))
    assert len(trained) == 2, "the same goes on, another is refused"


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    file = write_csv(tmp_path / "puzzles.csv", 20)
    with pytest.raises(UserError, match=r"--out is .*; allowed: a new or empty folder, or one that has a training"):
        commands.train(file, tmp_path, preset="smoke", steps=1)
    with pytest.raises(UserError, match=r"--out is .*; allowed: a new or empty folder, or one that has a tuning"):
        commands.tune(file, preset="smoke")
    assert [path.name for path in tmp_path.iterdir()] == ["puzzles.csv"]


def test_train_refuses_files_and_steps_it_cannot_use(tmp_path, capsys):
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"puzzle\n" + PUZZLE.encode() + b"\n\xe9\n")
    good = write_csv(tmp_path / "good.csv", 20)
    wrong = [
        (tmp_path, "1", "is a folder, not a CSV file"),
        (latin, "1", "line 3 is not UTF-8"),
        (good, "0", "steps = 0: must be at least 1"),
        (good, "-1", "steps = -1: must be at least 1"),
    ]
    for data, steps, message in wrong:
        words = ["--data", str(data), "--out", str(tmp_path / "out"), "--preset", "smoke", "--steps", steps]
        assert main(["train", "hrm", *words]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("columns", [("puzzle",), ("puzzle", "solution")])
def test_train_needs_no_ratings(columns, tmp_path, capsys):
    file = write_csv(tmp_path / "puzzles.csv", 20, columns=columns)
    commands.train(file, tmp_path / "out", preset="smoke", steps=1, device="cpu")
    assert (tmp_path / "out" / "model" / "config.json").is_file()


@pytest.mark.parametrize(
    ("box", "clues", "cells"), [((2, 2), 8, 16), ((2, 3), 20, 36), ((2, 4), 40, 64), ((3, 3), 45, 81)]
)
def test_sizes_follow_the_file(box, clues, cells, tmp_path):
    file = write_csv(tmp_path / "puzzles.csv", 10, box, clues)
    config = config_for_file(presets.laptop(), file)
    assert (config.data.box_rows, config.data.box_columns) == box
    for model in (config.arms.plain, config.arms.hrm, config.arms.trm):
        assert model.sequence_length == cells and model.vocab_size == box[0] * box[1] + 2
    assert (config.data.num_train, config.data.num_validation, config.data.num_test) == (8, 1, 1)
    assert config.training.batch_size <= 8 and config.training.steps == presets.laptop().training.steps
    assert config_for_file(presets.laptop(), file, num_train=4, num_test=5, steps=7).training.steps == 7


@pytest.mark.parametrize(("num_train", "num_test"), [(0, 2), (8, 1), (9, 2), (None, 9)])
def test_splits_that_the_file_cannot_give_are_refused(num_train, num_test, tmp_path):
    file = write_csv(tmp_path / "puzzles.csv", 10)
    with pytest.raises(UserError, match=r"num_train = \d, num_test = \d.* 10 of "):
        config_for_file(presets.smoke(), file, num_train, num_test)


# --------------------------------------------------------------------------------------------------------------- tune


def test_tune_gives_every_arm_the_same_grid(tmp_path, monkeypatch, capsys):
    tried = []

    def fake(config, arm, chosen, seed, cell):
        tried.append((arm, chosen.learning_rate, chosen.ema_decay, seed))
        return 0.75, 0.5

    monkeypatch.setattr(recipe, "validation_accuracy", fake)
    commands.tune(tmp_path / "tuned", preset="smoke", rates=(1e-3, 4e-3), ema_decay=0.9, seed=1000)
    assert tried == [(arm, rate, 0.9, 1000) for arm in recipe.ARMS for rate in (1e-3, 4e-3)]
    rows = json.loads((tmp_path / "tuned" / "tuning.json").read_text())
    assert rows[-1] == {"arm": "trm", "learning_rate": 4e-3, "averaged": 0.75, "last": 0.5} and len(rows) == 6


def test_rates_may_be_added_to_a_tuning_but_nothing_else_changed(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(recipe, "validation_accuracy", lambda *arguments: tried.append(arguments) or (0.75, 0.5))
    for rates in ((1e-3,), (1e-3, 2e-3)):
        commands.tune(tmp_path / "tuned", preset="smoke", rates=rates)
    assert len(tried) == 3 * len(recipe.ARMS)
    for changed, message in (
        ({"preset": "laptop"}, "preset is laptop, but .* was begun with smoke; give another --out"),
        ({"seed": 1001}, "seed is 1001, but .* was begun with 1000"),
        ({"ema_decay": 0.5}, "ema_decay is 0.5, but .* was begun with 0.99"),
    ):
        with pytest.raises(UserError, match=message):
            commands.tune(tmp_path / "tuned", **({"preset": "smoke"} | changed))
    smoke = presets.smoke()
    monkeypatch.setattr(presets, "smoke", lambda: replace(smoke, data=replace(smoke.data, clues=9)))
    with pytest.raises(UserError, match=r"data\.clues is 9, but .* was begun with 10"):
        commands.tune(tmp_path / "tuned", preset="smoke")
    other_rates = replace(smoke.arms, hrm_rates=presets.RatesConfig(0.5))
    monkeypatch.setattr(presets, "smoke", lambda: replace(smoke, arms=other_rates))
    commands.tune(tmp_path / "tuned", preset="smoke")
    assert len(tried) == 7 * len(recipe.ARMS), "the rates of the preset play no part"


def test_averaged_and_last_weights_are_measured_on_the_validation_split(tmp_path):
    config = presets.smoke()
    config = replace(config, training=replace(config.training, steps=2, evaluate_every=0))
    cell = Cell(arm="hrm", seed=0, directory=tmp_path, device="cpu")
    averaged, last = recipe.validation_accuracy(config, "hrm", presets.RatesConfig(0.0, 0.5), 0, cell)
    assert averaged == last, "with rate 0 both are the initial weights"
    assert cell.curves()["validation/exact_accuracy"][-1] == (2.0, averaged)
