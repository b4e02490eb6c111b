"""The reference executor: the program as it stands, once for each particle, given up at the first failed condition."""

import builtins
import math
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tenfold.envs.programs.inside.conditions import Prepared
from tenfold.envs.programs.inside.distributions import DISTRIBUTIONS, Distribution, normal_log_prob
from tenfold.envs.programs.inside.faults import ProgramFault, Rejected
from tenfold.envs.programs.inside.running import (
    CONTINUOUS,
    FILE,
    NOTHING,
    Batch,
    Memory,
    Setting,
    check_query_names,
    check_time,
    fresh_names,
    not_a_number,
    softened,
    unhashable,
)

_CLOCK_EVERY = 64
_COMPARED = 40  # so many comparisons of numbers that never repeat: they are continuous
BUILTINS = (
    "abs", "all", "any", "bool", "dict", "enumerate", "float", "int", "len", "list", "max", "min", "range", "round",
    "set", "sorted", "str", "sum", "tuple", "zip",
)  # fmt: skip


class ScalarExecutor:
    """Runs a program one particle at a time; any control flow is allowed.

    Args:
        prepared: the program.
        seed: of all draws; passes go on in one stream.
    """

    name = "scalar"

    def __init__(self, prepared: Prepared, seed: int) -> None:
        self._num_sites = len(prepared.sites)
        self._source = random.Random(seed)
        self._tables: list[dict[Any, Any]] = []
        self._setting = Setting()
        self._clamp: Any = NOTHING
        self._log_weight = 0.0
        self._fresh = 0
        self._compared: dict[int, set[float]] = {}
        self._loading = True
        names = self._vocabulary()
        exec(compile(prepared.tree, FILE, "exec"), names)
        self._loading = False
        self._model = names["model"]

    def run(self, attempts: int, setting: Setting, wanted: int, deadline: float) -> Batch:
        """See :class:`~tenfold.envs.programs.inside.running.Executor`."""
        self._setting = setting
        self._reached, self._passed = ([0] * self._num_sites for _ in range(2))
        values: dict[str, list[float]] = {}
        log_weights: list[float] = []
        started = 0
        while started < attempts and len(log_weights) < wanted:
            if started % _CLOCK_EVERY == 0 and time.monotonic() > deadline:
                break
            started += 1
            answers = self._particle()
            if answers is None:
                continue
            if log_weights and answers.keys() != values.keys():
                raise ProgramFault("model must return the same names of queries in every run")
            log_weights.append(self._log_weight)
            for name, value in answers.items():
                values.setdefault(name, []).append(value)
        return Batch(
            started,
            {name: np.array(column, dtype=float) for name, column in values.items()},
            np.array(log_weights, dtype=float),
            np.array(self._reached),
            np.array(self._passed),
        )

    def _particle(self) -> dict[str, float] | None:
        """One run of ``model``; nothing if a condition fails."""
        for table in self._tables:
            table.clear()
        self._log_weight, self._fresh, self._clamp = 0.0, 0, NOTHING
        try:
            answers = check_query_names(self._model())
        except Rejected:
            return None
        numbers = {}
        for name, value in answers.items():
            if not isinstance(value, (bool, int, float)):
                raise not_a_number(name, value)
            numbers[name] = float(value)
        return numbers

    def _vocabulary(self) -> dict[str, Any]:
        names: dict[str, Any] = {"__builtins__": {}, "mem": self._mem, "factor": self._factor, "_single": lambda x: x}
        names |= {name: getattr(builtins, name) for name in BUILTINS}
        names |= {name: self._draw(distribution) for name, distribution in DISTRIBUTIONS.items()}
        names |= {name: getattr(math, name) for name in ("ceil", "exp", "floor", "log", "sqrt")}
        names |= {"mean": mean, "any_previous_time": any_previous_time, "rank_among": self._rank_among}
        names |= {
            "_condition": self._condition,
            "_condition_equal": self._condition_equal,
            "_observe": self._observe,
            "_observe_noisy": self._observe_noisy,
            "_soften": self._soften,
        }
        return names

    def _draw(self, distribution: Distribution) -> Callable[..., Any]:
        check, scalar, source = distribution.check, distribution.scalar, self._source

        def draw(*args: Any, **kwargs: Any) -> Any:
            check(*args, **kwargs)
            if self._clamp is NOTHING:
                return scalar(source, *args, **kwargs)
            value, self._clamp = self._clamp, NOTHING
            given = [*args, *(kwargs[name] for name in distribution.parameters[len(args) :] if name in kwargs)]
            self._weigh(float(distribution.log_prob(*given, value)))
            return value

        draw.distribution = distribution  # type: ignore[attr-defined]
        return draw

    def _mem(self, function: Callable[..., Any]) -> Callable[..., Any]:
        memory = Memory(function)
        table, num_parameters = memory.table, function.__code__.co_argcount
        if self._loading:
            self._tables.append(table)

        def remembered(*args: Any, **kwargs: Any) -> Any:
            if kwargs or len(args) != num_parameters:
                args = memory.key(args, kwargs)
            try:
                return table[args]
            except KeyError:
                pass
            except TypeError:
                raise unhashable(memory, args) from None
            value = table[args] = function(*args)
            return value

        remembered.memory = memory  # type: ignore[attr-defined]
        return remembered

    def _weigh(self, log_weight: float) -> None:
        if log_weight == -math.inf:
            raise Rejected
        self._log_weight += log_weight

    def _factor(self, log_weight: float) -> None:
        self._weigh(float(log_weight))

    def _condition(self, site: int, holds: Any) -> None:
        if site in self._setting.disabled:
            return
        self._reached[site] += 1
        if not holds:
            raise Rejected
        self._passed[site] += 1

    def _condition_equal(self, site: int, left: Any, right: Any) -> None:
        seen = self._compared.setdefault(site, set())
        if isinstance(left, float) or isinstance(right, float):
            if len(seen) < _COMPARED:
                seen.add(left - right if not isinstance(left, str) and not isinstance(right, str) else 0.0)
            if len(seen) == _COMPARED:
                raise ProgramFault(CONTINUOUS)
        self._condition(site, left == right)

    def _observe(self, site: int, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> None:
        memory = getattr(function, "memory", None)
        if memory is None and not hasattr(function, "distribution"):
            raise ProgramFault("observe: its first argument must be a call of a memoised function or of a distribution")
        if not self._setting.clamped or (memory is not None and memory.key(args, kwargs) in memory.table):
            self._condition_equal(site, function(*args, **kwargs), value)
            return
        if site in self._setting.disabled:
            return
        self._reached[site] += 1
        self._clamp = value
        function(*args, **kwargs)
        self._passed[site] += 1

    def _observe_noisy(self, site: int, value: Any, observed: Any, noise: Any) -> None:
        if not noise > 0:
            raise ProgramFault(f"observe: noise is {noise!r}; allowed: above 0")
        if site not in self._setting.disabled:
            self._reached[site] += 1
            self._weigh(float(normal_log_prob(value, noise, observed)))
            self._passed[site] += 1

    def _soften(self, site: int, left: Any, operator: str, right: Any) -> None:
        if site not in self._setting.disabled:
            self._reached[site] += 1
            difference = left - right if operator == ">" else right - left
            self._weigh(float(softened(difference, self._setting.temperature)))
            self._passed[site] += 1

    def _rank_among(self, function: Callable[[Any], Any], entity: Any, n: int = 100) -> int:
        names = fresh_names(n, self._fresh)
        self._fresh += len(names)
        own = function(entity)
        return sum(own > function(name) for name in names)


def mean(*values: Any) -> float:
    """The mean of some numbers, or of one list of them."""
    numbers = list(values[0]) if len(values) == 1 and not isinstance(values[0], (int, float)) else list(values)
    if not numbers:
        raise ProgramFault("mean: of nothing")
    return sum(numbers) / len(numbers)


def any_previous_time(function: Callable[[int], Any], t: int, inclusive: bool = True) -> bool:
    """Whether something held at a time from 1 to ``t``, or to the one before."""
    return any(function(time) for time in range(1, check_time(t) + bool(inclusive)))
