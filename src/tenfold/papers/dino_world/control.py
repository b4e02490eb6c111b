"""Acting: video of a world without actions, labelled clips, and plans that are found in features and acted in pixels.

The planner of DINO-WM, as DINO-world uses it: the cross-entropy method over sequences of actions. A plan costs the mean
square between the features predicted for its last step and those of a picture of the goal. What the model has read of
the past is computed once for all candidates of an episode.

Shapes: B episodes, S candidates, K actions of a plan, A numbers of an action, H x W patches, D width of the features.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tenfold.data.video.arenas import mazes, walls_with_doors, wandering
from tenfold.data.video.balls import real_times
from tenfold.data.video.sampling import Gaps, nearest
from tenfold.envs.control.policies import scripted_actions, smooth_plans
from tenfold.envs.control.worlds import (
    ACTION_DIM,
    PARTS,
    SECONDS,
    MazeWorld,
    PixelWorld,
    Recording,
    WallWorld,
    reached,
    record,
)
from tenfold.models.frame_encoder import FrameEncoder
from tenfold.papers.dino_world.method import Context, Predictor
from tenfold.papers.dino_world.settings import ControlConfig, PlannerConfig
from tenfold.policies.planning import CEM, model_predictive_control

FAR = 2.5
"""A start is far from its goal if this many success radii lie between them."""
EPISODES_AT_ONCE = 16
"""Whose candidates are imagined together: bounds memory, changes no result."""


def make_world(config: ControlConfig, num: int, generator: np.random.Generator, size: int) -> PixelWorld:
    """``num`` worlds of the configured kind."""
    return WallWorld(num, generator, size) if config.world == "wall" else MazeWorld(num, generator, size)


def video_frames(
    config: ControlConfig, size: int, generator: np.random.Generator, num: int
) -> tuple[np.ndarray, np.ndarray]:
    """Clips of dots that nobody controls: frames [num, T, 3, size, size] and times [num, T]."""
    gaps = Gaps(config.video.frames, config.video.shortest, config.video.longest)
    times = real_times(generator, gaps, num)
    arenas = (
        walls_with_doors(generator, num, size, size / 16) if config.world == "wall" else mazes(generator, num, size)
    )
    part = SECONDS / PARTS
    num_parts = int(np.ceil(times.max() / part)) + 1
    path = wandering(arenas, num_parts, 4.6 * size / 32 / PARTS, generator)
    shown = nearest(np.arange(num_parts + 1) * part, times)
    positions = np.take_along_axis(path, shown[..., None], axis=1)
    return arenas.pictures(positions), shown * part


def labelled(config: ControlConfig, size: int, generator: np.random.Generator, num: int) -> Recording:
    """Clips of what the configured policy does."""
    world = make_world(config, num, generator, size)
    return record(world, scripted_actions(config.quality, generator), config.frames - 1)


# ----------------------------------------------------------------------------------------------------- planning


@dataclass(frozen=True)
class GoalCost:
    """How far from the goal's features plans are imagined to end; a ``Costable``.

    Args:
        model: a predictor with actions.
        memories: what it has read of each group of episodes.
        goals_BHWD: features of the goals' pictures.
        now: seconds of the last frame that was read; actions follow at equal spacing.
    """

    model: Predictor
    memories: Sequence[Context]
    goals_BHWD: Tensor
    now: float

    def cost(self, actions_BSKA: Tensor) -> Tensor:
        """Mean square between predicted last features and the goal's, [B, S]."""
        costs, first = [], 0
        for memory in self.memories:
            group = slice(first, first + len(memory.last_BHWD))
            costs.append(self._cost(memory, actions_BSKA[group], self.goals_BHWD[group]))
            first = group.stop
        return torch.cat(costs)

    def _cost(self, memory: Context, actions_BSKA: Tensor, goals_BHWD: Tensor) -> Tensor:
        starts, candidates, steps = actions_BSKA.shape[:3]
        times = self.now + SECONDS * torch.arange(1, steps + 1, dtype=torch.float64, device=actions_BSKA.device)
        imagined = self.model.imagine(
            memory.repeated(candidates), times.expand(starts * candidates, -1), actions_BSKA.flatten(0, 1)
        )
        last = imagined[:, -1].unflatten(0, (starts, candidates))
        return (last - goals_BHWD[:, None]).square().mean((2, 3, 4))


class Watched:
    """A world whose last few pictures are kept, in which tensors of actions are done.

    Args:
        world: acted in.
        pictures: how many are kept.
    """

    def __init__(self, world: PixelWorld, pictures: int) -> None:
        self.world, self.kept = world, pictures
        self.pictures = [world.pictures()]
        self.path = [world.positions]

    def act(self, actions_BKA: Tensor) -> None:
        """Do a part of a plan."""
        for action in actions_BKA.cpu().numpy().transpose(1, 0, 2):
            self.world.act(action)
            self.pictures = [*self.pictures, self.world.pictures()][-self.kept :]
            self.path.append(self.world.positions)

    def frames(self) -> Tensor:
        """The kept pictures, [B, T, 3, size, size] uint8."""
        return torch.from_numpy(np.stack(self.pictures, axis=1))


