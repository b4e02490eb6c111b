"""Search as a tool of a policy: limits on queries, results within a budget of tokens, failures told as text.

The tool belongs to a run and is shared; a session belongs to one trajectory and remembers its queries. Whatever a
policy asks, and whatever happens to the retriever, the answer is text for the policy, never an exception: an empty or
too long query, a search that finds nothing, a server that is down. A query that the trajectory has asked before, apart
from capitals and spacing, is answered again from memory, flagged, and counted. The texts are ``Notices``, which a
paper may word in its own way, for a small vocabulary say.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tenfold.core.errors import UserError
from tenfold.data.passages import Passage
from tenfold.envs.search.retriever import RetrievalError, Retriever, check_k
from tenfold.envs.search.words import count_words, places_to_cut


@dataclass(frozen=True)
class Notices:
    """What the tool says when it has more, or less, to say than passages."""

    empty: str = "The query is empty."
    """To a query without any visible character."""
    too_long: str = "The query is longer than {limit} characters."
    """To a query above the limit; ``{limit}`` is filled in."""
    failed: str = "The search failed."
    """When the retriever raised an error; what it was is in the facts, not in the text."""
    nothing: str = "Nothing was found."
    """When no passage fits."""
    repeated: str = "This query was asked before."
    """Above the results of a query that the trajectory has asked before; empty: not said."""
    cut: str = "..."
    """At the end of results that were cut to the budget."""


@dataclass(frozen=True)
class SearchResult:
    """The answer to one query.

    Args:
        text: for the policy.
        ok: whether a search was made, even if it found nothing.
        facts: plain JSON about the call: ``tool``, ``query``, ``ids`` of the passages found, ``duplicate``, ``cut``,
            ``tokens`` of the text, and ``error``, which is ``None``, ``"empty"``, ``"too long"`` or what the
            retriever said.
    """

    text: str
    ok: bool
    facts: dict[str, Any] = field(default_factory=dict)


def numbered(rank: int, passage: Passage) -> str:
    """One passage as a policy reads it, ``rank`` counted from 1.

    Example:
        >>> numbered(1, Passage("7", "Rome", "Rome is on the Tiber."))
        '[1] Rome: Rome is on the Tiber.'
    """
    return f"[{rank}] {passage.title}: {passage.text}" if passage.title else f"[{rank}] {passage.text}"


def cut_to_tokens(text: str, limit: int, count_tokens: Callable[[str], int], mark: str = "...") -> str:
    """``text`` within ``limit`` tokens: as many of its words as fit together with ``mark``, which shows the cut.

    Args:
        text: cut between words, or, in scripts without spaces and in words above 40 characters, between characters as a
            reader sees them, so that what is left is text as it was.
        limit: most tokens of what is returned.
        count_tokens: the number of tokens of a text, as the policy's tokenizer counts.
        mark: follows the last word; if not even that fits, the result is empty.

    Example:
        >>> cut_to_tokens("Rome is on the Tiber.", 6, count_words)
        'Rome is on the Tiber.'
        >>> cut_to_tokens("Rome is on the Tiber.", 5, count_words)
        'Rome is...'
        >>> cut_to_tokens("한강이 서울을 가로지른다.", 7, count_words)
        '한강이 서...'
    """
    if count_tokens(text) <= limit:
        return text
    ends = places_to_cut(text)
    if not ends or count_tokens(mark) > limit:
        return ""
    fits, too_many = 0, len(ends)  # numbers of words; the count grows with the text, up to a token at the seam
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if count_tokens(text[: ends[middle - 1]] + mark) <= limit:
            fits = middle
        else:
            too_many = middle
    return (text[: ends[fits - 1]] if fits else "") + mark


@dataclass(frozen=True)
class SearchTool:
    """A retriever that a policy can use, ``<search>query</search>`` by default.

    Args:
        retriever: where passages come from.
        k: most passages per query.
        max_query_characters: longer queries are refused with a notice.
        max_result_tokens: most tokens of an answer, notices included.
        count_tokens: the number of tokens of a text. With a tokenizer of transformers:
            ``lambda text: len(tokenizer.encode(text, add_special_tokens=False))``.
        tag: what queries are enclosed in.
        show: a passage's rank, from 1, and the passage to the lines that the policy reads.
        notices: the other texts.

    Raises:
        UserError: a limit is below 1.

    Example:
        >>> from tenfold.envs.search.fake import FakeRetriever
        >>> rome = Passage("1", "Rome", "Rome is on the Tiber.")
        >>> session = SearchTool(FakeRetriever({"Tiber": [rome]})).open()
        >>> session.call("<search> Tiber </search>").text
        '[1] Rome: Rome is on the Tiber.'
        >>> session.call("<search></search>").text
        'The query is empty.'
        >>> session.call("<search> tiber</search>").facts["duplicate"], session.num_duplicates
        (True, 1)
    """

    retriever: Retriever
    k: int = 5
    max_query_characters: int = 512
    max_result_tokens: int = 500
    count_tokens: Callable[[str], int] = count_words
    tag: str = "search"
    show: Callable[[int, Passage], str] = numbered
    notices: Notices = Notices()

    def __post_init__(self) -> None:
        check_k(self.k)
        for name in ("max_query_characters", "max_result_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}; allowed: 1 or more")

    @property
    def stop(self) -> str:
        """The closing tag, at which the policy waits for the answer."""
        return f"</{self.tag}>"

    def open(self) -> "SearchSession":
        """The tool for one trajectory."""
        return SearchSession(self)

    def query_of(self, text: str) -> str:
        """The query in a turn that the closing tag ended: what follows the last opening tag, spaces around it removed.

        A text without tags is a query itself; a closing tag that nothing opened closes an empty query.
        """
        _, opening, query = text.removesuffix(self.stop).rpartition(f"<{self.tag}>")
        return query.strip() if opening or not text.endswith(self.stop) else ""


class SearchSession:
    """The queries of one trajectory; see ``SearchTool``. Not for several threads at once."""

    def __init__(self, tool: SearchTool) -> None:
        self.num_searches = 0
        self.num_duplicates = 0
        self._tool = tool
        self._asked: dict[str, list[Passage]] = {}

    def call(self, text: str) -> SearchResult:
        """Answer the query at the end of a turn.

        Args:
            text: the turn, ending in the closing tag, or a query alone.

        Raises:
            UserError: the retriever was set up in a way that cannot work.
        """
        tool, notices = self._tool, self._tool.notices
        query = tool.query_of(text)
        if not query:
            return self._refusal(query, notices.empty, "empty")
        if len(query) > tool.max_query_characters:
            shown = query[: tool.max_query_characters]
            return self._refusal(shown, notices.too_long.format(limit=tool.max_query_characters), "too long")
        key = " ".join(query.casefold().split())
        duplicate = key in self._asked
        if not duplicate:
            try:
                (self._asked[key],) = tool.retriever.search([query], tool.k)
            except UserError:  # about how the retriever was set up: not the policy's concern
                raise
            except RetrievalError as error:
                return self._refusal(query, notices.failed, str(error))
            except Exception as error:  # of a retriever of the user's: told to the policy, and kept in the facts
                return self._refusal(query, notices.failed, f"{type(error).__name__}: {error}")
        self.num_searches += 1
        self.num_duplicates += duplicate
        return self._answer(query, self._asked[key], duplicate)

    def close(self) -> None:
        """Forget the queries."""
        self._asked.clear()

    def _answer(self, query: str, found: list[Passage], duplicate: bool) -> SearchResult:
        tool, notices = self._tool, self._tool.notices
        lines = [notices.repeated] if duplicate and notices.repeated else []
        lines += [tool.show(rank, passage) for rank, passage in enumerate(found, start=1)] or [notices.nothing]
        whole = "\n".join(lines)
        text = cut_to_tokens(whole, tool.max_result_tokens, tool.count_tokens, notices.cut)
        return SearchResult(text, True, self._facts(query, text, found, duplicate=duplicate, cut=text != whole))

    def _refusal(self, query: str, notice: str, error: str) -> SearchResult:
        text = cut_to_tokens(notice, self._tool.max_result_tokens, self._tool.count_tokens, self._tool.notices.cut)
        return SearchResult(text, False, self._facts(query, text, [], error=error, cut=text != notice))

    def _facts(
        self,
        query: str,
        text: str,
        found: list[Passage],
        *,
        duplicate: bool = False,
        cut: bool = False,
        error: str | None = None,
    ) -> dict[str, Any]:
        return {
            "tool": self._tool.tag,
            "query": query,
            "ids": [passage.id for passage in found],
            "duplicate": duplicate,
            "cut": cut,
            "tokens": self._tool.count_tokens(text),
            "error": error,
        }
