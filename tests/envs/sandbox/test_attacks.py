"""Hostile programs: none escapes, none outlives its deadline by more than a second, all others are served afterwards.

Each program prints ESCAPED when it got something that it must not get. After each, a fresh session must work, a session
that was opened before all attacks must still have its names, files outside must be as they were, and no process may be
left. The programs with ``wide`` may start children; all others may not.
"""

import os
import secrets
import socket
import time
from dataclasses import dataclass

import psutil
import pytest

from tenfold.envs.sandbox import Limits, Sandbox

pytestmark = pytest.mark.alone

SECONDS = 0.5
OVERTIME = 1.0
ENDS = ("ok", "error", "timeout", "killed")

PRELUDE = """
import ctypes, errno, os, resource, signal, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def attempt(action, *arguments):
    try:
        value = action(*arguments)
    except (OSError, ValueError) as error:
        print(type(error).__name__)
    else:
        print("ESCAPED", repr(value)[:60])
def call(number, *arguments):
    value = libc.syscall(ctypes.c_long(number), *arguments)
    if value < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value
"""


FORGED = """
import os, sys
frame = sys._getframe()
while frame:
    if 'ticket' in frame.f_locals:
        os.write(4, frame.f_locals['ticket'] + {!r})
    frame = frame.f_back
"""


@dataclass(frozen=True)
class Attack:
    program: str
    ends: tuple[str, ...] = ENDS
    wide: bool = False
    says: str = ""


TIME = {
    "endless loop": Attack("while True: pass", ("timeout",)),
    "swallows every exception": Attack(
        "while True:\n try:\n  while True: pass\n except BaseException: pass", ("timeout",)
    ),
    "ignores every signal": Attack(
        "import signal\nfor number in range(1, 65):\n try: signal.signal(number, signal.SIG_IGN)\n"
        " except (OSError, ValueError): pass\nwhile True: pass",
        ("timeout",),
    ),
    "swallows its alarms": Attack(
        "import signal\nsignal.signal(signal.SIGALRM, lambda *_: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)\nwhile True: pass",
        ("timeout",),
    ),
    "sleeps": Attack("import time\ntime.sleep(10**6)", ("timeout",)),
    "huge power": Attack("print(len(str(9**9**9)))", ("timeout", "error")),
    "loop in C": Attack("sum(range(10**15))", ("timeout",)),
    "expression that backtracks": Attack("import re\nre.match('(a+)+$', 'a' * 50 + 'b')", ("timeout",)),
    "exception that cannot be printed in time": Attack(
        "class E(Exception):\n def __str__(self):\n  while True: pass\nraise E()", ("timeout",)
    ),
    "blocks on a pipe": Attack("import os\nos.read(os.pipe()[0], 1)", ("timeout",)),
    "thread that holds on": Attack(
        "import threading\ndef spin():\n while True: pass\nthreading.Thread(target=spin).start()", ("ok",)
    ),
    "raises its own limits": Attack(
        PRELUDE + "for limit in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_NPROC):\n"
        " attempt(resource.setrlimit, limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))",
        ("ok",),
    ),
}

