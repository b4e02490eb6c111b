"""Search on a server, in the wire format of Search-R1's retrieval server, by the standard library.

The request is ``POST`` of ``{"queries": […], "topk": k, "return_scores": true}``; the response has one list a query
under ``result``, each item ``{"document": {"id": …, "contents": "title\\ntext"}, "score": …}``. Servers that say
less are understood: ``title`` and ``text`` in place of ``contents``; ``contents`` of a single line, which is a text
without title; a document that is its text alone; an item that is the document itself; no title; no score, which is 0;
no id, which is a hash of title and text. Whatever goes wrong is a ``RetrievalError`` in one sentence. What may pass by
itself (no connection, too slow, status 429 or 5xx) is tried again, after a wait that doubles.
"""

import hashlib
import json
import math
import urllib.error
import urllib.parse
from collections.abc import Sequence
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.posting import Passing, may_pass, post, tried_again
from tenfold.data.passages import Passage
from tenfold.envs.search.retriever import RetrievalError, check_k

SCHEMES = ("http", "https")


class HTTPRetriever:
    """Asks a retrieval server; safe to share between threads, each search being a connection of its own.

    Args:
        url: where queries are posted to, such as ``http://127.0.0.1:8000/retrieve``.
        seconds: until a try is given up: for the connection, for each silence, and for the response as a whole.
        retries: how often a search is tried again after the first time.
        wait_seconds: before the first retry; doubled for each further one.
        batch_size: most queries per request.

    Raises:
        UserError: the address is none of HTTP, or a number is out of range.

    Example:
        >>> HTTPRetriever("http://127.0.0.1:9", retries=0).search(["Tiber"], k=5)
        Traceback (most recent call last):
        tenfold.envs.search.retriever.RetrievalError: http://127.0.0.1:9: Connection refused
    """

    def __init__(
        self, url: str, *, seconds: float = 10.0, retries: int = 2, wait_seconds: float = 0.5, batch_size: int = 64
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.netloc:
            raise UserError(f"url = {url!r}; allowed: an address that starts with http:// or https://")
        if seconds <= 0 or retries < 0 or wait_seconds < 0 or batch_size < 1:
            raise UserError(
                f"seconds = {seconds}, retries = {retries}, wait_seconds = {wait_seconds}, batch_size = {batch_size}; "
                "allowed: seconds above 0, retries and wait_seconds of 0 or more, batch_size of 1 or more"
            )
        self.url, self.seconds, self.retries = url, seconds, retries
        self.wait_seconds, self.batch_size = wait_seconds, batch_size

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The server's best ``k`` passages for each query."""
        check_k(k)
        batches = [list(queries[i : i + self.batch_size]) for i in range(0, len(queries), self.batch_size)]
        return [found for batch in batches for found in self._search_batch(batch, k)]

    def _search_batch(self, queries: list[str], k: int) -> list[list[Passage]]:
        body = json.dumps({"queries": queries, "topk": k, "return_scores": True}).encode()
        try:
            response = tried_again(lambda: self._post(body), retries=self.retries, wait_seconds=self.wait_seconds)
        except Passing as error:
            raise RetrievalError(f"{self.url}: {error}") from None
        return _passages(self.url, response, len(queries), k)

    def _post(self, body: bytes) -> bytes:
        try:
            return post(self.url, body, seconds=self.seconds)
        except urllib.error.HTTPError as error:
            with error:  # it holds the connection
                message = f"status {error.code} {error.reason}"
            if may_pass(error.code):
                raise Passing(message) from None
            raise RetrievalError(f"{self.url}: {message}") from None


def _passages(url: str, response: bytes, num_queries: int, k: int) -> list[list[Passage]]:
    try:
        results = json.loads(response)["result"]
        if len(results) != num_queries:
            raise ValueError(f"{len(results)} results for {num_queries} queries")
        return [[_passage(item) for item in items[:k]] for items in results]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RetrievalError(f"{url}: the response is not that of a retrieval server ({told})") from None


def _passage(item: dict[str, Any] | str) -> Passage:
    document = item["document"] if isinstance(item, dict) and "document" in item else item
    score = item.get("score") if isinstance(item, dict) else None
    if isinstance(document, str):
        document = {"contents": document}
    title, text = _title_and_text(document)
    identity = document.get("id")
    if identity is None:
        identity = hashlib.blake2b(f"{title}\n{text}".encode(), digest_size=8).hexdigest()
    number = 0.0 if score is None else float(score)
    if math.isnan(number):
        raise ValueError("a score that is no number")
    return Passage(str(identity), title, text, number)


def _title_and_text(document: dict[str, Any]) -> tuple[str, str]:
    """Title and text of a document; the title may be missing, and stands above the text where it has no place."""
    title = document.get("title")
    if "contents" not in document:
        title, text = "" if title is None else title, document["text"]
    elif title is None:
        first, newline, rest = document["contents"].partition("\n")
        title, text = (first.strip('"'), rest) if newline else ("", first)
    else:
        text = document["contents"].removeprefix(f'"{title}"\n').removeprefix(f"{title}\n")
    if not isinstance(title, str) or not isinstance(text, str):
        raise TypeError(f"title = {title!r}, text = {text!r}")
    return title, text
