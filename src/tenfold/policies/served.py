"""A policy behind HTTP, for rollouts: tokens in, the sampled tokens and their log-probabilities out.

    policy = served_policy("http://127.0.0.1:8000/v1", tokenizer)
    rollout(policy, prompts, Sampling(max_new_tokens=512), num_samples=8)

The server speaks vLLM's completions endpoint (``POST URL/completions`` with ``return_token_ids``) and was started with
``--logprobs-mode processed_logprobs``. It lives in an environment of its own, so that its pins never meet ours;
``docs/scaling-out.md`` has the commands, and the versions that are known to serve.

A request is one turn of one trajectory. Requests of all rows are under way at the same time, up to the ``batch_size``
of the rollout, spread over the servers by the seed of the trajectory. After a reply the very tokens go back to a
server, whose prefix cache keeps that cheap. What differs from sampling in process: noise is the server's own, seeded by
trajectory and turn, and repeatable only as far as its kernels are (they round differently in other batches); top-p is
refused, for vLLM reports probabilities after truncation, and ours are those before it.

Everything that a server could decide by itself is said in the request, since vLLM takes what is missing from the
model's generation settings. When a rollout is given up, its requests are broken off, which makes vLLM drop them.
"""

import json
import queue
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.posting import Connections, Passing
from tenfold.policies.rows import Row, refuse_constraint, refuse_features
from tenfold.policies.sampling import Sampling
from tenfold.policies.stopping import turn_text
from tenfold.policies.transport import Refusal, Transport, require_address

# Words, numbers, accents, another alphabet, spaces, lines and a special token: two tokenizers rarely agree on all.
PROBE = "Ten 3.14159 naïve;\n\n  в поезде <|im_start|>\tx**2"
LOOKS_AT_REPLIES = 0.02  # seconds between two looks at the environment while servers are at work


class ServerError(UserError):
    """A server that does not answer, or not as a rollout needs; one sentence."""


@dataclass(eq=False)
class ServedPolicy:
    """Servers of one model, with its tokenizer, for :func:`~tenfold.policies.rollout`; :func:`served_policy` makes one.

    Args:
        urls: of the servers, up to ``/v1``.
        model: its name there.
        tokenizer: of transformers.
        context: most tokens of prompt and completion.
        end_ids: tokens that end a turn.
        transport: how the servers are asked.
        version: of the weights, as whoever pushes them counts; ``None`` while servers may differ.
    """

    urls: tuple[str, ...]
    model: str
    tokenizer: Any
    context: int
    end_ids: frozenset[int]
    transport: Transport
    version: int | None = 0

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of tokens, special tokens spelled out."""
        return turn_text(self.tokenizer, token_ids)

    def decoder(self, rows: Sequence[Row], sampling: Sampling, batch_size: int) -> "ServedDecoder":
        """What ``rollout`` samples with.

        Raises:
            UserError: if the sampling asks for top-p, a prompt has features, or there is a constraint.
        """
        refuse_features(rows, "a served policy")
        refuse_constraint(rows, "a served policy")
        if sampling.top_p < 1:
            raise UserError(f"top_p = {sampling.top_p}: with a served policy must be 1")
        return ServedDecoder(self, rows, sampling, batch_size)

    def ask(self, url: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What a server answers, from JSON.

        Raises:
            ServerError: it is not there, or refuses.
        """
        return asked(self.transport, url, path, body)

    def tell(self, url: str, path: str, body: Mapping[str, Any]) -> None:
        """Ask for something whose answer says nothing more.

        Raises:
            ServerError: the server is not there, or refuses.
        """
        _answer(self.transport, url, path, body)


