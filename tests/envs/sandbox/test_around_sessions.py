"""What happens to sessions from outside: forks of this process, closing, threads that end, limits of the machine."""

import contextlib
import errno
import os
import resource
import shutil
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tenfold.core.errors import UserError
from tenfold.envs.sandbox import Limits, Sandbox
from tenfold.envs.sandbox.inside import warm_parent

pytestmark = pytest.mark.alone


@pytest.fixture
def patient(_bubblewrap):
    """Programs may take longer than any of these tests."""
    with Sandbox(limits=Limits(seconds=60), modules=(), max_sessions=1, wait_seconds=60) as sandbox:
        yield sandbox


def in_a_fork(function):
    """What a function returns, or the error it raises, as text, in a copy of this process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(function()).encode())
        except BaseException as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader) as said:
        return said.read()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_copy_of_this_process_can_neither_use_nor_end_its_sessions(patient):
    with patient.open() as session:
        session.run("x = 1")
        error = "UserError: a Sandbox belongs to the process that made it; make one in each process"
        assert in_a_fork(lambda: session.run("x = 2")) == error
        assert in_a_fork(session.close) == in_a_fork(patient.close) == "None"
        assert session.run("print(x)").output == "1"


def test_closing_ends_programs_that_run_and_sessions_that_wait(patient):
    busy, waiting = patient.open(), patient.open()
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(busy.run, "while True: pass")
        time.sleep(0.3)
        queued = pool.submit(waiting.run, "print(1)")
        time.sleep(0.1)
        patient.close()
        assert running.result().status == "killed" and "names of this session are lost" in running.result().output
        with pytest.raises(UserError, match="is closed"):
            queued.result()
    assert time.monotonic() - started < 20, "nobody waits for the deadline of a program, or for a place"


def test_a_thread_that_has_ended_holds_nothing(patient):
    """The number of a thread is given to a later one, which would be told that it waits for itself."""
    said = []
    for _ in range(20):  # until a thread gets the number of the one before
        with patient.open() as first, patient.open() as second:
            before = threading.Thread(target=first.run, args=("x = 1",))
            before.start()
            before.join()
            after = threading.Thread(target=lambda: said.append(second.run("print(2)").output))
            after.start()
            time.sleep(0.05)
            first.close()
            after.join()
            if after.ident == before.ident:
                break
    else:
        pytest.skip("no number of a thread was given again")
    assert set(said) == {"2"}


def test_sessions_that_nobody_closed_are_told_and_can_still_be_closed(_bubblewrap):
    with Sandbox(modules=(), max_sessions=3) as sandbox:
        sessions = [sandbox.open() for _ in range(4)]
        assert [session.run("print(1)").output for session in sessions[:3]] == ["1"] * 3
        with pytest.raises(UserError, match="max_sessions is 3, and this thread holds all of them"):
            sessions[3].run("print(1)")
        sessions[0].close()
        assert sessions[3].run("print(1)").output == "1"


def test_where_no_further_process_is_allowed_the_others_go_on(patient, monkeypatch):
    """A container may allow fewer processes than sessions need; the limit is played on both sides of the socket."""
    host, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, theirs = socket.socketpair()

    def refuse():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with host, control, ours, theirs, patient.open() as session:
        monkeypatch.setattr(os, "fork", refuse)
        warm_parent._fork(control, theirs, -1, {"isolated": False})
        monkeypatch.undo()
        assert ours.recv(1) == b"", "the host is not left waiting"
        refused = host.recv(4096)
        control.send(refused)
        monkeypatch.setattr(patient._parent, "_control", host)
        with pytest.raises(UserError, match=r"could not start a further session .*unavailable"):
            session.run("x = 1")
        monkeypatch.undo()
        assert session.run("print(1)").output == "1"


def test_where_no_further_file_may_be_open_the_others_go_on(_bubblewrap):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Sandbox(modules=()) as sandbox, sandbox.open() as first:
        first.run("x = 1")
        errors = []
        for room in range(3):  # none, one end of a socket, both ends but no descriptor of the session
            with sandbox.open() as second, contextlib.ExitStack() as held:
                held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, limits[1]))
                files = fill_up()
                for descriptor in files[room:]:
                    held.callback(os.close, descriptor)
                for descriptor in files[:room]:
                    os.close(descriptor)
                with pytest.raises(OSError, match="Too many open files") as error:
                    second.run("x = 2")
                errors.append(error.value.errno)
        assert errors == [errno.EMFILE] * 3
        assert first.run("print(x)").output == "1"


def fill_up():
    """Descriptors, until there are no more."""
    files = []
    with contextlib.suppress(OSError):
        while True:
            files.append(os.open(os.devnull, os.O_RDONLY))
    return files


def test_a_sandbox_inside_of_the_network_is_refused(_bubblewrap, monkeypatch):
    """Programs are refused sockets as well, so that no program could tell."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        fake = Path(folder, "bwrap")
        fake.write_text(
            f'#!/bin/sh\nuser=$1 all=$2\nshift 2\nexec {shutil.which("bwrap")} $user $all --share-net "$@"\n'
        )
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        with pytest.raises(UserError, match="cannot keep programs out of the network") as refusal:
            Sandbox(modules=())
        assert "\n" not in str(refusal.value)