MEMORY = {
    "two gibibytes": Attack("x = bytearray(2 << 30)", ("error",), says="MemoryError"),
    "growing list": Attack("x = []\nwhile True: x.append(bytearray(1 << 24))", ("error", "timeout"), says="Error"),
    "mapped memory": Attack("import mmap\nmmap.mmap(-1, 2 << 30).write(b'x')", ("error",), says="Cannot allocate"),
    "eight gibibytes of numpy": Attack("import numpy\nnumpy.ones(1 << 30)", ("error",), says="MemoryError"),
    "fills its temporary folder": Attack(
        "for i in range(100):\n with open(f'/tmp/{i}', 'wb') as file: file.write(bytes(1 << 20))",
        ("error",),
        says="Errno",
    ),
    "a file too large": Attack("open('/tmp/x', 'wb').truncate(1 << 40)", ("error", "killed")),
    "a hundred thousand files": Attack(
        "import os\nfor i in range(100_000): os.close(os.open(f'/tmp/{i}', os.O_CREAT))", ("error",), says="No space"
    ),
    "memory without a limit": Attack(PRELUDE + "attempt(os.memfd_create, 'x')", ("ok",)),
    "shared memory": Attack(PRELUDE + "attempt(call, 29, 0, 1 << 30, 0o1600)", ("ok",)),
    "a thousand threads": Attack(
        "import threading, time\nfor i in range(1000): threading.Thread(target=time.sleep, args=(99,)).start()",
        ("error",),
        says="can't start new thread",
    ),
    "a thousand descriptors": Attack("import os\nwhile True: os.pipe()", ("error",), says="Too many open files"),
    "endless recursion": Attack("def f(): return f()\nf()", ("error",), says="RecursionError"),
    "recursion without a limit": Attack(
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f([x])\nf(0)", ("error", "killed", "timeout")
    ),
    "brackets for the parser": Attack("(" * 200_000, ("error", "killed")),
    "minus signs for the compiler": Attack("-" * 500_000 + "1", ("error", "killed")),
}

OUTPUT = {
    "prints for ever": Attack("while True: print('x' * 10_000)", ("timeout",)),
    "a very long line": Attack("print('x' * 5_000_000)", ("ok",), says="..."),
    "writes past Python": Attack("import os\nwhile True: os.write(1, b'y' * 65536)", ("timeout",)),
    "forged answers on every descriptor": Attack(
        "import os\nfor descriptor in range(2, 128):\n try: os.write(descriptor, b'12345678o' * 20)\n"
        " except OSError: pass",
        ("killed",),
    ),
    "forged answer of a thread, later": Attack(
        "import os, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.02), os.write(4, b'12345678o'))).start()",
        ("ok",),
    ),
    "answers with its own task's number": Attack(FORGED.format(b"t"), ("killed",), says="its own pipe"),
    "answers that it is not confined": Attack(FORGED.format(b"u"), ("killed",), says="its own pipe"),
    "answers what is no status": Attack(FORGED.format(b"Z"), ("killed",), says="its own pipe"),
    "answers and goes on": Attack(FORGED.format(b"o") + "while True: pass", ("ok",)),
    "exception that prints without end": Attack(
        "class E(Exception):\n def __str__(self):\n  while True: print('x' * 10_000)\nraise E()", ("timeout",)
    ),
    "exception that is too long": Attack(
        "class E(Exception):\n def __str__(self): return 'x' * (400 << 20)\nraise E()", ("timeout", "error", "killed")
    ),
    "chain of exceptions": Attack(
        "e = None\nfor i in range(10**5):\n n = ValueError(i)\n n.__cause__ = e\n e = n\nraise e",
        ("timeout", "error", "killed"),
    ),
    "closes every descriptor": Attack("import os\nos.closerange(0, 1 << 16)", ("killed",)),
    "reads its own pipe": Attack("import os\nos.read(3, 1)", ("timeout",)),
    "exchanges its pipes": Attack("import os\nos.dup2(1, 4)\nos.dup2(4, 1)", ("killed", "timeout")),
    "a stream that fails": Attack(
        "import sys\nclass Broken:\n def write(self, text): raise OSError\n def flush(self): raise OSError\n"
        "sys.stdout = sys.stderr = Broken()\n1 / 0",
        ("error",),
        says="ZeroDivisionError",
    ),
    "closes the stream": Attack("import sys\nsys.stdout.close()\nsys.__stdout__.close()", ("ok",)),
    "half a character": Attack("print('\\ud800', chr(0), '\\x1b[2J')", ("ok",), says="\\ud800"),
    "bytes that are no text": Attack("import os\nos.write(1, bytes(range(256)))", ("ok",)),
}

