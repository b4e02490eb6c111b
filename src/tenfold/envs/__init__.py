"""What a policy can act on."""

from tenfold.envs.python_tool import PythonTool
from tenfold.envs.sandbox import MODULES, SCIENTIFIC_MODULES, CodeSession, Execution, Limits, Sandbox
from tenfold.envs.search import (
    BM25,
    FakeRetriever,
    Passage,
    RetrievalError,
    Retriever,
    SearchTool,
)
from tenfold.envs.tools import Observation, Tool, ToolEnvironment, ToolNotices, ToolSession

__all__ = [
    "BM25",
    "MODULES",
    "SCIENTIFIC_MODULES",
    "CodeSession",
    "Execution",
    "FakeRetriever",
    "Limits",
    "Observation",
    "Passage",
    "PythonTool",
    "RetrievalError",
    "Retriever",
    "Sandbox",
    "SearchTool",
    "Tool",
    "ToolEnvironment",
    "ToolNotices",
    "ToolSession",
]
