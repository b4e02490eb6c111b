"""The verbs of HRM on a run and on a user's own puzzles, with models that have hardly been trained."""

import csv
import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tenfold.cli.main import main
from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.wording import readable
from tenfold.data.sudoku import board_text
from tenfold.data.sudoku_generator import generate
from tenfold.papers.hrm import commands, recipe
from tenfold.papers.hrm import config as presets
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


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def cut_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def other_weights(folder):
    save_file({"weight": torch.zeros(2, 2)}, folder / "model.safetensors")


def one_weight_less(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop("core.answer_head.weight")
    save_file(weights, folder / "model.safetensors")


def other_sizes(folder):
    config = json.loads((folder / "config.json").read_text())
    config["architecture"]["hidden_size"] *= 2
    (folder / "config.json").write_text(json.dumps(config))


def an_encoder(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 32}))


def other_fields(folder):
    (folder / "config.json").write_text(json.dumps({"architecture": {"hidden": 3}, "box": [2, 2], "dtype": "float32"}))


def broken_json(folder):
    (folder / "config.json").write_text('{"architecture": {')


NO_MODELS = {
    no_weights: r"model\.safetensors is missing",
    cut_weights: r"model\.safetensors is damaged \(it has .* bytes, and its header speaks of",
    other_weights: r"model\.safetensors lacks the weight core\.",
    one_weight_less: r"model\.safetensors lacks the weight core\.answer_head\.weight",
    other_sizes: r"model\.safetensors has core\.\S+ of shape",
    an_encoder: r"config\.json describes no reasoner",
    other_fields: r"config\.json: unknown key architecture\.hidden",
    broken_json: r"config\.json is damaged \(it ends early",
}


WRONG_VALUES = [  # field and value in config.json: what the one line says
    ("", [1], r"describes no reasoner"),
    ("", "text", r"describes no reasoner"),
    ("", None, r"describes no reasoner"),
    ("architecture", [1], r"describes no reasoner"),
    ("architecture", {"hidden_size": 10**30}, r"hidden_size = 10+: must lie in \[1, 2147483647\]"),
    ("hidden_size", "x", r"architecture\.hidden_size is 'x'; allowed: an integer"),
    ("hidden_size", 1.5, r"architecture\.hidden_size is '1\.5'; allowed: an integer"),
    ("hidden_size", [64], r"architecture\.hidden_size is \[64\]; allowed: an integer"),
    ("hidden_size", {"a": 1}, r"architecture\.hidden_size is .*; allowed: an integer"),
    ("hidden_size", True, r"architecture\.hidden_size is 'True'; allowed: an integer"),
    ("hidden_size", -64, r"hidden_size = -64: must lie in"),
    ("num_heads", 0, r"num_heads = 0: must lie in"),
    ("vocab_size", -1, r"vocab_size = -1: must lie in"),
    ("layers", None, r"architecture\.layers is 'None'; allowed: an integer"),
    ("layers", 0, r"layers = 0: each must be at least 1"),
    ("kind", "lstm", r"architecture\.kind is 'lstm'; allowed: one of hrm, trm"),
    ("expansion", float("nan"), r"expansion = nan: must lie in"),
    ("q_continue", 3, r"architecture\.q_continue is '3'; allowed: true or false"),
    ("box", "x", r"box is 'x'; allowed: a list of 2"),
    ("box", [2], r"box is \[2\]; allowed: a list of 2"),
    ("box", [0, 3], r"box is \[0, 3\], which makes no board"),
    ("box", [5, 7], r"box is \[5, 7\], which makes no board"),
    ("box", {"rows": 2}, r"box"),
    ("dtype", "int7", r"dtype is 'int7'; allowed: one of float32"),
    ("dtype", None, r"dtype is 'None'; allowed: one of float32"),
]


