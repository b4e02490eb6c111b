"""What the recipe reports: its metrics on answers made by hand, its cost counted by hand, its rates step by step.

Two verdicts hang on these numbers, so each is compared with arithmetic done here; a run of the smallest size then shows
that every metric of the paper's README is there and no other.
"""

import re
from collections import defaultdict
from dataclasses import replace
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.report import SECONDS
from tenfold.data.arc import ArcTask, build_arc
from tenfold.data.puzzles import Batch, PuzzleDataset
from tenfold.data.sudoku import SudokuPuzzles, to_boards, to_tokens
from tenfold.data.sudoku_generator import generate
from tenfold.data.sudoku_solver import solve
from tenfold.optim import AdamATan2, SparseSignSGD
from tenfold.papers.hrm import config as presets
from tenfold.papers.hrm import recipe, training
from tenfold.papers.hrm.config import DataConfig, EvaluationConfig, RatesConfig
from tenfold.papers.hrm.data import ArcTasks, HeldOut, Puzzles, sudoku_difficulty
from tenfold.papers.hrm.inference import AllAnswers
from tenfold.papers.hrm.method import Latents, SegmentOutput
from tenfold.papers.hrm.training import Study

BOX = (2, 2)

# --------------------------------------------------------------------------------------------- answers made by hand

RIGHT_AFTER = [  # per puzzle: after segment 1, 2 and 3
    (True, True, True),
    (False, True, True),
    (False, False, True),
    (False, False, False),
    (False, True, False),
]
HALTING = [1, 2, 3, 1, 2]  # the third never wants to halt, the fourth stops on a wrong answer
DIFFICULTY = [1, 2, 3, 9, 5]
Q_HALT = [0.0, 4.0, 1.0, 2.0, -3.0]  # after segment 3: mistaken about the fourth alone


def held_out(labels, difficulty=None):
    rows = Batch(np.ones_like(labels), labels, np.zeros(len(labels), dtype=np.int64))
    return HeldOut(rows, None if difficulty is None else np.array(difficulty))


def made_by_hand(right_after=RIGHT_AFTER, halting=HALTING, difficulty=DIFFICULTY):
    """Answers of three cells of which the last is wrong where ``right_after`` says so, and the first may not count."""
    right = np.array(right_after).T
    tokens = np.full((*right.shape, 3), 4, dtype=np.uint8)
    tokens[..., 2] += ~right
    labels = np.full(tokens.shape[1:], 4)
    labels[0, 0] = -100
    q_halt = np.zeros(right.shape, dtype=np.float32)
    q_halt[-1] = Q_HALT[: right.shape[1]]
    return AllAnswers(tokens, q_halt, np.array(halting)), held_out(labels, difficulty)


def test_accuracies_are_shares_of_puzzles_after_the_last_the_first_and_the_halting_segment():
    answers, puzzles = made_by_hand()
    assert recipe.accuracy_metrics(answers, puzzles.rows.labels) == pytest.approx(
        {
            "test/exact_accuracy": 3 / 5,
            "test/exact_accuracy_first_segment": 1 / 5,
            "test/refinement_gain": 2 / 5,
            "test/exact_accuracy_when_halting": 4 / 5,
            "test/cell_accuracy": 12 / 14,
        }
    )


def test_halting_is_judged_on_puzzles_that_stopped_early_and_adaptation_on_those_solved_when_stopping():
    answers, puzzles = made_by_hand()
    assert recipe.halting_metrics(answers, puzzles) == pytest.approx(
        {
            "halting/mean_segments": 9 / 5,
            "halting/precision": 3 / 4,
            # of ranks 1, 2, 3, 4 of the difficulty and 1, 2.5, 4, 2.5 of the step: 3 / sqrt(5 · 4.5)
            "halting/rank_correlation": 3 / 22.5**0.5,
            "halting/q_halt_accuracy": 4 / 5,
        }
    )


SOLVED = [(True, True, True)] * 4


