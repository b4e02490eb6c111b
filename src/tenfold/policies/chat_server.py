"""A client for chat models behind HTTP, in the wire format that OpenAI's servers, vLLM, llama.cpp and others share.

Text in, text out: the request is ``POST URL/chat/completions``. The standard library does it. What may pass by itself
(no connection, too slow, status 429 or 5xx) is tried again, after a wait that doubles, or the one that the server asks
for. Tokens are counted by what the server reports. The key is read from the environment at each request, and stands in
no message, log or representation.
"""

import json
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.posting import Passing, may_pass, post, tried_again
from tenfold.core.types import Message

LONGEST_WAIT = 60.0


class ChatServerError(Exception):
    """A request that was given up; one sentence."""


@dataclass(frozen=True)
class Completion:
    """What a model said.

    Args:
        text: of the message.
        finish_reason: ``stop``, ``length`` or what else the server says.
    """

    text: str
    finish_reason: str


@dataclass
class Usage:
    """What a client has used so far.

    Args:
        requests: that were answered.
        prompt_tokens: as the server counts them; 0 where it does not.
        completion_tokens: likewise.
        retries: tries beyond the first ones.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: int = 0


@dataclass
class ChatServer:
    """Asks a chat model; safe to share between threads.

    Args:
        url: up to ``/v1``, such as ``http://127.0.0.1:8000/v1``.
        model: its name at the server.
        key_variable: environment variable with the key; no key is sent where it is not set.
        seconds: until a try is given up.
        retries: how often a request is tried again after the first time.
        wait_seconds: before the first retry; doubled for each further one.
        extra: further fields of each request, such as ``{"top_p": 0.9}``.
        usage: what was used so far.

    Raises:
        UserError: the address is none of HTTP, or a number is out of range.

    Example:
        >>> server = ChatServer("http://127.0.0.1:9/v1", "small", retries=0)
        >>> server.generate([Message("user", "Hello")])
        Traceback (most recent call last):
        tenfold.policies.chat_server.ChatServerError: http://127.0.0.1:9/v1: Connection refused
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    seconds: float = 120.0
    retries: int = 3
    wait_seconds: float = 1.0
    extra: Mapping[str, Any] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"url = {self.url!r}; allowed: an address that starts with http:// or https://")
        if parts.username or parts.password:
            raise UserError("url: has a name or a password in it; put the key into an environment variable")
        if self.seconds <= 0 or self.retries < 0 or self.wait_seconds < 0:
            raise UserError(
                f"seconds = {self.seconds}, retries = {self.retries}, wait_seconds = {self.wait_seconds}; allowed: "
                "seconds above 0, the others 0 or more"
            )
        self._lock = threading.Lock()

    def generate(
        self, messages: Sequence[Message], n: int = 1, temperature: float = 1.0, max_tokens: int = 1024
    ) -> list[str]:
        """``n`` answers to a conversation; see :meth:`complete`."""
        return [completion.text for completion in self.complete(messages, n, temperature, max_tokens)]

    def complete(
        self,
        messages: Sequence[Message],
        n: int = 1,
        temperature: float = 1.0,
        max_tokens: int = 1024,
        *,
        stop: Sequence[str] = (),
        seed: int | None = None,
    ) -> list[Completion]:
        """``n`` answers to a conversation.

        Args:
            messages: the conversation.
            n: answers; a server that gives fewer at once is asked again.
            temperature: of sampling.
            max_tokens: most tokens of an answer.
            stop: texts that end an answer.
            seed: for servers that take one; a further request for missing answers gets the next one.

        Raises:
            ChatServerError: the server refuses, does not answer, or answers something else.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "temperature": temperature,
            "max_tokens": max_tokens,
            **({"stop": list(stop)} if stop else {}),
            **self.extra,
        }
        completions: list[Completion] = []
        while len(completions) < n:
            offset = {} if seed is None else {"seed": seed + len(completions)}
            response = self._request({**body, "n": n - len(completions), **offset})
            completions += self._read(response)
        return completions[:n]

    def _request(self, body: Mapping[str, Any]) -> bytes:
        data = json.dumps(body).encode()
        try:
            return tried_again(
                lambda: self._post(data),
                retries=self.retries,
                wait_seconds=self.wait_seconds,
                longest_wait=LONGEST_WAIT,
                before_wait=self._count_retry,
            )
        except Passing as error:
            raise ChatServerError(f"{self.url}: {error}") from None

    def _count_retry(self) -> None:
        with self._lock:
            self.usage.retries += 1

    def _post(self, data: bytes) -> bytes:
        key = os.environ.get(self.key_variable)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{self.url.rstrip('/')}/chat/completions"
        try:
            return post(url, data, seconds=self.seconds, headers=headers, opener=_OPENER)
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
            return ChatServerError(f"{self.url}: {message}")
        try:
            wait = float(error.headers.get("Retry-After") or 0)
        except ValueError:
            wait = 0.0
        return Passing(message, wait)

    def _read(self, response: bytes) -> list[Completion]:
        try:
            answer = json.loads(response)
            completions = [
                Completion(str(choice["message"]["content"] or ""), str(choice.get("finish_reason") or ""))
                for choice in answer["choices"]
            ]
            if not completions:
                raise ValueError("no choices")
            usage = answer.get("usage") or {}
            prompt, completion = (int(usage.get(f"{kind}_tokens") or 0) for kind in ("prompt", "completion"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            told = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ChatServerError(f"{self.url}: the response is not that of a chat server ({told})") from None
        with self._lock:
            self.usage.requests += 1
            self.usage.prompt_tokens += prompt
            self.usage.completion_tokens += completion
        return completions


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the key would go along."""

    def redirect_request(self, *given: Any, **named: Any) -> None:
        """Refuse."""
        return None


_OPENER = urllib.request.build_opener(_SameHost)
