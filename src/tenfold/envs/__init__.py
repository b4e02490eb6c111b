"""What a policy can act on."""

from tenfold.envs.sandbox import MODULES, SCIENTIFIC_MODULES, CodeSession, Execution, Limits, Sandbox
from tenfold.envs.search import (
    BM25,
    FakeRetriever,
    Passage,
    RetrievalError,
    Retriever,
    SearchTool,
)

__all__ = [
    "BM25",
    "MODULES",
    "SCIENTIFIC_MODULES",
    "CodeSession",
    "Execution",
    "FakeRetriever",
    "Limits",
    "Passage",
    "RetrievalError",
    "Retriever",
    "Sandbox",
    "SearchTool",
]