def served_policy(
    url: str | Sequence[str],
    tokenizer: Any,
    model: str = "",
    *,
    end_ids: frozenset[int] | None = None,
    seconds: float = 600.0,
    retries: int = 3,
    wait_seconds: float = 1.0,
    key_variable: str = "OPENAI_API_KEY",
) -> ServedPolicy:
    """Find servers, and make sure that they hold the model that is meant and answer as a rollout needs.

    Args:
        url: of a server up to ``/v1``, such as ``http://127.0.0.1:8000/v1``, or of several that hold the same model.
        tokenizer: of transformers; a probe text must have the same tokens at the servers.
        model: its name there; by default the only one that is served.
        end_ids: tokens that end a turn; by default the tokenizer's end-of-sequence token.
        seconds: until a request is given up; a turn must end within them.
        retries: how often a request is tried again where the connection is refused or breaks.
        wait_seconds: before the first retry; doubled for each further one.
        key_variable: environment variable with the servers' key, if they ask for one.

    Raises:
        UserError: for an address that is none of HTTP; for a chat client, which hands out no tokens.
        ServerError: a server is not there, does not know the model, has another tokenizer, gives no token ids, or
            other log-probabilities than those that tokens were sampled with.

    Example:
        >>> from tenfold.policies import tiny_policy
        >>> served_policy("http://127.0.0.1:9/v1", tiny_policy("01").tokenizer, retries=0)
        Traceback (most recent call last):
        tenfold.policies.served.ServerError: http://127.0.0.1:9/v1: Connection refused
    """
    if not isinstance(url, str | Sequence):
        raise UserError(
            f"url = {url!r}: a chat client gives text and no token ids, so nothing can be trained on it; allowed: the "
            "address of a server with vLLM's completions endpoint"
        )
    urls = tuple(each.rstrip("/") for each in ((url,) if isinstance(url, str) else url))
    if not urls:
        raise UserError("url = (): at least one address is needed")
    for each in urls:
        require_address(each)
    transport = Transport(key_variable, seconds, retries, wait_seconds)
    found = [_find_model(transport, each, model) for each in urls]
    ends = frozenset([tokenizer.eos_token_id]) if end_ids is None else end_ids
    contexts, names = [context for _, context in found], sorted({name for name, _ in found})
    if len(names) > 1:
        raise ServerError(f"url = {', '.join(urls)}: they serve different models, {', '.join(names)}; name one")
    policy = ServedPolicy(urls, names[0], tokenizer, min(contexts), ends, transport)
    for each in urls:
        _probe(policy, each)
    return policy


