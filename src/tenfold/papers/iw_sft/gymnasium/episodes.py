"""Episodes in Gymnasium environments with bounded continuous actions, which are scaled to [-1, 1].

That is where the authors' policy lives. All episodes are played side by side.
"""

from typing import Any

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.extras import advice, require_extras
from tenfold.core.seeding import key_to_seed
from tenfold.data.trajectories import TrajectoryDataset, from_episodes
from tenfold.papers.iw_sft.tasks import Act


def make(env_id: str) -> Any:
    """The Gymnasium environment ``env_id``, with a limit of steps and bounded continuous actions."""
    require_extras(["control"], f"env_id = {env_id}")
    import gymnasium

    try:
        environment = gymnasium.make(env_id)
    except gymnasium.error.DependencyNotInstalled as error:
        raise UserError(f"env_id = {env_id}: {error}; {advice('control')}") from None
    except gymnasium.error.Error as error:
        raise UserError(f"env_id = {env_id}: {error}") from None
    space = environment.action_space
    if not isinstance(space, gymnasium.spaces.Box) or not (np.isfinite(space.low) & np.isfinite(space.high)).all():
        raise UserError(f"env_id = {env_id}: its actions are {space}; allowed: continuous and bounded (Box)")
    return environment


def run_episodes(env_id: str, act: Act, num_episodes: int, *key: int | str) -> TrajectoryDataset:
    """Play episodes side by side; ``act`` sees all of them at each step, those that ended included.

    Raises:
        UserError: the environment is not there, or its actions are not bounded and continuous.
    """
    environments = [make(env_id) for _ in range(num_episodes)]
    space = environments[0].action_space
    scale, middle = (space.high - space.low) / 2, (space.high + space.low) / 2
    current = np.stack([_start(environment, *key, "start", row) for row, environment in enumerate(environments)])
    alive = np.ones(num_episodes, dtype=bool)
    episodes: list[list[tuple[np.ndarray, np.ndarray, float]]] = [[] for _ in environments]
    step = 0
    while alive.any():
        # All rows act, so that the noise of one episode does not depend on which others have ended.
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
    return from_episodes([_arrays(episode) for episode in episodes])


def sizes(env_id: str) -> tuple[int, int, int]:
    """Observation values, action values and most steps of an environment; those of HalfCheetah if it is not there."""
    try:
        environment = make(env_id)
    except UserError:
        return 17, 6, 1000
    longest = environment.spec.max_episode_steps or 1000
    return environment.observation_space.shape[0], environment.action_space.shape[0], longest


def _start(environment: Any, *key: int | str) -> np.ndarray:
    observation, _ = environment.reset(seed=key_to_seed(*key) % 2**31)
    return observation


def _arrays(episode: list[tuple[np.ndarray, np.ndarray, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, actions and rewards of one episode."""
    observations, actions, rewards = zip(*episode, strict=True)
    return np.array(observations), np.array(actions), np.array(rewards)
