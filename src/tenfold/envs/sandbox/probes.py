"""What the sandbox really stops on this machine: small break-ins, each with its outcome in a line.

Every probe succeeds at its mischief where there is no isolation, so that a line which says "stopped" means something;
the tests run them both ways.
"""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tenfold.envs.sandbox.limits import Limits
from tenfold.envs.sandbox.sandbox import Sandbox

PROBE_LIMITS = Limits(seconds=2.0)
PROCESSES = 8
OVERTIME = 1.0
VARIABLE = "TENFOLD_PROBE"
WRITE = """
import os
written = []
for path in {paths!r}:
    try:
        open(path, "a").write("x")
        written.append(path)
    except OSError:
        pass
print(written)
"""
CONNECT = """
import socket
try:
    socket.create_connection(("127.0.0.1", {port}), 1).close()
    print("connected")
except OSError as error:
    print(error)
"""
VISIBLE = """
import os
seen = []
for number in {numbers!r}:
    try:
        os.stat(f"/proc/{{number}}")
        seen.append(number)
    except OSError:
        try:
            os.kill(number, 0)
            seen.append(number)
        except OSError:
            pass
print(seen)
"""
STORM = """
import os, time
children = 0
for attempt in range({attempts}):
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        children += 1
    except OSError:
        pass
print(children)
"""
STUBBORN = """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    try:
        while True:
            signal.alarm(0)
    except BaseException:
        pass
"""
REACH = """
import glob, os
found = []
for path in [*glob.glob("/proc/[0-9]*/environ"), *glob.glob("/tmp/*"), *glob.glob("/tmp/*/*"), {path!r}]:
    try:
        if {token!r} in open(path, errors="replace").read():
            found.append(path)
    except OSError:
        pass
for number in range(2, 70_000):
    if number != os.getpid() and number != os.getppid():
        try:
            os.kill(number, 0)  # whether it could be killed
            found.append(number)
        except OSError:
            pass
print(found[:5])
"""


@dataclass(frozen=True)
class Finding:
    """A line of the table: what was tried, whether it was stopped, and what was seen.

    Example:
        >>> Finding("connect out", stopped=True, seen="Operation not permitted").name
        'connect out'
    """

    name: str
    stopped: bool
    seen: str


@dataclass(frozen=True)
class Place:
    """What lies outside of the sandbox for the probes to find."""

    folder: Path
    token: str
    server: socket.socket
    process: int


@contextmanager
def _place() -> Iterator[Place]:
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as server:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "secret").write_text(token)
        (folder / "secret").chmod(0o644)
        server.setblocking(False)
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
            try:
                yield Place(folder, token, server, other.pid)
            finally:
                other.kill()


def probe(*, allow_unsafe: bool = False) -> list[Finding]:
    """Try to break out of a sandbox with the limits of ``PROBE_LIMITS``; takes a few seconds.

    Args:
        allow_unsafe: look at programs without isolation where there is none.

    Raises:
        UserError: programs cannot be isolated here, and that was not allowed.
    """
    token = secrets.token_hex(16)
    os.environ[VARIABLE] = token
    try:
        with _place() as place:
            with Sandbox(limits=PROBE_LIMITS, modules=(), allow_unsafe=allow_unsafe) as sandbox:
                findings = [
                    _read_a_secret(sandbox, place, token),
                    _write_outside(sandbox, place),
                    _connect_out(sandbox, place),
                    _see_processes(sandbox, place),
                    _take_memory(sandbox),
                    _outlive_the_deadline(sandbox),
                    _print_without_end(sandbox),
                    _reach_another_session(sandbox, place),
                ]
            wide = replace(PROBE_LIMITS, processes=PROCESSES)
            with Sandbox(limits=wide, modules=(), allow_unsafe=allow_unsafe) as sandbox:
                return [*findings, _fork_storm(sandbox)]
    finally:
        del os.environ[VARIABLE]


