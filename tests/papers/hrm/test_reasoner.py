"""The loadable reasoner: folders that keep everything, text in and out, votes over symmetries."""

from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.data.sudoku import board_text, to_boards, to_tokens
from tenfold.data.sudoku_generator import generate
from tenfold.data.sudoku_solver import solve
from tenfold.papers.hrm import inference
from tenfold.papers.hrm.method import Latents, SegmentOutput
from tenfold.papers.hrm.reasoner import Reasoner, vote_over_symmetries

BOX = (2, 2)
PUZZLE = "1.3434...1..4.2."


@pytest.fixture
def make_reasoner(make_model):
    return lambda kind="hrm", **changes: Reasoner.from_core(make_model(kind, **changes), BOX)


# ------------------------------------------------------------------------------------------------ saving and loading


@pytest.mark.parametrize("kind", ["hrm", "trm", "urm", "plain"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_and_loaded_is_the_same_reasoner(kind, dtype, make_reasoner, tmp_path):
    original = make_reasoner(kind, dtype=dtype)
    original.save_pretrained(tmp_path / "model")
    assert {"config.json", "model.safetensors"} <= {path.name for path in (tmp_path / "model").iterdir()}
    torch.manual_seed(99)
    loaded = Reasoner.from_pretrained(tmp_path / "model")
    assert loaded.core.config == original.core.config
    assert loaded.box == BOX and loaded.core.forward_dtype == dtype and not loaded.training
    saved, read = original.core.state_dict(), loaded.core.state_dict()
    assert saved.keys() == read.keys() and all(torch.equal(saved[name], read[name]) for name in saved)
    assert loaded.solve([PUZZLE]) == original.solve([PUZZLE])


def test_a_core_is_shared_and_not_copied(make_model):
    core = make_model("hrm")
    reasoner = Reasoner.from_core(core, BOX)
    assert reasoner.core is core and not core.training
    assert Reasoner(asdict(core.config), BOX).core.config == core.config


# ---------------------------------------------------------------------------------------------------- text in and out


def test_solutions_say_what_the_core_says(make_reasoner):
    reasoner = make_reasoner("hrm", halt_max_steps=4)
    made = generate(5, BOX, seed=0, clues=6)
    answers = inference.answer(
        reasoner.core, torch.from_numpy(to_tokens(made.puzzles)).long(), torch.zeros(5, dtype=torch.long)
    )
    solutions = reasoner.solve([board_text(board) for board in made.puzzles])
    assert len(solutions) == 5
    for number, solution in enumerate(solutions):
        boards = [board_text(to_boards(tokens.numpy())) for tokens in answers.tokens[:, number]]
        assert list(solution.after_segment) == boards and solution.board == boards[-1]
        assert solution.confidence == pytest.approx(answers.q_halt[-1, number].sigmoid().item(), rel=1e-5)
        assert solution.halting_step == answers.halting_step[number]


def test_batches_spelling_and_more_segments(make_reasoner):
    reasoner = make_reasoner("trm")
    puzzles = [board_text(board) for board in generate(5, BOX, seed=0, clues=6).puzzles]
    whole = reasoner.solve(puzzles)
    in_pieces = reasoner.solve(puzzles, batch_size=2)
    assert [solution.after_segment for solution in in_pieces] == [solution.after_segment for solution in whole]
    zeros = [puzzle.replace(".", "0")[:8] + "\n" + puzzle.replace(".", "0")[8:] for puzzle in puzzles]
    assert reasoner.solve(zeros) == whole
    longer = reasoner.solve(puzzles, segments=7)
    assert [solution.after_segment[:4] for solution in longer] == [solution.after_segment for solution in whole]
    assert {len(solution.after_segment) for solution in longer} == {7}


@pytest.mark.parametrize(
    ("puzzle", "message"),
    [
        (PUZZLE[:-1], r"puzzle 2 has 15 cells, but a 4x4 board has 16"),
        (PUZZLE + ".", r"puzzle 2 has 17 cells"),
        (PUZZLE.replace("2", "5"), r"puzzle 2 has '5' in row 4, column 3.*digits 1-4"),
        (PUZZLE.replace("2", "x"), r"puzzle 2 has 'x'"),
        (PUZZLE[:-1] + "4", r"puzzle 2 has the digit 4 twice in row 4"),
    ],
)
def test_what_is_no_puzzle_is_refused_by_name(puzzle, message, make_reasoner):
    with pytest.raises(UserError, match=message):
        make_reasoner().solve([PUZZLE, puzzle])


def test_a_reasoner_without_boxes_reads_no_sudoku(make_model):
    with pytest.raises(UserError, match="box = None"):
        Reasoner.from_core(make_model("hrm")).solve([PUZZLE])


@pytest.mark.parametrize("options", [{"segments": -1}, {"symmetry_votes": -2}])
def test_negative_counts_are_refused_by_name(options, make_reasoner):
    with pytest.raises(UserError, match=f"{next(iter(options))} = -"):
        make_reasoner().solve([PUZZLE], **options)


def test_no_puzzles_have_no_solutions(make_reasoner):
    assert make_reasoner().solve([]) == []


# ------------------------------------------------------------------------------------------------ votes of symmetries


class Solver(torch.nn.Module):
    """A core that solves by search, and answers nonsense in the calls (from 0) of which ``fails`` says so."""

    def __init__(self, box, fails=lambda call: False):
        super().__init__()
        self.config = SimpleNamespace(halt_max_steps=1, q_continue=False)
        self.register_buffer("initial_z_H", torch.zeros(1))
        self.box, self.fails, self.calls, self.seen = box, fails, 0, []

    def initial_latents(self, count):
        return Latents(torch.zeros(count, 1, 1), torch.zeros(count, 1, 1))

    def forward(self, latents, inputs, puzzles):
        self.seen.append(inputs.numpy().copy())
        boards = solve(to_boards(inputs.numpy()), self.box).boards
        if self.fails(self.calls):
            boards = np.roll(boards, 1, axis=1)
        self.calls += 1
        tokens = torch.from_numpy(to_tokens(boards)).long()
        q = torch.zeros(len(inputs))
        return SegmentOutput(latents, torch.nn.functional.one_hot(tokens, 11).float(), q, q)


@pytest.mark.parametrize("box", [(2, 2), (2, 3), (3, 3)])
def test_answers_to_symmetries_are_mapped_back(box):
    """The puzzle itself is answered wrongly and only its images rightly: their majority is the solution."""
    made = generate(6, box, seed=1)
    core = Solver(box, fails=lambda call: call == 0)
    tokens, nobody = to_tokens(made.puzzles), np.zeros(6, dtype=np.int64)
    identity = inference.answer_all(core, tokens, nobody, 6)
    assert not (to_boards(identity.tokens[-1]) == made.solutions).all(-1).any()
    voted = vote_over_symmetries(core, made.puzzles, identity, box, votes=3)
    np.testing.assert_array_equal(to_boards(voted), made.solutions)
    assert len(core.seen) == 4
    assert all((seen != tokens).any(-1).all() for seen in core.seen[1:]), "the images are other puzzles"
    assert (core.seen[1] != core.seen[2]).any(-1).all(), "every vote has its own symmetry"


def test_the_puzzle_itself_has_a_vote():
    made = generate(4, BOX, seed=1)
    core = Solver(BOX, fails=lambda call: call == 2)
    identity = inference.answer_all(core, to_tokens(made.puzzles), np.zeros(4, dtype=np.int64), 4)
    voted = vote_over_symmetries(core, made.puzzles, identity, BOX, votes=2)
    np.testing.assert_array_equal(to_boards(voted), made.solutions)


def test_solve_answers_with_the_vote_and_still_shows_the_segments(make_reasoner):
    reasoner = make_reasoner()
    reasoner.core = core = Solver(BOX, fails=lambda call: call == 0)
    made = generate(4, BOX, seed=2)
    solutions = reasoner.solve([board_text(board) for board in made.puzzles], symmetry_votes=4)
    assert [solution.board for solution in solutions] == [board_text(board) for board in made.solutions]
    assert all(solution.after_segment[-1] != solution.board for solution in solutions)
    assert core.calls == 5
