"""Behaviours of four qualities in a Gymnasium environment, worst first: what generated data are made by.

Classic control has scripted controllers, which follow chance for a share of their steps; any other environment (MuJoCo:
the extra ``control``) gets linear policies that a short random search has brought to several qualities.
"""

from collections.abc import Callable

import numpy as np

from tenfold.core.seeding import numpy_generator
from tenfold.papers.iw_sft.gymnasium.episodes import make, run_episodes
from tenfold.papers.iw_sft.tasks import Act

QUALITIES = (0.0, 0.33, 0.67, 1.0)
SEARCH_ROUNDS, SEARCH_DIRECTIONS, SEARCH_STEP = 40, 8, 0.1


def behaviours(env_id: str, *key: int | str) -> list[Act]:
    """One behaviour for each of :data:`QUALITIES`, worst first."""
    if env_id in _SCRIPTED:
        return [_noisy(_SCRIPTED[env_id], quality, *key) for quality in QUALITIES]
    return [linear_act(weights) for weights in searched_policies(env_id, *key)]


def searched_policies(env_id: str, *key: int | str) -> list[np.ndarray]:
    """Linear policies [A, O + 1] of rising quality: snapshots of a basic random search (Mania et al., 2018)."""
    environment = make(env_id)
    shape = (environment.action_space.shape[0], environment.observation_space.shape[0] + 1)
    generator, weights = numpy_generator(*key, "search"), np.zeros(shape)
    snapshots, best, best_return = [weights], weights, -np.inf
    kept_after = [round(quality * SEARCH_ROUNDS) for quality in QUALITIES[1:]]
    for turn in range(1, SEARCH_ROUNDS + 1):
        directions = generator.normal(size=(SEARCH_DIRECTIONS, *shape))
        tried = np.concatenate([weights + SEARCH_STEP * directions, weights - SEARCH_STEP * directions])
        returns = run_episodes(env_id, _one_policy_each(tried), len(tried), *key, "search", turn).returns
        if returns.max() > best_return:
            best, best_return = tried[returns.argmax()], returns.max()
        # Each direction counts by what it gains over its opposite, in units of the round's spread.
        gain = returns[:SEARCH_DIRECTIONS] - returns[SEARCH_DIRECTIONS:]
        weights = (
            weights + SEARCH_STEP * np.tensordot(gain / max(returns.std(), 1e-6), directions, 1) / SEARCH_DIRECTIONS
        )
        if turn in kept_after:
            snapshots.append(best)
    return snapshots


def linear_act(weights: np.ndarray, noise: float = 0.1) -> Act:
    """A linear policy, squashed by tanh, with noise."""

    def act(observations: np.ndarray, step: int) -> np.ndarray:
        jitter = noise * numpy_generator("linear", step).normal(size=(len(observations), len(weights)))
        return np.tanh(_with_one(observations) @ weights.T) + jitter

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


def _one_policy_each(weights: np.ndarray) -> Act:
    """Row n of the observations meets policy n of ``weights`` [N, A, O + 1]."""
    return lambda observations, step: np.tanh(np.einsum("nao,no->na", weights, _with_one(observations)))


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
