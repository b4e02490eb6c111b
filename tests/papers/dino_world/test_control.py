"""Planning in features: what is imagined costs what it should, and a model that knows the world reaches goals."""

import dataclasses

import numpy as np
import pytest
import torch

from tenfold.envs.control.worlds import SECONDS
from tenfold.papers.dino_world import control
from tenfold.papers.dino_world.control import (
    act_by_planning,
    act_randomly,
    draw_episodes,
    labelled,
    video_frames,
    what_plans_cost,
)
from tenfold.papers.dino_world.settings import ControlConfig, PlannerConfig

CONFIG = ControlConfig(episodes=20, labelled=6)
PLANNER = PlannerConfig(samples=64, elites=8, iterations=5, horizon=4, deviation=0.8)


@pytest.fixture
def episodes():
    return draw_episodes(CONFIG, PLANNER, 32, np.random.default_rng(0))


class Seeing:
    """An encoder whose features are the picture itself, as one patch."""

    def __call__(self, frames):
        return frames.float().flatten(2)[:, :, None, None] / 255


class Knowing(torch.nn.Module):
    """A predictor that moves a copy of the true worlds, and draws what would be seen: the true model."""

    def __init__(self, watched):
        super().__init__()
        self.anything, self.watched = torch.nn.Parameter(torch.zeros(1)), watched

    def read(self, x, tau):
        return Remembered(torch.arange(len(x)), x[:, -1])

    def imagine(self, memory, tau, actions):
        arenas = self.watched.arenas
        chosen = dataclasses.replace(arenas, walls=arenas.walls[memory.number], colours=arenas.colours[memory.number])
        places = self.watched.positions[memory.number]
        for action in actions.numpy().transpose(1, 0, 2):
            for _ in range(control.PARTS):
                places = chosen.moved(places, action * 4.6 / control.PARTS)
        seen = torch.from_numpy(chosen.pictures(places[:, None]))
        return Seeing()(seen)


@dataclasses.dataclass
class Remembered:
    number: torch.Tensor
    last_BHWD: torch.Tensor

    def repeated(self, times):
        return Remembered(self.number.repeat_interleave(times, 0), self.last_BHWD.repeat_interleave(times, 0))


def test_with_the_true_model_plans_reach_their_goals_and_random_ones_do_not(episodes, monkeypatch):
    """Pixels are a rough cost far from the goal, so not every search ends there."""
    monkeypatch.setattr(control, "EPISODES_AT_ONCE", 1000)
    chance = act_randomly(episodes, PLANNER.horizon)
    monkeypatch.setattr(control, "deepcopy", lambda thing: thing)  # so that the model knows the world that is acted in
    model = Knowing(episodes.watched.world)
    outcome = act_by_planning(model, Seeing(), episodes, CONFIG, PLANNER, torch.Generator().manual_seed(0))
    assert outcome.success[-1].mean() > 0.6 > 3 * chance.success[-1].mean()
    assert (outcome.success[1] >= outcome.success[0]).all()
    assert outcome.path.shape == (1 + CONFIG.rounds * PLANNER.horizon, 20, 2)


def test_costs_do_not_depend_on_which_episodes_are_imagined_together(make_model, episodes, monkeypatch):
    model = make_model(dim=3 * 32 * 32, action_dim=2)
    goals, frames = Seeing()(torch.from_numpy(episodes.goal_pictures)[:, None])[:, 0], episodes.watched.frames()
    actions = torch.rand(20, 3, 4, 2)
    found = []
    for at_once in (7, 100):
        monkeypatch.setattr(control, "EPISODES_AT_ONCE", at_once)
        with torch.no_grad():
            found.append(what_plans_cost(model, Seeing(), frames, goals).cost(actions))
    assert torch.allclose(*found, rtol=1e-4)
    with torch.no_grad():
        x, tau = Seeing()(frames), torch.tensor([[0.0, SECONDS]], dtype=torch.float64).expand(20, 2)
        future = SECONDS * torch.arange(2, 6, dtype=torch.float64).expand(20, 4)
        last = model.imagine(model.read(x, tau), future, actions[:, 1])[:, -1]
    assert torch.allclose(found[0][:, 1], (last - goals).square().mean((1, 2, 3)), rtol=1e-4)


def test_equal_seeds_give_equal_episodes_and_goals_can_be_reached(episodes):
    again = draw_episodes(CONFIG, PLANNER, 32, np.random.default_rng(0))
    assert np.array_equal(again.goals, episodes.goals)
    assert np.array_equal(again.watched.frames(), episodes.watched.frames())
    steps = np.linalg.norm(episodes.goals - episodes.watched.world.positions, axis=-1)
    assert steps.max() <= PLANNER.horizon * 4.6 * 2**0.5 + 1e-6 and steps.mean() > 3


@pytest.mark.parametrize("world", ["wall", "maze"])
def test_video_has_times_between_frames_and_labelled_clips_have_actions(world):
    config = dataclasses.replace(CONFIG, world=world)
    frames, times = video_frames(config, 32, np.random.default_rng(0), 10)
    gaps = np.diff(times, axis=1)
    assert frames.shape == (10, 6, 3, 32, 32)
    assert gaps.min() >= 0.039 and gaps.max() <= config.video.longest + 0.041
    clips = labelled(config, 32, np.random.default_rng(0), 6)
    assert clips.frames.shape == (6, 4, 3, 32, 32) and clips.actions.shape == (6, 3, 2)