BREAKAGE = {
    "segmentation fault": Attack("import ctypes\nctypes.string_at(0)", ("killed",), says="SIGSEGV"),
    "abort": Attack("import os\nos.abort()", ("killed",), says="SIGABRT"),
    "ends the process": Attack("import os\nos._exit(0)", ("killed",), says="exit status 0"),
    "replaces the process": Attack("import os\nos.execv('/bin/sh', ['sh', '-c', 'kill -9 $PPID; sleep 99'])"),
    "traces the runner": Attack("import sys\ndef trace(*_): raise ValueError\nsys.settrace(trace)", ("killed",)),
    "takes the stream apart": Attack("import sys\nsys.stdout.detach()", ("killed",)),
    "stops itself later": Attack(
        "import os, signal, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.02), os.kill(os.getpid(), signal.SIGSTOP))).start()",
        ("ok",),
    ),
    "an alarm that strikes when it is over": Attack(
        "import signal\ndef late(*_): raise RuntimeError\nsignal.signal(signal.SIGALRM, late)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)",
        ("ok", "killed"),
    ),
    "something for the end": Attack(
        "import atexit, time\natexit.register(time.sleep, 99)\nraise SystemExit(3)", ("error",), says="SystemExit: 3"
    ),
    "empties the interpreter": Attack(
        "import sys, builtins\nsys.modules.clear()\nvars(builtins).clear()", ("ok", "error", "killed")
    ),
    "replaces what reports": Attack(
        "import traceback, linecache, builtins\ntraceback.format_exception = None\nlinecache.cache = None\n1 / 0",
        ("error",),
        says="ZeroDivisionError",
    ),
    "searches its frames for the runner": Attack(
        "import sys\nframe = sys._getframe()\nwhile frame:\n"
        " for name in list(frame.f_globals):\n"
        "  if name in ('_run', 'write_all', 'os', 'DONE'): frame.f_globals[name] = None\n frame = frame.f_back",
        ("ok", "killed"),
    ),
    "interrupts itself": Attack("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", ("killed",)),
}

