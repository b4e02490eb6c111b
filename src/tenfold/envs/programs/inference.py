"""From a program to its posterior, with the program in the code sandbox.

    posterior = infer(source, n=1000, seed=0)
    posterior["query1"].mean()

One sandbox session is warm for as many programs as one likes:

    with ProgramSandbox() as programs:
        for source in sources:
            infer(source, runner=programs)
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np

from tenfold.core.errors import UserError
from tenfold.envs.programs import inside
from tenfold.envs.programs.inside.answering import MARK, read
from tenfold.envs.programs.inside.methods import METHODS, Found, Request
from tenfold.envs.programs.inside.methods import infer as infer_here
from tenfold.envs.programs.posterior import Posterior, Unsatisfiable
from tenfold.envs.programs.validator import ProgramRefused, validate
from tenfold.envs.sandbox import Execution, Limits, Sandbox

Method = Literal["auto", "rejection", "likelihood_weighting", "smc", "mh"]
ExecutorName = Literal["auto", "vector", "scalar"]
# in the order in which they import each other
_PARTS = (
    "faults", "distributions", "running", "conditions", "lifting", "scalar", "vector", "moves", "methods", "answering",
)  # fmt: skip
_PACKAGE = inside.__name__
_LOAD = """
import sys, types
parts = {parts!r}
package = {package!r}
for depth in range(1, package.count(".") + 2):
    name = ".".join(package.split(".")[:depth])
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for part, source in parts:
    name = package + "." + part
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, part + ".py", "exec"), module.__dict__)
answer = sys.modules[package + ".answering"].answer
"""


def _grace(seconds: float) -> float:
    """Seconds over what inference may take, for it looks at the clock between two passes."""
    return min(1.0 + 0.5 * seconds, 5.0)


class Runner(Protocol):
    """Where programs run."""

    def run(self, request: Request) -> Found:
        """Infer; whatever the program does is a :class:`Found`."""


class InThisProcess:
    """Runs programs right here, without a sandbox: for programs that nobody but you has written."""

    def run(self, request: Request) -> Found:
        """See :class:`Runner`."""
        return infer_here(request)


class ProgramSandbox:
    """Runs programs in one warm session of the code sandbox, one after the other; a killed session is opened again.

    Args:
        seconds: a program may ask for no more; a little later, five seconds at most, it is killed.
        memory_bytes: of the session.
        sandbox: one that is there already, whose modules include numpy and scipy.special, in place of the other two; a
            program may ask for half of its seconds. It is not closed.

    Raises:
        UserError: programs cannot be isolated on this machine.
    """

    def __init__(self, *, seconds: float = 30.0, memory_bytes: int = 2 << 30, sandbox: Sandbox | None = None) -> None:
        if sandbox is None:
            limits = Limits(
                seconds=seconds + _grace(seconds),
                cpu_seconds=1_000_000,
                memory_bytes=memory_bytes,
                output_characters=256 << 20,
            )
            sandbox = Sandbox(limits=limits, modules=("math", "random", "numpy", "scipy.special"))
            self._own: Sandbox | None = sandbox
        else:
            self._own, seconds = None, sandbox.limits.seconds / 2
        self.seconds = seconds
        self._sandbox = sandbox
        self._session = sandbox.open()
        self._is_loaded = False

    def run(self, request: Request) -> Found:
        """See :class:`Runner`.

        Raises:
            UserError: the request asks for more seconds than the session has.
        """
        if request.max_seconds > self.seconds:
            raise UserError(f"max_seconds = {request.max_seconds:g}: in this sandbox at most {self.seconds:g}")
        if not self._is_loaded:
            self._load()
        execution = self._session.run(f"print(answer({json.dumps(asdict(request))!r}))")
        self._is_loaded = execution.status not in ("timeout", "killed")
        if execution.status == "ok" and execution.output.startswith(MARK):
            return read(execution.output)
        self._reopen()
        return Found("fault", message=_what_happened(execution, request))

    def _load(self) -> None:
        folder = Path(inside.__file__).parent
        parts = [(part, (folder / f"{part}.py").read_text()) for part in _PARTS]
        execution = self._session.run(_LOAD.format(parts=parts, package=_PACKAGE))
        if execution.status != "ok":
            raise RuntimeError(f"the executor could not be loaded into the code sandbox: {execution.output[-500:]}")
        self._is_loaded = True

    def _reopen(self) -> None:
        self._session.close()
        self._session = self._sandbox.open()
        self._is_loaded = False

    def close(self) -> None:
        """End the session, and the sandbox if it is its own."""
        self._session.close()
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _what_happened(execution: Execution, request: Request) -> str:
    if execution.status == "timeout":
        return f"it was stopped: it ran on after its {request.max_seconds:g} s; is there a loop without an end?"
    if execution.status == "killed":
        return "it was killed: it asked for more memory or processor time than a program may use"
    return (
        f"it did not answer ({execution.status}): {execution.output.splitlines()[-1][:200] if execution.output else ''}"
    )


def infer(
    program: str,
    method: Method = "auto",
    n: int = 1000,
    seed: int = 0,
    *,
    max_attempts: int = 5_000_000,
    max_seconds: float = 10.0,
    executor: ExecutorName = "auto",
    soften: float = 0.0,
    queries: Sequence[str] = (),
    runner: Runner | None = None,
) -> Posterior:
    """The posterior of a program's queries, given its conditions.

    Args:
        program: its text; ``docs/programs.md`` has the vocabulary.
        method: ``rejection``, ``likelihood_weighting``, ``smc``, ``mh``, or ``auto`` for a choice by a pilot run.
        n: particles to be accepted; effective ones where particles have weights.
        seed: equal seeds give equal samples, as long as no budget of time is spent.
        max_attempts: most particles that are started.
        max_seconds: of wall time. Where a budget is spent, the posterior has what there is and is not ``complete``.
        executor: ``vector`` for all particles at once, ``scalar`` for one at a time, ``auto`` for the first that can.
        soften: with τ above 0, conditions that compare numbers by <, <=, > or >= become logistic factors of scale τ;
            a fallback for conditions that are met too rarely.
        queries: names that the program must answer.
        runner: where it runs; a sandbox of its own by default, which takes half a second to start.

    Raises:
        ProgramRefused: the program is not allowed, or ended in an error; with the line.
        Unsatisfiable: no particle met all conditions within the budget.
        UserError: an argument is out of range.

    Example:
        >>> coins = '''
        ... def model():
        ...     first, second = flip(0.5), flip(0.5)
        ...     condition(first or second)
        ...     return {"both": first and second}
        ... '''
        >>> posterior = infer(coins, n=20_000, runner=InThisProcess())
        >>> abs(posterior["both"].mean() - 1 / 3) < 0.02
        True
    """
    _check_arguments(method, n, max_attempts, max_seconds, executor, soften)
    validate(program, queries)
    request = Request(program, method, n, max_attempts, max_seconds, seed, executor, soften)
    if runner is None:
        with ProgramSandbox(seconds=max_seconds) as programs:
            return as_posterior(programs.run(request), queries)
    return as_posterior(runner.run(request), queries)


def as_posterior(found: Found, queries: Sequence[str] = ()) -> Posterior:
    """What a runner found, as a posterior or as the exception that says why there is none."""
    if found.outcome == "fault":
        raise ProgramRefused(found.message, found.line)
    if found.outcome == "unsatisfiable":
        raise Unsatisfiable(found.message, found.conditions, found.conflict)
    if missing := [query for query in queries if query not in found.values]:
        raise ProgramRefused(f"model() gave no {missing[0]!r}; needed: {', '.join(queries)}")
    weights = np.exp(found.log_weights - found.log_weights.max())
    return Posterior(
        samples=found.values,
        weights=weights / weights.sum(),
        method=found.method,
        reason=found.reason,
        executor=found.executor,
        attempts=found.attempts,
        accepted=found.accepted,
        complete=found.complete,
        seconds=found.seconds,
        conditions=found.conditions,
    )


def _check_arguments(method: str, n: int, max_attempts: int, max_seconds: float, executor: str, soften: float) -> None:
    if method not in ("auto", *METHODS):
        raise UserError(f"method = {method!r}: must be one of auto, {', '.join(METHODS)}")
    if executor not in ("auto", "vector", "scalar"):
        raise UserError(f"executor = {executor!r}: must be auto, vector or scalar")
    for name, value in (("n", n), ("max_attempts", max_attempts)):
        if value < 1:
            raise UserError(f"{name} = {value}: must be at least 1")
    if not 0 < max_seconds < 1e6:
        raise UserError(f"max_seconds = {max_seconds}: must be above 0")
    if soften < 0:
        raise UserError(f"soften = {soften}: must be at least 0")
