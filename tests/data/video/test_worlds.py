"""Generated worlds: reflections by hand, events only where they belong, walls that nothing passes."""

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data.video.arenas import mazes, walls_with_doors, wandering
from tenfold.data.video.balls import BallWorld, ball_videos, event_pairs, fold
from tenfold.data.video.drawing import canvas, draw_discs, draw_rectangles

WORLD, TIMES = BallWorld(), np.arange(8) * 0.12


def simulated(start, velocity, seconds, low, high, steps=20_000):
    """The same ball step by step."""
    for _ in range(steps):
        start += velocity * seconds / steps
        if not low < start < high:
            velocity = -velocity
    return start


def test_a_folded_path_is_that_of_a_ball_between_walls():
    for start, velocity in ((4.0, 17.0), (20.0, -23.0), (28.0, 5.0)):
        closed = fold(np.array(start + velocity * 3.0), 3.4, 28.6)
        assert closed == pytest.approx(simulated(start, velocity, 3.0, 3.4, 28.6), abs=0.02)


def test_the_ball_is_where_it_is_said_to_be():
    balls = ball_videos(WORLD, np.tile(TIMES, (5, 1)), np.random.default_rng(0))
    light = (balls.frames.astype(float) - np.rint(canvas(1, 1).reshape(3, 1, 1) * 255 + 0.01)).clip(0).sum(2)
    middle = np.arange(32) + 0.5
    across = (light.sum(2) * middle).sum(-1) / light.sum((2, 3))
    down = (light.sum(3) * middle).sum(-1) / light.sum((2, 3))
    assert np.abs(np.stack([across, down], -1) - balls.positions).max() < 0.1
    assert balls.positions.min() >= WORLD.radius and balls.positions.max() <= 32 - WORLD.radius


@pytest.mark.parametrize("event", ["vanish", "jump", "turn"])
def test_pairs_are_equal_before_the_event_and_different_from_it_on(event):
    possible, impossible = event_pairs(WORLD, event, TIMES, 5, np.random.default_rng(0), 20)
    assert np.array_equal(possible.frames[:, :5], impossible.frames[:, :5])
    assert (possible.frames[:, 5:] != impossible.frames[:, 5:]).any((2, 3, 4)).all()


def test_a_vanished_ball_leaves_the_background():
    _, impossible = event_pairs(WORLD, "vanish", TIMES, 5, np.random.default_rng(0), 4)
    assert (impossible.frames[:, 5:].reshape(4, 3, 3, -1).std(-1) == 0).all()


def test_a_turn_keeps_the_speed_and_meets_no_wall():
    possible, impossible = event_pairs(WORLD, "turn", TIMES, 5, np.random.default_rng(0), 200)
    moves = [np.diff(balls.positions, axis=1) for balls in (possible, impossible)]
    speeds = [np.linalg.norm(steps, axis=-1) for steps in moves]
    assert np.allclose(speeds[0], speeds[1]) and np.allclose(speeds[0], speeds[0][:, :1])
    cosine = (moves[0][:, -1] * moves[1][:, -1]).sum(-1) / (speeds[0][:, -1] * speeds[1][:, -1])
    degrees = np.degrees(np.arccos(cosine.clip(-1, 1)))
    assert degrees.min() > 49.9 and degrees.max() < 120.1


def test_events_and_worlds_that_cannot_be_are_refused():
    generator = np.random.default_rng(0)
    with pytest.raises(UserError, match="at = 0: allowed: from 1 to 7"):
        event_pairs(WORLD, "jump", TIMES, 0, generator, 1)
    with pytest.raises(UserError, match="a turn in free space"):
        event_pairs(WORLD, "turn", TIMES * 5, 5, generator, 1)
    with pytest.raises(UserError, match="radius = 20"):
        BallWorld(radius=20.0)
    with pytest.raises(UserError, match="speeds from 5 to 1"):
        BallWorld(fastest=1.0)
    with pytest.raises(UserError, match="a square of hashes and blanks"):
        mazes(generator, 1, plan=("##", "#"))


def test_edges_cover_pixels_by_as_much_as_they_overlap_them():
    pictures = canvas(1, 8, (0.0, 0.0, 0.0))
    draw_rectangles(pictures, np.array([[[1.25, 2.0, 3.0, 2.5]]]), (1.0, 1.0, 1.0))
    assert pictures[0, 2, 1, 0] == pytest.approx(0.75 * 0.5) and pictures[0, 2, 2, 0] == pytest.approx(0.5)
    assert pictures.sum() == pytest.approx(3 * 1.75 * 0.5)
    disc = canvas(1, 32, (0.0, 0.0, 0.0))
    draw_discs(disc, np.array([[[15.3, 16.2]]]), 5.0, np.ones((1, 1, 3)))
    assert disc[..., 0].sum() == pytest.approx(np.pi * 25, rel=0.02)


@pytest.mark.parametrize("make", [walls_with_doors, mazes])
def test_nothing_passes_a_wall(make):
    generator = np.random.default_rng(0)
    arenas = make(generator, 50)
    path = wandering(arenas, 200, 0.9, generator)
    assert not any(arenas.blocked(path[:, step]).any() for step in range(201))
    assert np.abs(np.diff(path, axis=1)).max() <= 0.9 + 1e-9
    assert (np.ptp(path, axis=1) > 2).mean() > 0.9, "the dots do move"


def test_what_a_wall_stops_is_the_part_of_a_step_towards_it():
    arenas = walls_with_doors(np.random.default_rng(0), 1)
    left_of_wall = np.array([[16 - 1.6 - 2.0 - 1e-6, 2.1]])
    moved = arenas.moved(left_of_wall, np.array([[0.8, 0.5]]))
    door_top = arenas.walls[0, 0, 3]
    assert door_top > 4.2, "the wall is there"
    assert np.allclose(moved, left_of_wall + np.array([0.0, 0.5]))