ESCAPES = {
    "reads a secret file": Attack(PRELUDE + "attempt(open, '@FOLDER@/secret')", ("ok",)),
    "looks around": Attack(
        PRELUDE
        + "files = '@PROJECT@/pyproject.toml', '@PROJECT@/src'  # the folder itself may be on the way to the packages\n"
        "for path in ('/etc/passwd', '/etc/shadow', '/proc', '/sys', '/home', '/var', '@FOLDER@', *files):\n"
        " attempt(os.stat, path)",
        ("ok",),
    ),
    "reads another session's file": Attack(
        PRELUDE + "import glob\nfor path in ('/tmp/secret', '/proc/1/root/tmp/secret', *glob.glob('/**/secret')):\n"
        " attempt(open, path)",
        ("ok",),
    ),
    "reads another session's memory": Attack(
        PRELUDE + "area = ctypes.create_string_buffer(64)\nvector = (ctypes.c_ulong * 2)(ctypes.addressof(area), 64)\n"
        "for number in range(3, 300):\n for other in (310, 311):\n"
        "  attempt(call, other, number, vector, 1, vector, 1, 0)",
        ("ok",),
    ),
    "reads the environment": Attack("import os\nif 'TENFOLD_SECRET' in os.environ: print('ESCAPED')", ("ok",)),
    "reads the environment of processes": Attack(PRELUDE + "attempt(open, '/proc/self/environ')", ("ok",)),
    "writes outside": Attack(
        PRELUDE + "for path in ('/x', '/usr/x', '/etc/x', '/dev/x', '/run/x', '@FOLDER@/x', os.__file__):\n"
        " attempt(open, path, 'a')",
        ("ok",),
    ),
    "connects to this machine": Attack(
        PRELUDE + "attempt(socket.create_connection, ('127.0.0.1', @PORT@), 0.2)", ("ok",)
    ),
    "connects out": Attack(PRELUDE + "attempt(socket.create_connection, ('1.1.1.1', 53), 0.2)", ("ok",)),
    "asks for a name": Attack(PRELUDE + "attempt(socket.getaddrinfo, 'localhost', 80)", ("ok", "error")),
    "abstract socket": Attack(PRELUDE + "attempt(socket.socket, socket.AF_UNIX)", ("ok",)),
    "raw socket": Attack(PRELUDE + "attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)", ("ok",)),
    "mounts": Attack(
        PRELUDE + "attempt(call, 165, b'proc', b'/tmp', b'proc', 0, 0)\n"
        "attempt(call, 165, 0, b'/', 0, 32, 0)\nattempt(call, 166, b'/tmp', 2)",
        ("ok",),
    ),
    "new namespaces": Attack(
        PRELUDE + "for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000): attempt(call, 272, flag)", ("ok",)
    ),
    "changes its root": Attack(PRELUDE + "attempt(os.chroot, '/tmp')", ("ok",)),
    "becomes root": Attack(
        PRELUDE + "attempt(os.setuid, 0)\nattempt(os.setgid, 0)\nattempt(os.setgroups, [0])", ("ok",)
    ),
    "makes a device": Attack(PRELUDE + "attempt(os.mknod, '/tmp/disk', 0o60600, os.makedev(254, 0))", ("ok",)),
    "traces its guard": Attack(PRELUDE + "attempt(call, 101, 16, 1, 0, 0)", ("ok",)),
    "reads its guard": Attack(
        PRELUDE + "area = ctypes.create_string_buffer(64)\nvector = (ctypes.c_ulong * 2)(ctypes.addressof(area), 64)\n"
        "attempt(call, 310, 1, vector, 1, vector, 1, 0)",
        ("ok",),
    ),
    "limits its guard": Attack(PRELUDE + "attempt(resource.prlimit, 1, resource.RLIMIT_CPU, (0, 0))", ("ok",)),
    "kills its guard": Attack(
        "import os\nfor number in range(1, 65):\n try: os.kill(1, number)\n except OSError: pass\nprint('alive')",
        ("ok",),
        says="alive",
    ),
    "kills everyone": Attack("import os, signal\ntry: os.kill(-1, 9)\nexcept OSError: pass\nprint('alone')", ("ok",)),
    "sees other processes": Attack(
        "import os\nfor number in (*range(3, 999), *range(@PID@ - 99, @PID@ + 5000)):\n"
        " try: os.kill(number, 0)\n except OSError: continue\n"
        " print('ESCAPED', number)",
        ("ok",),
    ),
    "kernel doors": Attack(
        PRELUDE + "for number in (425, 321, 298, 250, 248, 323, 303, 304, 312, 438, 175, 246, 169, 172):\n"
        " attempt(call, number, 0, 0, 0, 0, 0)",
        ("ok",),
    ),
    "watches what others open": Attack(
        PRELUDE + "import fcntl\nfolder = os.open(os.path.dirname(os.__file__), os.O_RDONLY)\n"
        "file = os.open(os.__file__, os.O_RDONLY)\n"
        "attempt(fcntl.fcntl, folder, 1026, 1)\nattempt(fcntl.fcntl, file, 1024, fcntl.F_RDLCK)\n"
        "for watch in (libc.inotify_init, lambda: libc.inotify_init1(0)):\n if watch() >= 0: print('ESCAPED')",
        ("ok",),
    ),
    "locks what is installed": Attack(
        PRELUDE + "import fcntl, struct\nfile = os.open(os.__file__, os.O_RDONLY)\n"
        "attempt(fcntl.flock, file, fcntl.LOCK_EX)\nattempt(fcntl.flock, file, fcntl.LOCK_SH)\n"
        "attempt(fcntl.lockf, file, fcntl.LOCK_EX)\nattempt(fcntl.lockf, file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "for command in (37, 38):\n for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):\n"
        "  attempt(fcntl.fcntl, file, command, struct.pack('hhqqi', kind, 0, 0, 0, 0))",
        ("ok",),
    ),
    "takes from limits of the whole machine": Attack(
        PRELUDE + "import fcntl\nfrom_here = ctypes.c_ulong()\n"
        "if libc.syscall({'x86_64': 206}.get(os.uname().machine, 0), 60_000, ctypes.byref(from_here)) == 0:\n"
        " print('ESCAPED')\nattempt(fcntl.fcntl, os.pipe()[1], 1031, 1 << 20)",
        ("ok",),
    ),
    "signals of its choice from timers and pipes": Attack(
        PRELUDE + "import fcntl\nevent, timer = (ctypes.c_int * 16)(), ctypes.c_void_p()\nevent[2] = 18\n"
        "if libc.timer_create(0, event, ctypes.byref(timer)) == 0: print('ESCAPED')\n"
        "attempt(fcntl.fcntl, os.pipe()[0], 10, 18)\nattempt(os.kill, os.getpid(), 18)\nattempt(os.kill, -1, 18)\n"
        "attempt(signal.pthread_kill, threading.get_ident(), 18)",
        ("ok",),
    ),
    "piles up signals": Attack(
        PRELUDE + "signal.pthread_sigmask(signal.SIG_BLOCK, [40])\n"
        "sent = 0\nwhile sent < 10_000 and libc.sigqueue(os.getpid(), 40, 0) == 0: sent += 1\n"
        "print('ESCAPED' if sent > 200 else 'bounded')",
        ("ok",),
        says="bounded",
    ),
    "other numbers for the same calls": Attack(
        PRELUDE + "attempt(call, 0x40000000 + 41, 2, 1, 0)\nattempt(call, 435, 0, 0)", ("ok",)
    ),
    "system calls of 32 bits": Attack(
        PRELUDE + "import mmap\nif os.uname().machine != 'x86_64': sys.exit()\n"
        "page = mmap.mmap(-1, 4096, prot=7)\n"
        "page.write(bytes.fromhex('b866010000bb0200000031c931d2cd80c3'))\n"  # socket(AF_INET, …) through int 0x80
        "address = ctypes.addressof(ctypes.c_char.from_buffer(page))\n"
        "print('ESCAPED', ctypes.CFUNCTYPE(ctypes.c_int)(address)())",
        ("killed",),
    ),
    "starts a child": Attack(
        PRELUDE + "import subprocess\nattempt(os.fork)\nattempt(subprocess.run, ['/bin/true'])\n"
        "attempt(os.posix_spawn, '/bin/true', ['true'], {})\nattempt(call, 56, 17, 0, 0, 0, 0)\nattempt(call, 58)",
        ("ok", "timeout"),
    ),
}

