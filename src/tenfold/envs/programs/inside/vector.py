"""The fast executor: one pass of the program for all particles, whose values are numpy arrays of shape [N].

What needs one particle at a time raises :class:`BranchOnRandom`, or an error of numpy's; whoever runs programs then
turns to the scalar executor, which says what is wrong if anything is. Faults of the program's are raised as they come:
one of them may belong to a branch that no particle takes, so these, too, are for the scalar executor to judge.
"""

import builtins
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tenfold.envs.programs.inside.conditions import Prepared
from tenfold.envs.programs.inside.distributions import DISTRIBUTIONS, Distribution, normal_log_prob
from tenfold.envs.programs.inside.faults import BranchOnRandom, NoneLeft, ProgramFault
from tenfold.envs.programs.inside.lifting import lift
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
from tenfold.envs.programs.inside.scalar import BUILTINS

COMPACT_BELOW = 0.7  # fewer survivors than this share: the others are left out of what follows
_DEEPEST_BRANCH = 40  # a recursion over random truths does not end by itself when both sides are run


class _Unset:
    """The value of a name that no branch has assigned."""


UNSET = _Unset()


@dataclass
class Trace:
    """The draws of a pass, by address, for methods that replay them.

    Args:
        values: address to values [N]; what is there is used again.
        fresh: an address that is drawn anew all the same.
        stop_after: the pass ends after so many events; conditions, factors and observations are events.
        log_probs: address to log-density of its value [N], given what it depends on.
        events: log-weights [N], an event each.
        sites: the condition of each event, -1 for a factor.
    """

    values: dict[Any, np.ndarray]
    fresh: Any = NOTHING
    stop_after: float = float("inf")
    log_probs: dict[Any, np.ndarray] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    sites: list[int] = field(default_factory=list)


class Stop(Exception):
    """A traced pass has come to its last event."""


