"""Comparison as mathematics in worker processes: deadlines are kept, and the next answer is served all the same."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tenfold.core.errors import UserError
from tenfold.eval.math_match import MathMatcher, math_match

pytest.importorskip("math_verify")
pytestmark = pytest.mark.alone
FOREVER = "$2^{10000000000}$"  # evaluated to its last digit


@pytest.fixture(scope="module")
def matcher():
    with MathMatcher(num_workers=2, seconds=2.0) as matcher:
        yield matcher


def processes(matcher):
    return {worker._process.pid for worker in matcher._idle.queue if worker._process}


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("1/2", "0.5", True),
        ("\\frac{1}{2}", "0.5", True),
        ("$\\frac{3}{4}$", "0.75", True),
        ("$x^2+2x+1$", "$(x+1)^2$", True),
        ("$\\{1,2\\}$", "$\\{2,1\\}$", True),
        ("3", "3.0", True),
        ("7.0", 7, True),
        ("12", "21", False),
        ("x^2+1", "1+x^2", True),
        ("x^2+1", "x^2-1", False),
        ("3\\pi", "3", False),
        ("3\\pi", "$\\pi\\cdot 3$", True),
        ("\\frac12", "0.5", True),
        ("\\{1,2\\}", "\\{2,1\\}", True),
        ("\\sqrt{8}", "2\\sqrt{2}", True),
        ("1,234", "1234", True),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "$\\begin{pmatrix}1\\\\2\\end{pmatrix}$", True),
        ("5\\text{ cm}", "5", True),
        ("\\boxed{7}", "7", True),
        ("the answer is 7", "7", True),
        ("none", "3", False),
        ("", "3", False),
        ("\\frac{1}{", "0.5", False),
        ('line\nbreak "quoted" 7', "7", True),
    ],
)
def test_equality_as_mathematics(answer, reference, same):
    assert math_match(answer, reference) is same
    assert math_match(answer, ["-77", reference]) is same


def test_an_answer_that_takes_forever_is_unequal_and_the_next_one_is_compared(matcher):
    started = time.monotonic()
    assert not matcher.match(FOREVER, "1")
    assert time.monotonic() - started < 2.0 + 120, "the deadline and a start"
    before = matcher.num_killed
    assert matcher.match("1/2", "0.5") and matcher.num_killed == before >= 1


def test_many_are_compared_in_their_order(matcher):
    pairs = [(f"{n}/2", str(n / 2 if n % 3 else n)) for n in range(1, 40)]
    assert matcher.match_all(pairs) == [bool(n % 3) for n in range(1, 40)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda pair: matcher.match(*pair), pairs)) == [bool(n % 3) for n in range(1, 40)]


def test_processes_stay_warm(matcher):
    matcher.match_all([("1", "1")] * 4)
    before = processes(matcher)
    assert matcher.match_all([("1", "1"), ("2", "3")] * 10) == [True, False] * 10
    assert processes(matcher) >= before and 1 <= len(before) <= 2


def test_a_process_that_died_is_replaced(matcher):
    for pid in processes(matcher):
        os.kill(pid, signal.SIGKILL)
    assert matcher.match("1", "1") and matcher.match("2", "2")


def test_processes_are_gone_after_closing():
    with MathMatcher() as matcher:
        assert matcher.match("1", "1")
        (pid,) = processes(matcher)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_comparison_ends_by_itself_when_nobody_waits_for_it():
    """The asking process is gone: the alarm of the worker ends it, in the middle of a calculation."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "tenfold.eval.math_worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout.readline() == "ready\n"
    worker.stdin.write('{"answer": "$2^{10000000000}$", "references": ["1"], "seconds": 0.1}\n')
    worker.stdin.flush()
    assert worker.wait(timeout=60) == -signal.SIGALRM
    worker.communicate()


@pytest.mark.parametrize(
    ("options", "message"), [({"num_workers": 0}, "num_workers = 0"), ({"seconds": 0}, "seconds = 0: must be above 0")]
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        MathMatcher(**options)