CHILDREN = {
    "fork bomb": Attack("import os\nwhile True:\n try: os.fork()\n except OSError: pass", ("timeout", "killed"), True),
    "children that loop": Attack(
        "import os\nfor i in range(4):\n if os.fork() == 0:\n  while True: pass\nwhile True: pass", ("timeout",), True
    ),
    "orphans in sessions of their own": Attack(
        "import os, signal, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n"
        "  for number in (1, 2, 3, 15, 18): signal.signal(number, signal.SIG_IGN)\n  while True: time.sleep(0.01)\n"
        " os._exit(0)\nprint('left')",
        ("ok",),
        True,
    ),
    "child goes on where the parent was": Attack("import os\nos.fork()\nprint('twice')", ("ok", "killed"), True),
    "child answers for the parent": Attack(
        "import os, time\nif os.fork() == 0:\n os.write(4, b'12345678o' * 3)\n os._exit(0)\ntime.sleep(0.2)",
        ("killed",),
        True,
    ),
    "child keeps the pipes": Attack(
        "import os, time\nif os.fork() == 0:\n while True: time.sleep(1)\nos._exit(0)", ("killed",), True
    ),
    "command that ignores its end": Attack(
        "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'trap \"\" 1 2 15; while :; do :; done'])",
        ("timeout",),
        True,
    ),
    "command that prints for ever": Attack("import subprocess\nsubprocess.run(['/usr/bin/yes'])", ("timeout",), True),
    "children stop and continue each other": Attack(
        "import os, signal, time\nif os.fork() == 0:\n while True:\n"
        "  try: os.kill(-1, signal.SIGCONT)\n  except OSError: pass\nprint('started')",
        ("ok",),
        True,
    ),
    "a thousand zombies": Attack(
        "import os\nfor i in range(1000):\n try: child = os.fork()\n except OSError: break\n"
        " if child == 0: os._exit(0)",
        ("ok",),
        True,
    ),
    "more memory in children": Attack(
        "import os\nif os.fork() == 0:\n bytearray(2 << 30)\n print('ESCAPED', flush=True)\n os._exit(0)\nos.wait()",
        ("ok", "error"),
        True,
    ),
}

