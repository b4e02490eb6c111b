"""Sessions as programs and callers see them. What hostile programs try is in test_attacks.py."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import psutil
import pytest

from tenfold.core.errors import UserError
from tenfold.envs.sandbox import Limits, Sandbox
from tenfold.envs.sandbox.inside import confine
from tenfold.envs.sandbox.inside.collector import Collector, cut

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def sandbox(_bubblewrap):
    with Sandbox(limits=Limits(seconds=5, program_bytes=1 << 18), modules=("math", "numpy"), max_sessions=8) as sandbox:
        assert sandbox.isolated
        yield sandbox


@pytest.fixture
def session(sandbox):
    with sandbox.open() as session:
        yield session


@pytest.fixture
def impatient(_bubblewrap):
    with Sandbox(limits=Limits(seconds=0.3), modules=(), max_sessions=2, wait_seconds=0.3) as sandbox:
        yield sandbox


def test_names_imports_and_functions_persist(session):
    assert session.run("import math\nradius = 2\ndef area(): return math.pi * radius**2").status == "ok"
    assert session.run("radius = 1\nprint(round(area(), 3))").output == "3.142"


def test_a_failed_program_keeps_what_it_had_done(session):
    assert session.run("a = 1\n1 / 0\na = 2").status == "error"
    assert session.run("print(a)").output == "1"


def test_sqlite_temporary_files_and_record_locks_work_in_the_folder_of_the_program(session):
    """SQLite locks records; what is refused are the other kinds of locks, see docs/code-sandbox.md."""
    said = session.run(
        "import fcntl, sqlite3, tempfile\n"
        "first, second = (sqlite3.connect('numbers.db', timeout=0) for _ in range(2))\n"
        "first.execute('create table n (x)')\nfirst.execute('insert into n values (7)')\n"
        "try: second.execute('insert into n values (8)')\nexcept sqlite3.OperationalError as error: print(error)\n"
        "first.commit()\nprint(second.execute('select x from n').fetchall())\n"
        "with tempfile.NamedTemporaryFile() as file:\n"
        " fcntl.lockf(file, fcntl.LOCK_EX)\n fcntl.lockf(file, fcntl.LOCK_UN)\nprint('done')"
    )
    assert said.status == "ok" and said.output.splitlines() == ["database is locked", "[(7,)]", "done"]


def test_what_the_documents_say_of_record_locks_on_installed_files_holds(session):
    """For reading they are given, and no program can ask for one to write."""
    said = session.run(
        "import fcntl, os\nfile = os.open(os.__file__, os.O_RDONLY)\nfcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)\n"
        "try: os.open(os.__file__, os.O_RDWR)\nexcept OSError as error: print(type(error).__name__)"
    )
    assert said.status == "ok" and said.output in ("OSError", "PermissionError")


def test_sessions_do_not_share_names(sandbox):
    with sandbox.open() as one, sandbox.open() as other:
        one.run("x = 1")
        assert other.run("x").output.endswith("NameError: name 'x' is not defined")
        assert one.run("print(x)").output == "1"


def test_the_output_is_what_was_printed_and_then_the_traceback_of_the_program_alone(session):
    session.run("def invert(x):\n    return 1 / x")
    execution = session.run("import sys\nprint('before')\nprint('unseen', file=sys.stderr)\ninvert(0)")
    assert execution.status == "error"
    assert re.sub(r"\n +[~^]+", "", execution.output) == (
        "before\n"
        "Traceback (most recent call last):\n"
        '  File "<program 2>", line 4, in <module>\n'
        "    invert(0)\n"
        '  File "<program 1>", line 2, in invert\n'
        "    return 1 / x\n"
        "ZeroDivisionError: division by zero"
    )


def test_a_program_that_is_no_python_says_where(session):
    execution = session.run("x = (1,\nprint(x")
    assert execution.status == "error" and "SyntaxError" in execution.output and '"<program 1>"' in execution.output


def test_nothing_can_be_read_from_standard_input(session):
    assert session.run("input('name: ')").output.endswith("EOFError: EOF when reading a line")


def test_leaving_is_no_error_unless_it_says_so(session):
    assert (session.run("print(1)\nexit()").output, session.run("raise SystemExit(0)").status) == ("1", "ok")
    assert session.run("raise SystemExit('no data')").output.endswith("SystemExit: no data")


@pytest.mark.parametrize(
    ("program", "echoed"),
    [("x = 3\nx * 2", "6"), ("print(1)\n'a'", "1\n'a'"), ("None", ""), ("x = 1", ""), ("", ""), ("if 1:\n 5", "")],
)
def test_the_last_expression_is_echoed_on_request_only(program, echoed, session):
    assert session.run(program, echo_last_expression=True).output == echoed
    assert session.run(program).output == ("1" if "print" in program else "")


def test_ten_thousand_characters_become_803(session):
    execution = session.run("print('a' * 5000 + 'ß' * 5000)")
    assert execution.output == "a" * 400 + "..." + "ß" * 400
    assert execution.num_characters == 10_001 and execution.status == "ok"
    assert session.run("print('x' * 800)").output == "x" * 800
    assert session.run("print('x' * 801)").output == "x" * 400 + "..." + "x" * 400


@pytest.mark.parametrize("characters", [2, 10, 801])
@pytest.mark.parametrize("length", [0, 1, 9, 11, 800, 802, 5000, 40_000])
def test_the_collector_cuts_what_comes_in_pieces_like_the_whole(characters, length):
    text = "".join("aß€😀\n"[(i * i + i // 7) % 5] for i in range(length)) + "end"
    encoded, collector = text.encode(), Collector(characters)
    for start in range(0, len(encoded), 997):
        collector.feed(encoded[start : start + 997])
    assert collector.result() == (cut(text, characters).encode(), len(text))
    assert len(collector.head) + len(collector.tail) <= 2 * characters


PIECES = (
    b"\n",
    b"\n" * 30,
    b"a",
    b"bc\n",
    "ß".encode(),
    "€".encode()[:2],
    "😀".encode()[:3],
    b"\xff",
    b"\x80\x80",
    b"\xc3",
    b"x" * 50,
)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_is_cut_and_counted_like_the_whole(seed):
    """Line ends in masses at the end and in the midst, bytes that are no text, and characters in two pieces."""
    random = Random(seed)
    parts = [random.choice(PIECES) for _ in range(random.randrange(1, 60))]
    characters = random.choice([2, 3, 10, 41])
    collector = Collector(characters)
    for part in parts:
        collector.feed(part)
    text = b"".join(parts).decode(errors="replace")
    assert collector.result() == (cut(text.rstrip("\n"), characters).encode(), len(text))


def test_the_end_of_a_long_output_with_many_line_ends_is_its_end(session):
    execution = session.run("print('start' + 'x' * 10_000 + 'the end' + chr(10) * 200_000)")
    assert execution.output.startswith("start") and execution.output.endswith("the end")
    assert execution.num_characters == 210_013


def test_bytes_that_are_no_text_count_as_what_stands_for_them(session):
    execution = session.run("import os; _ = os.write(1, bytes([0xff] * 100 + [0x80] * 100))")
    assert execution.output == "\ufffd" * 200 and execution.num_characters == 200


@pytest.mark.parametrize(("number", "name"), [(40, "40"), (34, "SIGRTMIN"), (9, "SIGKILL"), (11, "SIGSEGV")])
def test_what_was_printed_before_a_signal_ended_the_interpreter_is_kept(number, name, sandbox):
    with sandbox.open() as session:
        execution = session.run(f"import os; print('x', flush=True); os.kill(os.getpid(), {number})")
    assert execution.status == "killed"
    assert execution.output.startswith(f"x\n\nError: the interpreter was ended: signal {name}.")


@pytest.mark.parametrize(
    "program", ["while True: pass", "while True:\n try:\n  while True: pass\n except BaseException: pass"]
)
def test_after_a_timeout_the_session_goes_on_without_its_names(program, impatient):
    with impatient.open() as session:
        session.run("x = 1")
        started = time.monotonic()
        execution = session.run(f"print('begun', flush=True)\n{program}")
        assert time.monotonic() - started < 0.3 + 1
        assert execution.status == "timeout"
        assert execution.output.startswith("begun\n\nTimeoutError: the program ran for more than 0.3 s")
        assert "names of this session are lost" in execution.output
        assert "NameError" in session.run("x").output


@pytest.mark.parametrize("program", ["print('\ud800')", "x = 1 #" + "x" * (1 << 18)], ids=["half a pair", "too long"])
def test_what_is_no_program_is_refused(program, session):
    session.run("y = 1")
    execution = session.run(program)
    assert execution.status == "refused" and execution.output.startswith("Error: the program is ")
    assert session.run("print(y)").output == "1"


def test_modules_are_warm_and_random_numbers_repeat(sandbox):
    program = "import random, sys, numpy\nprint('math' in sys.modules, random.random(), numpy.random.rand())"
    said = set()
    for _ in range(2):
        with sandbox.open() as session:
            assert session.run("import sys; print('numpy' in sys.modules)").output == "True"
            said.add(session.run(program).output)
    assert len(said) == 1


def test_packages_below_the_temporary_folder_are_found_before_and_in_a_session(_bubblewrap, monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        packages = Path(folder) / "site-packages"
        packages.mkdir()
        os.chmod(folder, 0o755)
        for name, value in (("tried_early", 1), ("tried_late", 2)):
            (packages / f"{name}.py").write_text(f"VALUE = {value}\n")
        monkeypatch.syspath_prepend(str(packages))
        with Sandbox(limits=Limits(seconds=5), modules=("tried_early",)) as sandbox, sandbox.open() as session:
            program = (
                "import tried_early, tried_late, os\nprint(tried_early.VALUE, tried_late.VALUE, os.listdir('/tmp'))"
            )
            assert session.run(program).output == "1 2 []"


def test_dataclasses_and_pickle_find_the_names_of_the_program(session):
    program = (
        "import dataclasses, pickle\n@dataclasses.dataclass\nclass Point:\n    x: int\n"
        "print(pickle.loads(pickle.dumps(Point(3))))"
    )
    assert session.run(program).output == "Point(x=3)"


def test_the_temporary_folder_is_the_session_s_own(session):
    assert session.run("open('notes', 'w').write('kept')").status == "ok"
    assert session.run("import os; print(os.getcwd(), open('/tmp/notes').read())").output == "/tmp kept"


def test_children_are_allowed_where_wanted_and_their_output_counts(_bubblewrap):
    with Sandbox(limits=Limits(processes=4), modules=()) as sandbox, sandbox.open() as session:
        assert session.run("import subprocess\nsubprocess.run(['echo', 'from a child'])").output == "from a child"


def test_between_programs_a_session_is_stopped(session):
    """A thread left behind uses no time while no program runs, and goes on with the next."""
    session.run("import threading\ncount = 0\ndef work():\n    global count\n    while True: count += 1")
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    session.run("threading.Thread(target=work, daemon=True).start()")
    ours = [process for process in psutil.Process().children(recursive=True) if process.pid in before]
    until = time.monotonic() + 5
    while not any(process.status() == psutil.STATUS_STOPPED for process in ours):
        assert time.monotonic() < until
        time.sleep(0.01)
    first = int(session.run("print(count)").output)
    assert int(session.run("import time; time.sleep(0.1); print(count)").output) > first


WAKERS = {
    "an interval timer": """
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
""",
    "threads that send signals": """
