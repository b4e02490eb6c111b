"""The sessions of an environment during a rollout: who is asked, whose replies have come, what must be closed.

Sessions answer in threads while other rows are sampled, or, in synchronous rounds, at once. A row waits from its
question to its reply. There is a thread for every row, though most are never started: sessions may wait for each other
(for a place in a sandbox that another one gives back when it is closed), so none may wait for a thread.
"""

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tenfold.core.types import Environment, Reply, Session, Turn

if TYPE_CHECKING:
    from tenfold.policies.rollout import Row


class Sessions:
    """Sessions of rows, opened, asked and closed.

    Args:
        environment: opens them; without one nothing is opened, and :meth:`ask` has nobody to ask.
        num_rows: most rows that wait at the same time.
        synchronous: answer at once, in the thread that asks.
    """

    def __init__(self, environment: Environment | None, num_rows: int, *, synchronous: bool) -> None:
        self._environment = environment
        self._threads: Executor = _AtOnce() if synchronous else ThreadPoolExecutor(num_rows, "session")
        self._open: dict[Row, Session] = {}
        self._returned: queue.SimpleQueue[tuple[Row, Future[Reply | None]]] = queue.SimpleQueue()
        self._num_waiting = 0
        self._closing: list[Future[None]] = []

    def open(self, row: "Row") -> None:
        """Begin the session of a row."""
        if self._environment is not None:
            self._open[row] = self._environment.open(*row.index)

    def has(self, row: "Row") -> bool:
        """Whether somebody answers this row."""
        return row in self._open

    def ask(self, row: "Row", turn: Turn) -> None:
        """Ask the session of a row, which waits until its reply has been taken."""
        row.waiting = True
        self._num_waiting += 1
        future = self._threads.submit(self._open[row].respond, turn)
        future.add_done_callback(lambda future: self._returned.put((row, future)))

    def replies(self, *, wait: bool) -> Iterator[tuple["Row", Reply | None]]:
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

    def close(self, row: "Row") -> None:
        """End the session of a row that is finished, so that what it holds is free for others."""
        if (session := self._open.pop(row, None)) is not None:
            self._closing.append(self._threads.submit(session.close))

    def close_all(self) -> None:
        """End what is open, once the sessions that are still answering have done so.

        Raises:
            Exception: what a session raised when it was closed; the others are closed all the same.
        """
        self._threads.shutdown()
        with ExitStack() as stack:
            for session in reversed(self._open.values()):
                stack.callback(session.close)
            for closing in reversed(self._closing):
                stack.callback(closing.result)


class _AtOnce(Executor):
    """Does what it is given in the caller's thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(function(*args, **kwargs))
        return done
