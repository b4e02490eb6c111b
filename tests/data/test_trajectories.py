"""Trajectory data sets against counts made by hand, and the two file layouts on small made-up contents."""

import sys

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data.trajectories import TrajectoryDataset, from_episodes, nested_percentiles, quality_probabilities
from tenfold.data.trajectory_files import from_d4rl, from_minari, read_trajectories


def episode(length, value=1.0):
    steps = np.arange(length, dtype=float)
    return np.stack([steps, -steps], 1), steps[:, None] * 10, np.full(length, value)


def test_episodes_are_padded_behind_their_end():
    data = from_episodes([episode(2), episode(4, 0.5)])
    assert data.observations.shape == (2, 4, 2) and data.actions.shape == (2, 4, 1)
    assert data.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert data.returns.tolist() == [2.0, 2.0] and data.num_steps.tolist() == [2, 4]
    assert (data.observations[0, 2:] == 0).all() and data.rewards[0].tolist() == [1, 1, 0, 0]
    assert data.observations.dtype == data.actions.dtype == data.returns.dtype == np.float32


def test_rows_may_be_taken_several_times():
    data = from_episodes([episode(2), episode(4, 0.25)])
    taken = data.take([1, 1, 0])
    assert taken.returns.tolist() == [1.0, 1.0, 2.0] and taken.rewards.shape == (3, 4)


def test_nested_percentiles_repeat_the_best():
    rows = nested_percentiles(np.arange(100.0), (90, 95, 98))
    counts = np.bincount(rows, minlength=100)
    assert counts[:90].sum() == 0
    assert (counts[98:] == 3).all() and (counts[96:98] == 2).all() and (counts[90:95] == 1).all()


@pytest.mark.parametrize("percentiles", [(), (100.0,), (-1.0,)])
def test_percentiles_out_of_range_are_refused(percentiles):
    with pytest.raises(UserError, match="percentiles"):
        nested_percentiles(np.arange(3.0), percentiles)


@pytest.mark.parametrize(
    ("scores", "message"),
    [([1.0, -1.0], "row 2 is -1.0"), ([np.nan, 1.0], "row 1 is nan"), ([0.0, 0.0], "0 in every row")],
)
def test_scores_that_are_no_probabilities_are_refused(scores, message):
    with pytest.raises(UserError, match=message):
        quality_probabilities(np.array(scores))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": np.zeros((2, 2, 1))}, "observations have shape"),
        ({"actions": np.full((2, 3, 1), np.nan)}, "actions of trajectory 0 are not finite"),
        ({"returns": np.zeros(3)}, "returns must be 2 finite numbers"),
        ({"returns": np.array([0.0, np.inf])}, "returns must be 2 finite numbers"),
        ({"mask": np.array([[True] * 3, [False] * 3])}, "trajectory 1 has no step"),
        ({"mask": np.zeros((0, 3), dtype=bool)}, "at least one of each"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, message):
    fitting = {
        "observations": np.zeros((2, 3, 1)),
        "actions": np.zeros((2, 3, 1)),
        "mask": np.ones((2, 3), dtype=bool),
        "returns": np.zeros(2),
    }
    with pytest.raises(UserError, match=message):
        TrajectoryDataset(**(fitting | changes))


def flat(terminals, timeouts=None):
    length = len(terminals)
    arrays = {
        "observations": np.arange(length)[:, None] * np.ones((1, 2)),
        "actions": np.zeros((length, 1)),
        "rewards": np.arange(length, dtype=float),
        "terminals": np.array(terminals, dtype=bool),
    }
    return arrays if timeouts is None else arrays | {"timeouts": np.array(timeouts, dtype=bool)}


def test_d4rl_is_cut_at_terminals_and_timeouts():
    data = from_d4rl(flat([0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]))
    assert data.num_steps.tolist() == [2, 3, 1]
    assert data.returns.tolist() == [1.0, 9.0, 5.0]
    assert data.observations[1, :, 0].tolist() == [2, 3, 4]


def test_d4rl_without_timeouts_or_ends():
    assert from_d4rl(flat([0, 0, 0])).num_steps.tolist() == [3]
    assert from_d4rl(flat([0, 0, 1])).num_steps.tolist() == [3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"rewards": None}, "has no rewards"), ({"actions": np.zeros((2, 1))}, "actions has 2 rows")],
)
def test_d4rl_with_a_missing_or_short_array_is_refused(changes, message):
    arrays = {name: value for name, value in (flat([0, 0, 1]) | changes).items() if value is not None}
    with pytest.raises(UserError, match=message):
        from_d4rl(arrays)


def minari(*lengths):
    return {
        f"episode_{number}": {
            "observations": np.zeros((length + 1, 2)),
            "actions": np.zeros((length, 1)),
            "rewards": np.full(length, float(number)),
        }
        for number, length in enumerate(lengths)
    }


def test_minari_drops_the_observation_after_the_last_action_and_orders_by_number():
    data = from_minari(dict(reversed(minari(*range(1, 13)).items())))
    assert data.num_steps.tolist() == list(range(1, 13))
    assert data.returns[10] == 110.0


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [("observations", np.zeros((3, 2)), "episode_1 has 3 observations"), ("rewards", None, "episode_1 has no rewards")],
)
def test_minari_with_a_wrong_episode_is_refused(part, value, message):
    stored = minari(2, 3)
    stored["episode_1"][part] = value
    if value is None:
        del stored["episode_1"][part]
    with pytest.raises(UserError, match=message):
        from_minari(stored)


def test_minari_without_episodes_is_refused():
    with pytest.raises(UserError, match="no group episode_0"):
        from_minari({})


def test_files_of_both_layouts(tmp_path):
    h5py = pytest.importorskip("h5py", reason="reading HDF5 needs h5py, of the extra `control`")
    for name, stored in (("d4rl", flat([0, 1, 0])), ("minari", minari(2, 3))):
        with h5py.File(tmp_path / name, "w") as file:
            for key, value in stored.items():
                if isinstance(value, dict):
                    for part, array in value.items():
                        file[f"{key}/{part}"] = array
                else:
                    file[key] = value
        assert len(read_trajectories(tmp_path / name)) == 2
    (tmp_path / "text").write_text("no")
    with pytest.raises(UserError, match="not an HDF5 file"):
        read_trajectories(tmp_path / "text")


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"needs h5py: pip install .*\[control\]'"):
        read_trajectories(tmp_path / "file.hdf5")