ATTACKS = {**TIME, **MEMORY, **OUTPUT, **BREAKAGE, **ESCAPES, **CHILDREN}


class Target:
    """A sandbox with a witness session, secrets beside it, and a port that nobody may reach."""

    def __init__(self, folder, processes):
        self.folder = folder
        self.token = secrets.token_hex(16)
        (folder / "secret").write_text(self.token)
        (folder / "secret").chmod(0o644)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setblocking(False)
        limits = Limits(seconds=SECONDS, processes=processes)
        self.sandbox = Sandbox(limits=limits, modules=("numpy",), max_sessions=4)
        assert self.sandbox.isolated, "these programs may only ever run isolated"
        self.witness = self.sandbox.open()
        assert self.witness.run(f"secret = {self.token!r}; open('/tmp/secret', 'w').write(secret)").status == "ok"
        self.baseline = self.num_processes()

    def num_processes(self):
        me = psutil.Process()
        return len(me.children(recursive=True))

    def attack(self, program):
        words = {"@FOLDER@": str(self.folder), "@PROJECT@": os.getcwd(), "@PID@": str(os.getpid())}
        words["@PORT@"] = str(self.server.getsockname()[1])
        for word, value in words.items():
            program = program.replace(word, value)
        with self.sandbox.open() as session:
            session.run("")
            started = time.monotonic()
            execution = session.run(program)
            seconds = time.monotonic() - started
            after = session.run("print('next')")
        return execution, seconds, after

    def check(self):
        with self.sandbox.open() as session:
            assert session.run("print(2 + 2)").output == "4"
        assert self.witness.run("print(secret, open('/tmp/secret').read())").output == f"{self.token} {self.token}"
        assert sorted(os.listdir(self.folder)) == ["secret"]
        with pytest.raises(BlockingIOError):
            self.server.accept()
        until = time.monotonic() + OVERTIME
        while self.num_processes() > self.baseline:
            assert time.monotonic() < until, "a process is left"
            time.sleep(0.01)

    def close(self):
        self.witness.close()
        self.sandbox.close()
        self.server.close()


@pytest.fixture(scope="module")
def targets(_bubblewrap, tmp_path_factory):
    os.environ["TENFOLD_SECRET"] = "of the environment"
    targets = {
        wide: Target(tmp_path_factory.mktemp("wide" if wide else "narrow"), 12 if wide else 1) for wide in (False, True)
    }
    for target in targets.values():
        target.baseline = target.num_processes()
    yield targets
    del os.environ["TENFOLD_SECRET"]
    for target in targets.values():
        target.close()


def test_there_are_at_least_forty():
    assert len(ATTACKS) >= 40


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name, targets):
    attack = ATTACKS[name]
    target = targets[attack.wide]
    execution, seconds, after = target.attack(attack.program)
    assert seconds < SECONDS + OVERTIME
    assert execution.status in attack.ends, execution
    assert attack.says in execution.output
    assert "ESCAPED" not in execution.output + after.output, execution
    assert target.token not in execution.output + after.output
    assert len(execution.output) <= 803
    if execution.status in ("timeout", "killed"):
        assert "Error" in execution.output and "names of this session are lost" in execution.output
        assert after.output == "next" and after.status == "ok"
    target.check()