@pytest.mark.parametrize(
    ("right_after", "halting", "difficulty", "expected"),
    [
        (SOLVED, [1, 2, 3, 3], [10, 20, 30, 30], 1.0),
        (SOLVED, [3, 2, 1, 1], [10, 20, 30, 30], -1.0),
        (SOLVED, [1, 2, 3, 3], [1, 1000, 10**6, 10**6], 1.0),  # ranks, not values
        (SOLVED, [2, 2, 2, 2], [10, 20, 30, 40], 0.0),  # a rule that never adapts fails the claim
        (SOLVED, [1, 2, 3, 1], None, None),  # no ratings
        ([(False,) * 3] * 3 + SOLVED[:1], [1, 2, 3, 1], [10, 20, 30, 40], None),  # one solved puzzle
        ([(False,) * 3] * 4, [1, 2, 3, 1], [10, 20, 30, 40], None),  # none
    ],
)
def test_rank_correlation_is_missing_only_without_puzzles_to_compare(right_after, halting, difficulty, expected):
    answers, puzzles = made_by_hand(right_after, halting, difficulty)
    correlation = recipe.halting_metrics(answers, puzzles)["halting/rank_correlation"]
    assert np.isnan(correlation) if expected is None else correlation == pytest.approx(expected)


def test_a_rule_that_never_stops_early_has_no_precision_and_one_segment_no_halting():
    answers, puzzles = made_by_hand(halting=[3] * 5)
    metrics = recipe.halting_metrics(answers, puzzles)
    assert np.isnan(metrics["halting/precision"]) and metrics["halting/mean_segments"] == 3
    single, puzzles = made_by_hand([(True,), (False,)], [1, 1], [1, 2])
    assert recipe.halting_metrics(single, puzzles) == {}


# --------------------------------------------------------------------------------------------- more thinking


class FakeCore:
    """``say(latents, inputs) -> (tokens [B, L], q [B])`` in place of a trained model; remembers what it heard."""

    def __init__(self, say, vocab_size, halt_max_steps=4):
        self.config = SimpleNamespace(halt_max_steps=halt_max_steps, q_continue=True)
        self.initial_z_H = torch.zeros(4)
        self.say, self.vocab_size = say, vocab_size
        self.heard, self.said = [], []

    def initial_latents(self, count):
        return Latents(torch.zeros(count, 2, 4), torch.zeros(count, 2, 4))

    def __call__(self, latents, inputs, puzzles):
        tokens, q = self.say(latents, inputs)
        self.heard.append(latents)
        self.said.append(q)
        logits = torch.nn.functional.one_hot(tokens, self.vocab_size).float()
        return SegmentOutput(latents, logits, q, torch.zeros_like(q))


def solves_ten_clues(latents, inputs):
    """The solution of a 4x4 board with ten givens, nonsense for one with fewer: no symmetry changes the count."""
    boards = to_boards(inputs.numpy())
    solutions = np.where((boards > 0).sum(1, keepdims=True) == 10, solve(boards, BOX).boards, 1)
    return torch.from_numpy(to_tokens(solutions)).long(), torch.zeros(len(boards))


def with_evaluation(**changes):
    return replace(presets.smoke(), evaluation=EvaluationConfig(batch_size=64, segments=3, **changes))


@pytest.fixture
def sudokus():
    """Five boards with ten givens and three with eight, and a wrong answer to each."""
    made = SudokuPuzzles.join([generate(5, BOX, seed=0, clues=10), generate(3, BOX, seed=0, clues=8)])
    inputs, labels = (to_tokens(boards).astype(np.int64) for boards in (made.puzzles, made.solutions))
    wrong = AllAnswers(np.ones((3, 8, 16), np.uint8), np.zeros((3, 8), np.float32), np.full(8, 3))
    return HeldOut(Batch(inputs, labels, np.zeros(8, dtype=np.int64)), None), wrong


def test_a_vote_over_symmetries_outvotes_a_wrong_answer_to_the_puzzle_itself(sudokus):
    puzzles, wrong = sudokus
    core = FakeCore(solves_ten_clues, vocab_size=6)
    assert recipe.extra_metrics(core, wrong, puzzles, with_evaluation(symmetry_votes=4)) == {
        "test/exact_accuracy_voted": 5 / 8
    }
    assert len(core.heard) == 4 * 3, "every vote takes the segments of the evaluation"


def test_votes_need_a_sudoku_and_trajectories_need_segments(sudokus):
    puzzles, wrong = sudokus
    core = FakeCore(solves_ten_clues, vocab_size=6, halt_max_steps=1)
    for config in (with_evaluation(), with_evaluation(trajectories=4, noise_std=1.0)):
        assert recipe.extra_metrics(core, wrong, puzzles, config) == {}
    assert not core.heard
    with pytest.raises(UserError, match=r"evaluation\.symmetry_votes = 4: does not act here; set data\.task = sudoku"):
        replace(with_evaluation(symmetry_votes=4), data=DataConfig(task="maze"))


