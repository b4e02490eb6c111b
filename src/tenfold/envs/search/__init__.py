"""Search engines that a policy, or anyone, can query: batch first, deterministic, safe to share between threads."""

from tenfold.data.passages import Passage, corpus_hash, read_passages
from tenfold.envs.search.bm25 import BM25, words
from tenfold.envs.search.fake import FakeRetriever
from tenfold.envs.search.retriever import RetrievalError, Retriever
from tenfold.envs.search.tool import Notices, SearchResult, SearchSession, SearchTool, count_words, numbered

__all__ = [
    "BM25",
    "FakeRetriever",
    "Notices",
    "Passage",
    "RetrievalError",
    "Retriever",
    "SearchResult",
    "SearchSession",
    "SearchTool",
    "corpus_hash",
    "count_words",
    "numbered",
    "read_passages",
    "words",
]
