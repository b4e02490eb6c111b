"""Persistent Python sessions for model-written programs, each isolated from the machine and from the others.

A ``Sandbox`` keeps one warm parent process; a ``CodeSession`` is forked from it at its first program. Three processes
guard each other: this one holds every deadline and can end a session as a whole through a descriptor of its process;
the session's guard (``inside/guard.py``) is process 1 of a namespace, so that its end is the end of all; the
interpreter has no rights but to compute. ``docs/code-sandbox.md`` says what this stops and what it does not.
"""

import contextlib
import os
import select
import signal
import socket
import threading
import time
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tenfold.core.errors import UserError
from tenfold.envs.sandbox.inside import frames
from tenfold.envs.sandbox.launch import Isolation, Parent, ParentGone, refuse, why_not_isolated
from tenfold.envs.sandbox.limits import Execution, Limits, Status

MODULES = ("math", "statistics", "fractions", "decimal", "itertools", "numpy")
SCIENTIFIC_MODULES = (*MODULES, "scipy", "sympy", "pandas")
FETCH_SECONDS = 5.0
GRACE_SECONDS = 0.3  # for the guard to hand over what was printed before the deadline
STATUSES: dict[bytes, Status] = {
    frames.OK: "ok",
    frames.ERROR: "error",
    frames.TIMEOUT: "timeout",
    frames.KILLED: "killed",
}


class Sandbox:
    """Runs programs in isolated, persistent sessions. Safe to use from several threads of one process.

    Args:
        limits: what a session may use.
        modules: imported before the first session is forked, so that importing them costs a program nothing;
            ``SCIENTIFIC_MODULES`` adds scipy, sympy and pandas. Other installed modules can be imported, too.
        max_sessions: most sessions that live at once; the first program of a further one waits for a place.
        allow_unsafe: where programs cannot be isolated, run them all the same, with limits and deadlines alone.
        wait_seconds: how long a session waits for a place before that is an error.

    Raises:
        UserError: programs cannot be isolated here; the line says what is missing.

    Example:
        >>> with Sandbox(modules=("math",)) as sandbox, sandbox.open() as session:
        ...     _ = session.run("product = 7919 * 104729")
        ...     print(session.run("print(product)").output)
        829348951
    """

    def __init__(
        self,
        *,
        limits: Limits = Limits(),  # noqa: B008 -- frozen
        modules: Sequence[str] = MODULES,
        max_sessions: int = 64,
        allow_unsafe: bool = False,
        wait_seconds: float = 600.0,
    ) -> None:
        if max_sessions < 1:
            raise UserError(f"max_sessions is {max_sessions}; allowed: at least 1")
        self.limits = limits
        self.modules = tuple(modules)
        self.max_sessions = max_sessions
        self.wait_seconds = wait_seconds
        self._process = os.getpid()
        self._places = threading.Condition()
        self._live: set[CodeSession] = set()
        self._closed = False
        self._parent, self.isolated = self._start(allow_unsafe)
        self._try()

    def _start(self, allow_unsafe: bool) -> tuple[Parent, bool]:
        try:
            if reason := why_not_isolated():
                refuse(reason)
            return Parent(self.modules, self.limits, isolated=True), True
        except Isolation as error:
            if not allow_unsafe:
                raise
            warnings.warn(f"programs are run without isolation: {error}", RuntimeWarning, stacklevel=3)
            return Parent(self.modules, self.limits, isolated=False), False

    def _try(self) -> None:
        """One program, so that what is wrong shows at the start."""
        try:
            with self.open() as session:
                execution = session.run("print(6 * 7)")
            if execution.output != "42":
                raise Isolation(f"the code sandbox does not work here: {execution.output}")
        except BaseException:
            self.close()
            raise

    def open(self) -> "CodeSession":
        """A session without names; its process starts with its first program."""
        return CodeSession(self)

    def close(self) -> None:
        """End all sessions and the warm parent."""
        with self._places:
            self._closed = True
            live = list(self._live)
            self._places.notify_all()
        if os.getpid() == self._process:
            self._parent.close()  # ends the sessions too, so that nobody waits for the deadline of a program
        for session in live:
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _enter(self, session: "CodeSession") -> "_Worker":
        """Wait for a place, and fork."""
        with self._places:
            if not self._places.wait_for(lambda: self._closed or self._has_place(session), self.wait_seconds):
                raise UserError(
                    f"max_sessions is {self.max_sessions}, and no session was closed for {self.wait_seconds:g} s; "
                    f"allow as many as are used at one time"
                )
            if self._closed:
                raise UserError("the sandbox is closed; open sessions of one that is not")
            self._live.add(session)
            try:
                return _Worker(*self._fork(), self.limits)
            except BaseException:
                self._live.discard(session)
                raise

    def _has_place(self, session: "CodeSession") -> bool:
        if len(self._live) < self.max_sessions:
            return True
        if all(other.last_thread is threading.current_thread() for other in self._live):
            raise UserError(
                f"max_sessions is {self.max_sessions}, and this thread holds all of them: it would wait for itself; "
                f"allow as many as are used at one time"
            )
        return False

    def _leave(self, session: "CodeSession") -> None:
        with self._places:
            self._live.discard(session)
            self._places.notify()

    def check_process(self) -> None:
        """Refuse to work in a process that was forked from the one that made the sandbox."""
        if os.getpid() != self._process:
            raise UserError("a Sandbox belongs to the process that made it; make one in each process")

    def _fork(self) -> tuple[socket.socket, int]:
        try:
            return self._parent.fork()
        except ParentGone:  # killed from outside, say for memory
            self._parent.close()
            self._parent = Parent(self.modules, self.limits, isolated=self.isolated)
            return self._parent.fork()