def send():
    while True:
        try: os.kill(os.getpid(), signal.SIGCONT)
        except OSError: pass
for thread in range(3): threading.Thread(target=send, daemon=True).start()
""",
    "a timer with a signal of one's choice": """
signal.signal(signal.SIGCONT, lambda *_: None)
event = (ctypes.c_int * 16)()
event[2], event[3] = 18, 0  # SIGCONT, by a signal
timer = ctypes.c_void_p()
if libc.timer_create(0, event, ctypes.byref(timer)) == 0:
    libc.timer_settime(timer, 0, (ctypes.c_long * 4)(0, 10_000_000, 0, 10_000_000), None)
""",
}


@pytest.mark.parametrize("waker", WAKERS)
def test_no_timer_wakes_an_idle_session(waker, session):
    """The processor time of a session that is left alone does not grow, whatever it has armed."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    session.run("import ctypes, os, signal, threading\nlibc = ctypes.CDLL(None, use_errno=True)")
    ours = [process for process in psutil.Process().children(recursive=True) if process.pid not in before]
    session.run("def spin():\n while True: pass\nthreading.Thread(target=spin, daemon=True).start()")
    session.run(WAKERS[waker])
    until = time.monotonic() + 5
    while not any(process.status() == psutil.STATUS_STOPPED for process in ours):
        assert time.monotonic() < until
        time.sleep(0.01)
    used = [sum(process.cpu_times()[:2]) for process in ours]
    time.sleep(0.5)
    assert sum(sum(process.cpu_times()[:2]) for process in ours) - sum(used) < 0.1


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="the kernel has no such preference")
def test_sessions_go_first_when_memory_runs_out(sandbox):
    with sandbox.open() as session:
        session.run("")
        parent = psutil.Process(sandbox._parent._process.pid)
        for process in (parent, *parent.children(recursive=True)):
            assert int(Path(f"/proc/{process.pid}/oom_score_adj").read_text()) == 1000
    assert int(Path("/proc/self/oom_score_adj").read_text()) < 1000


