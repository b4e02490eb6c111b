"""Process 1 of a session: starts the interpreter, hands it programs, collects its output, and ends it on request.

It runs no foreign code, and the programs can neither signal nor inspect it. When it ends, the kernel ends every other
process of the session with it. While no program runs, all of them are stopped, so that what a program left behind uses
no processor time.
"""

import fcntl
import os
import select
import signal
import socket
import stat
from collections.abc import Mapping
from typing import Any, NoReturn

from . import confine, interpreter
from .collector import Collector
from .frames import (
    CANCEL,
    DONE,
    ERROR,
    FETCH,
    KILLED,
    LOST,
    OK,
    REPLY,
    REQUEST,
    TASK,
    TIMEOUT,
    UNCONFINED,
    read_exactly,
    write_all,
)

IDLE_MILLISECONDS = 50  # how long after a program the session is left running
REAP_MILLISECONDS = 200
MOST_DESCRIPTORS = 1 << 20
DRAINED_BYTES = 2 << 20  # more than any pipe holds; a process that goes on writing does not keep the answer back
READY = b"+"


def run(host: socket.socket, settings: Mapping[str, Any]) -> NoReturn:
    """Confine this process, start the interpreter, and serve the host until it hangs up."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if settings["isolated"]:
            if os.getpid() != 1:
                raise OSError("the session has no process namespace of its own")
            confine.private_temporary_folder(settings["temporary_bytes"])
        else:
            confine.die_with_parent()
            os.chdir(settings["folder"])
        guard = Guard(host, settings)
        confine.drop_rights()
    except BaseException as error:
        text = f"{type(error).__name__}: {error}".encode()
        host.sendall(REPLY.pack(UNCONFINED, len(text), len(text)) + text)
        os._exit(1)
    guard.serve()


class Guard:
    """The interpreter's process, and the pipes to it."""

    def __init__(self, host: socket.socket, settings: Mapping[str, Any]) -> None:
        self.host = host
        self.settings = settings
        self.isolated = settings["isolated"]
        self.tick = REAP_MILLISECONDS if settings["processes"] > 1 else None
        tasks, self.tasks = os.pipe()
        self.answers, answers = os.pipe()
        self.output, output = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            _become_interpreter(tasks, answers, output, settings)
        for descriptor in (tasks, answers, output):
            os.close(descriptor)
        if read_exactly(self.answers, len(READY)) != READY:
            raise OSError(os.read(self.output, 4096).decode(errors="replace") or "the interpreter did not start")
        os.set_blocking(self.output, False)
        self.exit = os.pidfd_open(self.process)
        self.output_open = True
        self.poll = select.poll()
        for descriptor in (host.fileno(), self.answers, self.output, self.exit):
            self.poll.register(descriptor, select.POLLIN)

    def serve(self) -> NoReturn:
        """Answer requests until the host hangs up or the interpreter is gone."""
        descriptor = self.host.fileno()
        while True:
            self._wait_for_a_request()
            header = read_exactly(descriptor, REQUEST.size)
            if not header:
                self._end()
            wanted, size = REQUEST.unpack(header)
            program = read_exactly(descriptor, size)
            if wanted == FETCH:
                self._hand_over(program.decode())
            elif wanted != CANCEL:  # one that crossed with our answer
                self._run(wanted, program)

    def _wait_for_a_request(self) -> None:
        waiting = select.poll()
        waiting.register(self.host.fileno(), select.POLLIN)
        if not waiting.poll(IDLE_MILLISECONDS):
            self._signal(signal.SIGSTOP)
            waiting.poll()
            self._signal(signal.SIGCONT)

    def _hand_over(self, name: str) -> None:
        """Send a file of the session's folder, bytes as they are; its size is checked before a byte is read."""
        try:
            content = _read_plain_file(name, self.settings["temporary_bytes"])
        except OSError as error:
            text = str(error).encode()
            self.host.sendall(REPLY.pack(ERROR, len(text), len(text)) + text)
            return
        self.host.sendall(REPLY.pack(OK, len(content), len(content)) + content)

    def _run(self, wanted: bytes, program: bytes) -> None:
        collector = Collector(self.settings["output_characters"])
        ticket = os.urandom(8)
        self._drain()  # what an earlier program's threads wrote since is nobody's
        try:
            write_all(self.tasks, TASK.pack(ticket, wanted, len(program)) + program)
        except BrokenPipeError:
            self._give_up(collector, KILLED, self._how_it_ended())
        while True:
            ready = [descriptor for descriptor, _ in self.poll.poll(self.tick)]
            if not ready:
                self._reap()
            if self.host.fileno() in ready:
                self._end_early(collector)
            if self.output in ready:
                self._read_output(collector)
            if self.answers in ready:
                answer = os.read(self.answers, DONE.size)
                self._drain(collector)
                # Programs can read the ticket in the interpreter's memory, so the status is checked as well.
                if answer not in (ticket + OK, ticket + ERROR):
                    self._give_up(collector, KILLED, self._how_it_ended() if not answer else "it wrote to its own pipe")
                self._reply(answer[-1:], collector)
                self._reap()
                return
            if self.exit in ready:
                self._drain(collector)
                self._give_up(collector, KILLED, self._how_it_ended())

    def _end_early(self, collector: Collector) -> NoReturn:
        if not self.host.recv(REQUEST.size):
            self._end()
        self._signal(signal.SIGKILL)
        self._drain(collector)
        text = f"TimeoutError: the program ran for more than {self.settings['seconds']:g} s and was stopped. {LOST}"
        self._last_word(collector, TIMEOUT, text)

    def _give_up(self, collector: Collector, status: bytes, reason: str) -> NoReturn:
        self._last_word(collector, status, f"Error: the interpreter was ended: {reason}. {LOST}")

    def _last_word(self, collector: Collector, status: bytes, text: str) -> NoReturn:
        collector.feed((b"\n" if collector.num_characters else b"") + text.encode())
        self._reply(status, collector)
        self._end()

    def _reply(self, status: bytes, collector: Collector) -> None:
        output, characters = collector.result()
        self.host.sendall(REPLY.pack(status, len(output), characters) + output)

    def _read_output(self, collector: Collector | None) -> int:
        try:
            part = os.read(self.output, 65536)
        except BlockingIOError:
            return 0
        if not part and self.output_open:  # whoever could write has closed it or ended
            self.poll.unregister(self.output)
            self.output_open = False
        if collector:
            collector.feed(part)
        return len(part)

    def _drain(self, collector: Collector | None = None) -> None:
        left = DRAINED_BYTES
        while left > 0 and (size := self._read_output(collector)):
            left -= size

    def _how_it_ended(self) -> str:
        waiting = select.poll()
        waiting.register(self.exit, select.POLLIN)
        if not waiting.poll(100):
            return "it closed its own pipe"
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        return f"signal {_name_of(-status)}" if status < 0 else f"exit status {status}"

    def _reap(self) -> None:
        """Forget orphans that have ended; they would count as processes."""
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while (child := os.waitid(os.P_ALL, 0, ended)) and child.si_pid != self.process:
            os.waitpid(child.si_pid, 0)

    def _signal(self, number: signal.Signals) -> None:
        """Signal every other process of the session."""
        try:
            if self.isolated:
                assert os.getpid() == 1
                os.kill(-1, number)
            else:
                os.killpg(self.process, number)
        except ProcessLookupError:
            pass

    def _end(self) -> NoReturn:
        self._signal(signal.SIGKILL)
        os._exit(0)


