"""Sequential Monte Carlo and single-site Metropolis-Hastings, over traced passes of the vector executor.

A draw is known by its address: the memory cell it belongs to, and its number there. A move draws one address anew from
its prior, runs the program with all others as they were, and accepts each particle by

    min(1, exp(L' − L + Σ_b log p(b | parents') − log p(b | parents)))

with L the log-weight of the conditions so far and b over the other addresses: what a changed draw does to the density
of those that depend on it. Control flow is the same for all particles, so that the addresses are, too.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.envs.programs.inside.faults import NoneLeft
from tenfold.envs.programs.inside.running import Setting, effective
from tenfold.envs.programs.inside.vector import Trace, VectorExecutor

MOST_MOVES = 100  # addresses of a sweep; of more, a random part
RESAMPLE_BELOW = 0.5


@dataclass
class Weighed:
    """Particles with weights.

    Args:
        values: query to values [N].
        log_weights: [N].
        moves: proposed moves, and those accepted.
    """

    values: dict[str, np.ndarray]
    log_weights: np.ndarray
    moves: tuple[int, int]


class Chains:
    """N particles as traces, moved in parallel.

    Args:
        executor: runs the program.
        size: N.
        clamped: set observed cells instead of drawing them.
        seed: of resampling and acceptance.
    """

    def __init__(self, executor: VectorExecutor, size: int, setting: Setting, seed: int) -> None:
        self.executor, self.size, self.setting = executor, size, setting
        self.generator = np.random.default_rng([seed, 1])
        self.values: dict[Any, np.ndarray] = {}
        self.proposed = self.accepted = 0

    def run(self, stop_after: float = float("inf"), fresh: Any = None) -> tuple[Trace, dict[str, np.ndarray] | None]:
        """One pass with the present draws, up to an event."""
        trace = Trace(dict(self.values), stop_after=stop_after)
        if fresh is not None:
            trace.fresh = fresh
        return trace, self.executor.traced(self.size, trace, self.setting)

    def take(self, index: np.ndarray) -> None:
        """Keep the particles at ``index`` [N], some of them several times."""
        self.values = {address: value[index] for address, value in self.values.items()}

    def sweep(self, stop_after: float, deadline: float) -> None:
        """A move at each address that comes before an event."""
        now, _ = self.run(stop_after)
        addresses = list(now.log_probs)
        for place in self.generator.permutation(len(addresses))[:MOST_MOVES]:
            if time.monotonic() > deadline:
                return
            now = self._move(now, addresses[place], stop_after)

    def _move(self, now: Trace, address: Any, stop_after: float) -> Trace:
        proposal, _ = self.run(stop_after, fresh=address)
        log_ratio = _total(proposal.events, self.size) - _total(now.events, self.size)
        with np.errstate(invalid="ignore"):
            for other in now.log_probs:
                if other != address:
                    log_ratio = log_ratio + proposal.log_probs[other] - now.log_probs[other]
        accepts = np.log(1.0 - self.generator.random(self.size)) < np.nan_to_num(log_ratio, nan=-np.inf)
        self.proposed += self.size
        self.accepted += int(np.count_nonzero(accepts))

        def chosen(new: Any, old: Any) -> Any:
            return np.where(accepts, new, old)

        self.values[address] = chosen(proposal.values[address], now.values[address])
        moved = Trace(dict(self.values), stop_after=stop_after, sites=now.sites)
        moved.log_probs = {key: chosen(proposal.log_probs[key], now.log_probs[key]) for key in now.log_probs}
        moved.events = [chosen(new, old) for new, old in zip(proposal.events, now.events, strict=True)]
        return moved


def _total(events: list[Any], size: int) -> np.ndarray:
    return np.sum(events, axis=0) if events else np.zeros(size)


def systematic(log_weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Indices [N] of a systematic resampling by weights [N].

    Example:
        >>> systematic(np.log(np.array([0.75, 0.25])), np.random.default_rng(0)).tolist()
        [0, 1]
    """
    weights = np.exp(log_weights - log_weights.max())
    places = (generator.random() + np.arange(len(weights))) / len(weights)
    index = np.searchsorted(np.cumsum(weights) / weights.sum(), places, side="right")
    return np.minimum(index, len(weights) - 1)


def smc(executor: VectorExecutor, size: int, setting: Setting, seed: int, deadline: float) -> Weighed:
    """Conditions one after the other; where weights are too unequal, particles are resampled and moved.

    Raises:
        NoneLeft: no particle meets a condition.
    """
    chains = Chains(executor, size, setting, seed)
    log_weights, _ = _through_conditions(chains, deadline)
    return _finished(chains, log_weights)


def mh(executor: VectorExecutor, size: int, setting: Setting, seed: int, deadline: float, sweeps: int) -> Weighed:
    """N chains, started by :func:`smc`, then moved over all conditions so many times more."""
    chains = Chains(executor, size, setting, seed)
    log_weights, num_events = _through_conditions(chains, deadline)
    chains.take(systematic(log_weights, chains.generator))
    for _ in range(sweeps):
        chains.sweep(num_events, deadline)
    return _finished(chains, np.zeros(size))


def _through_conditions(chains: Chains, deadline: float) -> tuple[np.ndarray, int]:
    """Weights after the last condition, and how many there are."""
    log_weights, stop_after = np.zeros(chains.size), 1
    while True:
        trace, _ = chains.run(stop_after)
        if len(trace.events) < stop_after:
            return log_weights, stop_after - 1
        chains.values = {address: trace.values[address] for address in trace.log_probs}
        log_weights = log_weights + trace.events[-1]
        if np.isneginf(log_weights.max()) or time.monotonic() > deadline:
            raise NoneLeft
        if effective(log_weights) < RESAMPLE_BELOW * chains.size:
            chains.take(systematic(log_weights, chains.generator))
            log_weights = np.zeros(chains.size)
            chains.sweep(stop_after, deadline)
        stop_after += 1


def _finished(chains: Chains, log_weights: np.ndarray) -> Weighed:
    _, answers = chains.run()
    assert answers is not None
    return Weighed(answers, log_weights, (chains.proposed, chains.accepted))
