"""Policies that act in the small world, and what is measured of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Trajectory
from tenfold.papers.kimi_k2.agentic.config import Config
from tenfold.papers.kimi_k2.agentic.small_world import (
    CANNOT,
    DONE,
    SmallEnvironment,
    SmallState,
    SmallTask,
    judged_small,
)
from tenfold.policies import Policy, Sampling, rollout

EXAMPLES = 4


@dataclass(frozen=True)
class Played:
    """Dialogues of a policy, one for each task.

    Args:
        tasks: that it was given.
        trajectories: what it did.
        failures: probability of a busy answer.
    """

    tasks: Sequence[SmallTask]
    trajectories: Sequence[Trajectory]
    failures: float

    @property
    def successes(self) -> list[float]:
        """1 for each dialogue whose mandatory criteria hold; a dialogue that was cut has no report."""
        return [said.reward_parts.get("success", 0.0) for said in self.trajectories]

    @property
    def tokens(self) -> list[float]:
        """Tokens that the agent said in each dialogue."""
        return [float(len(said.sampled_ids)) for said in self.trajectories]

    def summary(self) -> dict[str, float]:
        """Means over the dialogues."""
        scores = [said.reward_parts.get("score", 0.0) for said in self.trajectories]
        calls = [float(len(said.tool_calls)) for said in self.trajectories]
        return {
            "success": _mean(self.successes),
            "score": _mean(scores),
            "calls": _mean(calls),
            "tokens": _mean(self.tokens),
        }


def play(
    policy: Policy,
    tasks: Sequence[SmallTask],
    config: Config,
    seed: int,
    *,
    failures: float | None = None,
    temperature: float = 1.0,
) -> Played:
    """One dialogue for each task.

    Args:
        policy: who acts.
        tasks: what for.
        config: of the run.
        seed: of the noise.
        failures: probability of a busy answer; that of the training by default.
        temperature: 0 is greedy.
    """
    failures = config.dialogues.failures if failures is None else failures
    trajectories = rollout(
        policy,
        [policy.encode(task.prompt) for task in tasks],
        Sampling(config.evaluation.max_new_tokens, temperature),
        seed=key_to_seed(seed, "play"),
        keys=[task.key for task in tasks],
        environment=SmallEnvironment(tasks, failures),
        batch_size=config.evaluation.batch_size,
        deterministic=True,
    )
    return Played(tasks, trajectories, failures)


def validated(policy: Policy, config: Config, tasks: Sequence[SmallTask], seed: int) -> Mapping[str, float]:
    """Success on validation tasks, sampled and greedy."""
    sampled, greedy = (play(policy, tasks, config, seed, temperature=temperature) for temperature in (1.0, 0.0))
    return {"validation/success": _mean(sampled.successes), "validation/greedy": _mean(greedy.successes)}


def examples(played: Played, policy: Policy) -> list[dict[str, Any]]:
    """The first dialogues as plain data: who said what, the item's status after each call, what the rubric says."""
    shown = zip(played.tasks[:EXAMPLES], played.trajectories[:EXAMPLES], strict=True)
    return [_example(task, said, played.failures, policy) for task, said in shown]


def _example(task: SmallTask, said: Trajectory, failures: float, policy: Policy) -> dict[str, Any]:
    state = SmallState(task, failures, sample=0)
    for event in said.tool_calls:
        state.call(event["tool"])
    text = policy.decode(said.token_ids)
    report = next((word for word in (DONE, CANNOT) if text.endswith(f"<{word}>")), "")
    verdict = judged_small(state, report)
    return {
        "prompt": task.prompt,
        "goal": task.goal,
        "status": task.status,
        "is_lost": task.is_lost,
        "pieces": _pieces(said, policy, [event["status"] for event in said.tool_calls]),
        "success": verdict.success,
        "score": verdict.score,
        "failed": list(verdict.failed),
    }


def _pieces(said: Trajectory, policy: Policy, statuses: Sequence[str]) -> list[list[str]]:
    """``[kind, text]``: what the agent said, what the world answered, the status that the item then has."""
    pieces: list[list[str]] = []
    calls = iter(statuses)
    for token, is_sampled in zip(said.token_ids, said.loss_mask, strict=True):
        if is_sampled:
            pieces.append(["agent", policy.decode([token])])
        else:
            pieces += [["world", policy.decode([token])], ["state", f"[{next(calls)}] "]]
    return pieces


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
