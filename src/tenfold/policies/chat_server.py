"""A client for chat models behind HTTP, in the wire format that OpenAI's servers, vLLM, llama.cpp and others share.

Text in, text out: the request is ``POST URL/chat/completions``, sent by :class:`~tenfold.policies.transport.Transport`,
which tries again what may pass by itself and keeps the key secret. Tokens are counted by what the server reports. For
evaluation and for making data; a policy is trained on the tokens that it sampled, which
:func:`~tenfold.policies.served.served_policy` gets.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenfold.core.posting import Passing
from tenfold.core.types import Message
from tenfold.policies.transport import Refusal, Transport, require_address


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
        require_address(self.url)
        self._transport = Transport(self.key_variable, self.seconds, self.retries, self.wait_seconds)
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
        url = f"{self.url.rstrip('/')}/chat/completions"
        try:
            return self._transport.ask(url, body, before_wait=self._count_retry)
        except (Passing, Refusal) as error:
            raise ChatServerError(f"{self.url}: {error}") from None

    def _count_retry(self) -> None:
        with self._lock:
            self.usage.retries += 1

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
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            told = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ChatServerError(f"{self.url}: the response is not that of a chat server ({told})") from None
        with self._lock:
            self.usage.requests += 1
            self.usage.prompt_tokens += prompt
            self.usage.completion_tokens += completion
        return completions
