"""Gaps are uniform, times are those of real frames, and a clip has one crop."""

import numpy as np
import pytest
from scipy import stats

from tenfold.core.errors import UserError
from tenfold.data.video.balls import FRAME_RATES, real_times
from tenfold.data.video.sampling import Gaps, centre_square, nearest, random_crop, sample_frames, strictly_rising


@pytest.mark.spec("dino_world", "A7")
def test_gaps_are_uniform_and_times_are_those_of_real_frames():
    """A video of 1000 frames a second at uneven times, so that rounding to frames does not show in the test."""
    generator = np.random.default_rng(0)
    times = np.sort(generator.uniform(0, 20, 20_000))
    gaps = Gaps(frames=5, shortest=0.04, longest=0.65)
    chosen = sample_frames(times, gaps, generator, 1000)
    drawn = np.diff(times[chosen], axis=1).ravel()
    assert chosen.min() >= 0 and chosen.max() < len(times)
    assert stats.kstest(drawn, "uniform", (0.04, 0.61)).pvalue > 0.01
    assert stats.kstest(drawn**1.2, "uniform", (0.04, 0.61)).pvalue < 1e-6, "the test can fail"


@pytest.mark.spec("dino_world", "A7")
def test_each_time_is_that_of_the_frame_nearest_to_what_was_drawn():
    times = np.arange(100) / 25
    gaps = Gaps(frames=4, shortest=0.1, longest=0.5)
    generator, again = np.random.default_rng(1), np.random.default_rng(1)
    chosen = sample_frames(times, gaps, generator, 50)
    wanted = gaps.draw(again, 50)
    wanted = wanted + again.uniform(0, 1, (50, 1)) * (times[-1] - wanted[:, -1:])
    assert np.array_equal(chosen, np.abs(wanted[..., None] - times).argmin(-1))


def test_generated_clips_have_times_of_a_common_rate():
    times = real_times(np.random.default_rng(0), Gaps(6, 1 / 25, 0.65), 200)
    on_a_grid = [np.isclose(times * rate, np.rint(times * rate)).all(1) for rate in FRAME_RATES]
    assert np.any(on_a_grid, axis=0).all()
    assert (np.diff(times, axis=1) > 0).all()


def test_equal_frames_are_told_apart_within_the_video():
    assert strictly_rising(np.array([[3, 3, 3], [8, 9, 9]]), 10).tolist() == [[3, 4, 5], [7, 8, 9]]
    assert nearest(np.array([0.0, 1.0]), np.array([-5.0, 0.5, 0.51])).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("times", "gaps", "message"),
    [
        (np.arange(3.0), Gaps(5, 0.1, 0.2), "a video of 3 frames: clips take 5"),
        (np.arange(50) / 25, Gaps(5, 0.1, 1.0), "a video of 1.96 s"),
        (np.array([0.0, 1.0, 1.0, 2.0]), Gaps(2, 0.1, 0.2), "frame 2 is at 1 s, not after"),
        (np.array([0.0, np.nan, 1.0]), Gaps(2, 0.1, 0.2), "some frames have none"),
    ],
)
def test_videos_without_such_clips_are_refused(times, gaps, message):
    with pytest.raises(UserError, match=message):
        sample_frames(times, gaps, np.random.default_rng(0), 1)


@pytest.mark.parametrize("wrong", [(1, 0.1, 0.2), (4, 0.0, 0.2), (4, 0.3, 0.2), (4, 0.1, np.inf)])
def test_gaps_that_no_clip_has_are_refused(wrong):
    with pytest.raises(UserError, match="allowed"):
        Gaps(*wrong)


def test_crops_have_the_asked_area_and_aspect():
    generator = np.random.default_rng(0)
    for _ in range(100):
        box = random_crop(generator, 300, 400)
        assert 0.59 <= box.height * box.width / 120_000 <= 1.01
        assert 0.74 <= box.width / box.height <= 1.34
        assert box.of(np.zeros((2, 300, 400))).shape == (2, box.height, box.width)
    assert random_crop(generator, 10, 1000) == centre_square(10, 1000)