def _read_a_secret(sandbox: Sandbox, place: Place, variable: str) -> Finding:
    paths = [str(place.folder / "secret"), f"/proc/{os.getpid()}/environ"]
    program = f"import os\nfor path in {paths!r}:\n try: print(open(path).read())\n except OSError: pass\n"
    said = _output(sandbox, program + f"print(os.environ.get({VARIABLE!r}))")
    found = [what for what, token in (("a file", place.token), ("the environment", variable)) if token in said]
    return Finding("read a secret", not found, f"read {' and '.join(found)}" if found else "neither file nor variable")


def _write_outside(sandbox: Sandbox, place: Place) -> Finding:
    folders = [place.folder]
    if sandbox.isolated:  # without isolation the one folder shows enough
        folders += [Path("/"), Path("/usr"), Path("/etc"), Path.cwd(), Path.home(), Path(os.__file__).parent]
    name = f"tenfold-probe-{place.token}"
    paths = [folder / name for folder in folders]
    said = _output(sandbox, WRITE.format(paths=[str(path) for path in paths]))
    outside = [path for path in paths if path.exists()]
    for path in outside:
        path.unlink()
    stopped = not outside and said.startswith("[")  # a session may write to a /tmp of its own, and to nothing else
    return Finding("write outside", stopped, f"{len(paths)} folders tried" if stopped else f"wrote {said}")


def _connect_out(sandbox: Sandbox, place: Place) -> Finding:
    said = _output(sandbox, CONNECT.format(port=place.server.getsockname()[1]))
    try:
        place.server.accept()[0].close()
        stopped = False
    except BlockingIOError:
        stopped = True
    return Finding("connect out", stopped, said)


def _see_processes(sandbox: Sandbox, place: Place) -> Finding:
    said = _output(sandbox, VISIBLE.format(numbers=[place.process, os.getpid()]))
    return Finding("see processes", said == "[]", "none of ours" if said == "[]" else f"saw {said}")


def _take_memory(sandbox: Sandbox) -> Finding:
    said = _output(sandbox, "block = bytearray(2 << 30)\nprint(len(block))")
    stopped = said.endswith("MemoryError")
    return Finding("take 2 GiB of memory", stopped, said.splitlines()[-1] if said else "the session ended")


def _outlive_the_deadline(sandbox: Sandbox) -> Finding:
    with sandbox.open() as session:
        session.run("")
        started = time.monotonic()
        execution = session.run(STUBBORN)
        over = time.monotonic() - started - sandbox.limits.seconds
    stopped = execution.status == "timeout" and over < OVERTIME
    return Finding("loop that swallows alarms and exceptions", stopped, f"ended {over:.2f} s after its deadline")


def _print_without_end(sandbox: Sandbox) -> Finding:
    with sandbox.open() as session:
        execution = session.run("for line in range(1 << 10): print('x' * (1 << 20))")
    kept = len(execution.output)
    return Finding("print 1 GiB", kept < 1000, f"{kept} characters kept of {execution.num_characters:,}")


def _reach_another_session(sandbox: Sandbox, place: Place) -> Finding:
    """One session keeps a secret, the other looks for it and for processes that it could kill."""
    token = secrets.token_hex(8)
    name = f"{place.token}.txt"
    with sandbox.open() as mine, sandbox.open() as other:
        path = mine.run(f"import os\nopen({name!r}, 'w').write({token!r}); print(os.path.abspath({name!r}))").output
        mine.run("import time\nstarted = time.time()")
        said = other.run(REACH.format(path=path, token=token)).output
        alive = mine.run("print(started > 0)").output == "True"
    stopped = said == "[]" and alive
    return Finding("read or kill another session", stopped, "neither" if stopped else f"reached {said}")


def _fork_storm(sandbox: Sandbox) -> Finding:
    import psutil

    me = psutil.Process()
    before = len(me.children(recursive=True))
    with sandbox.open() as session:
        said = session.run(STORM.format(attempts=10 * PROCESSES)).output
    time.sleep(0.2)
    left = len(me.children(recursive=True)) - before
    children = int(said) if said.isdecimal() else 0
    return Finding(
        "fork storm", children < PROCESSES and left <= 0, f"{children} children of at most {PROCESSES - 1}, {left} left"
    )


def _output(sandbox: Sandbox, program: str) -> str:
    with sandbox.open() as session:
        return session.run(program).output
