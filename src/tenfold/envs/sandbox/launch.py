"""Starts the warm parent: in bubblewrap, or bare when that was allowed.

What bubblewrap shows it, all read-only: ``/usr``, the interpreter's own installation, the folders of installed packages
and four devices. No home, no project, no ``/proc``, no environment variable of ours, no network.
"""

import errno
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from tenfold.core.errors import UserError
from tenfold.envs.sandbox.inside import as_unprivileged, warm_parent
from tenfold.envs.sandbox.limits import Limits

PARENT_TEMPORARY_BYTES = 64 << 20
START_SECONDS = 120.0  # imports of large packages from a cold disk
INSIDE = Path(warm_parent.__file__).parent
OWN_PATH = "/run/tenfold"
INTERPRETER = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": "/tmp",
}
HOW_TO_ALLOW = "or pass allow_unsafe=True to run programs without isolation"
FIRST_TO_GO = ("/bin/sh", "-c", '{ echo 1000 > /proc/self/oom_score_adj; } 2> /dev/null; exec "$@"', "sh")
"""What the kernel is to end first when memory runs out: sessions, before the process that trains."""
START = "import sys; sys.path.insert(0, {0!r}); from inside.warm_parent import main; main()"


class Isolation(UserError):
    """This machine cannot isolate programs."""


