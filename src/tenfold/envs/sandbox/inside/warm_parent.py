"""Imports the wanted modules once, and forks a session whenever the host asks for one.

A fork shares the imported modules' memory, so that a session costs milliseconds where an interpreter with the same
imports costs a good part of a second. The parent runs no foreign code, and no session can reach it: each is born into a
process namespace of its own.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
from typing import Any, NoReturn

from . import confine, guard

FORK, FORKED, REFUSED = b"fork", b"forked", b"refused"
READY, FAILED, SHARED = b"ready", b"failed", b"shared"


def main() -> NoReturn:
    """Read the settings from the command line, and serve the host until it hangs up."""
    settings: dict[str, Any] = json.loads(sys.argv[1])
    host = socket.socket(fileno=settings["control"])
    if settings["isolated"] and _can_connect(settings["outside"]):
        host.send(SHARED)
        os._exit(1)
    try:
        _import(settings)
    except BaseException as error:
        host.send(FAILED + f"{type(error).__name__}: {error}".encode()[:2000])
        os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended sessions leave at once
    _make_memory_shareable()
    host.send(READY)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    me = os.pidfd_open(os.getpid())
    while True:
        message, descriptors, _, _ = socket.recv_fds(host, len(FORK), 1)
        if message != FORK:
            os._exit(0)
        _fork(host, socket.socket(fileno=descriptors[0]), me, settings)


def _can_connect(name: str) -> bool:
    """Whether this process is in the host's network, by a socket with an abstract name, which only that network has."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(f"\0{name}")
        except OSError:
            return False
        return True


def _import(settings: dict[str, Any]) -> None:
    sys.path = [path for path in sys.path if path != settings["own_path"]] + settings["paths"]
    for name in settings["modules"]:
        importlib.import_module(name)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)  # a fork keeps this state; see ``interpreter`` for that of ``random``
    confine.system_call_filter(children=settings["processes"] > 1, signals=settings["isolated"])


def _make_memory_shareable() -> None:
    """No collection shall touch what was imported, for a touched page is copied."""
    gc.collect()
    gc.freeze()


def _fork(host: socket.socket, session: socket.socket, me: int, settings: dict[str, Any]) -> None:
    """Fork one session; where the machine allows no further process, say so and go on with those that there are."""
    process, refusal = -1, None
    try:
        if settings["isolated"]:
            confine.enter_new_process_namespace()
        process = os.fork()
    except OSError as error:
        refusal = error
    if process == 0:
        _be_a_session(host, session, me, settings)
    try:
        if settings["isolated"]:
            confine.return_to_process_namespace(me)
        pidfd = os.pidfd_open(process) if refusal is None else -1
    except OSError as error:
        host.send(FAILED + str(error).encode())
        os._exit(1)
    if refusal is None:
        socket.send_fds(host, [FORKED], [pidfd])
        os.close(pidfd)
    else:
        host.send(REFUSED + str(refusal).encode())
    session.close()


def _be_a_session(host: socket.socket, session: socket.socket, me: int, settings: dict[str, Any]) -> NoReturn:
    try:
        host.close()
        os.close(me)
        guard.run(session, settings)
    finally:
        os._exit(1)  # never back into the parent's loop
