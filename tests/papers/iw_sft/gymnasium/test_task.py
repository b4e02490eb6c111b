"""Gymnasium studies: behaviours of rising quality, exact episodes, refusals, and one small study from end to end."""

from dataclasses import replace

import numpy as np
import pytest

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.papers.iw_sft.config import IWSFTConfig, NetworkConfig, StageConfig
from tenfold.papers.iw_sft.gymnasium import behaviours, recipe
from tenfold.papers.iw_sft.gymnasium.behaviours import mountain_car_controller, pendulum_controller, searched_policies
from tenfold.papers.iw_sft.gymnasium.config import TaskConfig, smoke
from tenfold.papers.iw_sft.gymnasium.episodes import make, run_episodes
from tenfold.papers.iw_sft.gymnasium.task import mixed_dataset

gymnasium = pytest.importorskip("gymnasium")


def test_episodes_are_those_of_the_environment():
    """The same actions by hand in one environment with the same start."""
    data = run_episodes("Pendulum-v1", lambda observations, step: np.full((len(observations), 1), 0.3), 2, 0, "x")
    environment = gymnasium.make("Pendulum-v1")
    environment.reset(seed=0)
    cosine, sine, velocity = data.observations[1, 0].astype(float)
    environment.unwrapped.state = np.array([np.arctan2(sine, cosine), velocity])
    total = 0.0
    for step in range(200):
        observation, reward, _, truncated, _ = environment.step(np.array([0.6], dtype=np.float32))
        total += float(reward)
        if step < 199:
            assert data.observations[1, step + 1] == pytest.approx(observation, abs=1e-2)
    assert truncated and data.mask.all() and data.mask.shape == (2, 200)
    assert data.returns[1] == pytest.approx(total, rel=1e-2)
    assert data.actions[0, 0] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("env_id", "controller", "least"),
    [("Pendulum-v1", pendulum_controller, -400.0), ("MountainCarContinuous-v0", mountain_car_controller, 85.0)],
)
def test_the_scripted_controllers_solve_their_tasks(env_id, controller, least):
    returns = run_episodes(env_id, lambda observations, step: controller(observations), 10, 0).returns
    assert returns.mean() > least
    if env_id.startswith("Mountain"):
        assert returns.min() > least


def test_a_mixed_data_set_has_levels_of_rising_return():
    data, levels = mixed_dataset("Pendulum-v1", 42, 0)
    assert len(data) == 42 and np.bincount(levels).tolist() == [11, 11, 10, 10]
    means = [data.returns[levels == level].mean() for level in range(4)]
    assert means == sorted(means) and means[3] > means[0] + 500
    again, _ = mixed_dataset("Pendulum-v1", 42, 0)
    assert np.array_equal(again.actions, data.actions)


def test_random_search_improves(monkeypatch):
    monkeypatch.setattr(behaviours, "SEARCH_ROUNDS", 6)
    snapshots = searched_policies("Pendulum-v1", 0)
    assert len(snapshots) == len(behaviours.QUALITIES) and not snapshots[0].any()
    first, last = (
        run_episodes("Pendulum-v1", behaviours.linear_act(weights, noise=0.0), 20, 0, "test").returns.mean()
        for weights in (snapshots[0], snapshots[-1])
    )
    assert last > first - 50


@pytest.mark.parametrize(
    ("env_id", "message"),
    [("CartPole-v1", r"Discrete\(2\); allowed: continuous"), ("Nowhere-v0", "env_id = Nowhere-v0")],
)
def test_environments_that_do_not_fit_are_refused(env_id, message):
    with pytest.raises(UserError, match=message):
        make(env_id)


def test_a_study_from_end_to_end(tmp_path):
    stage = StageConfig(4, 8, log_every=2, evaluate_every=4)
    config = replace(
        smoke(),
        cloning=stage,
        fine_tuning=stage,
        control=TaskConfig(num_trajectories=20, num_test=4, num_validation=2, percentiles=(50.0, 80.0)),
        policy=NetworkConfig(kind="gaussian", hidden_size=8, layers=1),
        weighting=IWSFTConfig(log_ratio="mean", temperature=10.0, q_ema=0.9),
    )
    scores = recipe.run(config, "iw_sft_quality", 0, Cell(arm="a", seed=0, directory=tmp_path, device="cpu"))
    assert scores.metrics["data/kept_trajectories"] == 10 + 4
    assert scores.metrics["weights/effective_exponent"] == pytest.approx(10 / 200)
    assert np.isfinite(scores.metrics["test/score"]) and len(scores.items["test/score"]) == 4


def test_claims_are_of_this_study():
    """The sentences of the two-route task are not said here."""
    assert not any("two-route" in claim.text for claim in recipe.CLAIMS)
    assert {claim.baseline for claim in recipe.CLAIMS} == {"sft", "iql"}