@pytest.mark.parametrize(("field", "value", "words"), WRONG_VALUES, ids=str)
def test_a_wrong_value_in_a_models_description_is_one_line_with_file_field_and_value(
    field, value, words, run_directory, tmp_path, capsys
):
    folder = tmp_path / "model"
    shutil.copytree(run_directory / "cells/hrm/seed-0/model", folder)
    told = json.loads((folder / "config.json").read_text())
    if field in told:
        told[field] = value
    else:
        told["architecture"][field] = value
    (folder / "config.json").write_text(json.dumps(told if field else value))
    message = re.escape(str(folder / "config.json")) + ".*" + words
    with pytest.raises(UserError, match=message):
        Reasoner.from_pretrained(folder)
    assert main(["solve", "hrm", str(folder), "--puzzle", PUZZLE]) == 2
    captured = capsys.readouterr()
    assert re.search(message, captured.err) and captured.err.count("\n") == 1 and captured.out == "", captured.err


@pytest.mark.parametrize("spoil", NO_MODELS, ids=lambda spoil: spoil.__name__)
def test_a_folder_that_does_not_hold_the_model_is_one_line_and_no_weight_is_made_up(
    spoil, run_directory, tmp_path, capsys
):
    folder = tmp_path / "model"
    shutil.copytree(run_directory / "cells/hrm/seed-0/model", folder)
    spoil(folder)
    for words in (["solve", "hrm", folder, "--puzzle", PUZZLE], ["export", "hrm", folder, "--out", tmp_path / "out"]):
        assert main([str(word) for word in words]) == 2
        captured = capsys.readouterr()
        assert re.search(NO_MODELS[spoil], captured.err) and captured.err.count("\n") == 1, captured.err
        assert captured.out == "" and not (tmp_path / "out").exists()


def test_an_exported_model_has_a_card_that_is_true(tmp_path, capsys):
    """What it is, what it reads, the command that made it and what was measured; its example runs."""
    small = "--training.steps 2 --training.evaluate-every 0 --data.num-train 32 --data.num-test 8 --device cpu"
    words = ["run", "hrm", "--preset", "smoke", "--arms", "hrm", *small.split(), "--out", str(tmp_path / "run")]
    assert main([*words, "--seeds", "4,"]) == 0
    out = tmp_path / "out"
    assert main(["export", "hrm", str(tmp_path / "run"), "--seed", "4", "--out", str(out)]) == 0
    capsys.readouterr()
    text = (out / "README.md").read_text()
    model = Reasoner.from_pretrained(out)
    assert f"with {sum(p.numel() for p in model.parameters()):,} parameters" in text
    assert "Sudokus of 4x4 cells with boxes of 2x2" in text and "--seeds 4," in text and "hub" not in text.lower()
    scores = json.loads((tmp_path / "run" / "cells" / "hrm" / "seed-4" / "scores.json").read_text())["metrics"]
    assert f"| `test/exact_accuracy` | {readable(scores['test/exact_accuracy'])} |" in text
    exec(text.partition("```python\n")[2].partition("```")[0], {})
    assert len(capsys.readouterr().out.strip().splitlines()[-1]) == 16


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


def train(file, out, *words, steps=3):
    """``tenfold train hrm`` for some steps, without what costs time at the end."""
    votes = ["--evaluation.symmetry-votes", "0", "--evaluation.trajectories", "0", "--evaluation.noise-std", "0"]
    words = ["--training.steps", steps, "--device", "cpu", *votes, *words]
    return main(["train", "hrm", "--data", str(file), "--out", str(out), *map(str, words)])


@pytest.mark.parametrize("arm", ["hrm", "trm"])
def test_train_makes_a_model_of_ones_own_puzzles_that_solve_takes(arm, tmp_path, capsys):
    file = write_csv(tmp_path / "puzzles.csv", 40)
    assert train(file, tmp_path / "out", "--arm", arm) == 0
    assert "test/exact_accuracy " in capsys.readouterr().out
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert 0 <= scores["test/exact_accuracy"] <= 1
    reasoner = Reasoner.from_pretrained(tmp_path / "out" / "model")
    assert reasoner.core.config.kind == arm and reasoner.box == (2, 2)
    commands.solve(tmp_path / "out", (PUZZLE,), arm=arm)
    assert "Confidence" in capsys.readouterr().out


