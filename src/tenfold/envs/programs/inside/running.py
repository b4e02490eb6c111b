"""What both executors share: a program's functions with memory, what a pass over particles gives, where a fault was."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tenfold.envs.programs.inside.faults import ProgramFault

FILE = "<program>"
NOTHING: Any = object()
MAX_TIME = 60  # an event "at any time before" is drawn for each time there was, and nearly certain after many


@dataclass
class Batch:
    """Particles of one pass that met all conditions.

    Args:
        attempts: particles that were started.
        values: query to values [n].
        log_weights: [n].
        reached: by condition, particles that came to it.
        passed: by condition, particles that met it.
    """

    attempts: int
    values: dict[str, np.ndarray]
    log_weights: np.ndarray
    reached: np.ndarray
    passed: np.ndarray


@dataclass
class Setting:
    """How a pass treats conditions.

    Args:
        clamped: set observed cells instead of drawing them.
        disabled: conditions that are left out.
        temperature: of softened comparisons.
    """

    clamped: bool = False
    disabled: frozenset[int] = frozenset()
    temperature: float = 0.0


class Executor(Protocol):
    """Runs a program for many particles."""

    name: str

    def run(self, attempts: int, setting: Setting, wanted: int, deadline: float) -> Batch:
        """Start particles until there are ``attempts`` of them, ``wanted`` have passed, or the time is over."""


@dataclass
class Memory:
    """A memoised function and what it remembers.

    Keys are the arguments bound to the parameters, so that ``strength("tom")`` and ``strength(athlete="tom")`` are one
    cell, and a call that does not bind is an error.
    """

    function: Callable[..., Any]
    table: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The cell of a call."""
        if not kwargs and len(args) == self.function.__code__.co_argcount:
            return args
        try:
            bound = inspect.signature(self.function).bind(*args, **kwargs)
        except TypeError as error:
            raise ProgramFault(f"a call of {self.function.__name__} does not bind: {error}") from None
        bound.apply_defaults()
        return bound.args


def unhashable(memory: Memory, key: tuple[Any, ...]) -> ProgramFault:
    """The fault of a cell that is named by more than names and numbers."""
    kinds = ", ".join(type(part).__name__ for part in key)
    return ProgramFault(
        f"a memoised function is called with names and numbers, not with {kinds}: {memory.function.__name__}"
    )


def check_time(time: Any) -> int:
    """A time index, as ``any_previous_time`` takes it."""
    if not isinstance(time, (int, np.integer)) or not 0 <= time <= MAX_TIME:
        raise ProgramFault(f"any_previous_time: t is {time!r}; allowed: a whole number from 0 to {MAX_TIME}")
    return int(time)


def fresh_names(count: Any, already: int) -> list[str]:
    """Entities that nobody has named, for ``rank_among``."""
    if not isinstance(count, (int, np.integer)) or not 2 <= count <= 1000:
        raise ProgramFault(f"rank_among: n is {count!r}; allowed: a whole number from 2 to 1000")
    return [f"fresh entity {already + i}" for i in range(int(count) - 1)]


def check_query_names(values: Any) -> dict[str, Any]:
    """What ``model`` returned: a dictionary with texts as keys."""
    if not isinstance(values, dict) or not values or not all(isinstance(name, str) for name in values):
        raise ProgramFault("model must return a dictionary from names of queries to numbers")
    return values


def not_a_number(name: str, value: Any) -> ProgramFault:
    """The fault of a query without a number."""
    return ProgramFault(f"query {name!r} is {type(value).__name__} {str(value)[:40]!r}; allowed: a number or a truth")


CONTINUOUS = (
    "a condition asks whether a continuous value is exactly equal to another one, which never happens: ask for a "
    "range, or use observe(call, value, noise)"
)


def softened(difference: Any, temperature: float) -> Any:
    """log σ(difference / τ), by which a particle is weighted in place of asking for ``difference > 0``."""
    return -np.logaddexp(0.0, -difference / temperature)


def line_of(error: BaseException) -> int | None:
    """The line of the program in which an exception arose, the innermost one."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def effective(log_weights: np.ndarray) -> float:
    """Effective sample size, (Σw)² / Σw².

    Example:
        >>> effective(np.log(np.array([1.0, 1.0, 2.0, 2.0])))
        3.6
    """
    if not len(log_weights):
        return 0.0
    top = float(log_weights.max())
    if math.isinf(top):
        return 0.0
    weights = np.exp(log_weights - top)
    return float(weights.sum() ** 2 / np.square(weights).sum())
