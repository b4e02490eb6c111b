"""Whether two mathematical answers are the same, by the package math-verify (extra ``math``) in worker processes.

Answers are a model's, and some of them take forever to evaluate (``2^{10000000000}``), in code that no signal and no
thread interrupts. So they are compared in processes of their own, each of which is warm before it is asked, and is
killed and replaced when an answer takes longer than the deadline: such an answer counts as unequal.
"""

import atexit
import functools
import json
import os
import queue
import select
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.extras import require_extras
from tenfold.eval.references import reference_texts

_START_SECONDS = 120  # a cold disk and a busy machine: importing sympy takes half a second as a rule


class MathMatcher:
    """Worker processes that compare answers; may be asked from several threads.

    Args:
        num_workers: processes, started when they are first needed.
        seconds: deadline of a comparison with all references of an answer.

    Raises:
        UserError: if the package is not installed or an argument is out of range.

    Attributes:
        num_killed: comparisons that met the deadline so far.

    Example:
        >>> with MathMatcher(seconds=1.0) as matcher:  # doctest: +SKIP
        ...     matcher.match_all([("1/2", "0.5"), ("2^{10000000000}", "1")])
        [True, False]
    """

    def __init__(self, num_workers: int = 1, seconds: float = 5.0) -> None:
        require_extras(["math"], "verifier = math")
        if num_workers < 1:
            raise UserError(f"num_workers = {num_workers}: must be at least 1")
        if not seconds > 0:
            raise UserError(f"seconds = {seconds}: must be above 0")
        self._seconds, self._num_workers = seconds, num_workers
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()  # the last one used is the warmest
        for _ in range(num_workers):
            self._idle.put(_Worker())
        self.num_killed = 0

    def match(self, answer: str, references: str | Sequence[str]) -> bool:
        """Whether an answer is equal to a reference; see :func:`math_match`."""
        worker = self._idle.get()
        try:
            asked = {
                "answer": answer,
                "references": reference_texts(references),
                "seconds": self._seconds,
            }
            equal = worker.ask(asked, self._seconds)
            self.num_killed += worker.was_late
            return equal
        finally:
            self._idle.put(worker)

    def match_all(self, pairs: Iterable[tuple[str, str | Sequence[str]]]) -> list[bool]:
        """Many answers, each with its references, by all workers at the same time."""
        with ThreadPoolExecutor(self._num_workers) as threads:
            return list(threads.map(lambda pair: self.match(*pair), pairs))

    def close(self) -> None:
        """End the processes."""
        for worker in [self._idle.get() for _ in range(self._num_workers)]:
            worker.kill()
            self._idle.put(worker)

    def __enter__(self) -> "MathMatcher":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def math_match(answer: str, references: str | Sequence[str]) -> bool:
    """Whether an answer is equal to a reference as mathematics: ``1/2`` is ``0.5`` is ``\\frac{1}{2}``.

    Asked from several threads, it compares two answers at a time; its processes end with this one. The deadline is 5 s
    for an answer; :class:`MathMatcher` has others.

    Args:
        answer: the given answer.
        references: one right answer or several, in text or LaTeX.

    Raises:
        UserError: if the package is not installed.

    Example:
        >>> math_match("1/2", "0.5"), math_match("2", "3")  # doctest: +SKIP
        (True, False)
    """
    return _shared().match(answer, references)


@functools.cache
def _shared() -> MathMatcher:
    matcher = MathMatcher(num_workers=2)
    atexit.register(matcher.close)
    return matcher


os.register_at_fork(after_in_child=_shared.cache_clear)  # a forked child must not read its parent's pipes


class _Worker:
    """One process, started when it is needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.was_late = False

    def ask(self, asked: dict[str, Any], seconds: float) -> bool:
        """The answer of the process, ``False`` if it fails or is too late."""
        for _ in range(2):  # it may have died before it was asked, and is asked anew; one that dies again is unequal
            answered = self._answered(json.dumps(asked), seconds)
            self.was_late = answered is None
            if answered:
                return answered == "true"
            self.kill()
            if self.was_late:
                break
        return False

    def _answered(self, asked: str, seconds: float) -> str | None:
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(asked + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self._line(seconds)

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tenfold.eval.math_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            if self._line(_START_SECONDS) != "ready":
                self.kill()
                raise RuntimeError(f"the process that compares answers did not start within {_START_SECONDS} s")
        return self._process

    def _line(self, seconds: float) -> str | None:
        """The next line; empty if the process ended, ``None`` if it is late. A line is written whole, or never."""
        assert self._process is not None and self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
