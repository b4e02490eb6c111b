"""Gymnasium environments as studies: behaviours of several qualities, mixed data sets, and a policy's test.

Classic control has scripted controllers; any other environment with bounded continuous actions (MuJoCo: the extra
``control``) gets linear policies that a short random search has brought to several qualities. A data set mixes
behaviours with noise, as replay buffers do. Actions are scaled to [-1, 1], where the authors' policy lives. A file in
the layout of D4RL or Minari takes the place of generated data.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import nn

from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.data.trajectories import TrajectoryDataset, from_episodes, nested_percentiles
from tenfold.data.trajectory_files import read_trajectories
from tenfold.papers.iw_sft.config import Config
from tenfold.papers.iw_sft.tasks import ControlTask, acting
from tenfold.papers.iw_sft.two_route import Act

QUALITIES = (0.0, 0.33, 0.67, 1.0)
SEARCH_ROUNDS, SEARCH_DIRECTIONS, SEARCH_STEP = 40, 8, 0.1


def gymnasium_task(config: Config, seed: int) -> ControlTask:
    """Data from files or from behaviours of several qualities; kept are the nested percentiles of the return."""
    c = config.control
    low, high = c.score_low, c.score_high
    if c.files:
        if len(c.files) > 1 or low is None or high is None:
            raise UserError(f"control.files = {c.files}: allowed: one file, with score_low and score_high beside it")
        data = read_trajectories(c.files[0])
    else:
        data, levels = mixed_dataset(c.env_id, c.num_trajectories, seed)
        means = [float(data.returns[levels == level].mean()) for level in range(len(QUALITIES))]
        low, high = min(means) if low is None else low, max(means) if high is None else high

    def play(policy: nn.Module, num: int, split: str) -> np.ndarray:
        returns = run_episodes(c.env_id, acting(policy, c.sample_actions, seed, split), num, seed, split).returns
        return (returns - low) / (high - low)

    return ControlTask(
        data=data,
        kept=nested_percentiles(data.returns, c.percentiles),
        quality=data.returns - data.returns.min() + 1e-3 * max(np.ptp(data.returns), 1.0),
        play=play,
        samples=lambda policy: {"returns": np.round(play(policy, min(c.num_test, 50), "pictures"), 4).tolist()},
    )


def mixed_dataset(env_id: str, num_trajectories: int, *key: int | str) -> tuple[TrajectoryDataset, np.ndarray]:
    """Trajectories of behaviours of four qualities, and each trajectory's level [N].

    Args:
        env_id: an environment with bounded continuous actions.
        num_trajectories: N, shared out evenly.
        key: of starts, noise and search.
    """
    counts = [len(part) for part in np.array_split(np.arange(num_trajectories), len(QUALITIES))]
    parts = [
        run_episodes(env_id, behaviour, count, *key, f"level {level}")
        for level, (behaviour, count) in enumerate(zip(behaviours(env_id, *key), counts, strict=True))
    ]
    episodes = [
        (part.observations[row][kept], part.actions[row][kept], part.rewards[row][kept])
        for part in parts
        for row, kept in enumerate(part.mask)
    ]
    return from_episodes(episodes), np.repeat(np.arange(len(QUALITIES)), counts)


def behaviours(env_id: str, *key: int | str) -> list[Act]:
    """One behaviour for each of :data:`QUALITIES`, worst first."""
    if env_id in _SCRIPTED:
        return [_noisy(_SCRIPTED[env_id], quality, *key) for quality in QUALITIES]
    return [_linear_act(weights) for weights in searched_policies(env_id, *key)]


def run_episodes(env_id: str, act: Act, num_episodes: int, *key: int | str) -> TrajectoryDataset:
    """Play episodes side by side; ``act`` sees all of them at each step, those that ended included.

    Raises:
        UserError: the environment is not there, or its actions are not bounded and continuous.
    """
    environments = [make(env_id) for _ in range(num_episodes)]
    space = environments[0].action_space
    scale, middle = (space.high - space.low) / 2, (space.high + space.low) / 2
    seeds = [key_to_seed(*key, "start", row) % 2**31 for row in range(num_episodes)]
    current = np.stack([env.reset(seed=seed)[0] for env, seed in zip(environments, seeds, strict=True)])
    alive = np.ones(num_episodes, dtype=bool)
    episodes: list[list[tuple]] = [[] for _ in environments]
    step = 0
    while alive.any():
        actions = np.asarray(act(current, step), dtype=np.float64)
        for row in np.flatnonzero(alive):
            applied = (np.clip(actions[row], -1, 1) * scale + middle).astype(space.dtype)
            observation, reward, terminated, truncated, _ = environments[row].step(applied)
            episodes[row].append((current[row].copy(), actions[row], float(reward)))
            current[row] = observation
            alive[row] = not (terminated or truncated)
        step += 1
    for environment in environments:
        environment.close()
    return from_episodes([tuple(np.array(part) for part in zip(*episode, strict=True)) for episode in episodes])


def make(env_id: str) -> Any:
    """The Gymnasium environment ``env_id``, with a limit of steps and bounded continuous actions."""
    try:
        import gymnasium
    except ModuleNotFoundError:
        raise UserError(f"env_id = {env_id}: needs Gymnasium; pip install 'tenfold[control]'") from None
    try:
        environment = gymnasium.make(env_id)
    except gymnasium.error.DependencyNotInstalled as error:
        raise UserError(f"env_id = {env_id}: {error}; pip install 'tenfold[control]'") from None
    except gymnasium.error.Error as error:
        raise UserError(f"env_id = {env_id}: {error}") from None
    space = environment.action_space
    if not isinstance(space, gymnasium.spaces.Box) or not (np.isfinite(space.low) & np.isfinite(space.high)).all():
        raise UserError(f"env_id = {env_id}: its actions are {space}; allowed: continuous and bounded (Box)")
    return environment


def searched_policies(env_id: str, *key: int | str) -> list[np.ndarray]:
    """Linear policies [A, O + 1] of rising quality: snapshots of a basic random search (Mania et al., 2018)."""
    environment = make(env_id)
    shape = (environment.action_space.shape[0], environment.observation_space.shape[0] + 1)
    generator, weights = numpy_generator(*key, "search"), np.zeros(shape)
    snapshots, best, best_return = [weights], weights, -np.inf
    for turn in range(1, SEARCH_ROUNDS + 1):
        directions = generator.normal(size=(SEARCH_DIRECTIONS, *shape))
        tried = np.concatenate([weights + SEARCH_STEP * directions, weights - SEARCH_STEP * directions])
        returns = run_episodes(env_id, _one_policy_each(tried), len(tried), *key, "search", turn).returns
        if returns.max() > best_return:
            best, best_return = tried[returns.argmax()], returns.max()
        gain = returns[:SEARCH_DIRECTIONS] - returns[SEARCH_DIRECTIONS:]
        weights = (
            weights + SEARCH_STEP * np.tensordot(gain / max(returns.std(), 1e-6), directions, 1) / SEARCH_DIRECTIONS
        )
        if turn in [round(quality * SEARCH_ROUNDS) for quality in QUALITIES[1:]]:
            snapshots.append(best)
    return snapshots


def _linear_act(weights: np.ndarray, noise: float = 0.1) -> Act:
    def act(observations: np.ndarray, step: int) -> np.ndarray:
        jitter = noise * numpy_generator("linear", step).normal(size=(len(observations), len(weights)))
        return np.tanh(_with_one(observations) @ weights.T) + jitter

    return act


def _one_policy_each(weights: Sequence[np.ndarray] | np.ndarray) -> Act:
    stacked = np.asarray(weights)
    return lambda observations, step: np.tanh(np.einsum("nao,no->na", stacked, _with_one(observations)))


def _with_one(observations: np.ndarray) -> np.ndarray:
    return np.column_stack([observations, np.ones(len(observations))])


def _noisy(controller: Callable[[np.ndarray], np.ndarray], quality: float, *key: int | str) -> Act:
    """The controller's action with probability ``quality`` at each step, else a uniform one; and a little noise."""

    def act(observations: np.ndarray, step: int) -> np.ndarray:
        generator = numpy_generator(*key, "noisy", str(quality), step)
        uniform = generator.uniform(-1, 1, size=(len(observations), 1))
        follows = generator.random((len(observations), 1)) < quality
        return np.where(follows, controller(observations), uniform) + 0.1 * generator.normal(size=uniform.shape)

    return act


def pendulum_controller(observations: np.ndarray) -> np.ndarray:
    """Swing up by pumping energy, then hold upright by a proportional-derivative law; [N, 1] in [-1, 1]."""
    cosine, sine, velocity = observations.T
    angle = np.arctan2(sine, cosine)
    energy = velocity**2 / 6 + 5 * (cosine - 1)  # 0 when upright and at rest (m = l = 1, g = 10)
    pump = -np.sign(velocity + 1e-9) * np.sign(energy)
    hold = -(10 * angle + 2 * velocity) / 2
    return np.clip(np.where(cosine > 0.9, hold, pump), -1, 1)[:, None]


def mountain_car_controller(observations: np.ndarray) -> np.ndarray:
    """Push where the car is moving; [N, 1]."""
    return np.where(observations[:, 1:] >= 0, 1.0, -1.0)


_SCRIPTED = {"Pendulum-v1": pendulum_controller, "MountainCarContinuous-v0": mountain_car_controller}
