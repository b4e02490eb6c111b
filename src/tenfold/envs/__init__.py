"""What a policy can act on."""

from tenfold.envs.control import MazeWorld, PixelWorld, WallWorld, scripted_actions
from tenfold.envs.python_tool import PythonTool
from tenfold.envs.sandbox import MODULES, SCIENTIFIC_MODULES, CodeSession, Execution, Limits, Sandbox
from tenfold.envs.search import (
    BM25,
    CachedRetriever,
    Dense,
    FakeRetriever,
    HTTPRetriever,
    Hybrid,
    Notices,
    Passage,
    RetrievalError,
    Retriever,
    SearchTool,
    Tantivy,
    build_index,
    hashed_ngrams,
    load_index,
)
from tenfold.envs.tools import Observation, Tool, ToolEnvironment, ToolNotices, ToolSession

__all__ = [
    "BM25",
    "MODULES",
    "SCIENTIFIC_MODULES",
    "CachedRetriever",
    "CodeSession",
    "Dense",
    "Execution",
    "FakeRetriever",
    "HTTPRetriever",
    "Hybrid",
    "Limits",
    "MazeWorld",
    "Notices",
    "Observation",
    "Passage",
    "PixelWorld",
    "PythonTool",
    "RetrievalError",
    "Retriever",
    "Sandbox",
    "SearchTool",
    "Tantivy",
    "Tool",
    "ToolEnvironment",
    "ToolNotices",
    "ToolSession",
    "WallWorld",
    "build_index",
    "hashed_ngrams",
    "load_index",
    "scripted_actions",
]