class VectorExecutor:
    """Runs a program for all particles at once.

    Args:
        prepared: the program.
        seed: of all draws; passes go on in one stream.
    """

    name = "vector"

    def __init__(self, prepared: Prepared, seed: int) -> None:
        self._num_sites = len(prepared.sites)
        self._generator = np.random.default_rng(seed)
        self._code = compile(lift(prepared), FILE, "exec")
        self._vocabulary = self._names()
        self.num_cells = 0
        self._checked: set[int] = set()
        self._start(1, Setting(), None)

    def run(self, attempts: int, setting: Setting, wanted: int, deadline: float) -> Batch:
        """One pass; see :class:`~tenfold.envs.programs.inside.running.Executor`. It cannot stop within a pass."""
        self._start(attempts, setting, None)
        try:
            answers = self._answers()
        except NoneLeft:
            answers = {}
        self.num_cells = sum(len(memory.table) for memory in self._memories)
        alive = self._alive if self._alive is not None else np.ones(self.size, dtype=bool)
        log_weights = np.broadcast_to(self._log_weight, self.size)[alive].astype(float) if answers else np.empty(0)
        values = {name: value[alive] for name, value in answers.items()}
        return Batch(attempts, values, log_weights, self._reached, self._passed)

    def traced(self, size: int, trace: Trace, setting: Setting) -> dict[str, np.ndarray] | None:
        """One pass that replays and records; its answers, or nothing if it was stopped before its end."""
        self._start(size, setting, trace)
        try:
            return self._answers()
        except Stop:
            return None

    def _start(self, size: int, setting: Setting, trace: Trace | None) -> None:
        self.size, self._setting, self._trace = size, setting, trace
        self._memories: list[Memory] = []
        self._alive: np.ndarray | None = None
        self._log_weight: Any = 0.0
        self._clamp: Any = NOTHING
        self._fresh = self._branches = 0
        self._frame: Any = None
        self._counts: Counter[Any] = Counter()
        self._reached, self._passed = (np.zeros(self._num_sites, dtype=np.int64) for _ in range(2))

    def _answers(self) -> dict[str, np.ndarray]:
        names = dict(self._vocabulary)
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            exec(self._code, names)
            answers = check_query_names(names["model"]())
        columns = {}
        for name, value in answers.items():
            is_number = isinstance(value, (bool, int, float, np.number, np.bool_))
            if not is_number and not (isinstance(value, np.ndarray) and value.dtype.kind in "biuf"):
                raise not_a_number(name, value)
            columns[name] = np.array(np.broadcast_to(value, self.size), dtype=float)
        return columns

    def _names(self) -> dict[str, Any]:
        names: dict[str, Any] = {"__builtins__": {}, "mem": self._mem, "factor": self._factor, "_unset": UNSET}
        names |= {name: getattr(builtins, name) for name in BUILTINS}
        names |= {"abs": np.abs, "all": all_, "any": any_, "bool": to_bool, "float": to_float, "int": to_int}
        names |= {"max": _extreme(builtins.max, np.maximum), "min": _extreme(builtins.min, np.minimum)}
        names |= {"round": round_, "str": lambda value: str(single(value)), "sum": sum_}
        names |= {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "floor": _whole(np.floor), "ceil": _whole(np.ceil)}
        names |= {name: self._draw(distribution) for name, distribution in DISTRIBUTIONS.items()}
        names |= {"mean": mean, "any_previous_time": any_previous_time, "rank_among": self._rank_among}
        names |= {"_where": self._where, "_and": and_, "_or": or_, "_not": not_, "_number": number, "_single": single}
        names |= {
            "_compact": self._compact,
            "_condition": self._condition,
            "_condition_equal": self._condition_equal,
            "_observe": self._observe,
            "_observe_noisy": self._observe_noisy,
            "_soften": self._soften,
        }
        return names

    # draws and memory

    def _draw(self, distribution: Distribution) -> Callable[..., Any]:
        def draw(*args: Any, **kwargs: Any) -> Any:
            distribution.check(*args, **kwargs)
            given = [*args, *(kwargs[name] for name in distribution.parameters[len(args) :] if name in kwargs)]
            if self._clamp is not NOTHING:
                value, self._clamp = self._clamp, NOTHING
                self._event(self._site, distribution.log_prob(*given, value))
                return value
            if self._trace is not None:
                return self._replayed(distribution, given)
            return shared(distribution.vector(self._generator, self.size, *given))

        draw.distribution = distribution  # type: ignore[attr-defined]
        return draw

    def _replayed(self, distribution: Distribution, given: Sequence[Any]) -> np.ndarray:
        """A draw that is looked up by its address, and whose density is recorded."""
        trace = self._trace
        assert trace is not None
        address = (self._frame, self._counts[self._frame])
        self._counts[self._frame] += 1
        if address not in trace.values or address == trace.fresh:
            trace.values[address] = shared(distribution.vector(self._generator, self.size, *given))
        value = trace.values[address]
        with np.errstate(all="ignore"):
            trace.log_probs[address] = np.broadcast_to(distribution.log_prob(*given, value), self.size)
        return value

    def _mem(self, function: Callable[..., Any]) -> Callable[..., Any]:
        memory = Memory(function)
        self._memories.append(memory)
        table, num_parameters = memory.table, function.__code__.co_argcount

        def remembered(*args: Any, **kwargs: Any) -> Any:
            if kwargs or len(args) != num_parameters:
                args = memory.key(args, kwargs)
            try:
                return table[args]
            except KeyError:
                pass
            except TypeError:
                if any(isinstance(argument, np.ndarray) for argument in args):
                    raise BranchOnRandom("a memoised function is called with a random value") from None
                raise unhashable(memory, args) from None
            outer, self._frame = self._frame, (function.__name__, args)
            value = function(*args)
            self._frame = outer
            if isinstance(value, np.ndarray):
                shared(value)
            table[args] = value
            return value

        remembered.memory = memory  # type: ignore[attr-defined]
        return remembered

    # conditions

    def _event(self, site: int, log_weight: Any) -> None:
        """A weight on every particle; minus infinity takes one out."""
        if self._branches:
            raise BranchOnRandom("a condition stands under a branch over a random value")
        if self._trace is not None:
            self._trace.events.append(np.broadcast_to(np.asarray(log_weight, dtype=float), self.size))
            self._trace.sites.append(site)
            if len(self._trace.events) >= self._trace.stop_after:
                raise Stop
            return
        self._log_weight = self._log_weight + log_weight
        dead = np.isneginf(log_weight)
        if np.any(dead):
            self._keep(np.broadcast_to(~dead, self.size))

    def _keep(self, holds: np.ndarray) -> None:
        self._alive = holds.copy() if self._alive is None else self._alive & holds
        if not self._alive.any():
            raise NoneLeft

    def _factor(self, log_weight: Any) -> None:
        self._event(-1, log_weight)

    def _count(self, site: int, holds: Any) -> None:
        alive = self._alive
        num_alive = self.size if alive is None else int(np.count_nonzero(alive))
        self._reached[site] += num_alive
        if isinstance(holds, np.ndarray):
            self._passed[site] += np.count_nonzero(holds if alive is None else holds & alive)
        elif holds:
            self._passed[site] += num_alive

    def _condition(self, site: int, holds: Any) -> None:
        if site in self._setting.disabled:
            return
        if self._branches:
            raise BranchOnRandom("a condition stands under a branch over a random value")
        truths = np.asarray(holds, dtype=bool) if isinstance(holds, np.ndarray) else bool(holds)
        if self._trace is not None:
            self._event(site, np.where(truths, 0.0, -np.inf))
            return
        self._count(site, truths)
        if truths is not True:
            self._keep(np.broadcast_to(truths, self.size))

    def _condition_equal(self, site: int, left: Any, right: Any) -> None:
        if site not in self._checked and self.size > 8:
            self._checked.add(site)
            for side in (left, right):
                is_number = isinstance(side, np.ndarray) and side.dtype.kind == "f"
                if is_number and len(np.unique(side)) > len(side) / 2:
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
        self._count(site, True)
        self._site, self._clamp = site, value
        function(*args, **kwargs)

    def _observe_noisy(self, site: int, value: Any, observed: Any, noise: Any) -> None:
        if not np.all(noise > 0):
            raise ProgramFault(f"observe: noise is {noise!r}; allowed: above 0")
        if site not in self._setting.disabled:
            self._count(site, True)
            self._event(site, normal_log_prob(value, noise, observed))

    def _soften(self, site: int, left: Any, operator: str, right: Any) -> None:
        if site not in self._setting.disabled:
            self._count(site, True)
            difference = number(left) - number(right) if operator == ">" else number(right) - number(left)
            self._event(site, softened(difference, self._setting.temperature))

    def _compact(self, *names: Callable[[], Any]) -> tuple[Any, ...]:
        """The values of some names without the particles that failed; memory cells and weights likewise."""
        values = [_read(name) for name in names]
        if self._alive is None or np.count_nonzero(self._alive) >= COMPACT_BELOW * self.size:
            return tuple(values)
        kept = np.flatnonzero(self._alive)
        shrinking = _Shrinking(kept, self.size)
        self.size, self._alive = len(kept), None
        self._log_weight = shrinking(self._log_weight)
        for memory in self._memories:
            for key, value in memory.table.items():
                memory.table[key] = shrinking(value)
        return tuple(shrinking(value) for value in values)

    # branches and helpers

    def _where(self, test: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        if not isinstance(test, np.ndarray):
            return then() if test else otherwise()
        if self._branches > _DEEPEST_BRANCH:
            raise BranchOnRandom("a recursion over a random value")
        self._branches += 1
        first, second = then(), otherwise()
        self._branches -= 1
        return merged(np.asarray(test, dtype=bool), first, second)

    def _rank_among(self, function: Callable[[Any], Any], entity: Any, n: int = 100) -> Any:
        names = fresh_names(n, self._fresh)
        self._fresh += len(names)
        own = function(entity)
        return sum_(own > function(name) for name in names)


class _Shrinking:
    """Takes the kept particles out of values; lists and dictionaries are changed in place, for names may share them."""

    def __init__(self, kept: np.ndarray, size: int) -> None:
        self.kept, self.size = kept, size
        self.done: dict[int, Any] = {}
        self.originals: list[Any] = []  # alive until the end, so that no identity is used twice

    def __call__(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if id(value) not in self.done:
                self.originals.append(value)
                self.done[id(value)] = shared(value[self.kept])
            return self.done[id(value)]
        if isinstance(value, tuple):
            return tuple(self(part) for part in value)
        if isinstance(value, (list, dict)) and id(value) not in self.done:
            self.done[id(value)] = value
            for key, part in list(value.items() if isinstance(value, dict) else enumerate(value)):
                value[key] = self(part)
        return value


def _read(name: Callable[[], Any]) -> Any:
    try:
        return name()
    except NameError:
        return UNSET


def shared(values: np.ndarray) -> np.ndarray:
    """The same array, which from now on nobody may write to."""
    values.setflags(write=False)
    return values


def merged(test: np.ndarray, first: Any, second: Any) -> Any:
    """Per particle the first or the second of two values of equal form."""
    if first is second:
        return first
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return {key: merged(test, first[key], second[key]) for key in first}
    if type(first) is type(second) and isinstance(first, (tuple, list)) and len(first) == len(second):
        return type(first)(merged(test, one, other) for one, other in zip(first, second, strict=True))
    kinds = {np.asarray(value).dtype.kind.replace("i", "f").replace("b", "f") for value in (first, second)}
    if len(kinds) > 1 or not kinds <= {"f", "U"}:
        raise BranchOnRandom("a branch over a random value whose sides differ in form")
    return shared(np.where(test, first, second))


def number(value: Any) -> Any:
    """A truth as 0 or 1, anything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "b":
        return value.astype(np.int64)
    return int(value) if isinstance(value, np.bool_) else value


def single(value: Any) -> Any:
    """A value that is one for all particles."""
    if isinstance(value, np.ndarray):
        raise BranchOnRandom("a text is made from a random value")
    return value


def _truths(value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "b":
        raise BranchOnRandom("and, or and not over values that are no truths")
    return value


def and_(first: Any, later: Callable[[], Any]) -> Any:
    """``first and later()``."""
    if not isinstance(first, np.ndarray):
        return later() if first else first
    second = later()
    if not isinstance(second, np.ndarray) and isinstance(second, (bool, np.bool_)):
        return first if second else np.zeros_like(_truths(first))
    return _truths(first) & _truths(second)


def or_(first: Any, later: Callable[[], Any]) -> Any:
    """``first or later()``."""
    if not isinstance(first, np.ndarray):
        return first if first else later()
    second = later()
    if not isinstance(second, np.ndarray) and isinstance(second, (bool, np.bool_)):
        return np.ones_like(_truths(first)) if second else first
    return _truths(first) | _truths(second)


def not_(value: Any) -> Any:
    """``not value``."""
    return ~_truths(value) if isinstance(value, np.ndarray) else not value


def _same(value: Any) -> Any:
    return value


def any_(values: Iterable[Any]) -> Any:
    """Python's ``any``."""
    result: Any = False
    for value in values:
        if not isinstance(value, np.ndarray):
            if value:
                return True
            continue
        result = or_(result, functools.partial(_same, value))
    return result


def all_(values: Iterable[Any]) -> Any:
    """Python's ``all``."""
    result: Any = True
    for value in values:
        if not isinstance(value, np.ndarray):
            if not value:
                return False
            continue
        result = and_(result, functools.partial(_same, value))
    return result


def sum_(values: Iterable[Any], start: Any = 0) -> Any:
    """Python's ``sum``."""
    total = start
    for value in values:
        total = total + number(value)
    return total


def mean(*values: Any) -> Any:
    """The mean of some numbers, or of one list of them."""
    numbers = list(values[0]) if len(values) == 1 and isinstance(values[0], Iterable) else list(values)
    if len(values) == 1 and isinstance(values[0], np.ndarray):
        numbers = [values[0]]
    if not numbers:
        raise ProgramFault("mean: of nothing")
    return sum_(numbers) / len(numbers)


def any_previous_time(function: Callable[[int], Any], t: int, inclusive: bool = True) -> Any:
    """Whether something held at a time from 1 to ``t``, or to the one before."""
    return any_(function(time) for time in range(1, check_time(t) + bool(inclusive)))


def _extreme(plain: Callable[..., Any], pairwise: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def extreme(*values: Any, **options: Any) -> Any:
        numbers = values if len(values) > 1 else tuple(values[0])
        if not any(isinstance(value, np.ndarray) for value in numbers):
            if "key" in options and any(isinstance(options["key"](value), np.ndarray) for value in numbers):
                raise BranchOnRandom("the largest or smallest by a random value")
            return plain(*values, **options)
        if options:
            raise BranchOnRandom("the largest or smallest by a key")
        return shared(functools.reduce(pairwise, [number(value) for value in numbers]))

    return extreme


def _whole(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: to_int(function(value))


def to_int(value: Any) -> Any:
    """Python's ``int``."""
    return np.trunc(value).astype(np.int64) if isinstance(value, np.ndarray) else int(value)


def to_float(value: Any) -> Any:
    """Python's ``float``."""
    return value.astype(float) if isinstance(value, np.ndarray) else float(value)


def to_bool(value: Any) -> Any:
    """Python's ``bool``."""
    return value.astype(bool) if isinstance(value, np.ndarray) else bool(value)


def round_(value: Any, ndigits: int | None = None) -> Any:
    """Python's ``round``."""
    if not isinstance(value, np.ndarray):
        return round(value, ndigits)
    rounded = np.round(value, ndigits or 0)
    return rounded.astype(np.int64) if ndigits is None else rounded