def test_the_noisy_trajectory_that_q_halt_prefers_is_scored():
    """The core is right, and confident, where the noise on z_H is positive on average."""
    truth = torch.randint(1, 6, (20, 16), generator=torch.Generator().manual_seed(0))

    def by_noise(latents, inputs):
        mean = latents.z_H.mean((1, 2))
        right = truth[inputs[:, 0]]
        return torch.where((mean > 0)[:, None], right, (right + 1) % 6), mean

    labels = truth.numpy().copy()
    labels[:, 3] = -100  # does not count
    rows = Batch(np.repeat(np.arange(20)[:, None], 16, 1), labels, np.zeros(20, dtype=np.int64))
    core = FakeCore(by_noise, vocab_size=6)
    config = with_evaluation(trajectories=3, noise_std=0.3)
    metrics = recipe.extra_metrics(core, None, HeldOut(rows, None), config)
    finals = torch.stack(core.said[2::3])
    assert len(finals) == 3
    solved = (finals.max(0).values > 0).float().mean().item()
    assert (finals[0] > 0).float().mean().item() < solved < 1
    assert metrics == {"test/exact_accuracy_best_of_trajectories": pytest.approx(solved)}
    assert core.heard[0].z_H.std().item() == pytest.approx(0.3, rel=0.25)


# ------------------------------------------------------------------------------------------------ data of a run


def test_difficulty_is_ordered_by_guesses_then_rounds_or_is_what_the_file_says():
    def rated(**ratings):
        empty = np.zeros((4, 16), dtype=np.uint8)
        return sudoku_difficulty(SudokuPuzzles(empty, empty, {name: np.array(r) for name, r in ratings.items()}))

    both = rated(guesses=[0, 1, 0, 2], rounds=[9, 1, 3, 0])
    assert np.argsort(both).tolist() == [2, 0, 1, 3]
    assert len(set(rated(guesses=[0, 1, 0, 1], rounds=[9, 0, 9, 1]))) == 3, "equal ratings are equally difficult"
    assert rated(rating=[3, 1, 2, 5]).tolist() == [3, 1, 2, 5]
    assert rated() is None


def small_puzzles():
    """Eight training puzzles of 4x4 cells, three to validate and two to test with."""
    given, wanted = np.random.default_rng(0).integers(1, 6, size=(2, 8, 1, 16)).astype(np.uint8)
    train = PuzzleDataset.from_groups(given, wanted, vocab_size=6)
    return Puzzles(train, *(held_out(wanted[:count, 0].astype(np.int64)) for count in (3, 2)))


def test_epochs_become_steps_and_given_steps_stay():
    config, puzzles = presets.smoke(), small_puzzles()
    by_epochs = replace(config, training=replace(config.training, steps=0, epochs=7, batch_size=5))
    counted = training.with_steps(by_epochs, puzzles).training
    assert (counted.steps, counted.epochs) == (11, 0)  # 7 · 8 / 5
    assert training.with_steps(config, puzzles) == config


# ---------------------------------------------------------------------------------------------------------- cost


def hand_counted(mixer):
    """Operations of one forward pass for one row: of a network of two blocks, and of the two heads.

    A matrix product [m, k] · [k, n] takes 2·m·n·k. S = 17 positions, D = 16 channels, 6 tokens; inner widths
    24 = 8 · ceil(round(2 · 16 · 2/3) / 8) over channels and 32 = 16 · ceil(round(2 · 17 · 2/3) / 16) over positions.
    """
    over_channels = 2 * 17 * 16 * (2 * 24) + 2 * 17 * 24 * 16
    over_positions = 2 * 16 * 17 * (2 * 32) + 2 * 16 * 32 * 17
    projections = 2 * 17 * 16 * (3 * 16) + 2 * 17 * 16 * 16
    two_heads_of_eight = 2 * (2 * 17 * 17 * 8 + 2 * 17 * 17 * 8)
    mixing = {"mlp": over_positions, "attention": projections + two_heads_of_eight}[mixer]
    return 2 * (mixing + over_channels), 2 * 16 * 16 * 6 + 2 * 16 * 2


