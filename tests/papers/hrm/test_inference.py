"""Answering puzzles: as many segments as asked for, halting that freezes, noisy trajectories, majorities.

Most tests hand :func:`answer` a model that plays a script: what it says depends on puzzle and segment alone.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.papers.hrm import inference
from tenfold.papers.hrm.method import Latents, SegmentOutput

VOCABULARY, LENGTH = 7, 3


class Player:
    """Says ``token(segment, input)`` with Q values ``q(segment, input)``; its states count the segments."""

    def __init__(self, q, token=lambda segment, first: (first + segment) % VOCABULARY, halt_max_steps=5):
        self.config = SimpleNamespace(halt_max_steps=halt_max_steps, q_continue=True)
        self.initial_z_H = torch.zeros(4)
        self.q, self.token = q, token
        self.batches, self.heard, self.said = [], [], []

    def initial_latents(self, count):
        return Latents(torch.zeros(count, 2, 4), torch.zeros(count, 2, 4))

    def __call__(self, latents, inputs, puzzles):
        self.batches.append(len(inputs))
        self.heard.append(latents)
        segments = (latents.z_H.mean((1, 2)).round() + 1).long()
        first = inputs[:, 0]
        tokens = torch.stack([self.token(segments, first)] * LENGTH, -1)
        logits = torch.nn.functional.one_hot(tokens % VOCABULARY, VOCABULARY).float()
        q = self.q(segments, first).float()
        self.said.append((logits.argmax(-1), q))
        return SegmentOutput(Latents(latents.z_H + 1, latents.z_L), logits, q, torch.zeros(len(inputs)))


def inputs_of(*first):
    return torch.tensor(first)[:, None].expand(-1, LENGTH), torch.zeros(len(first), dtype=torch.long)


def wants_to_halt_once(segments, first):
    """Positive at segment number ``first`` and never again; below zero before and after."""
    return torch.where(segments == first, 1.0, -0.1 * segments)


# ------------------------------------------------------------------------------------------------ segments, halting


@pytest.mark.spec("hrm", "15")
@pytest.mark.parametrize("kind", ["hrm", "trm"])
@pytest.mark.parametrize("q", [(9.0, -9.0), (-9.0, 9.0)])
@pytest.mark.parametrize("segments", [0, 3, 9])
def test_evaluation_takes_every_segment_whatever_q_says(kind, q, segments, make_model, make_rows, count_calls):
    model = make_model(kind, halt_max_steps=4).eval()
    torch.nn.init.zeros_(model.q_head.weight)
    model.q_head.bias.data = torch.tensor(q)
    inputs, _, puzzles = make_rows(model, 3)
    with count_calls(model) as calls:
        answers = inference.answer(model, inputs, puzzles, segments=segments)
    M = segments or 4
    assert answers.tokens.shape == (M, 3, 16) and answers.q_halt.shape == (M, 3)
    per_cycle = 1 if kind == "hrm" else 1 + model.config.L_cycles
    assert calls["f_H", False] == M * model.config.H_cycles * per_cycle
    assert answers.halting_step.tolist() == [1 if q[0] > 0 else M] * 3


def test_answers_are_those_of_the_segments_one_after_the_other(make_model, make_rows):
    model = make_model("hrm").eval()
    inputs, _, puzzles = make_rows(model, 3)
    answers, latents = inference.answer(model, inputs, puzzles), model.initial_latents(3)
    for segment in range(4):
        output = model(latents, inputs, puzzles)
        latents = output.latents
        assert torch.equal(answers.tokens[segment].long(), output.logits.argmax(-1))
        assert torch.equal(answers.q_halt[segment], output.q_halt)
    assert torch.equal(answers.final(), answers.tokens[3])
    assert len(answers.tokens.unique(dim=0)) > 1, "segments differ"


@pytest.mark.parametrize("freezes", [False, True])
def test_halting_at_evaluation_freezes_answer_and_confidence(freezes):
    inputs, puzzles = inputs_of(1, 3, 5, 6)
    answers = inference.answer(Player(wants_to_halt_once), inputs, puzzles, halt_at_eval=freezes)
    assert answers.halting_step.tolist() == [1, 3, 5, 5], "the last one never wanted to halt"
    stops = [1, 3, 5, 5] if freezes else [5] * 4
    for puzzle, (first, stop) in enumerate(zip((1, 3, 5, 6), stops, strict=True)):
        seen = [min(segment, stop) for segment in range(1, 6)]
        assert answers.tokens[:, puzzle, 0].tolist() == [(first + segment) % VOCABULARY for segment in seen]
        q = [1.0 if segment == first else -0.1 * segment for segment in seen]
        assert answers.q_halt[:, puzzle].tolist() == pytest.approx(q)


def test_what_halting_would_have_answered_can_be_read_off_afterwards(make_model, make_rows):
    model = make_model("hrm", halt_max_steps=6).eval()
    inputs, labels, puzzles = make_rows(model, 40)
    frozen = inference.answer(model, inputs, puzzles, halt_at_eval=True)
    answers = inference.answer_all(model, inputs.numpy(), puzzles.numpy(), 40)
    assert len(set(answers.halting_step.tolist())) > 1
    np.testing.assert_array_equal(answers.halting_step, frozen.halting_step)
    cells = answers.tokens.transpose(0, 2, 1) == labels.numpy().T  # [M, L, n]
    at_halting = np.stack([answers.at_halting(cell) for cell in cells.transpose(1, 0, 2)], -1)
    np.testing.assert_array_equal(at_halting, frozen.final().numpy() == labels.numpy())


def test_right_means_every_cell_that_counts():
    tokens = np.array([[[1, 2, 3], [1, 2, 3]], [[1, 2, 0], [1, 0, 3]]], dtype=np.uint8)
    answers = inference.AllAnswers(tokens, np.zeros((2, 2)), np.array([1, 2]))
    right = answers.right(np.array([[1, 2, 3], [1, -100, 3]]))
    assert right.tolist() == [[True, True], [False, True]]
    assert answers.at_halting(right).tolist() == [True, True]
    assert answers.at_halting(~right).tolist() == [False, False]


@pytest.mark.parametrize("batch_size", [1, 4, 5, 11, 64])
def test_a_test_set_is_answered_in_batches_of_one_shape(batch_size):
    player = Player(wants_to_halt_once)
    inputs, puzzles = (tensor.numpy() for tensor in inputs_of(*range(11)))
    answers = inference.answer_all(player, inputs, puzzles, batch_size, segments=4)
    expected = (np.arange(11) + np.arange(1, 5)[:, None]) % VOCABULARY
    np.testing.assert_array_equal(answers.tokens, np.repeat(expected[..., None], LENGTH, -1))
    np.testing.assert_array_equal(answers.halting_step, [4, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4])
    assert answers.q_halt.shape == (4, 11)
    assert set(player.batches) == {min(batch_size, 11)}


# ----------------------------------------------------------------------------------------------- noisy trajectories


def restless(halt_max_steps=2):
    """Answers and Q values that noise in the states changes."""

    def by_noise(segments, first):
        return player.heard[-1].z_L.sum((1, 2))

    player = Player(by_noise, lambda segments, first: (1000 * by_noise(segments, first).abs()).long() % VOCABULARY)
    player.config.halt_max_steps = halt_max_steps
    return player


def test_the_trajectory_with_the_highest_q_gives_the_answer():
    player = restless()
    inputs, puzzles = (tensor.numpy() for tensor in inputs_of(*range(20)))
    best = inference.best_of_trajectories(player, inputs, puzzles, trajectories=5, noise_std=0.3, batch_size=20)
    finals = player.said[1::2]  # two segments a trajectory
    assert len(finals) == 5
    winners = torch.stack([q for _, q in finals]).argmax(0)
    assert len(set(winners.tolist())) > 2, "not always the same trajectory"
    expected = torch.stack([tokens for tokens, _ in finals])[winners, torch.arange(20)]
    np.testing.assert_array_equal(best, expected)
    again = inference.best_of_trajectories(restless(), inputs, puzzles, trajectories=5, noise_std=0.3, batch_size=20)
    np.testing.assert_array_equal(best, again)


def test_noise_is_gaussian_of_the_given_deviation_before_every_segment_in_both_states():
    player = Player(wants_to_halt_once)
    inputs, puzzles = inputs_of(*[1] * 500)
    inference.answer(player, inputs, puzzles, segments=2, noise_std=0.2)
    first, second = player.heard
    steps = [first.z_H, first.z_L, second.z_H - first.z_H - 1, second.z_L - first.z_L]
    for one, step in enumerate(steps):
        assert step.mean().abs().item() < 0.02
        assert step.std().item() == pytest.approx(0.2, rel=0.05)
        for other in steps[:one]:
            assert (step * other).mean().abs().item() < 0.005, "independent"


def test_without_noise_all_trajectories_are_the_plain_answer(make_model, make_rows):
    model = make_model("hrm").eval()
    inputs, _, puzzles = make_rows(model, 3)
    best = inference.best_of_trajectories(
        model, inputs.numpy(), puzzles.numpy(), trajectories=2, noise_std=0.0, batch_size=2
    )
    np.testing.assert_array_equal(best, inference.answer(model, inputs, puzzles).final())


def test_a_noisy_answer_does_not_depend_on_what_else_is_answered(make_model, make_rows):
    model = make_model("hrm").eval()
    inputs, _, puzzles = (tensor.numpy() for tensor in make_rows(model, 7))
    whole, in_pieces, alone = (
        inference.answer_all(model, inputs[:count], puzzles[:count], size, noise_std=0.5, noise_key=(3,))
        for count, size in ((7, 7), (7, 2), (1, 1))
    )
    np.testing.assert_allclose(in_pieces.q_halt, whole.q_halt, atol=1e-5)
    np.testing.assert_allclose(alone.q_halt[:, 0], whole.q_halt[:, 0], atol=1e-5)
    other = inference.answer_all(model, inputs, puzzles, 7, noise_std=0.5, noise_key=(4,))
    assert (np.abs(other.q_halt - whole.q_halt) > 1e-3).any()


def test_no_trajectory_is_refused():
    inputs, puzzles = (tensor.numpy() for tensor in inputs_of(1))
    with pytest.raises(UserError, match="trajectories = 0"):
        inference.best_of_trajectories(restless(), inputs, puzzles, trajectories=0, noise_std=0.1, batch_size=1)


# ---------------------------------------------------------------------------------------------------------- majority

A, B, C = [1, 2, 3, 4], [1, 2, 3, 5], [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("votes", "confidence", "winner"),
    [
        ([A, B, A], [0.1, 0.9, 0.1], A),  # count goes first
        ([A, B], [0.2, 0.3], B),  # ties go to confidence
        ([B, A], [0.2, 0.3], A),
        ([A, A, B, B, C], [0.9, 0.1, 0.6, 0.5, 1.0], B),  # by its mean, 0.55 against 0.5
        ([A, A, B, B, C], [0.9, 0.3, 0.6, 0.5, 1.0], A),
        ([C], [0.0], C),
    ],
)
def test_most_frequent_whole_grid_wins_and_ties_go_to_mean_confidence(votes, confidence, winner):
    grids = np.array(votes, dtype=np.uint8)[:, None]
    chosen = inference.majority(grids, np.array(confidence)[:, None])
    assert chosen.dtype == np.uint8 and chosen.tolist() == [winner]


def test_puzzles_are_voted_on_independently():
    votes = np.array([[A, C], [B, C], [B, A]], dtype=np.uint8)
    assert inference.majority(votes, np.full((3, 2), 0.5)).tolist() == [B, C]