@dataclass(frozen=True)
class Episodes:
    """Starts with goals, as every arm of a seed gets them.

    Args:
        world: after the actions that gave the first pictures.
        watched: the same, with its pictures.
        goals: [B, 2] positions.
        goal_pictures: [B, 3, size, size] uint8.
        random_plans: [B, rounds * K, A], for a policy that knows nothing.
    """

    watched: Watched
    goals: np.ndarray
    goal_pictures: np.ndarray
    random_plans: np.ndarray


def draw_episodes(config: ControlConfig, planner: PlannerConfig, size: int, generator: np.random.Generator) -> Episodes:
    """Starts, and goals that a smooth plan of one horizon leads to from there."""
    world = make_world(config, config.episodes, generator, size)
    watched = Watched(world, config.context)
    before = smooth_plans(generator, config.episodes, config.context - 1) if config.context > 1 else None
    if before is not None:
        watched.act(torch.from_numpy(before))
    ahead = Watched(deepcopy(world), 1)
    ahead.act(torch.from_numpy(smooth_plans(generator, config.episodes, planner.horizon)))
    random_plans = smooth_plans(generator, config.episodes, config.rounds * planner.horizon)
    return Episodes(watched, ahead.world.positions, ahead.pictures[-1], random_plans)


@dataclass(frozen=True)
class Outcome:
    """What became of episodes.

    Args:
        success: [rounds, B], whether the goal was reached at the end of each plan, or of an earlier one.
        far: [B], whether the start was far from the goal.
        path: [rounds * K + 1, B, 2], positions after each action.
        walls: [B, R, 4], of the worlds.
        goals: [B, 2].
    """

    success: np.ndarray
    far: np.ndarray
    path: np.ndarray
    walls: np.ndarray
    goals: np.ndarray

    def metrics(self) -> dict[str, float]:
        """Shares of episodes."""
        far = self.success[-1][self.far]
        return {
            "planning/success": float(self.success[-1].mean()),
            "planning/success_first_plan": float(self.success[0].mean()),
            "planning/success_far": float(far.mean()) if len(far) else float("nan"),
        }


def act_randomly(episodes: Episodes, horizon: int) -> Outcome:
    """What smooth plans reach that know no goal."""
    watched = deepcopy(episodes.watched)
    start, success = len(watched.path) - 1, []
    for first in range(0, episodes.random_plans.shape[1], horizon):
        watched.act(torch.from_numpy(episodes.random_plans[:, first : first + horizon]))
        success.append(reached(watched.world, episodes.goals))
    return _outcome(watched, episodes, success, start)


def act_by_planning(
    model: Predictor,
    encoder: FrameEncoder,
    episodes: Episodes,
    config: ControlConfig,
    planner: PlannerConfig,
    generator: torch.Generator,
) -> Outcome:
    """Plan in features, act in pixels, and plan again from what is seen then.

    Args:
        model: with actions.
        encoder: whose features it knows.
        episodes: starts and goals; not changed.
        config: rounds and context.
        planner: settings of the cross-entropy method.
        generator: of the candidates.
    """
    device = next(model.parameters()).device
    watched = deepcopy(episodes.watched)
    goals = encoder(torch.from_numpy(episodes.goal_pictures)[:, None].to(device))[:, 0]
    start, success = len(watched.path) - 1, []
    search = CEM(planner.samples, planner.elites, planner.iterations, planner.deviation, low=-1.0, high=1.0)
    idea = torch.zeros(len(goals), planner.horizon, ACTION_DIM, device=device)
    for _ in range(config.rounds):
        model_predictive_control(
            search,
            lambda: what_plans_cost(model, encoder, watched.frames().to(device), goals),
            watched,
            idea,
            executed=planner.horizon,
            rounds=1,
            generator=generator,
        )
        success.append(reached(watched.world, episodes.goals))
    return _outcome(watched, episodes, success, start)


@torch.no_grad()
def what_plans_cost(model: Predictor, encoder: FrameEncoder, frames_BT3hw: Tensor, goals_BHWD: Tensor) -> GoalCost:
    """Read what was seen last, at the spacing of actions, and be ready to say what plans cost."""
    features = encoder(frames_BT3hw)
    times = SECONDS * torch.arange(features.shape[1], dtype=torch.float64, device=features.device)
    memories = []
    for first in range(0, len(features), EPISODES_AT_ONCE):
        group = features[first : first + EPISODES_AT_ONCE]
        memories.append(model.read(group, times.expand(len(group), -1)))
    return GoalCost(model, memories, goals_BHWD, float(times[-1]))


def _outcome(watched: Watched, episodes: Episodes, success: Sequence[np.ndarray], start: int) -> Outcome:
    """Success counts from the plan at whose end the goal was reached first."""
    path = np.stack(watched.path[start:])
    distance = np.linalg.norm(path[0] - episodes.goals, axis=-1)
    reached_by = np.maximum.accumulate(np.stack(success), axis=0)
    far = distance > FAR * watched.world.success_radius
    return Outcome(reached_by, far, path, watched.world.arenas.walls, episodes.goals)