@pytest.mark.parametrize("mixer", ["mlp", "attention"])
@pytest.mark.parametrize(
    ("kind", "changes", "networks", "heads"),
    [
        # updates LLHLLH: four without gradient, the last L and H three times; six in the look-ahead
        ("hrm", {}, 4 + 2 * 3 + 6, 3 + 1),
        ("hrm", {"H_cycles": 1, "L_cycles": 3}, 2 + 2 * 3 + 4, 3 + 1),
        ("hrm", {"halt_max_steps": 1}, 4 + 2 * 3, 3),  # nothing to look ahead to
        ("hrm", {"gradient": "all"}, 6 * 3 + 6, 3 + 1),
        ("trm", {}, 4 + 4 * 3, 3),  # LLLHLLLH: one cycle without gradient, one with, no look-ahead
        ("plain", {}, 2 * 3, 3),  # both networks once
    ],
)
def test_a_step_costs_what_counting_its_matrices_by_hand_gives(kind, changes, networks, heads, mixer, make_config):
    config = make_config(kind, mixer=mixer, layers=2, mixer_multiple=16, **changes)
    of_network, of_heads = hand_counted(mixer)
    of_a_row = networks * of_network + heads * of_heads
    assert training.flops_of_a_step(config, 1) == of_a_row
    assert training.flops_of_a_step(config, 7) == 7 * of_a_row


# --------------------------------------------------------------------------------------------------------- rates


@pytest.mark.spec("hrm", "23")
@pytest.mark.parametrize(("task", "puzzle_rate"), [("sudoku-extreme", 1e-4), ("arc-1", 1e-2)])
def test_published_rates_of_both_optimizers_at_every_step(task, puzzle_rate, monkeypatch, make_model, tmp_path):
    seen = []
    monkeypatch.setattr(training, "train", lambda *given, **named: seen.append((given, named)))
    config = presets.paper(task)
    config = replace(config, training=replace(config.training, steps=26_041, epochs=0, batch_size=8))
    cell = Cell(arm="hrm", seed=0, directory=tmp_path)
    model = make_model()
    training.train_reasoner(model, Study(config, recipe.ARMS["hrm"], 0, cell, small_puzzles()))
    [((_, make_optimizers, *_), named)] = seen
    adam, sign = make_optimizers(model)
    assert isinstance(adam, AdamATan2) and isinstance(sign, SparseSignSGD)
    assert {id(p) for group in adam.param_groups for p in group["params"]} == {id(p) for p in model.parameters()}
    assert sign.embedding is model.puzzle_embedding
    for optimizer, rate in ((adam, 1e-4), (sign, puzzle_rate)):
        [group] = optimizer.param_groups
        actual = [group["lr"] * named["schedule"](step) for step in (1, 1000, 2000, 2001, 26_041)]
        assert actual == pytest.approx([rate / 2000, rate / 2, rate, rate, rate], rel=1e-12)
        assert group["weight_decay"] == (1.0 if task == "sudoku-extreme" else 0.1)
    assert adam.param_groups[0]["betas"] == (0.9, 0.95)


@pytest.mark.spec("hrm", "23")
@pytest.mark.parametrize(
    ("floor", "factors"),
    [(1.0, [0.25, 0.5, 0.75, 1, 1, 1]), (0.1, [0.25, 0.5, 0.75, 1, (1 + 0.1) / 2, 0.1])],
)
def test_both_optimizers_step_with_the_rate_of_the_schedule(floor, factors, make_model, tmp_path):
    config = presets.smoke()
    short = replace(config.training, steps=6, batch_size=4, warmup_steps=4, rate_floor=floor, puzzle_learning_rate=2.0)
    config = replace(config, arms=replace(config.arms, hrm_rates=RatesConfig(1e-3)), training=short)
    taken = defaultdict(list)
    handle = register_optimizer_step_pre_hook(
        lambda optimizer, *_: taken[type(optimizer)].append([group["lr"] for group in optimizer.param_groups])
    )
    try:
        cell = Cell(arm="hrm", seed=0, directory=tmp_path, device="cpu")
        training.train_reasoner(make_model(), Study(config, recipe.ARMS["hrm"], 0, cell, small_puzzles()))
    finally:
        handle.remove()
    for kind, rate in ((AdamATan2, 1e-3), (SparseSignSGD, 2.0)):
        np.testing.assert_allclose(taken[kind], rate * np.array(factors)[:, None], rtol=1e-12)


# ------------------------------------------------------------------------------------------------------ whole runs


@pytest.fixture(scope="module")
def scores_of(tmp_path_factory):
    """Scores of every arm on 4x4 Sudoku after three epochs, which are six steps."""
    config = presets.smoke()
    config = replace(config, training=replace(config.training, steps=0, epochs=3))
    return {
        arm: recipe.run(config, arm, 0, Cell(arm=arm, seed=0, directory=tmp_path_factory.mktemp(arm), device="cpu"))
        for arm in recipe.ARMS
    }