def test_many_threads_use_many_sessions(sandbox):
    def use(number):
        with sandbox.open() as session:
            session.run(f"x = {number}")
            return [session.run(f"print(x * {factor})").output for factor in range(5)]

    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(use, range(32)))
    assert said == [[str(number * factor) for factor in range(5)] for number in range(32)]


def test_a_further_session_waits_for_a_place(impatient):
    first, second, third = (impatient.open() for _ in range(3))
    first.run("x = 1")
    second.run("x = 2")
    said = []
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: said.append(third.run("print(3)").output))
        time.sleep(0.05)
        assert not said
        first.close()
        waiting.result()
    assert said == ["3"]
    second.close()
    third.close()


def test_waiting_for_oneself_and_for_too_long_are_errors(impatient):
    with impatient.open() as first, impatient.open() as second, impatient.open() as third:
        first.run("x = 1")
        second.run("x = 2")
        with pytest.raises(UserError, match="max_sessions is 2, and this thread holds all of them"):
            third.run("x = 3")
        with ThreadPoolExecutor(1) as pool, pytest.raises(UserError, match=r"no session was closed for 0\.3 s"):
            pool.submit(third.run, "x = 3").result()


def test_what_is_closed_stays_closed(_bubblewrap):
    with Sandbox(modules=()) as sandbox:
        session, unused = sandbox.open(), sandbox.open()
        session.run("x = 1")
        session.close()
        session.close()
        with pytest.raises(UserError, match="session is closed"):
            session.run("x")
    with pytest.raises(UserError, match="is closed"):
        unused.run("x")


