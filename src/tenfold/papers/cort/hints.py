"""Putting hints into traces: cut, append the hint, and let the policy go on through the tool loop.

    trace[:at] + hint + what the policy samples from there

The programs before the cut are run again where the state of the tool loop needs them, and count against its budget. The
noise of what is sampled is keyed by the trace's key and the place, so that other traces change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tenfold.core.errors import UserError
from tenfold.core.types import Trajectory
from tenfold.papers.cort.environment import CodeEnvironment
from tenfold.papers.cort.method import GENERAL, HintSpec
from tenfold.papers.cort.traces import PlacedHint, Trace, unbegun
from tenfold.policies import Sampling, rollout
from tenfold.policies.rollout import Actor


@dataclass(frozen=True)
class Place:
    """Where a hint goes in a trace.

    Args:
        at: tokens of the completion that stay before it.
        hint: the hint.
        decided_by: who chose the place.
    """

    at: int
    hint: HintSpec
    decided_by: str


@dataclass(frozen=True)
class HintInjector:
    """Injects hints and resumes generation.

    Args:
        policy: whose traces they are, and who goes on.
        environment: the tool loop.
        sampling: of what follows a hint; its limit holds for that, not for the whole trace.
        seed: of its noise.
        batch_size: most traces that are sampled at the same time.
        deterministic: see :func:`tenfold.policies.rollout`.
    """

    policy: Actor
    environment: CodeEnvironment
    sampling: Sampling
    seed: int = 0
    batch_size: int = 64
    deterministic: bool = False

    def insert(self, trace: Trace, at: int, hint: HintSpec, decided_by: str = "manual") -> Trace:
        """One hint into one trace: its first ``at`` tokens, the hint, and what the policy says from there.

        Raises:
            UserError: ``at`` is outside of the completion, or within an output block or an earlier hint.
        """
        return self.insert_all([trace], [Place(at, hint, decided_by)])[0]

    def insert_all(self, traces: Sequence[Trace], places: Sequence[Place | None]) -> list[Trace]:
        """One hint into each trace; those with ``None`` stay as they are.

        Raises:
            UserError: a place is outside of its completion, or within an output block or an earlier hint.
        """
        result = list(traces)
        chosen = [(i, place) for i, place in enumerate(places) if place is not None]
        hinted = [_with_hint(self.policy, traces[i], place) for i, place in chosen]
        keys = [("hint", traces[i].key or str(i), place.hint.kind, place.at) for i, place in chosen]
        for (i, _), trace in zip(chosen, self.resume(hinted, keys), strict=True):
            result[i] = trace
        return result

    def start(self, prompts: Sequence[Sequence[int]], keys: Sequence[str], hint: HintSpec = GENERAL) -> list[Trace]:
        """Traces of prompts that begin with a hint."""
        traces = unbegun(prompts, keys)
        return self.insert_all(traces, [Place(0, hint, "start")] * len(traces))

    def resume(self, traces: Sequence[Trace], keys: Sequence[tuple[int | str, ...]]) -> list[Trace]:
        """Let the policy go on after the last token of each trace; one that fills the context ends there."""
        whole = [[*trace.trajectory.prompt_ids, *trace.trajectory.token_ids] for trace in traces]
        context = self.policy.context
        chosen = [i for i, ids in enumerate(whole) if context is None or len(ids) < context]
        resumed = {n: traces[i].resumption(self.policy.tokenizer) for n, i in enumerate(chosen)}
        continuations = rollout(
            self.policy,
            [whole[i] for i in chosen],
            self.sampling,
            seed=self.seed,
            keys=[keys[i] for i in chosen],
            environment=replace(self.environment, resumed=resumed),
            batch_size=self.batch_size,
            deterministic=self.deterministic,
        )
        result = [replace(trace, trajectory=replace(trace.trajectory, stop_reason="length")) for trace in traces]
        for i, after in zip(chosen, continuations, strict=True):
            result[i] = _joined(traces[i], after)
        return result


def _with_hint(policy: Actor, trace: Trace, place: Place) -> Trace:
    length = len(trace.trajectory.token_ids)
    if not 0 <= place.at <= length:
        raise UserError(f"at = {place.at}: must be from 0 to the {length} tokens of the completion")
    if what := trace.foreign(place.at):
        raise UserError(f"at = {place.at}: lies within {what}; allowed: before or after it")
    head, token_ids = trace.up_to(place.at), policy.encode(place.hint.inserted)
    before, n = head.trajectory, len(token_ids)
    hint = PlacedHint(place.at, n, place.hint.kind, place.hint.inserted, place.decided_by, length - place.at)
    return Trace(
        replace(
            before,
            token_ids=[*before.token_ids, *token_ids],
            loss_mask=[*before.loss_mask, *[False] * n],
            log_probs=[*before.log_probs, *[0.0] * n],
        ),
        (*head.hints, hint),
        trace.key,
    )


def _joined(before: Trace, after: Trajectory) -> Trace:
    head = before.trajectory
    return replace(
        before,
        trajectory=replace(
            head,
            token_ids=[*head.token_ids, *after.token_ids],
            loss_mask=[*head.loss_mask, *after.loss_mask],
            log_probs=[*head.log_probs, *after.log_probs],
            stop_reason=after.stop_reason,
            tool_calls=(*head.tool_calls, *after.tool_calls),
            reward_parts=after.reward_parts,
        ),
    )
