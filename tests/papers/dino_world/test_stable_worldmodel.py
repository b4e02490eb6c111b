"""The adapter to stable-worldmodel: the dictionaries by hand, and four of its solvers where the package is there."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.models.frame_encoder import FrameEncoder, small_vision_transformer
from tenfold.papers.dino_world.stable_worldmodel import StableWorldModel

WORKER = Path(__file__).with_name("swm_worker.py")


@pytest.fixture
def encoder():
    return FrameEncoder(small_vision_transformer(width=24, blocks=1, heads=2, patch=8, registers=1, size=16, seed=0))


@pytest.fixture
def adapter(make_model, encoder):
    return StableWorldModel(make_model(dim=24, action_dim=2), encoder, seconds_per_step=0.2)


def as_solvers_give(frames, candidates):
    """[B, T, ...] to S equal copies."""
    return frames[:, None].expand(-1, candidates, *frames.shape[1:])


def test_costs_are_those_of_a_roll_out_from_the_history(adapter):
    frames, goal, actions = torch.rand(2, 2, 3, 16, 16), torch.rand(2, 1, 3, 16, 16), torch.randn(2, 4, 3, 2)
    info = {"pixels": as_solvers_give(frames, 4), "goal": as_solvers_give(goal, 4), "action_history": None}
    with torch.no_grad():
        costs = adapter.get_cost(info, actions)
        x, tau = adapter.encoder(frames), torch.tensor([[0.0, 0.2]], dtype=torch.float64).expand(2, 2)
        future = torch.tensor([[0.4, 0.6, 0.8]], dtype=torch.float64).expand(2, 3)
        last = adapter.predictor.imagine(adapter.predictor.read(x, tau), future, actions[:, 1])[:, -1]
    expected = (last - adapter.encoder(goal)[:, 0]).square().mean((1, 2, 3))
    assert torch.allclose(costs[:, 1], expected, atol=1e-5)
    assert info["predicted_emb"].shape == (2, 4, 5, 4, 24) and info["goal_emb"].shape == (2, 1, 4, 24)


def test_with_a_history_the_wheels_candidates_begin_with_past_actions(adapter):
    frames, goal, actions = torch.rand(1, 2, 3, 16, 16), torch.rand(1, 1, 3, 16, 16), torch.randn(1, 4, 4, 2)
    info = {"pixels": as_solvers_give(frames, 4), "goal": as_solvers_give(goal, 4)}
    with torch.no_grad():
        wheel = adapter.get_cost(dict(info), actions)
        repository = adapter.get_cost({**info, "action_history": actions[:, :, :1]}, actions[:, :, 1:])
    assert torch.allclose(wheel, repository, atol=1e-6)


def test_the_goal_is_encoded_once(adapter):
    info = {"pixels": torch.rand(1, 2, 1, 3, 16, 16), "goal": torch.rand(1, 2, 1, 3, 16, 16)}
    with torch.no_grad():
        first = adapter.get_cost(info, torch.zeros(1, 2, 1, 2))
        info["goal"] = None
        assert torch.equal(adapter.get_cost(info, torch.zeros(1, 2, 1, 2)), first)
    assert adapter.encode({"pixels": torch.rand(1, 2, 3, 16, 16)})["emb"].shape == (1, 2, 4, 24)


def test_what_cannot_be_planned_with_is_refused(adapter, make_model, encoder):
    info = {"pixels": torch.rand(1, 1, 1, 3, 16, 16), "goal": torch.rand(1, 1, 1, 3, 8, 8)}
    with pytest.raises(UserError, match="goal of 8x8 pixels: the frames have 16x16"):
        adapter.get_cost(info, torch.zeros(1, 1, 1, 2))
    with pytest.raises(UserError, match="actions of 3 numbers: the predictor was made for 2"):
        adapter.rollout(info, torch.zeros(1, 1, 1, 3))
    with pytest.raises(UserError, match="a model of video alone cannot plan"):
        StableWorldModel(make_model(dim=24), encoder, 0.2)
    with pytest.raises(UserError, match="features of width 24: the predictor was made for 12"):
        StableWorldModel(make_model(action_dim=2), encoder, 0.2)
    with pytest.raises(UserError, match="seconds_per_step = 0"):
        StableWorldModel(make_model(dim=24, action_dim=2), encoder, 0.0)


@pytest.mark.extra
@pytest.mark.alone
def test_four_solvers_plan_through_the_adapter():
    """In a process of its own, with the wheel without its dependencies, and without torchvision."""
    if importlib.util.find_spec("stable_worldmodel") is None:
        pytest.skip("needs the package stable-worldmodel, which is installed apart: make test-extra")
    done = subprocess.run(
        [sys.executable, str(WORKER)], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("solved")]
    assert [line[1] for line in lines] == ["CEM", "iCEM", "MPPI", "gradient"]
    for _, name, planned, still in lines:
        assert float(planned) < float(still), name
