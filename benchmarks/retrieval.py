"""How fast, and how well, our retrievers find passages, beside rank-bm25 and SQLite's full-text search.

    python benchmarks/retrieval.py                        the table for 10,000 documents, about two minutes
    python benchmarks/retrieval.py --engines bm25 hybrid  some engines
    python benchmarks/retrieval.py --quick                a few seconds, numbers without meaning

Documents and questions are those of ``tenfold.data.fact_corpus``: a quarter of the questions misspell a name, a
quarter describe a person, a quarter take two hops, of which one search can find one. Every side has its index in
memory, gets all questions as one batch and returns the first five; recall@5 is the share of supporting passages among
them, and is the same in every turn. The encoder of dense search is ``hashed_ngrams``, which needs no weights and knows
spelling alone: a trained one is slower, and finds more. An engine or rival whose package is missing is left out.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import tyro
from rivals.full_text import FTS5, RankBM25
from side_by_side import Comparison, Side, rates, show

from tenfold.core.errors import UserError
from tenfold.data.fact_corpus import fact_corpus
from tenfold.data.passages import Passage
from tenfold.data.questions import Question
from tenfold.envs.search import BM25, Dense, Hybrid, Tantivy, hashed_ngrams
from tenfold.eval.retrieval import recall

Engine = Literal["bm25", "dense", "hybrid", "tantivy"]
K = 5


@dataclass(frozen=True)
class Options:
    """What to measure."""

    engines: tuple[Engine, ...] = ("bm25", "dense", "hybrid", "tantivy")
    """Which of ours."""
    documents: int = 10_000
    """Size of the corpus."""
    questions: int = 100
    """Queries of a turn."""
    repeats: int = 7
    """Turns of each side; the medians are compared."""
    json: bool = False
    """One JSON object per line instead of the table."""
    quick: bool = False
    """A small corpus and two turns: only shows that everything runs."""


def engines(passages: list[Passage]) -> dict[Engine, Callable[[], Any]]:
    return {
        "bm25": lambda: BM25(passages),
        "dense": lambda: Dense(passages, hashed_ngrams()),
        "hybrid": lambda: Hybrid([BM25(passages), Dense(passages, hashed_ngrams())]),
        "tantivy": lambda: Tantivy(passages),
    }


def built(name: str, build: Callable[[], Any]) -> Any:
    """What is built, or nothing, with a note, if its package is missing."""
    try:
        return build()
    except (UserError, ModuleNotFoundError) as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return None


def share_found(searcher: Any, questions: Sequence[Question]) -> float:
    """Recall at five; our retrievers give passages, rivals give ids."""
    answers = searcher.search([question.prompt for question in questions], K)
    found = [[getattr(item, "id", item) for item in answer] for answer in answers]
    return recall(found, [question.facts["supporting"] for question in questions])


def compare(options: Options) -> Iterator[list[Comparison]]:
    questions, passages = fact_corpus(options.documents, options.questions)
    queries = [question.prompt for question in questions]
    rivals = {"rank-bm25": built("rank-bm25", lambda: RankBM25(passages)), "SQLite FTS5": FTS5(passages)}
    rivals = {name: rival for name, rival in rivals.items() if rival is not None}
    shares = {name: share_found(rival, questions) for name, rival in rivals.items()}
    for engine in options.engines:
        ours = built(engine, engines(passages)[engine])
        if ours is None:
            continue
        name = f"{engine}, {options.documents:,} documents"

        def side(label: str, searcher: Any) -> Side:
            return Side(label, lambda: searcher.search(queries, K), len(queries))

        theirs = [side(label, rival) for label, rival in rivals.items()]
        yield rates(name, "queries/s", side("tenfold", ours), theirs, repeats=options.repeats)
        share = share_found(ours, questions)
        yield [Comparison(name, share, other, label, f"recall@{K}", share / other) for label, other in shares.items()]
    rivals["SQLite FTS5"].close()


def main(arguments: Sequence[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, description=__doc__)
    if options.quick:
        options = replace(options, documents=200, questions=20, repeats=2)
    title = "retrieval, first five passages, one batch of questions; ratio above 1: ours is better"
    show(compare(options), as_json=options.json, title=title)


if __name__ == "__main__":
    main()