def test_train_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    file = write_csv(tmp_path / "puzzles.csv", 40)
    with monkeypatch.context() as patch:
        asked = iter([False, True])
        patch.setattr(Cell, "stop_requested", lambda cell: next(asked))
        assert train(file, tmp_path / "stepwise", steps=4) == 130
    assert [path.name for path in (tmp_path / "stepwise" / "checkpoints").iterdir()] == ["step-00000002"]
    moved = file.rename(tmp_path / "moved.csv")
    for out in ("stepwise", "at once"):
        assert train(moved, tmp_path / out, steps=4) == 0
    one, other = (Reasoner.from_pretrained(tmp_path / out / "model").state_dict() for out in ("stepwise", "at once"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_train_refuses_what_it_cannot_use_and_writes_nothing(tmp_path, capsys):
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"puzzle\n" + PUZZLE.encode() + b"\n\xe9\n")
    good, few = write_csv(tmp_path / "good.csv", 20), write_csv(tmp_path / "few.csv", 2)
    wrong = [
        (tmp_path, (), "is a folder, not a CSV file"),
        (latin, (), "line 3 is not UTF-8"),
        (good, ("--data.num-train", "17"), "num_train = 17, data.num_validation = 2, data.num_test = 2: at least 1"),
        (good, ("--data.num-train", "0"), "together at most the 20 of "),
        (few, (), "data.num_train = 1, data.num_validation = 1, data.num_test = 1: at least 1 each"),
        (good, ("--arms.trm.layers", "1"), "arms.trm.layers = 1: does nothing with --arm hrm"),
        (good, ("--arms.hrm.vocab-size", "9"), "arms.hrm.vocab_size = 9: must be 6, as the data have it"),
        (good, ("--data.box-rows", "3"), "--data.box_rows = 3: does nothing in tenfold train hrm"),
    ]
    for data, words, message in wrong:
        assert train(data, tmp_path / "out", *words) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    for steps, message in (
        ("0", "steps = 0, epochs = 0: give one of them"),
        ("-1", "steps = -1, epochs = 0: give one"),
    ):
        with pytest.raises(SystemExit):
            train(good, tmp_path / "out", steps=steps)
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("columns", [("puzzle",), ("puzzle", "solution")])
def test_train_needs_no_ratings(columns, tmp_path):
    file = write_csv(tmp_path / "puzzles.csv", 20, columns=columns)
    assert train(file, tmp_path / "out", steps=1) == 0
    assert (tmp_path / "out" / "model" / "config.json").is_file()


def test_doubled_puzzles_can_be_trained_on_at_every_seed(tmp_path, capsys):
    """Ten puzzles, of which two are one: whichever is drawn for the test, a split of eight and two exists."""
    lines = write_csv(tmp_path / "nine.csv", 9, columns=("puzzle",)).read_text().splitlines()
    (tmp_path / "ten.csv").write_text("\n".join([*lines, lines[1]]) + "\n")
    for seed in range(4):
        assert train(tmp_path / "ten.csv", tmp_path / str(seed), "--seed", seed, steps=1) == 0, capsys.readouterr().err


def test_another_task_needs_models_of_its_size_and_the_flags_that_are_named_give_them(tmp_path, capsys):
    maze = "--data.task maze --data.maze-size 7 --data.maze-min-path 6 --data.num-train 32 --data.num-test 4"
    sudoku = "--data.box-columns 3 --data.clues 0 --evaluation.symmetry-votes 0"
    small = "--training.steps 2 --training.evaluate-every 0 --training.checkpoint-every 2 --data.num-validation 4"
    words = ["run", "hrm", "--preset", "smoke", *f"{maze} {sudoku} {small} --device cpu".split()]
    assert main([*words, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "sequence_length = 16: mazes of 7x7 have 6 tokens and 49 cells; add --arms.plain.vocab-size 6" in error
    assert error.count("\n") == 1 and not (tmp_path / "run").exists()
    assert main([*words, *error.partition("; add ")[2].split(), "--out", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize(
    ("box", "clues", "cells"), [((2, 2), 8, 16), ((2, 3), 20, 36), ((2, 4), 40, 64), ((3, 3), 45, 81)]
)
def test_sizes_follow_the_file(box, clues, cells, tmp_path):
    config = presets.own(str(write_csv(tmp_path / "puzzles.csv", 10, box, clues)))
    assert (config.data.box_rows, config.data.box_columns) == box
    for model in (config.arms.plain, config.arms.hrm, config.arms.trm):
        assert model.sequence_length == cells and model.vocab_size == box[0] * box[1] + 2
    assert (config.data.num_train, config.data.num_validation, config.data.num_test) == (8, 1, 1)
    assert config.training.batch_size <= 8 and config.training.steps == presets.laptop().training.steps


def test_sizes_and_split_may_be_ones_own(tmp_path, capsys):
    file = write_csv(tmp_path / "puzzles.csv", 20)
    split = ("--data.num-train", 9, "--data.num-test", 8, "--training.batch-size", 4)
    assert train(file, tmp_path / "out", *split, "--arms.hrm.layers", 1, "--dry-run", steps=7) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["data"]["num_train"], config["data"]["num_validation"], config["data"]["num_test"]) == (9, 2, 8)
    assert (config["training"]["steps"], config["training"]["batch_size"], config["arms"]["hrm"]["layers"]) == (7, 4, 1)


# --------------------------------------------------------------------------------------------------------------- tune


def test_every_arm_has_the_same_grid_and_its_own_rate(monkeypatch, tmp_path):
    assert {tuple(rates) for rates in recipe.GRID.values()} == {(1e-3, 2e-3, 4e-3, 8e-3)}
    trained = []

    class Trained(Exception):
        pass

    def remember(model, study):
        trained.append((study.arm, study.rates, study.seed))
        raise Trained

    monkeypatch.setattr(recipe, "train_reasoner", remember)
    for field in recipe.GRID:
        arms = presets.smoke().arms
        rates = field.split(".")[1]
        changed = replace(arms, **{rates: replace(getattr(arms, rates), learning_rate=0.5)})
        with pytest.raises(Trained):
            cell = Cell(arm=field, seed=1000, directory=tmp_path, device="cpu")
            recipe.validation_score(replace(presets.smoke(), arms=changed), field, cell)
    chosen = presets.RatesConfig(0.5, recipe.TUNING_EMA_DECAY)
    assert trained == [(arm, chosen, 1000) for arm in recipe.ARMS.values()]


def test_averaged_and_last_weights_are_measured_on_the_validation_split(tmp_path):
    config = presets.smoke()
    still = replace(config.arms, hrm_rates=presets.RatesConfig(0.0))
    config = replace(config, arms=still, training=replace(config.training, steps=2, evaluate_every=0))
    cell = Cell(arm="hrm", seed=0, directory=tmp_path, device="cpu")
    scores = recipe.validation_score(config, "arms.hrm_rates.learning_rate", cell)
    assert list(scores) == ["validation/averaged", "validation/last"], "the averaged weights are chosen by"
    assert scores["validation/averaged"] == scores["validation/last"], "with rate 0 both are the initial weights"
    assert cell.curves()["validation/exact_accuracy"][-1] == (2.0, scores["validation/averaged"])


def test_tune_tries_the_rates_of_an_arm(tmp_path):
    words = ["--preset", "smoke", "--fields", "arms.trm_rates.learning_rate", "--rates", "1e-3", "--device", "cpu"]
    assert main(["tune", "hrm", "--out", str(tmp_path / "tuning"), *words]) == 0
    [row] = json.loads((tmp_path / "tuning" / "tuning.json").read_text())
    assert set(row) == {"field", "learning_rate", "validation/averaged", "validation/last"}
