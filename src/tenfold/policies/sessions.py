"""The sessions of an environment during a rollout: who is asked, whose replies have come, what must be closed.

Sessions answer in threads while other rows are sampled, or, in synchronous rounds, at once. A row waits from its
question to its reply. A session that is asked has a thread of its own until it is closed: what it holds may belong to a
thread (a database connection, a browser), and sessions may wait for each other (for a place in a sandbox that another
one gives back when it is closed), so none may wait for a thread.
"""

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from tenfold.core.types import Environment, Reply, Session, Turn
from tenfold.policies.rows import Row


class Sessions:
    """Sessions of rows, opened, asked and closed.

    Args:
        environment: opens them; without one nothing is opened, and nobody is asked.
        synchronous: answer at once, in the thread that asks.
    """

    def __init__(self, environment: Environment | None, *, synchronous: bool) -> None:
        self._environment = environment
        self._synchronous = synchronous
        self._open: dict[Row, Session] = {}
        self._threads: dict[Row, Executor] = {}
        self._returned: queue.SimpleQueue[tuple[Row, Future[Reply | None]]] = queue.SimpleQueue()
        self._num_waiting = 0
        self._closing: list[Future[None]] = []

    def open(self, row: Row) -> None:
        """Begin the session of a row."""
        if self._environment is not None:
            self._open[row] = self._environment.open(*row.index)

    def has(self, row: Row) -> bool:
        """Whether somebody answers this row."""
        return row in self._open

    def ask(self, row: Row, turn: Turn) -> None:
        """Ask the session of a row, which waits until its reply has been taken."""
        if row not in self._threads:
            self._threads[row] = _AtOnce() if self._synchronous else ThreadPoolExecutor(1, "session")
        row.waiting = True
        self._num_waiting += 1
        future = self._threads[row].submit(self._open[row].respond, turn)
        future.add_done_callback(lambda future: self._returned.put((row, future)))

    def replies(self, *, wait: bool) -> Iterator[tuple[Row, Reply | None]]:
        """The replies that have come; their rows wait no longer.

        Args:
            wait: if none has come, wait for the first, as long as there is a row that waits.

        Raises:
            Exception: what a session raised.
        """
        while self._num_waiting and (wait or not self._returned.empty()):
            row, future = self._returned.get()
            self._num_waiting -= 1
            row.waiting = wait = False
            yield row, future.result()

    def close(self, row: Row) -> None:
        """End the session of a row that is finished, so that what it holds is free for others."""
        if (session := self._open.pop(row, None)) is not None:
            thread = self._threads.pop(row, None) or _AtOnce()  # behind a question that is still being answered
            self._closing.append(thread.submit(session.close))
            thread.shutdown(wait=False)

    def close_all(self) -> None:
        """End the sessions that are open, and wait for the end of all.

        Raises:
            Exception: what a session raised when it was closed; the others are closed all the same.
        """
        for row in list(self._open):
            self.close(row)
        with ExitStack() as stack:
            for closing in reversed(self._closing):
                stack.callback(closing.result)


class _AtOnce(Executor):
    """Does what it is given in the caller's thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(function(*args, **kwargs))
        except Exception as error:  # raised where the result is taken, as from a thread
            done.set_exception(error)
        return done
