"""Recorded episodes: both formats give what was written, and bad actions are refused where they count."""

import h5py
import numpy as np
import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.data.video.episodes import read_dino_wm, read_stable_worldmodel

LENGTHS = (7, 2, 5)


@pytest.fixture
def recorded():
    generator = np.random.default_rng(0)
    frames = [generator.integers(255, size=(n, 4, 6, 3), dtype=np.uint8) for n in LENGTHS]
    actions = [generator.normal(size=(n, 2)).astype(np.float32) for n in LENGTHS]
    for of_episode in actions:
        of_episode[-1] = np.nan  # what would lead out of the episode; recorders leave it empty
    return frames, actions


def write_hdf5(path, frames, actions):
    with h5py.File(path, "w") as file:
        file["pixels"], file["action"] = np.concatenate(frames), np.concatenate(actions)
        file["ep_len"], file["ep_offset"] = np.array(LENGTHS), np.array([0, 7, 9])
    return path


def write_folder(folder, frames, actions):
    (folder / "obses").mkdir(parents=True)
    padded = np.zeros((3, 7, 2), np.float32)
    for number, (of_frames, of_actions) in enumerate(zip(frames, actions, strict=True)):
        padded[number, : len(of_actions)] = of_actions
        torch.save(torch.from_numpy(of_frames), folder / "obses" / f"episode_{number:03d}.pth")
    torch.save(torch.from_numpy(padded), folder / "actions.pth")
    torch.save(torch.tensor(LENGTHS), folder / "seq_lengths.pth")
    return folder


@pytest.mark.parametrize(("write", "read"), [(write_hdf5, read_stable_worldmodel), (write_folder, read_dino_wm)])
def test_kept_frames_have_the_joined_actions_between_them(tmp_path, recorded, write, read):
    frames, actions = recorded
    first, last = read(write(tmp_path / "data", frames, actions), seconds_per_step=0.1, frameskip=2)
    assert np.array_equal(first.frames, np.moveaxis(frames[0][::2], -1, 1))
    assert np.allclose(first.times, [0, 0.2, 0.4, 0.6])
    assert np.array_equal(first.actions, actions[0][:6].reshape(3, 4))
    assert last.frames.shape == (3, 3, 4, 6) and last.actions.shape == (2, 4)


@pytest.mark.parametrize(("write", "read"), [(write_hdf5, read_stable_worldmodel), (write_folder, read_dino_wm)])
def test_actions_that_are_not_finite_are_refused(tmp_path, recorded, write, read):
    frames, actions = recorded
    actions[0][3] = np.nan
    path = write(tmp_path / "data", frames, actions)
    with pytest.raises(UserError, match="episode 0: the actions from step 2 on are not finite"):
        list(read(path, seconds_per_step=0.1, frameskip=2))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read as hdf5"):
        list(read_stable_worldmodel(tmp_path / "absent.h5", seconds_per_step=0.1))
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["pixels"] = np.zeros((2, 4, 4, 3))
    with pytest.raises(UserError, match="has no column action; it has pixels"):
        list(read_stable_worldmodel(tmp_path / "bare.h5", seconds_per_step=0.1))
    with pytest.raises(UserError, match=r"actions\.pth does not exist"):
        list(read_dino_wm(tmp_path, seconds_per_step=0.1))
    with pytest.raises(UserError, match="frameskip = 0"):
        list(read_dino_wm(tmp_path, seconds_per_step=0.1, frameskip=0))
