"""Several retrievers as one, by reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""

from collections.abc import Sequence
from dataclasses import replace

from tenfold.core.errors import UserError
from tenfold.data.passages import Passage
from tenfold.envs.search.retriever import Retriever, check_k


def reciprocal_rank_fusion(rankings: Sequence[Sequence[Passage]], k: int, constant: float = 60.0) -> list[Passage]:
    """One ranking from several: the score of a passage is the sum over rankings of ``1 / (constant + rank)``.

    Args:
        rankings: best first; the rank of the first is 1. A ranking without a passage adds nothing to its score.
        k: most passages of the result.
        constant: how little the first ranks stand out; 60 in the publication.

    Returns:
        Best first, with the fused scores. Equal scores keep the order in which the rankings name the passages.

    Example:
        >>> a, b, c = (Passage(name, "", name) for name in "abc")
        >>> [(passage.id, round(passage.score, 4)) for passage in reciprocal_rank_fusion([[a, b], [b, c]], k=2)]
        [('b', 0.0325), ('a', 0.0164)]
    """
    named: dict[str, Passage] = {}
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, passage in enumerate(ranking, start=1):
            named.setdefault(passage.id, passage)
            scores[passage.id] = scores.get(passage.id, 0.0) + 1 / (constant + rank)
    chosen = sorted(scores, key=lambda name: -scores[name])[:k]
    return [replace(named[name], score=scores[name]) for name in chosen]


class Hybrid:
    """Asks several retrievers over one corpus and fuses their rankings.

    Args:
        retrievers: at least one; ids mean the same passages in all of them.
        depth: how far down each ranking counts, at least; never less than the ``k`` of a search.
        constant: of the fusion.

    Raises:
        UserError: there is no retriever, or a number is out of range.

    Example:
        >>> from tenfold.envs.search.fake import FakeRetriever
        >>> a, b, c = (Passage(name, "", name) for name in "abc")
        >>> hybrid = Hybrid([FakeRetriever({"?": [a, b]}), FakeRetriever({"?": [b, c]})])
        >>> [[passage.id for passage in found] for found in hybrid.search(["?"], k=3)]
        [['b', 'a', 'c']]
    """

    def __init__(self, retrievers: Sequence[Retriever], *, depth: int = 100, constant: float = 60.0) -> None:
        if not retrievers:
            raise UserError("retrievers = []; allowed: at least one retriever")
        if depth < 1 or constant < 0:
            raise UserError(
                f"depth = {depth}, constant = {constant}; allowed: depth of 1 or more, constant of 0 or more"
            )
        self.retrievers = tuple(retrievers)
        self.depth, self.constant = depth, constant

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The ``k`` best passages of the fused rankings for each query."""
        check_k(k)
        answers = [retriever.search(queries, max(k, self.depth)) for retriever in self.retrievers]
        return [reciprocal_rank_fusion(rankings, k, self.constant) for rankings in zip(*answers, strict=True)]