@pytest.fixture(scope="module")
def scores_on_arc(tmp_path_factory):
    """Scores of HRM after one step on two tasks of one colour each."""

    def task(name, evaluation):
        pairs = [tuple(np.full((2, side), colour, dtype=np.uint8) for side in (2, 3)) for colour in (1, 2, 3)]
        return ArcTask(name, tuple(pairs[:2]), tuple(pairs[2:]), evaluation)

    tasks = [task("a", False), task("b", True)]
    made = build_arc(tasks, num_augmentations=1, seed=0)
    test = HeldOut(made.test.take(np.arange(made.test.num_examples)), None)
    puzzles = Puzzles(made.train, test.take(slice(0, 0)), test, ArcTasks(tasks, made.test, made.identifiers))
    config = presets.smoke()
    grid = dict(vocab_size=12, sequence_length=900, mixer="attention", mixer_multiple=256)
    hrm = replace(config.arms.hrm, halt_max_steps=2, **grid)
    config = replace(
        config,
        arms=replace(config.arms, hrm=hrm),
        data=DataConfig(task="arc"),
        training=replace(config.training, steps=1, batch_size=2, evaluate_every=0),
        evaluation=EvaluationConfig(batch_size=2),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "load_puzzles", lambda data, seed: puzzles)
        return recipe.run(
            config, "hrm", 0, Cell(arm="hrm", seed=0, directory=tmp_path_factory.mktemp("arc"), device="cpu")
        )


def documented():
    """The names in the first column of the README's table of metrics."""
    section = (files("tenfold.papers.hrm") / "README.md").read_text().split("## Metrics")[1].split("\n## ")[0]
    return {name for row in section.splitlines() if row.startswith("|") for name in re.findall("`([^`]+)`", row[:99])}


def test_a_run_reports_the_metrics_that_the_readme_lists_and_no_other(scores_of, scores_on_arc):
    listed = {name for name in documented() if name.split("/")[0] in ("test", "halting", "cost", "train")}
    of_arc = {"test/pass_at_k", "test/pass_at_k_fractional"}
    elsewhere = {SECONDS, "train/…"}  # the report's own, and curves
    assert of_arc | elsewhere <= listed
    assert set(scores_of["hrm"].metrics) == set(scores_of["trm"].metrics) == listed - of_arc - elsewhere
    more_segments = {name for name in listed if name.startswith("halting/") or "trajectories" in name}
    assert set(scores_of["plain"].metrics) == set(scores_of["hrm"].metrics) - more_segments
    on_arc = {re.sub(r"pass_at_\d+", "pass_at_k", name) for name in scores_on_arc.metrics}
    assert on_arc == listed - elsewhere - {"test/exact_accuracy_voted", "test/exact_accuracy_best_of_trajectories"}
    assert np.isnan(scores_on_arc.metrics["halting/rank_correlation"]), "ARC has no ratings"
    for claim in recipe.CLAIMS:
        assert {claim.arm, claim.baseline or claim.arm} <= scores_of.keys()
        assert claim.metric in scores_of[claim.arm].metrics


def test_a_run_reports_the_cost_of_all_its_steps_and_scores_every_test_puzzle(scores_of):
    config = presets.smoke()
    for arm, scores in scores_of.items():
        of_a_step = training.flops_of_a_step(getattr(config.arms, arm), 32)
        assert scores.metrics["cost/train_teraflops"] == pytest.approx(6 * of_a_step / 1e12, rel=1e-9)
        items = scores.items["test/exact_accuracy"]
        assert len(items) == 32 and np.mean(items) == pytest.approx(scores.metrics["test/exact_accuracy"])
        assert {name.split("/")[0] for name in scores.curves} == {"train", "validation"}
        assert scores.curves["train/loss"][-1][0] == scores.curves["validation/exact_accuracy"][-1][0] == 6
    # a block of widths 32 and 17 with inner widths 64 and 32; two such blocks but for TRM; embedding and two heads
    block, rest = 3 * 32 * 64 + 3 * 17 * 32, 6 * 32 + 32 * 6 + 2 * 32 + 2
    sizes = {arm: scores.metrics["cost/parameters"] for arm, scores in scores_of.items()}
    assert sizes == {"plain": 2 * block + rest, "hrm": 2 * block + rest, "trm": block + rest}