def asked(transport: Transport, url: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """What a server answers, from JSON.

    Raises:
        ServerError: it is not there, refuses, or answers something else.
    """
    answer = _answer(transport, url, path, body)
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        raise ServerError(f"{url}{path}: the answer is no JSON") from None


def _answer(transport: Transport, url: str, path: str, body: Mapping[str, Any] | None) -> bytes:
    try:
        return transport.ask(url + path, body)
    except (Passing, Refusal) as error:
        raise ServerError(f"{url}: {error}") from None


def _find_model(transport: Transport, url: str, model: str) -> tuple[str, int]:
    """The model's name at a server, and its context."""
    answer = asked(transport, url, "/models")
    try:
        served = {str(each["id"]): each for each in answer["data"]}
        base = [name for name, each in served.items() if not each.get("parent")]  # others are adapters
        names, chosen = ", ".join(served), model or (base[0] if len(base) == 1 else "")
        context = int(served[chosen]["max_model_len"]) if chosen in served else 0
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ServerError(
            f"{url}/models: the answer is not that of vLLM: no models with an id and max_model_len"
        ) from None
    if chosen not in served:
        raise ServerError(f"model = {model!r}: {url} does not serve it; allowed: {names}")
    return chosen, context


def _probe(policy: ServedPolicy, url: str) -> None:
    """One token after a text: its answer tells about tokenizer, token ids and log-probabilities.

    Only one token is allowed. The probability that it was sampled with is then 1, and any other that a server reports
    is one before its processing.
    """
    expected = policy.encode(PROBE)
    only = expected[0]
    body = {
        "prompt": PROBE,
        "add_special_tokens": False,
        "allowed_token_ids": [only],
        **_fields(policy, Sampling(max_new_tokens=1), max_tokens=1, seed=0),
    }
    answer = policy.ask(url, "/completions", body)
    token_ids, log_probs = _read(url, answer)
    prompt_ids = answer["choices"][0].get("prompt_token_ids")
    if prompt_ids != expected:
        raise ServerError(
            f"tokenizer: {url} reads a probe text as {_shortly(prompt_ids)}, and the given tokenizer as "
            f"{_shortly(expected)}; both must be the model's own"
        )
    if token_ids != [only] or abs(log_probs[0]) > 1e-6:
        raise ServerError(
            f"{url}: reports log-probabilities that it did not sample with ({log_probs[0]:.4g} for the only token "
            "allowed); start it with --logprobs-mode processed_logprobs"
        )


def _shortly(token_ids: Any) -> str:
    return f"{token_ids[:8]}…" if isinstance(token_ids, list) else f"{token_ids}"


def _fields(policy: ServedPolicy, sampling: Sampling, *, max_tokens: int, seed: int) -> dict[str, Any]:
    """The fields of a request beside its prompt."""
    return {
        "model": policy.model,
        "max_tokens": max_tokens,
        "temperature": sampling.temperature,
        "seed": seed,
        "stop": list(sampling.stop),
        "stop_token_ids": sorted(policy.end_ids),
        "ignore_eos": True,  # those above end a turn, and no others
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logprobs": 0,  # that of the sampled token alone
        "return_token_ids": True,
        "skip_special_tokens": False,  # a stop string may be a special token
        "spaces_between_special_tokens": False,
    }


def _read(url: str, answer: Any) -> tuple[list[int], list[float]]:
    """Sampled tokens and their log-probabilities."""
    try:
        choice = answer["choices"][0]
        token_ids, logprobs = choice.get("token_ids"), choice.get("logprobs")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ServerError(f"{url}/completions: the answer has no choices") from None
    if not token_ids:
        raise ServerError(f"{url}: returns no token ids; a server with vLLM's return_token_ids is needed")
    log_probs = (logprobs or {}).get("token_logprobs") or []
    if len(log_probs) != len(token_ids) or not all(isinstance(each, int | float) for each in log_probs):
        raise ServerError(f"{url}: gives {len(token_ids)} tokens and {len(log_probs)} log-probabilities")
    return [int(token) for token in token_ids], [float(each) for each in log_probs]


@dataclass(frozen=True)
class _SampledTurn:
    """What a server has sampled: from which token of the row on, and in which of its turns."""

    turn_start: int
    first: int
    token_ids: list[int]
    log_probs: list[float]

    def next(self, row: Row) -> tuple[int, float] | None:
        """The row's next token, unless all are taken, or a reply came after them."""
        index = len(row.ids) - self.first
        if row.turn_start != self.turn_start or index >= len(self.token_ids):
            return None
        return self.token_ids[index], self.log_probs[index]


@dataclass(eq=False)
class ServedDecoder:
    """Hands out tokens one at a time from turns that servers have sampled whole.

    Args:
        policy: the servers.
        rows: to be sampled.
        sampling: how.
        batch_size: most requests under way.
    """

    policy: ServedPolicy
    rows: Sequence[Row]
    sampling: Sampling
    batch_size: int
    _turns: dict[Row, _SampledTurn] = field(init=False, default_factory=dict)
    _under_way: set[Row] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._transport = replace(self.policy.transport, connections=Connections())
        self._threads = ThreadPoolExecutor(self.batch_size, "served")
        self._returned: queue.SimpleQueue[tuple[Row, Future[_SampledTurn]]] = queue.SimpleQueue()

    def step(self) -> Sequence[tuple[Row, int, float]] | None:
        """A token for each row whose turn has come back; ``None`` while servers are at work and a row waits.

        Raises:
            ServerError: a server has not answered, or refused.
        """
        self.rows = [row for row in self.rows if row.stop_reason is None]
        self._send()
        self._take(wait=False)
        if not (sampled := self._sampled()) and self._under_way:
            self._take(wait=True)
            sampled = self._sampled()
            if not sampled:
                return None
        return sampled

    def close(self) -> None:
        """Break off what is under way."""
        self._transport.connections.break_off()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _send(self) -> None:
        """Ask for the next turn of each row that is ready."""
        for row in self.rows:
            if row.waiting or row in self._under_way or self._next(row) is not None:
                continue
            self._under_way.add(row)
            future = self._threads.submit(self._ask, row, list(row.ids), row.turn_start, len(row.loss_mask), row.budget)
            future.add_done_callback(partial(self._came_back, row))

    def _came_back(self, row: Row, future: "Future[_SampledTurn]") -> None:
        self._returned.put((row, future))

    def _ask(self, row: Row, ids: list[int], turn_start: int, num_completion: int, budget: int) -> _SampledTurn:
        url = self.policy.urls[row.seed % len(self.policy.urls)]
        body = {
            "prompt": ids,
            **_fields(
                self.policy,
                self.sampling,
                max_tokens=min(budget, self.policy.context - len(ids)),
                seed=(row.seed + num_completion) % 2**63,
            ),
        }
        return _SampledTurn(turn_start, len(ids), *_read(url, asked(self._transport, url, "/completions", body)))

    def _take(self, *, wait: bool) -> None:
        """Keep the turns that have come back; wait for one, but not long where an environment may reply meanwhile."""
        timeout = LOOKS_AT_REPLIES if any(row.waiting for row in self.rows) else None
        while wait or not self._returned.empty():
            try:
                row, future = self._returned.get(timeout=timeout)
            except queue.Empty:
                return
            self._under_way.remove(row)
            self._turns[row] = future.result()
            wait = False

    def _sampled(self) -> list[tuple[Row, int, float]]:
        sampled = []
        for row in self.rows:
            if not row.waiting and (following := self._next(row)) is not None:
                sampled.append((row, *following))
        return sampled

    def _next(self, row: Row) -> tuple[int, float] | None:
        turn = self._turns.get(row)
        return None if turn is None else turn.next(row)
