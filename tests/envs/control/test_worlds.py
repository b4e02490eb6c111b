"""Worlds do what actions say, as far as walls let them; policies of higher quality get farther."""

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.envs.control.policies import POLICIES, scripted_actions, smooth_plans
from tenfold.envs.control.worlds import SECONDS, MazeWorld, WallWorld, reached, record


def open_wall_world(num=50):
    world = WallWorld(num, np.random.default_rng(0))
    world.positions = np.tile([8.0, 16.0], (num, 1))
    return world


def test_an_action_in_the_open_is_a_displacement():
    world = open_wall_world()
    actions = np.random.default_rng(1).uniform(-0.9, 0.9, (50, 2))
    world.act(actions)
    assert np.allclose(world.positions - [8.0, 16.0], actions * 4.6)
    world.act(-actions * 5)  # cut to [-1, 1]
    assert np.abs(world.positions - [8.0, 16.0] - actions * 4.6).max() <= 4.6 + 1e-9


def test_a_push_in_the_maze_lasts():
    world = MazeWorld(1, np.random.default_rng(0))
    world.positions, world.velocities = np.array([[7.0, 7.0]]), np.zeros((1, 2))
    world.act(np.array([[0.0, 0.3]]))
    first = world.positions[0, 1]
    world.act(np.zeros((1, 2)))
    assert first > 7.0 and world.positions[0, 1] > first
    for _ in range(20):
        world.act(np.array([[0.0, -1.0]]))
    assert world.velocities[0, 1] == 0.0, "a wall takes the velocity"


@pytest.mark.parametrize("make", [WallWorld, MazeWorld])
def test_dots_stay_free_and_pictures_show_them(make):
    world = make(20, np.random.default_rng(0))
    recording = record(world, scripted_actions("smooth", np.random.default_rng(1)), 30)
    assert not any(world.arenas.blocked(recording.positions[:, frame]).any() for frame in range(31))
    assert recording.frames.shape == (20, 31, 3, 32, 32) and recording.actions.shape == (20, 30, 2)
    assert np.allclose(np.diff(recording.times), SECONDS)
    moved = np.linalg.norm(np.diff(recording.positions, axis=1), axis=-1) > 0.5
    changed = (recording.frames[:, 1:] != recording.frames[:, :-1]).any((2, 3, 4))
    assert changed[moved].all()
    assert reached(world, world.positions).all() and not reached(world, world.positions + 20).any()


def test_experts_reach_the_other_side_and_smooth_ones_get_farther_than_random_ones():
    spread = {}
    for quality in POLICIES:
        world = WallWorld(100, np.random.default_rng(0))
        sides = np.sign(world.positions[:, 0] - 16)
        policy = scripted_actions(quality, np.random.default_rng(1))
        recording = record(world, policy, 20)
        spread[quality] = np.linalg.norm(world.positions - recording.positions[:, 0], axis=-1).mean()
        if quality == "expert":
            crossing = np.sign(policy.goals[:, 0] - 16) != sides
            assert (np.sign(world.positions[:, 0] - 16) != sides)[crossing].mean() > 0.8
            assert reached(world, policy.goals).mean() > 0.7
    assert spread["smooth"] > 1.2 * spread["random"]


def test_equal_generators_give_equal_recordings():
    films = [
        record(WallWorld(3, np.random.default_rng(5)), scripted_actions("random", np.random.default_rng(6)), 3)
    ] * 2
    assert np.array_equal(films[0].frames, films[1].frames)
    plans = smooth_plans(np.random.default_rng(0), 500, 8)
    assert plans.shape == (500, 8, 2) and np.abs(plans).max() <= 1
    assert np.corrcoef(plans[:, 3, 0], plans[:, 4, 0])[0, 1] > 0.5


def test_actions_that_cannot_be_done_are_refused():
    world = open_wall_world(3)
    with pytest.raises(UserError, match=r"actions of shape \[3, 3\]: allowed: \[3, 2\]"):
        world.act(np.zeros((3, 3)))
    with pytest.raises(UserError, match="not finite"):
        world.act(np.full((3, 2), np.nan))
    with pytest.raises(UserError, match="quality = best: allowed: random, smooth, expert"):
        scripted_actions("best", np.random.default_rng(0))
