"""The benchmark by its own gold calls: they are right, fewer are not, and no attempt sees another one's state."""

import importlib.util

import pytest

from tenfold.core.errors import UserError
from tenfold.envs.bfcl import BFCLInstance, PythonCall, check_calls, gold_calls, load_bfcl
from tenfold.envs.tool_calls import ToolCall, from_typescript, to_typescript

pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(
        importlib.util.find_spec("bfcl_eval") is None, reason="needs bfcl-eval, which is installed apart"
    ),
]


@pytest.fixture(scope="module")
def tasks():
    return load_bfcl()


def without_the_last_call(turns):
    """The calls without the last one of the last turn that has any."""
    last = max(number for number, calls in enumerate(turns) if calls)
    return [calls[:-1] if number == last else calls for number, calls in enumerate(turns)]


def normal(schema):
    """A schema with required arguments in order, and without empty lists of them, which say nothing."""
    if not isinstance(schema, dict):
        return schema
    parts = {key: normal(part) for key, part in schema.items()}
    if isinstance(parts.get("required"), list):
        parts["required"] = sorted(parts["required"])
    return {key: part for key, part in parts.items() if not (key == "required" and part == [])}


def test_gold_calls_are_right_in_all_800_tasks(tasks):
    assert len(tasks) == 800
    wrong = [(task.id, check_calls(task, gold_calls(task))) for task in tasks]
    assert [pair for pair in wrong if not pair[1].valid] == []


def test_without_the_last_call_no_task_is_solved(tasks):
    solved = [task.id for task in tasks if check_calls(task, without_the_last_call(gold_calls(task))).valid]
    assert solved == []
    assert not any(check_calls(task, [[] for _ in task.gold]).valid for task in tasks)


def test_ten_attempts_in_a_row_score_as_ten_fresh_ones(tasks):
    """Right and wrong ones in turns: what one attempt leaves would spoil the next."""
    for task in tasks[::8]:
        right = gold_calls(task)
        attempts = [right if number % 2 else without_the_last_call(right) for number in range(10)]
        assert [check_calls(task, calls).valid for calls in attempts] == [bool(number % 2) for number in range(10)]


def test_all_tools_are_json_schema_and_come_back_from_typescript(tasks):
    specs = {(spec.domain, spec.name): spec for task in tasks for turn in range(9) for spec in task.tools_at(turn)}
    assert len(specs) == 128
    for spec in specs.values():
        (read,) = from_typescript(to_typescript([spec]))
        assert (read.name, read.description) == (spec.name, spec.description)
        assert normal(read.parameters) == normal(spec.parameters) and normal(read.returns) == normal(spec.returns)


def test_tools_that_are_missed_come_in_their_turn(tasks):
    missing = [task for task in tasks if task.category == "miss_func"]
    assert len(missing) == 200 and all(task.tools_from for task in missing)
    for task in missing:
        for begin, specs in task.tools_from.items():
            names = {spec.name for spec in specs}
            assert names and not names & {spec.name for spec in task.tools_at(begin - 1)}
            assert names <= {spec.name for spec in task.tools_at(begin)}


def test_calls_by_name_are_calls(tasks):
    task = tasks[0]
    first, second = BFCLInstance(task), BFCLInstance(task)
    assert first.call(ToolCall("cd", {"folder": "document"}, 0)) == second.call(PythonCall("cd", ("document",)))
    for call in (PythonCall("_load_scenario", ({},)), PythonCall("nothing"), PythonCall("cd", (), {"wrong": 1})):
        assert first.call(call).startswith("Error during execution:")
    with pytest.raises(UserError, match="calls of 1 turns; the task has"):
        check_calls(task, [[]])
