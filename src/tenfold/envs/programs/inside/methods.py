"""Inference: draws until enough particles meet the conditions, or a budget is spent; and why none does.

``rejection`` draws everything and keeps who meets all conditions. ``likelihood_weighting`` also sets memory cells that
are observed before they are drawn, and weights by their probability. ``smc`` and ``mh`` are in ``moves.py`` and need
the vector executor. Factors are weights in every method. ``auto`` tries 2,000 particles and chooses.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from tenfold.envs.programs.inside.conditions import Prepared, prepare
from tenfold.envs.programs.inside.faults import NoneLeft, ProgramFault
from tenfold.envs.programs.inside.moves import mh, smc
from tenfold.envs.programs.inside.running import Batch, Executor, Setting, effective, line_of
from tenfold.envs.programs.inside.scalar import ScalarExecutor
from tenfold.envs.programs.inside.vector import VectorExecutor

PILOT = 2000
ENOUGH_ACCEPTANCE = 1e-3
CHUNKS = (2000, 400_000)
CELL_BYTES = 256 << 20  # memory cells of a pass, at 8 bytes a particle
SWEEPS = 30
SCALAR_PILOT = 2000


@dataclass(frozen=True)
class Request:
    """What to infer.

    Args:
        source: the program.
        method: one of :data:`METHODS`, or ``auto``.
        n: accepted, or effective, particles that are wanted.
        max_attempts: particles that may be started.
        max_seconds: of wall time.
        seed: of all draws.
        executor: ``auto``, ``vector`` or ``scalar``.
        soften: temperature of softened comparisons; 0 for none.
    """

    source: str
    method: str = "auto"
    n: int = 1000
    max_attempts: int = 5_000_000
    max_seconds: float = 10.0
    seed: int = 0
    executor: str = "auto"
    soften: float = 0.0


@dataclass
class Found:
    """What came out; plain data but for the arrays.

    ``outcome`` is ``posterior``, ``unsatisfiable`` (no particle met all conditions) or ``fault`` (a wrong program).
    """

    outcome: str
    method: str = ""
    reason: str = ""
    executor: str = ""
    attempts: int = 0
    accepted: int = 0
    effective: float = 0.0
    seconds: float = 0.0
    complete: bool = False
    message: str = ""
    line: int | None = None
    conditions: list[dict[str, Any]] = field(default_factory=list)
    conflict: list[int] = field(default_factory=list)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    log_weights: np.ndarray = field(default_factory=lambda: np.empty(0))


def infer(request: Request) -> Found:
    """Run the inference; whatever the program does is a :class:`Found`."""
    started = time.monotonic()
    try:
        prepared = prepare(request.source, softened=request.soften > 0)
        try:
            found = _with_an_executor(prepared, request, started)
        except NoneLeft:
            found = _unsatisfiable(prepared, request)
    except (MemoryError, RecursionError) as error:
        found = Found("fault", message=f"the program needs too much: {type(error).__name__}", line=line_of(error))
    except Exception as error:
        kind = "" if isinstance(error, ProgramFault) else f"{type(error).__name__}: "
        text = " ".join(str(error).split()) or "no reason given"
        found = Found("fault", message=f"{kind}{text}"[:300], line=line_of(error))
    found.seconds = time.monotonic() - started
    return found


def _with_an_executor(prepared: Prepared, request: Request, started: float) -> Found:
    """By the vector executor if it can, else by the scalar one."""
    if request.executor == "scalar":
        return _Inference(prepared, request, ScalarExecutor(prepared, request.seed), started).found()
    try:
        return _Inference(prepared, request, VectorExecutor(prepared, request.seed), started).found()
    except NoneLeft:
        raise
    except Exception as error:
        if request.executor == "vector":
            raise
        line = line_of(error)
        is_branch = "truth value of an array" in str(error)  # numpy's words where a particle array meets an if
        why = "a branch over a random value" if is_branch else str(error)
        why = f"line {line}: {why}" if line else why
        scalar = _Inference(prepared, request, ScalarExecutor(prepared, request.seed), started)
        found = scalar.found()
        found.executor += f" ({' '.join(why.split())[:160]})"
        return found


class _Inference:
    """One request with one executor."""

    def __init__(self, prepared: Prepared, request: Request, executor: Any, started: float) -> None:
        self.prepared, self.request, self.executor = prepared, request, executor
        self.deadline = started + request.max_seconds
        self.batches: list[Batch] = []
        self.attempts = 0
        self.setting = Setting(temperature=request.soften)

    def found(self) -> Found:
        method, reason = self.request.method, "asked for"
        if method == "auto":
            method, reason = self._choice()
        METHODS[method](self)
        found = self._summary()
        found.method, found.reason = method, reason
        return found

    def rejection(self) -> None:
        """Draw everything."""
        self._collect(lambda: sum(len(batch.log_weights) for batch in self.batches))

    def likelihood_weighting(self) -> None:
        """Set observed cells."""
        self.setting = replace(self.setting, clamped=True)
        self._collect(lambda: effective(self._log_weights()))

    def smc(self) -> None:
        """Particles go through the conditions together."""
        self._by_moves(smc)

    def mh(self) -> None:
        """Chains that are moved."""
        self._by_moves(functools.partial(mh, sweeps=SWEEPS))

    def _by_moves(self, run: Callable[..., Any]) -> None:
        if not isinstance(self.executor, VectorExecutor):
            raise ProgramFault(
                f"method {self.request.method} runs all particles at once, and this program cannot be: use "
                "rejection or likelihood_weighting"
            )
        setting = replace(self.setting, clamped=True)
        size = self.request.n
        while True:
            try:
                weighed = run(self.executor, size, setting, self.request.seed, self.deadline)
                break
            except NoneLeft:  # too few to find any that meet a condition
                size *= 10
                if size > min(self.request.max_attempts, CHUNKS[1]) or time.monotonic() > self.deadline:
                    raise
        self.attempts += size + weighed.moves[0]
        counts = np.zeros(len(self.prepared.sites), dtype=np.int64)
        self.batches = [Batch(size, weighed.values, weighed.log_weights, counts, counts)]

    def _choice(self) -> tuple[str, str]:
        """A method, and why."""
        acceptance = self._pilot(self.setting)
        if acceptance >= ENOUGH_ACCEPTANCE:
            return "rejection", f"{acceptance:.2g} of {PILOT} pilot particles were accepted"
        weighted = self._pilot(replace(self.setting, clamped=True))
        if weighted >= ENOUGH_ACCEPTANCE:
            why = f"of {PILOT} pilot particles {acceptance:.2g} were accepted, {weighted:.2g} with observed cells set"
            return "likelihood_weighting", why
        if isinstance(self.executor, VectorExecutor):
            return "smc", f"of {PILOT} pilot particles too few were accepted, also with observed cells set"
        return (
            "likelihood_weighting",
            "too few pilot particles were accepted, and the program branches on random values",
        )

    def _pilot(self, setting: Setting) -> float:
        """Effective particles as a share of those started; what the pilot drew counts for nothing else."""
        batch = self.executor.run(PILOT, setting, PILOT, self.deadline)
        self.attempts += batch.attempts
        return effective(batch.log_weights) / max(batch.attempts, 1)

    def _collect(self, enough: Callable[[], float]) -> None:
        """Passes over more and more particles."""
        size, wanted = CHUNKS[0], self.request.n
        spent = 0
        while enough() < wanted and spent < self.request.max_attempts and time.monotonic() < self.deadline:
            size = min(size, self.request.max_attempts - spent)
            batch = self.executor.run(size, self.setting, wanted, self.deadline)
            spent += batch.attempts
            self.batches.append(batch)
            size = self._next_size(enough(), spent)
        self.attempts += spent

    def _next_size(self, have: float, spent: int) -> int:
        """As many particles as are probably missing, within memory."""
        rate = max(have, 0.5) / spent
        missing = max(self.request.n - have, 1)
        most = min(CHUNKS[1], CELL_BYTES // (8 * (1 + getattr(self.executor, "num_cells", 0))))
        return int(min(max(1.1 * missing / rate, CHUNKS[0]), max(most, CHUNKS[0])))

    def _log_weights(self) -> np.ndarray:
        parts = [batch.log_weights for batch in self.batches]
        return np.concatenate(parts) if parts else np.empty(0)

    def _summary(self) -> Found:
        log_weights = self._log_weights()
        num_effective = effective(log_weights)
        if not num_effective:
            raise NoneLeft
        batches = [batch for batch in self.batches if len(batch.log_weights)]
        if any(batch.values.keys() != batches[0].values.keys() for batch in batches):
            raise ProgramFault("model must return the same names of queries in every run")
        values = {name: np.concatenate([batch.values[name] for batch in batches]) for name in batches[0].values}
        is_enough = num_effective if self.setting.clamped else len(log_weights)
        if not self.setting.clamped and not np.ptp(log_weights):  # equal weights: no more than were asked for
            values = {name: column[: self.request.n] for name, column in values.items()}
        accepted = len(log_weights)
        log_weights = log_weights[: len(next(iter(values.values())))]
        for name, column in values.items():
            if not np.isfinite(column).all():
                raise ProgramFault(f"query {name!r} is not finite in some particles")
        return Found(
            "posterior",
            executor=self.executor.name,
            attempts=self.attempts,
            accepted=accepted,
            effective=effective(log_weights),
            complete=bool(is_enough >= self.request.n * (1 - 1e-9)),
            conditions=condition_rows(self.prepared, self.batches),
            values=values,
            log_weights=log_weights,
        )


METHODS: dict[str, Callable[[_Inference], None]] = {
    "rejection": _Inference.rejection,
    "likelihood_weighting": _Inference.likelihood_weighting,
    "smc": _Inference.smc,
    "mh": _Inference.mh,
}


def condition_rows(prepared: Prepared, batches: list[Batch]) -> list[dict[str, Any]]:
    """Each condition with how many particles came to it and how many met it."""
    rows = []
    for number, site in enumerate(prepared.sites):
        reached = sum(int(batch.reached[number]) for batch in batches)
        passed = sum(int(batch.passed[number]) for batch in batches)
        rows.append({**asdict(site), "reached": reached, "passed": passed})
    return rows


def _unsatisfiable(prepared: Prepared, request: Request) -> Found:
    """Which condition no particle meets, and with which other one it conflicts."""
    deadline = time.monotonic() + request.max_seconds
    try:
        executor: Executor = VectorExecutor(prepared, request.seed + 1)
        whole = executor.run(10 * PILOT, Setting(clamped=True, temperature=request.soften), PILOT, deadline)
    except Exception:
        executor = ScalarExecutor(prepared, request.seed + 1)
        whole = executor.run(SCALAR_PILOT, Setting(clamped=True, temperature=request.soften), PILOT, deadline)
    failing = [i for i in range(len(prepared.sites)) if whole.reached[i] and not whole.passed[i]]
    found = Found("unsatisfiable", method=request.method, executor=executor.name, attempts=whole.attempts)
    found.conditions = condition_rows(prepared, [whole])
    if not failing:  # it can be met, but is too rare for the budget
        rarest = [i for i in range(len(prepared.sites)) if whole.reached[i]]
        found.conflict = [min(rarest, key=lambda i: whole.passed[i] / whole.reached[i])] if rarest else []
        found.message = "no particle met all conditions within the budget; the condition that fewest meet"
        found.message = _told(prepared, found.message, found.conflict)
        return found
    first = failing[0]
    partner = _partner(executor, prepared, first, whole, request, deadline)
    found.conflict = sorted({first} if partner is None else {partner, first})
    what = "no particle meets the condition" if partner is None else "no particle meets both of the conditions"
    found.message = _told(prepared, what, found.conflict)
    return found


def _partner(
    executor: Executor, prepared: Prepared, first: int, whole: Batch, request: Request, deadline: float
) -> int | None:
    """The other condition without which the first impossible one is met."""
    others = [i for i in range(len(prepared.sites)) if i != first and whole.reached[i]]
    for other in reversed(others):
        setting = Setting(clamped=True, disabled=frozenset([other]), temperature=request.soften)
        batch = executor.run(whole.attempts, setting, PILOT, deadline)
        if batch.passed[first] and time.monotonic() < deadline:
            return other
    return None


def _told(prepared: Prepared, what: str, conflict: list[int]) -> str:
    sentences = " and ".join(f"{prepared.sites[i].sentence!r} (line {prepared.sites[i].line})" for i in conflict)
    return f"{what}: {sentences}" if sentences else "no particle met the factors of the program"
