"""Search engines that a policy, or anyone, can query: batch first, deterministic, safe to share between threads."""

from tenfold.data.passages import Passage, corpus_hash, read_passages
from tenfold.envs.search.bm25 import BM25, indexed_text
from tenfold.envs.search.cache import CachedRetriever
from tenfold.envs.search.dense import Dense, Encoder
from tenfold.envs.search.encoders import hashed_ngrams
from tenfold.envs.search.fake import FakeRetriever
from tenfold.envs.search.http import HTTPRetriever
from tenfold.envs.search.hybrid import Hybrid, reciprocal_rank_fusion
from tenfold.envs.search.index import build_index, load_index
from tenfold.envs.search.retriever import RetrievalError, Retriever
from tenfold.envs.search.tantivy_engine import Tantivy
from tenfold.envs.search.tool import (
    Notices,
    SearchResult,
    SearchSession,
    SearchTool,
    cut_to_tokens,
    numbered,
)
from tenfold.envs.search.words import TOKENIZERS, Tokenizer, count_words, words

__all__ = [
    "BM25",
    "TOKENIZERS",
    "CachedRetriever",
    "Dense",
    "Encoder",
    "FakeRetriever",
    "HTTPRetriever",
    "Hybrid",
    "Notices",
    "Passage",
    "RetrievalError",
    "Retriever",
    "SearchResult",
    "SearchSession",
    "SearchTool",
    "Tantivy",
    "Tokenizer",
    "build_index",
    "corpus_hash",
    "count_words",
    "cut_to_tokens",
    "hashed_ngrams",
    "indexed_text",
    "load_index",
    "numbered",
    "read_passages",
    "reciprocal_rank_fusion",
    "words",
]