def test_closing_leaves_nothing(_bubblewrap, monkeypatch):
    me = psutil.Process()
    before = set(me.children(recursive=True))
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        with Sandbox(modules=()) as sandbox, sandbox.open() as session:
            session.run("x = 1")
            assert set(me.children(recursive=True)) > before
        assert set(me.children(recursive=True)) <= before
        assert os.listdir(folder) == []


def test_a_sandbox_outlives_the_thread_that_made_it(_bubblewrap):
    made = []
    thread = threading.Thread(target=lambda: made.append(Sandbox(modules=())))
    thread.start()
    thread.join()
    with made[0] as sandbox, sandbox.open() as session:
        time.sleep(0.1)
        assert session.run("print(1)").output == "1"


def test_everything_ends_with_this_process(_bubblewrap):
    program = (
        "import psutil, sys\nfrom tenfold.envs.sandbox import Sandbox\nsandbox = Sandbox(modules=())\n"
        "session = sandbox.open()\nsession.run('x = 1')\n"
        "print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        numbers = [int(word) for word in process.stdout.readline().split()]
        process.kill()
    assert len(numbers) >= 4
    until = time.monotonic() + 5
    while any(psutil.pid_exists(number) for number in numbers):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_warm_parent_that_was_killed_is_replaced(_bubblewrap):
    with Sandbox(modules=()) as sandbox:
        processes = psutil.Process(sandbox._parent._process.pid).children(recursive=True)
        sandbox._parent._process.kill()
        sandbox._parent._process.wait()
        psutil.wait_procs(processes, timeout=10)
        with sandbox.open() as session:
            assert session.run("print(1)").output == "1"


def test_a_session_whose_processes_were_killed_says_so(session):
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    session.run("x = 1")
    for process in psutil.Process().children(recursive=True):
        if process.pid not in before:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    assert session.run("x").status == "killed"
    assert "NameError" in session.run("x").output


def test_another_process_needs_a_sandbox_of_its_own(sandbox, monkeypatch):
    monkeypatch.setattr(sandbox, "_process", -1)
    with sandbox.open() as session, pytest.raises(UserError, match="belongs to the process that made it"):
        session.run("x = 1")


@pytest.mark.parametrize(
    ("field", "value"), [("seconds", 0), ("seconds", float("inf")), ("memory_bytes", 0.5), ("output_characters", 1)]
)
def test_limits_are_checked(field, value):
    with pytest.raises(UserError, match=f"{field} is {value}; allowed"):
        Limits(**{field: value})


def test_bad_input_of_a_sandbox_is_named(_bubblewrap):
    with pytest.raises(UserError, match="max_sessions is 0"):
        Sandbox(max_sessions=0)
    with pytest.raises(UserError, match=r"modules: .*no_such_module"):
        Sandbox(modules=("math", "no_such_module"))


@pytest.fixture
def without_bubblewrap(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")


def test_without_bubblewrap_it_refuses_in_a_line_that_names_the_package(without_bubblewrap):
    with pytest.raises(UserError, match="install the Debian package bubblewrap") as refusal:
        Sandbox()
    assert "\n" not in str(refusal.value) and "allow_unsafe=True" in str(refusal.value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="programs run on Linux only")
def test_without_user_namespaces_it_refuses_and_says_what_bubblewrap_said(monkeypatch):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        fake = Path(folder, "bwrap")
        fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        with pytest.raises(UserError, match=r"setting up uid map: Permission denied.*user namespaces") as refusal:
            Sandbox()
    assert "\n" not in str(refusal.value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="programs run on Linux only")
def test_unsafe_programs_keep_limits_and_deadlines(without_bubblewrap):
    before = set(psutil.Process().children(recursive=True))
    with pytest.warns(RuntimeWarning, match="without isolation"):
        sandbox = Sandbox(limits=Limits(seconds=0.3), modules=(), allow_unsafe=True)
    with sandbox:
        assert not sandbox.isolated
        with sandbox.open() as session:
            session.run("x = 6")
            assert session.run("print(x * 7)").output == "42"
            assert session.run("bytearray(2 << 30)").output.endswith("MemoryError")
            assert session.run("import os; os.fork()").output.endswith("Operation not permitted")
            assert session.run(f"import os; os.kill({os.getpid()}, 9)").output.endswith("Operation not permitted")
            assert session.run("while True: pass").status == "timeout"
            assert session.run("print('again')").output == "again"
            assert session.run("import os; os._exit(3)").status == "killed"
    assert set(psutil.Process().children(recursive=True)) <= before


def test_allowing_what_is_unsafe_does_not_give_up_what_is_safe(_bubblewrap):
    with Sandbox(modules=(), allow_unsafe=True) as sandbox:
        assert sandbox.isolated


HEADERS = {
    0: ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", r"#define __NR_(\w+)\s+(\d+)"),
    1: ("/usr/include/asm-generic/unistd.h", r"#define __NR(?:3264)?_(\w+)\s+(\d+)"),
}


@pytest.mark.parametrize("column", HEADERS)
def test_system_calls_have_the_numbers_of_the_kernel_s_headers(column):
    path, pattern = HEADERS[column]
    if not os.path.exists(path):
        pytest.skip("the kernel's headers are not installed: apt install linux-libc-dev")
    known = dict(re.findall(pattern, Path(path).read_text()))
    others = {"clone": confine.CLONE, "clone3": confine.CLONE3, "fork": confine.FORK, "prlimit64": confine.PRLIMIT}
    others["fcntl"] = confine.FCNTL
    for name, numbers in {**confine.SYSTEM_CALLS, **confine.SIGNALS, **confine.SIGNALS_TO_THREADS, **others}.items():
        number = numbers[column]
        assert (None if number is None else str(number)) == known.get(name), name


def test_bubblewrap_is_not_started_as_root(_bubblewrap):
    with Sandbox(modules=()) as sandbox:
        process = psutil.Process(sandbox._parent._process.pid)
        seen = 0
        for child in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # the one that starts it may be gone by now
                assert 0 not in child.uids()
                seen += 1
        assert seen
