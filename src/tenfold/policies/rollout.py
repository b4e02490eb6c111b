"""The one rollout: prompts in tokens to trajectories in tokens, for training, evaluation and users.

For each prompt ``num_samples`` trajectories are sampled; an environment may answer at the end of each turn. Tokens go
in and tokens come out: the context of every token is the very ids that were sampled or appended before it, never text
that was encoded again. A trajectory is a function of the policy, its prompt, the sampling and its key alone: what else
is sampled with it, and in which order, changes nothing but the rounding of the logits. So an environment may take its
time: rows that wait for it stand aside while the others are sampled (``tenfold.policies.sessions``).

What runs the model is behind the :class:`~tenfold.policies.Decoder` protocol; the policy brings its own
(``Policy.decoder``).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from tenfold.core.errors import UserError
from tenfold.core.seeding import Key
from tenfold.core.types import Environment, Prompt, Reply, StopReason, Trajectory, Turn
from tenfold.policies.constraint import Constrained, Constraint
from tenfold.policies.rows import Decoder, Row
from tenfold.policies.sampling import Sampling, trajectory_seed
from tenfold.policies.sessions import Sessions
from tenfold.policies.stopping import StopStrings, turn_text


class Actor(Protocol):
    """What a rollout needs of a policy; :class:`~tenfold.policies.Policy` is one."""

    @property
    def tokenizer(self) -> Any: ...  # noqa: D102
    @property
    def context(self) -> int | None: ...  # noqa: D102
    @property
    def end_ids(self) -> frozenset[int]: ...  # noqa: D102
    def encode(self, text: str) -> list[int]: ...  # noqa: D102
    def decoder(self, rows: Sequence[Row], sampling: Sampling, batch_size: int) -> Decoder: ...  # noqa: D102


def rollout(
    policy: Actor,
    prompts: Sequence[Prompt | Sequence[int]],
    sampling: Sampling,
    *,
    num_samples: int = 1,
    seed: int = 0,
    keys: Sequence[Key | tuple[Key, ...]] | None = None,
    environment: Environment | None = None,
    constraint: Constraint | None = None,
    batch_size: int = 64,
    deterministic: bool = False,
) -> list[Trajectory]:
    """Sample trajectories; number ``i * num_samples + j`` is sample j of prompt i.

    Args:
        policy: who speaks.
        prompts: token ids, at least one each, or a :class:`~tenfold.core.types.Prompt` where features belong to them;
            equal prompts are encoded once.
        sampling: how.
        num_samples: trajectories for each prompt.
        seed: of the noise.
        keys: what tells the noise of the prompts apart, one each; their numbers 0, 1, … by default. Sample j of a
            prompt with key k draws from the stream (seed, k, j). The key of a ``Prompt`` plays no part in it.
        environment: answers at the end of each turn; none by default, so that a trajectory is one turn. Its sessions
            are asked in threads, each in one of its own, while other rows are sampled.
        constraint: restricts what may be said, token by token; see :class:`~tenfold.policies.constraint.Constraint`.
            Log-probabilities are those of what it leaves. The tokens of an environment are none of its business.
        batch_size: most rows that are sampled at the same time; memory grows with it, the result does not depend on
            it.
        deterministic: ask sessions in synchronous rounds, in this thread, which waits for them. Trajectories are the
            same, but for the rounding of the logits, which depends on what else is in the batch; for a run that must
            repeat to the last bit, or sessions that share what they change.

    Raises:
        UserError: if a prompt is empty or leaves no room in the model's context, has features that the policy does
            not take, or an argument is out of range.
        FloatingPointError: if the model's logits are not numbers.

    Example:
        >>> from tenfold.policies import tiny_policy
        >>> policy = tiny_policy("0123456789+=", width=16, layers=1, heads=2)
        >>> first, *others = rollout(policy, [policy.encode("1+2=")], Sampling(max_new_tokens=5), num_samples=3)
        >>> len(others), len(first.token_ids) == len(first.log_probs) <= 5
        (2, True)
    """
    _check(policy, prompts, num_samples, keys, batch_size)
    if environment is not None:
        sampling = _with_stops(sampling, environment.stop)
    rows = []
    for i, prompt in enumerate(prompts):
        whole = prompt if isinstance(prompt, Prompt) else Prompt(tuple(prompt))
        for j in range(num_samples):
            row = Row(whole, trajectory_seed(seed, *_key(keys, i), j), sampling.max_new_tokens, (i, j))
            row.constrained = None if constraint is None else Constrained(constraint, constraint.start(whole.ids))
            rows.append(row)
    if rows:
        sessions = Sessions(environment, synchronous=deterministic)
        _run(_Turns(policy, sampling, sessions), policy.decoder(rows, sampling, batch_size), rows)
    return [row.trajectory() for row in rows]


def _run(turns: "_Turns", decoder: Decoder, rows: Sequence[Row]) -> None:
    try:
        for row in rows:
            turns.begin(row)
        while True:
            turns.take_replies(wait=False)
            sampled = decoder.step()
            if sampled is None:  # a server is at work: replies are looked at meanwhile
                continue
            if not sampled and not turns.take_replies(wait=True):
                return
            for row, token, log_prob in sampled:
                turns.take(row, token, log_prob)
    finally:
        if (close := getattr(decoder, "close", None)) is not None:  # nobody waits any more for what is under way
            close()
        turns.close()


class _Turns:
    """Adds sampled tokens to rows, sees where turns and trajectories end, and lets the environment answer."""

    def __init__(self, policy: Actor, sampling: Sampling, sessions: Sessions) -> None:
        self._policy = policy
        self._stopping = StopStrings(policy.tokenizer, sampling.stop)
        self._count_replies = sampling.count_replies
        self._sessions = sessions
        self._end_ids = policy.end_ids
        self._context = policy.context or math.inf

    def begin(self, row: Row) -> None:
        row.turn_start = row.num_prompt
        self._sessions.open(row)

    def take(self, row: Row, token: int, log_prob: float) -> None:
        """Add a sampled token."""
        if math.isnan(log_prob):
            raise FloatingPointError("the policy's logits are not numbers: has its training diverged?")
        row.append((token,), (log_prob,), sampled=True)
        if row.constrained is not None:
            row.constrained.accept(token)
        row.budget -= 1
        if token in self._end_ids:
            self._end_turn(row, None)
        elif (stop := self._stopping.found(row.ids, row.turn_start)) is not None:
            self._end_turn(row, stop)
        elif row.budget == 0 or len(row.ids) >= self._context:
            self._finish(row, "length")

    def take_replies(self, *, wait: bool) -> bool:
        """Add the replies that have come; whether there was one."""
        any_came = False
        for row, reply in self._sessions.replies(wait=wait):
            any_came = True
            if reply is None:
                self._finish(row, "stop")
            else:
                self._answer(row, reply)
        return any_came

    def close(self) -> None:
        self._sessions.close_all()

    def _end_turn(self, row: Row, stop: str | None) -> None:
        if not self._sessions.has(row):
            row.stop_reason = "stop"
            return
        text = turn_text(self._policy.tokenizer, row.ids[row.turn_start :], self._stopping.anchor)
        completion = row.ids[row.num_prompt :]
        self._sessions.ask(row, Turn(text, stop, row.prompt.ids, completion, list(row.loss_mask)))

    def _answer(self, row: Row, reply: Reply) -> None:
        row.tool_calls.extend(reply.tool_calls)
        row.reward_parts.update(reply.reward_parts)
        token_ids = self._policy.encode(reply.text) if reply.token_ids is None else list(reply.token_ids)
        # A reply that is counted must leave room for a token after it, unless it is the end.
        fits_budget = not self._count_replies or len(token_ids) + (not reply.end) <= row.budget
        if fits := fits_budget and len(row.ids) + len(token_ids) <= self._context:
            row.append(token_ids, [0.0] * len(token_ids), sampled=False)
            row.turn_start = len(row.ids)
            row.budget -= len(token_ids) if self._count_replies else 0
        if not fits or (not reply.end and (row.budget == 0 or len(row.ids) >= self._context)):
            self._finish(row, "length")
        elif reply.end:
            self._finish(row, "environment")

    def _finish(self, row: Row, reason: StopReason) -> None:
        row.stop_reason = reason
        self._sessions.close(row)


def _key(keys: Sequence[Key | tuple[Key, ...]] | None, index: int) -> tuple[Key, ...]:
    key = index if keys is None else keys[index]
    return key if isinstance(key, tuple) else (key,)


def _with_stops(sampling: Sampling, stop: Sequence[str]) -> Sampling:
    return replace(sampling, stop=tuple(dict.fromkeys([*sampling.stop, *stop])))


def _check(
    policy: Actor,
    prompts: Sequence[Prompt | Sequence[int]],
    num_samples: int,
    keys: Sequence[Any] | None,
    batch_size: int,
) -> None:
    for name, value in (("num_samples", num_samples), ("batch_size", batch_size)):
        if value < 1:
            raise UserError(f"{name} = {value}: must be at least 1")
    if keys is not None and len(keys) != len(prompts):
        raise UserError(f"keys: there are {len(keys)}, but each of the {len(prompts)} prompts needs one")
    for index, prompt in enumerate(prompts):
        if isinstance(prompt, str):
            raise UserError(f"prompts[{index}] = {prompt[:40]!r}: must be token ids; policy.encode(text) gives them")
        size = len(prompt.ids) if isinstance(prompt, Prompt) else len(prompt)
        if size == 0:
            raise UserError(f"prompts[{index}] = []: must have at least one token")
        if policy.context is not None and size >= policy.context:
            raise UserError(f"prompts[{index}] has {size} tokens: must be below the context of {policy.context}")