class Parent:
    """The warm parent's process: forks sessions on request.

    Args:
        modules: imported before the first fork.
        limits: of every session.
        isolated: in bubblewrap; otherwise a plain process.
    """

    def __init__(self, modules: Sequence[str], limits: Limits, *, isolated: bool) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._folder = tempfile.mkdtemp(prefix="tenfold-sandbox-")
        os.chmod(self._folder, 0o755)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- read if the start fails
        outside = f"tenfold-{secrets.token_hex(16)}"
        settings = asdict(limits) | {
            "control": theirs.fileno(),
            "folder": self._folder,
            "isolated": isolated,
            "modules": list(modules),
            "outside": outside,
            "own_path": OWN_PATH if isolated else str(INSIDE.parent),
            "paths": [_place_of(path) if isolated else path for path in package_folders()],
        }
        sources: list[int] = []
        command = [INTERPRETER, "-s", "-P", "-c", START.format(settings["own_path"]), json.dumps(settings)]
        if isolated:
            sources, command = in_bubblewrap(command, self._folder)
        with socket.socket(socket.AF_UNIX) as server:  # the warm parent must not be able to connect to it
            if isolated:
                server.bind(f"\0{outside}")
                server.listen()
            self._start(command, [theirs.fileno(), *sources])
            theirs.close()
            for source in sources:
                os.close(source)
            self._await_ready(isolated)

    def _start(self, command: list[str], descriptors: list[int]) -> None:
        """Start it from a thread that lives as long as the process: the kernel ends it with the thread."""
        started = threading.Event()
        failure: list[OSError] = []

        def keep() -> None:
            try:
                self._process = subprocess.Popen(
                    [*FIRST_TO_GO, *command],
                    env=ENVIRONMENT,
                    pass_fds=descriptors,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                failure.append(error)
            started.set()
            if not failure:
                self._process.wait()

        self._keeper = threading.Thread(target=keep, name="tenfold sandbox", daemon=True)
        self._keeper.start()
        started.wait()
        if failure:
            raise Isolation(f"the code sandbox could not be started: {failure[0]}")

    def _await_ready(self, isolated: bool) -> None:
        self._control.settimeout(START_SECONDS)
        try:
            answer = self._control.recv(4096)
        except TimeoutError:
            answer = warm_parent.FAILED + f"no answer within {START_SECONDS:g} s".encode()
        if answer == warm_parent.READY:
            if isolated:  # it was a place to mount at, and only that
                os.rmdir(self._folder)
            return
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines() or ["no reason given"]
        self.close()
        if answer.startswith(warm_parent.FAILED):
            reason = answer[len(warm_parent.FAILED) :].decode(errors="replace")
            raise UserError(f"modules: the code sandbox could not import them ({reason})")
        if answer == warm_parent.SHARED:
            refuse(
                f"the code sandbox cannot keep programs out of the network on this machine ({shutil.which('bwrap')})"
            )
        if not isolated:
            raise RuntimeError(f"the code sandbox did not start: {said[-1]}")
        raise Isolation(
            f"the code sandbox cannot isolate programs on this machine ({said[-1]}): unprivileged user namespaces must "
            f"be allowed, {HOW_TO_ALLOW}"
        )

    def fork(self) -> tuple[socket.socket, int]:
        """A new session: our end of its socket, and a descriptor of its process.

        Raises:
            UserError: this machine allows no further process.
            ParentGone: it has to be started again.
        """
        ours, theirs = socket.socketpair()
        try:
            with self._lock:
                socket.send_fds(self._control, [warm_parent.FORK], [theirs.fileno()])
                answer, descriptors, _, _ = socket.recv_fds(self._control, 4096, 1)
        except OSError as error:
            ours.close()
            raise ParentGone(str(error)) from error
        finally:
            theirs.close()
        if answer == warm_parent.FORKED and descriptors:
            return ours, descriptors[0]
        ours.close()
        if answer == warm_parent.FORKED:  # the kernel dropped the descriptor; the session ends with ``ours``
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if answer.startswith(warm_parent.REFUSED):
            reason = answer[len(warm_parent.REFUSED) :].decode(errors="replace")
            raise UserError(f"the code sandbox could not start a further session ({reason}); allow fewer at one time")
        raise ParentGone(answer[len(warm_parent.FAILED) :].decode(errors="replace") or "it ended")

    def close(self) -> None:
        """End the process and all sessions."""
        self._control.close()  # it ends by itself when we hang up
        self._keeper.join(1.0)
        if self._keeper.is_alive():
            self._process.kill()
            self._keeper.join()
        self._errors.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class ParentGone(Exception):
    """The warm parent has ended."""


def why_not_isolated() -> str:
    """What is missing on this machine for isolation, as far as can be seen without trying; empty if nothing."""
    if not sys.platform.startswith("linux"):
        return f"the code sandbox isolates programs on Linux only, not on {sys.platform}"
    if shutil.which("bwrap") is None:
        return "the code sandbox needs bubblewrap: install the Debian package bubblewrap (apt install bubblewrap)"
    return ""


def refuse(reason: str) -> NoReturn:
    """Say in one line why programs cannot be run."""
    raise Isolation(f"{reason}, {HOW_TO_ALLOW}")


def package_folders() -> list[str]:
    """Where installed packages are, in the order in which they are found."""
    names = ("site-packages", "dist-packages")
    return [path for path in sys.path if os.path.basename(path) in names and os.path.isdir(path)]


def in_bubblewrap(command: list[str], folder: str) -> tuple[list[int], list[str]]:
    """The command in a sandbox, and the descriptors from which it reads our files."""
    shown = _folders_to_show()
    bubblewrap = shutil.which("bwrap")
    assert bubblewrap is not None
    root = os.geteuid() == 0
    words = [bubblewrap, "--unshare-user", "--unshare-all", "--die-with-parent", "--new-session"]
    words += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"]  # the warm parent's alone: it makes namespaces
    words += ["--hostname", "sandbox", "--ro-bind", "/usr", "/usr"]
    for path in ("/bin", "/lib", "/lib32", "/lib64", "/sbin"):
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            words += ["--ro-bind", path, path]
    for path in ("/etc/ld.so.cache", "/etc/alternatives"):
        words += ["--ro-bind-try", path, path]
    for number, path in enumerate(shown):
        words += ["--ro-bind", f"{folder}/{number}" if root else os.path.realpath(path), _place_of(path)]
    for device in ("null", "zero", "random", "urandom"):
        words += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    sources = []
    for file in sorted(INSIDE.glob("*.py")):
        source = os.memfd_create(file.name)
        os.write(source, file.read_bytes())
        os.lseek(source, 0, os.SEEK_SET)
        sources.append(source)
        words += ["--ro-bind-data", str(source), f"{OWN_PATH}/inside/{file.name}"]
    # Imports may need a cache there (Matplotlib's fonts do); each session mounts a folder of its own over it.
    words += ["--size", str(PARENT_TEMPORARY_BYTES), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/", "--"]
    words += [_place_of(command[0]), *command[1:]]
    if root:
        helper = [INTERPRETER, "-I", "-S", as_unprivileged.__file__, folder]
        words = [*helper, *(os.path.realpath(path) for path in shown), "--", *words]
    return sources, words


def _place_of(path: str) -> str:
    """Where a file of this machine is in the sandbox: where it always is, but for what its own ``/tmp`` would hide."""
    return f"{OWN_PATH}/shown{path}" if Path(path).is_relative_to("/tmp") else path


def _folders_to_show() -> list[str]:
    """The interpreter's installation and the packages, without what lies below another of them or in ``/usr``."""
    shown: list[str] = []
    for path in [sys.base_prefix, *package_folders()]:
        if not any(Path(path).is_relative_to(parent) for parent in ["/usr", *shown]):
            shown.append(path)
    return shown
