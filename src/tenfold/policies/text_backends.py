"""Language models as text in, text out: what a pipeline of prompts needs, whoever runs the model.

Three kinds: a policy of this library by :func:`~tenfold.policies.rollout`, a chat server (:class:`ChatServer`), and
recorded text. A :class:`Recorder` around any of them keeps what was asked and said, for replays without a model.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from tenfold.core.types import Message
from tenfold.policies.constraint import Constraint
from tenfold.policies.policy import Policy
from tenfold.policies.rollout import rollout
from tenfold.policies.sampling import Sampling


class BackendError(Exception):
    """A model that cannot answer; one sentence."""


class LMBackend(Protocol):
    """A language model that answers conversations."""

    def generate(self, messages: Sequence[Message], n: int, temperature: float, max_tokens: int) -> list[str]:
        """``n`` answers."""
        ...


@dataclass
class RolloutBackend:
    """A policy as a backend; its tokenizer needs a chat template.

    Args:
        policy: who speaks.
        seed: of the noise; each call has a stream of its own, so that equal sequences of calls get equal answers.
        constraint: restricts what is said.
        batch_size: most answers that are sampled at the same time.
    """

    policy: Policy
    seed: int = 0
    constraint: Constraint | None = None
    batch_size: int = 8
    calls: int = 0

    def generate(self, messages: Sequence[Message], n: int, temperature: float, max_tokens: int) -> list[str]:
        """See :class:`LMBackend`.

        Raises:
            BackendError: the conversation is too long for the model.
        """
        prompt = self.policy.chat(messages)
        context = self.policy.context
        if context is not None and len(prompt) >= context:
            raise BackendError(f"the conversation has {len(prompt)} tokens; the model reads {context}")
        said = rollout(
            self.policy,
            [prompt],
            Sampling(max_new_tokens=max_tokens, temperature=temperature),
            num_samples=n,
            keys=[("call", self.calls)],
            seed=self.seed,
            constraint=self.constraint,
            batch_size=self.batch_size,
        )
        self.calls += 1
        return [self._text(trajectory.token_ids) for trajectory in said]

    def _text(self, token_ids: Sequence[int]) -> str:
        ends = self.policy.end_ids
        return self.policy.decode([token for token in token_ids if token not in ends])


def conversation_key(messages: Sequence[Message], n: int, temperature: float, max_tokens: int) -> str:
    """What a call is known by: a hash of all that is asked.

    Example:
        >>> conversation_key([Message("user", "Hello")], 1, 0.5, 10)[:8]
        '28773cc7'
    """
    asked = {"messages": [asdict(message) for message in messages], "n": n, "temperature": temperature}
    text = json.dumps({**asked, "max_tokens": max_tokens}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass
class Recorder:
    """Keeps what a backend was asked and said.

    Args:
        backend: who answers.
        calls: ``{"key", "messages", "n", "temperature", "max_tokens", "said"}`` of each call, in order.

    Example:
        >>> recorder = Recorder(ScriptedBackend(["Hi"]))
        >>> recorder.generate([Message("user", "Hello")], 1, 0.0, 10)
        ['Hi']
        >>> ScriptedBackend.of_calls(recorder.calls).generate([Message("user", "Hello")], 1, 0.0, 10)
        ['Hi']
    """

    backend: LMBackend
    calls: list[dict[str, Any]] = field(default_factory=list)

    def generate(self, messages: Sequence[Message], n: int, temperature: float, max_tokens: int) -> list[str]:
        """See :class:`LMBackend`."""
        said = self.backend.generate(messages, n, temperature, max_tokens)
        asked = {"messages": [asdict(message) for message in messages], "n": n, "temperature": temperature}
        key = conversation_key(messages, n, temperature, max_tokens)
        self.calls.append({"key": key, **asked, "max_tokens": max_tokens, "said": list(said)})
        return said


@dataclass
class ScriptedBackend:
    """Says recorded text.

    Args:
        texts: what is said next, whatever is asked; one text for each answer.
        by_key: answers to calls that are known, by :func:`conversation_key`, in the order in which they were given;
            these come first.

    Example:
        >>> ScriptedBackend(["one", "two"]).generate([Message("user", "Count")], 2, 1.0, 5)
        ['one', 'two']
    """

    texts: list[str] = field(default_factory=list)
    by_key: dict[str, list[list[str]]] = field(default_factory=dict)

    @classmethod
    def of_calls(cls, calls: Sequence[Mapping[str, Any]]) -> "ScriptedBackend":
        """A backend that answers as in recorded calls, and nothing else."""
        by_key: dict[str, list[list[str]]] = {}
        for call in calls:
            by_key.setdefault(call["key"], []).append(list(call["said"]))
        return cls(by_key=by_key)

    def generate(self, messages: Sequence[Message], n: int, temperature: float, max_tokens: int) -> list[str]:
        """See :class:`LMBackend`.

        Raises:
            BackendError: nothing is recorded for this call.
        """
        recorded = self.by_key.get(conversation_key(messages, n, temperature, max_tokens))
        if recorded:
            return recorded.pop(0)
        if len(self.texts) < n:
            last = messages[-1].content.strip().splitlines()[-1][:60] if messages else ""
            raise BackendError(f"nothing is recorded for this call, which ends with {last!r}")
        said, self.texts = self.texts[:n], self.texts[n:]
        return said
