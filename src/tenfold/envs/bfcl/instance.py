"""The state of one BFCL trajectory: objects of its own, and calls of their public methods.

The package keeps objects in the globals of a module under model and task, so that an attempt goes on in the state that
the one before left. Here each trajectory has its own. A call is looked up among the public methods of the task's
objects; nothing that a model says is evaluated.

The methods are the package's and run in this process; arguments are literals.
"""

import copy
import importlib
import inspect
import json
from collections.abc import Callable
from typing import Any

from tenfold.envs.bfcl.calls import PythonCall
from tenfold.envs.bfcl.tasks import FILES, BFCLTask, package_folder
from tenfold.envs.tool_calls import ToolCall

_SOURCES = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
_STATELESS = ("MathAPI",)


class BFCLInstance:
    """The tools of one trajectory, in the state in which the task begins.

    Args:
        task: whose state is copied.

    Raises:
        UserError: the package is not installed.
    """

    def __init__(self, task: BFCLTask) -> None:
        package_folder()
        self.objects: dict[str, Any] = {}
        self._methods: dict[str, Callable[..., Any]] = {}
        for class_name in task.classes:
            made = getattr(importlib.import_module(f"{_SOURCES}.{FILES[class_name]}"), class_name)()
            if class_name not in _STATELESS:
                state = copy.deepcopy(task.initial_state.get(class_name, {}))
                made._load_scenario(state, long_context=task.category == "long_context")
            self.objects[class_name] = made
            for name, method in inspect.getmembers(made, predicate=inspect.ismethod):
                if not name.startswith("_"):
                    self._methods[name] = method

    def call(self, call: PythonCall | ToolCall) -> str:
        """The text of a call's result, spelled as the package spells it; what goes wrong is such a text, too."""
        positional = call.positional if isinstance(call, PythonCall) else ()
        method = self._methods.get(call.name)
        if method is None:
            return f"Error during execution: name '{call.name}' is not defined"
        try:
            result = method(*copy.deepcopy(positional), **copy.deepcopy(dict(call.arguments)))
        except Exception as error:  # of the package's method: an observation for the policy
            return f"Error during execution: {error}"
        if isinstance(result, dict):
            try:
                return json.dumps(result)
            except (TypeError, ValueError, RecursionError):
                return str(result)
        return result if isinstance(result, str) else str(result)
