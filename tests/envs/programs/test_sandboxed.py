"""Programs in the code sandbox: hostile ones end, the session and this process go on."""

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.envs.programs import InThisProcess, ProgramRefused, ProgramSandbox, infer
from tenfold.envs.programs.inside.methods import Request

from .examples import COINS, TUG_OF_WAR

pytestmark = [pytest.mark.usefixtures("_bubblewrap"), pytest.mark.alone]


@pytest.fixture(scope="module")
def programs():
    with ProgramSandbox(seconds=1.0, memory_bytes=600 << 20) as sandbox:
        yield sandbox


def test_the_sandbox_gives_what_this_process_gives(programs):
    inside = infer(TUG_OF_WAR, n=300, seed=3, max_seconds=1, runner=programs)
    here = infer(TUG_OF_WAR, n=300, seed=3, max_seconds=1, runner=InThisProcess())
    assert all(np.array_equal(inside.samples[query], here.samples[query]) for query in here.queries)
    assert inside.conditions == here.conditions


HOSTILE = {
    "an endless loop": ("while True:\n        pass", "stopped: it ran on after its 1 s"),
    "an endless comprehension": ("x = sum(1 for i in range(10**12))", "stopped: it ran on"),
    "a gigabyte": ("x = [0.5] * 10**9", "too much: MemoryError|killed"),
    "a gigabyte by and by": ("x = [[1.5] * 10**7 for i in range(10**4)]", "too much: MemoryError|killed|stopped"),
    "endless recursion": ("f = lambda: f()\n    f()", "RecursionError|killed"),
    "a huge power": ("x = 9 ** 9 ** 9", "stopped: it ran on|OverflowError|too much"),
    "a huge text": ("x = f'{1:>{10**11}}'", "too much: MemoryError|killed"),
}


@pytest.mark.spec("msa", "7")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_end_and_the_next_one_runs(programs, name):
    body, reason = HOSTILE[name]
    with pytest.raises(ProgramRefused, match=reason) as caught:
        infer(f"def model():\n    {body}\n    return {{'x': 1}}", "rejection", max_seconds=1, runner=programs)
    assert "\n" not in str(caught.value)
    assert infer(COINS, n=100, max_seconds=1, runner=programs).accepted >= 100


@pytest.mark.spec("msa", "7")
@pytest.mark.parametrize(
    "attack",
    [
        "open('/etc/passwd').read()",
        "__import__('os').system('true')",
        "().__class__.__base__.__subclasses__()",
        "model.__globals__",
    ],
)
def test_what_the_validator_would_refuse_does_not_run_behind_it_either(programs, attack):
    """The second fence: the program is handed to the sandbox without having been validated."""
    found = programs.run(Request(f"def model():\n    x = {attack}\n    return {{'x': 1 if x else 0}}", max_seconds=1))
    if "open" in attack or "import" in attack:
        assert found.outcome == "fault" and "not defined" in found.message
    else:  # objects can be reached, the machine cannot: see tests/envs/sandbox
        assert found.outcome in ("fault", "posterior")
    assert infer(COINS, n=100, max_seconds=1, runner=programs).accepted >= 100


def test_more_seconds_than_the_session_has_are_refused(programs):
    with pytest.raises(UserError, match="max_seconds = 9: in this sandbox at most 1"):
        infer(COINS, max_seconds=9, runner=programs)