def _name_of(number: int) -> str:
    """The name of a signal; most real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _read_plain_file(name: str, most_bytes: int) -> bytes:
    """A file in the working folder. Programs made it, so that it may be a link, a pipe, a device, or too large."""
    if os.path.basename(name) != name or name in ("", ".", ".."):
        raise OSError(f"{name}: is no plain name")
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{name}: is no plain file")
        if found.st_size > most_bytes:
            raise OSError(f"{name}: is larger than {most_bytes} bytes")
        return read_exactly(descriptor, found.st_size)
    finally:
        os.close(descriptor)


def _become_interpreter(tasks: int, answers: int, output: int, settings: Mapping[str, Any]) -> NoReturn:
    """In the new process: nothing but the pipes stays open, and nothing but computing stays allowed."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        places = {0: nothing, 1: output, 2: nothing, interpreter.TASKS: tasks, interpreter.ANSWERS: answers}
        high = {place: fcntl.fcntl(source, fcntl.F_DUPFD, 64) for place, source in places.items()}
        for place, source in high.items():
            os.dup2(source, place)
        os.closerange(max(places) + 1, MOST_DESCRIPTORS)
        if settings["isolated"]:
            confine.enter_new_user_namespace()
        else:
            os.setsid()
            confine.die_with_parent()
        confine.set_limits(
            memory_bytes=settings["memory_bytes"],
            cpu_seconds=settings["cpu_seconds"],
            temporary_bytes=settings["temporary_bytes"],
            processes=settings["processes"],
            isolated=settings["isolated"],
        )
        confine.drop_rights()
        confine.deny_system_calls(
            confine.system_call_filter(children=settings["processes"] > 1, signals=settings["isolated"])
        )
        write_all(interpreter.ANSWERS, READY)
    except BaseException as error:
        write_all(1, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    try:
        interpreter.serve()
    finally:
        os._exit(1)
