"""ARC votes: the order of candidates, turning back of variants, and both scoring rules."""

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data.arc import ArcTask, build_arc, encode_grid
from tenfold.eval.arc_voting import arc_vote, grid_key, pass_at_k, rank_candidates


def cell(colour):
    return np.full((1, 1), colour, dtype=np.uint8)


def colours(candidates):
    return [int(candidate.grid[0, 0]) for candidate in candidates]


@pytest.fixture
def task():
    generator = np.random.default_rng(0)
    pairs = [tuple(generator.integers(0, 10, size=(3, 4)).astype(np.uint8) for _ in range(2)) for _ in range(5)]
    return ArcTask("a", tuple(pairs[:3]), tuple(pairs[3:]), True)


@pytest.mark.spec("hrm", "26")
def test_count_comes_first_and_mean_q_breaks_ties():
    grids = [cell(1), cell(2), cell(3), cell(2), cell(3), cell(4)]
    logits = [9.0, -1.0, 0.0, -1.0, 0.0, 5.0]
    ranked = rank_candidates(grids, logits)
    assert colours(ranked) == [3, 2, 1, 4]
    assert [candidate.votes for candidate in ranked] == [2, 2, 1, 1]
    assert ranked[0].halt_probability == pytest.approx(0.5)


def test_the_mean_is_over_probabilities_not_logits():
    """Logits 8 and -3 have the larger mean, probabilities of 1 and 1 the larger mean probability."""
    ranked = rank_candidates([cell(1), cell(1), cell(2), cell(2)], [8.0, -3.0, 1.0, 1.0])
    assert colours(ranked) == [2, 1]


def test_full_ties_keep_the_order_of_arrival():
    assert colours(rank_candidates([cell(5), cell(1), cell(3)], [0.0, 0.0, 0.0])) == [5, 1, 3]


def test_shapes_tell_grids_apart():
    ranked = rank_candidates([np.zeros((2, 3), dtype=np.uint8), np.zeros((3, 2), dtype=np.uint8)], [0.0, 0.0])
    assert len(ranked) == 2
    assert grid_key(np.zeros((0, 0))) != grid_key(np.zeros((0, 1)))


@pytest.mark.spec("hrm", "26")
def test_with_one_variant_the_answer_is_the_prediction_itself(task):
    made = build_arc([task], num_augmentations=0, seed=0)
    predictions = np.stack([encode_grid(given) for given, _ in task.test])
    ranked = arc_vote(made.test, made.identifiers, predictions, np.array([-2.0, 3.0]))
    for given, _ in task.test:
        (candidate,) = ranked["a", grid_key(given)]
        np.testing.assert_array_equal(candidate.grid, given)
    assert pass_at_k([task], ranked)[1].fractional.tolist() == [0.0]


def test_right_answers_under_all_variants_are_one_candidate(task):
    made = build_arc([task], num_augmentations=20, seed=0)
    ranked = arc_vote(made.test, made.identifiers, made.test.labels, np.zeros(len(made.test.labels)))
    assert len(ranked) == 2
    for given, wanted in task.test:
        (candidate,) = ranked["a", grid_key(given)]
        assert candidate.votes == 21
        np.testing.assert_array_equal(candidate.grid, wanted)
    scores = pass_at_k([task], ranked)
    assert all(score.whole.tolist() == [1.0] for score in scores.values())


def test_a_minority_of_right_answers_needs_a_larger_k(task):
    made = build_arc([task], num_augmentations=9, seed=0)
    predictions = made.test.inputs.copy()  # the answer "unchanged" under all variants
    predictions[:8] = made.test.labels[:8]  # four of ten variants are right
    ranked = arc_vote(made.test, made.identifiers, predictions, np.zeros(20))
    scores = pass_at_k([task], ranked, ks=(1, 2))
    assert (scores[1].whole[0], scores[2].whole[0]) == (0.0, 1.0)


def test_the_two_rules_differ_by_tasks_that_are_partly_solved(task):
    made = build_arc([task], num_augmentations=4, seed=0)
    predictions = made.test.labels.copy()
    predictions[1::2] = 0  # the second test input is never answered
    ranked = arc_vote(made.test, made.identifiers, predictions, np.zeros(10))
    training = ArcTask("b", task.train, task.test, False)
    unanswered = ArcTask("c", task.train, task.test, True)
    score = pass_at_k([task, training, unanswered], ranked, ks=(2,))[2]
    assert score.whole.tolist() == [0.0, 0.0]
    assert score.fractional.tolist() == [0.5, 0.0]


def test_predictions_must_match_the_split(task):
    made = build_arc([task], num_augmentations=0, seed=0)
    with pytest.raises(UserError, match=r"predictions \(1, 900\) and 1 halt logits must match inputs \(2, 900\)"):
        arc_vote(made.test, made.identifiers, made.test.labels[:1], np.zeros(1))