class CodeSession:
    """One trajectory's interpreter: names persist from program to program. Made by ``Sandbox.open``."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.last_thread: threading.Thread | None = None
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._closed = False

    def run(self, code: str, *, echo_last_expression: bool = False) -> Execution:
        """Run a program; whatever it does is an ``Execution``, never an exception.

        Args:
            code: Python; what it reads from standard input is empty.
            echo_last_expression: print the value of the last statement if it is an expression and not ``None``.
        """
        self._sandbox.check_process()
        with self._lock:
            self.last_thread = threading.current_thread()
            if self._closed:
                raise UserError("the session is closed; open another one")
            try:
                program = code.encode()
            except UnicodeEncodeError as error:
                return _refused(f"the program is not text: {error}")
            if len(program) > self._sandbox.limits.program_bytes:
                allowed = self._sandbox.limits.program_bytes
                return _refused(f"the program is {len(program)} bytes long; allowed: {allowed}")
            if self._worker is None:
                self._worker = self._sandbox._enter(self)
            try:
                execution = self._worker.run(program, frames.RUN_AND_ECHO if echo_last_expression else frames.RUN)
            except BaseException:
                self._end()
                raise
            if execution.status in ("timeout", "killed"):
                self._end()
            return execution

    def fetch(self, name: str) -> bytes | None:
        """The content of a file that programs of this session wrote into their folder; ``None`` where there is none.

        Bytes come as they are, at most ``Limits.temporary_bytes``, beside the output and not through it. Links, pipes
        and folders are none. Programs may have written anything, so trust nothing in it.

        Args:
            name: of the file, without a folder.

        Example:
            >>> with Sandbox(modules=()) as sandbox, sandbox.open() as session:
            ...     _ = session.run("open('made.bin', 'wb').write(bytes(3))")
            ...     session.fetch("made.bin"), session.fetch("absent.bin")
            (b'\\x00\\x00\\x00', None)
        """
        self._sandbox.check_process()
        with self._lock:
            if self._worker is None:
                return None
            try:
                found = self._worker.fetch(name.encode())
            except BaseException:
                self._end()
                raise
            if found is None:
                self._end()
                return None
            return found[1] if found[0] == frames.OK else None

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.close(kill=os.getpid() == self._sandbox._process)
            self._worker = None
            self._sandbox._leave(self)

    def close(self) -> None:
        """End the interpreter and everything that its programs started."""
        with self._lock:
            self._closed = True
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Worker:
    """Our end of a live session."""

    def __init__(self, channel: socket.socket, process: int, limits: Limits) -> None:
        self.channel = channel
        self.process = process
        self.limits = limits

    def run(self, program: bytes, wanted: bytes) -> Execution:
        deadline = time.monotonic() + self.limits.seconds
        try:
            self.channel.settimeout(self.limits.seconds)
            self.channel.sendall(frames.REQUEST.pack(wanted, len(program)) + program)
            reply = self._reply(deadline)
        except TimeoutError:
            reply = self._stop()
        except ConnectionError:
            reply = None
        if reply is None:
            return self._gone(f"Error: the session ended unexpectedly. {frames.LOST}")
        status, output, characters = reply
        if status == frames.UNCONFINED:
            raise RuntimeError(f"the code sandbox could not confine a session: {output}")
        return Execution(output, STATUSES[status], characters)

    def fetch(self, name: bytes) -> tuple[bytes, bytes] | None:
        """Status and content; ``None`` where the session has ended."""
        try:
            self.channel.settimeout(FETCH_SECONDS)
            self.channel.sendall(frames.REQUEST.pack(frames.FETCH, len(name)) + name)
            reply = self._raw_reply(time.monotonic() + FETCH_SECONDS)
        except (TimeoutError, ConnectionError):
            return None
        return None if reply is None else reply[:2]

    def _reply(self, deadline: float) -> tuple[bytes, str, int] | None:
        reply = self._raw_reply(deadline)
        return None if reply is None else (reply[0], reply[1].decode(), reply[2])

    def _raw_reply(self, deadline: float) -> tuple[bytes, bytes, int] | None:
        header = self._receive(frames.REPLY.size, deadline)
        if header is None:
            return None
        status, size, characters = frames.REPLY.unpack(header)
        content = self._receive(size, deadline)
        return None if content is None else (status, content, characters)

    def _receive(self, size: int, deadline: float) -> bytes | None:
        parts = b""
        while len(parts) < size:
            self.channel.settimeout(max(deadline - time.monotonic(), 1e-6))
            part = self.channel.recv(size - len(parts))
            if not part:
                return None
            parts += part
        return parts

    def _stop(self) -> tuple[bytes, str, int] | None:
        """The deadline has passed: ask the guard to end the session and say what was printed, then kill it anyway."""
        deadline = time.monotonic() + GRACE_SECONDS
        try:
            self.channel.settimeout(GRACE_SECONDS)
            self.channel.sendall(frames.REQUEST.pack(frames.CANCEL, 0))
            reply = self._reply(deadline)
        except (TimeoutError, ConnectionError):
            reply = None
        self.kill()
        if reply is None:
            text = (
                f"TimeoutError: the program ran for more than {self.limits.seconds:g} s and was stopped. {frames.LOST}"
            )
            return frames.TIMEOUT, text, len(text)
        return frames.TIMEOUT, reply[1], reply[2]

    def _gone(self, text: str) -> Execution:
        return Execution(text, "killed", len(text))

    def kill(self) -> None:
        """End the session's process 1, and with it all others; wait until they have gone, a second at most."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.process, signal.SIGKILL)
        gone = select.poll()
        gone.register(self.process, select.POLLIN)
        gone.poll(1000)

    def close(self, *, kill: bool) -> None:
        """Let go of the session, and end it unless it is another process's."""
        self.channel.close()
        if kill:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.process, signal.SIGKILL)
        os.close(self.process)


def _refused(reason: str) -> Execution:
    text = f"Error: {reason}"
    return Execution(text, "refused", len(text))
