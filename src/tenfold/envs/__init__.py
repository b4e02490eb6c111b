"""What a policy can act on."""

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
    "FakeRetriever",
    "Passage",
    "RetrievalError",
    "Retriever",
    "SearchTool",
]
