"""BFCL v4 multi-turn: 800 tasks with stateful Python tools, run and checked without evaluating what a model says."""

from tenfold.envs.bfcl.calls import PythonCall, read_python_calls
from tenfold.envs.bfcl.checking import BFCLVerdict, check_calls, gold_calls
from tenfold.envs.bfcl.instance import BFCLInstance
from tenfold.envs.bfcl.tasks import CATEGORIES, BFCLTask, load_bfcl

__all__ = [
    "CATEGORIES",
    "BFCLInstance",
    "BFCLTask",
    "BFCLVerdict",
    "PythonCall",
    "check_calls",
    "gold_calls",
    "load_bfcl",
    "read_python_calls",
]
