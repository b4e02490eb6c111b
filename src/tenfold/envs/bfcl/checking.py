"""Whether the calls of a trajectory are right: the package's checks of state and of responses, after each turn.

The rules are those of its ``multi_turn_checker``, on objects of our own. As there, a turn with gold calls needs a call,
also where an earlier turn did what it asks for, and what is called in a turn without gold calls is only carried out.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.core.errors import UserError
from tenfold.envs.bfcl.calls import PythonCall, read_python_calls
from tenfold.envs.bfcl.instance import BFCLInstance
from tenfold.envs.bfcl.tasks import BFCLTask
from tenfold.envs.tool_calls import ToolCall

_CHECKER = "bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker"


@dataclass(frozen=True)
class BFCLVerdict:
    """What the checks say.

    Args:
        valid: whether all turns are right.
        turn: the first one that is not, from 0; ``None`` if all are right.
        reason: what is wrong, in a sentence; empty if nothing is.
    """

    valid: bool
    turn: int | None = None
    reason: str = ""


def check_calls(task: BFCLTask, turns: Sequence[Sequence[PythonCall | ToolCall]]) -> BFCLVerdict:
    """Carry out the calls of a trajectory beside the gold ones, each in a state of its own, and compare.

    Args:
        task: that they solve.
        turns: the calls of each turn of the user, those of all steps one after another.

    Raises:
        UserError: the number of turns is another than the task's, or the package is not installed.
    """
    if len(turns) != len(task.gold):
        raise UserError(f"{task.id}: calls of {len(turns)} turns; the task has {len(task.gold)}")
    checker = importlib.import_module(_CHECKER)
    instance, right = BFCLInstance(task), BFCLInstance(task)
    said: list[str] = []
    for number, (calls, gold) in enumerate(zip(turns, task.gold, strict=True)):
        said += [instance.call(call) for call in calls]
        wanted = [right.call(call) for text in gold for call in read_python_calls(text)]
        if not gold:
            continue
        if not calls:
            return BFCLVerdict(False, number, "no call in a turn that needs one")
        for check in (
            checker.state_checker(instance.objects, right.objects),
            checker.response_checker(said, wanted, number),
        ):
            if not check["valid"]:
                return BFCLVerdict(False, number, _reason(check))
    return BFCLVerdict(True)


def gold_calls(task: BFCLTask) -> list[list[PythonCall]]:
    """The right calls of each turn."""
    return [[call for text in turn for call in read_python_calls(text)] for turn in task.gold]


def _reason(check: dict[str, Any]) -> str:
    return f"{check['error_type'].rpartition(':')[2].replace('_', ' ')}: {check['error_message']}"
