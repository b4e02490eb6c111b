"""How a served model is asked, in text or in tokens: one JSON request with its key, retries, and a server's own words.

What may pass by itself (no connection, too slow, status 429 or 5xx) is tried again, after a wait that doubles, or the
one that the server asks for. The key is read from the environment at each request, and stands in no message, log or
representation.
"""

import json
import os
import urllib.error
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.posting import Connections, Passing, may_pass, post, tried_again

LONGEST_WAIT = 60.0


class Refusal(Exception):
    """A server's answer that no further try would change.

    Args:
        status: of HTTP.
        message: one sentence with the server's own words.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Transport:
    """Asks servers; safe to share between threads.

    Args:
        key_variable: environment variable with the key; no key is sent where it is not set.
        seconds: until a try is given up.
        retries: how often a request is tried again after the first time.
        wait_seconds: before the first retry; doubled for each further one.
        connections: open the requests, and break them off.

    Raises:
        UserError: a number is out of range.

    Example:
        >>> Transport(retries=0).ask("http://127.0.0.1:9/v1/models")
        Traceback (most recent call last):
        tenfold.core.posting.Passing: Connection refused
    """

    key_variable: str = "OPENAI_API_KEY"
    seconds: float = 120.0
    retries: int = 3
    wait_seconds: float = 1.0
    connections: Connections = field(default_factory=Connections, repr=False)

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.retries < 0 or self.wait_seconds < 0:
            raise UserError(
                f"seconds = {self.seconds}, retries = {self.retries}, wait_seconds = {self.wait_seconds}; allowed: "
                "seconds above 0, the others 0 or more"
            )

    def ask(
        self, url: str, body: Mapping[str, Any] | None = None, *, before_wait: Callable[[], None] = lambda: None
    ) -> bytes:
        """The answer to one request.

        Args:
            url: where to.
            body: posted as JSON; ``None`` asks without one.
            before_wait: called when a try has failed and another will follow.

        Raises:
            Passing: there was no whole answer in any try.
            Refusal: the server refuses.
        """
        data = None if body is None else json.dumps(body).encode()
        return tried_again(
            lambda: self._try(url, data),
            retries=self.retries,
            wait_seconds=self.wait_seconds,
            longest_wait=LONGEST_WAIT,
            before_wait=before_wait,
        )

    def _try(self, url: str, data: bytes | None) -> bytes:
        key = os.environ.get(self.key_variable)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            return post(url, data, seconds=self.seconds, headers=headers, opener=self.connections.opener)
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        """The exception for a status that is none of success, with the server's own words but without the key."""
        with error:  # it holds the connection
            said = " ".join(error.read(2000).decode(errors="replace").split())[:200]
        key = os.environ.get(self.key_variable)
        said = said.replace(key, "[key]") if key else said
        message = f"status {error.code} {error.reason}" + (f": {said}" if said else "")
        if not may_pass(error.code):
            return Refusal(error.code, message)
        try:
            wait = float(error.headers.get("Retry-After") or 0)
        except ValueError:
            wait = 0.0
        return Passing(message, wait)


def require_address(url: str) -> None:
    """Refuse what is no address of HTTP.

    Raises:
        UserError: it begins with something else, or holds a name or a password.

    Example:
        >>> require_address("http://127.0.0.1:8000/v1")
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UserError(f"url = {url!r}; allowed: an address that starts with http:// or https://")
    if parts.username or parts.password:
        raise UserError("url: has a name or a password in it; put the key into an environment variable")
