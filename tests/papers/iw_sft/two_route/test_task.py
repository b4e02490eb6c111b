"""The two-route task by hand: routes, wall, time, and the behaviour's shares."""

import numpy as np
import pytest

from tenfold.papers.iw_sft.two_route import task as two_route


def walk(*legs):
    """A policy for one route: (number of steps, action) after each other, the same in every episode."""
    actions = [action for count, action in legs for _ in range(count)]
    return lambda observations, step: np.tile(np.array(actions[min(step, len(actions) - 1)]), (len(observations), 1))


RIGHT = walk((4, (1.0, 0.0)), (6, (0.0, 1.0)), (4, (-1.0, 1.0)), (6, (0.0, 0.0)))
LEFT = walk((4, (-1.0, 0.0)), (6, (0.0, 1.0)), (4, (1.0, 1.0)), (6, (0.0, 0.0)))


def test_the_right_route_always_succeeds_and_the_left_one_half_of_the_time():
    assert two_route.play(RIGHT, 500, 0).data.returns.mean() == 1.0
    left = two_route.play(LEFT, 4000, 0)
    assert left.data.returns.mean() == pytest.approx(0.5, abs=0.03)
    assert not left.went_right.any()
    died = left.data.returns == 0
    assert (left.data.mask[died].sum(1) == 9).all() and left.data.mask[~died].all()  # y passes 0.5 in step 9
    assert (left.data.rewards.sum(1) == left.data.returns).all()


def test_the_wall_stops_whoever_comes_between_the_gaps():
    straight = two_route.play(walk((20, (0.0, 1.0))), 3, 0)
    assert straight.data.returns.tolist() == [0, 0, 0]
    assert straight.positions[:, -1, 1] == pytest.approx(0.48)  # four steps of 0.12, then no further
    assert straight.data.mask.all()


def test_a_step_is_clipped_and_the_observation_knows_the_time():
    played = two_route.play(walk((20, (-7.0, 0.5))), 1, 0)
    assert played.positions[0, 1] == pytest.approx([-0.12, 0.06])
    assert played.data.observations[0, 5, 2] == pytest.approx(0.25)


def test_crossing_is_not_arriving():
    above = two_route.play(walk((4, (1.0, 0.0)), (16, (0.0, 1.0))), 2, 0)
    assert above.went_right.all() and above.data.returns.sum() == 0


def test_the_behaviour_has_the_published_shares():
    data = two_route.dataset(4000, 3, "train")
    right = two_route.play(two_route.behaviour(4000, 3, "train"), 4000, 3, "train").went_right
    assert right.mean() == pytest.approx(0.5, abs=0.03)
    assert data.returns.mean() == pytest.approx(0.75, abs=0.03)
    assert right[data.returns > 0].mean() == pytest.approx(2 / 3, abs=0.03)


def test_episodes_depend_on_their_key_alone():
    first, again, other = (
        two_route.play(LEFT, 50, *key).data.returns.tolist() for key in ((1, "a"), (1, "a"), (1, "b"))
    )
    assert first == again != other
