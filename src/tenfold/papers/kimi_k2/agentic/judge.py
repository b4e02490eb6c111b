"""The programmatic judge: each criterion is a function of the task and its trajectory.

The weights of the criteria that hold are added; a mandatory criterion that fails makes the score 0, or reinforcement
would collect points from dialogues that failed.

Source: Kimi K2, arXiv 2507.20534, section 3.1.1 (rubric-based judging, and only passing trajectories are kept).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tenfold.papers.kimi_k2.agentic.records import AgentTrajectory, Task, Verdict

PASSING_SCORE = 0.8
_OUTCOME = re.compile(r"OUTCOME: (done|cannot)\.?")
_LOOKS = ("get_", "find_", "list_", "count_")


def judged(task: Task, trajectory: AgentTrajectory, passing: float = PASSING_SCORE) -> AgentTrajectory:
    """The trajectory with its verdict.

    Args:
        task: that it is about.
        trajectory: a finished dialogue.
        passing: the least score to be kept.
    """
    failed, score = [], 0.0
    for criterion in task.rubric.criteria:
        if CHECKS[criterion.check](task, trajectory, criterion.wanted):
            score += criterion.weight
        else:
            failed.append(criterion)
    if any(criterion.mandatory for criterion in failed):
        score = 0.0
    score = round(score, 6)
    verdict = Verdict(score, score >= passing, tuple(criterion.id for criterion in failed))
    return replace(trajectory, verdict=verdict)


def said_outcome(text: str) -> str:
    """``done`` or ``cannot``, as the last line of a text reports it; empty if it reports neither.

    Example:
        >>> said_outcome("The order is shipped.\\nOUTCOME: done"), said_outcome("OUTCOME: done, or so I hope")
        ('done', '')
    """
    match = _OUTCOME.fullmatch(text.rstrip().rpartition("\n")[2].strip())
    return match[1] if match else ""


def _values(task: Task, trajectory: AgentTrajectory, wanted: list[Mapping[str, Any]]) -> bool:
    """Whether each wanted value of a record is there at the end."""
    final = {(change["table"], change["id"], change["column"]): change["after"] for change in trajectory.changes}
    for place in wanted:
        key = (place["table"], place["id"], place["column"])
        row = next(row for row in task.init_state[place["table"]] if row["id"] == place["id"])
        if final.get(key, row[place["column"]]) != place["value"]:
            return False
    return True


def _nothing_else(task: Task, trajectory: AgentTrajectory, wanted: list[list[str]]) -> bool:
    """Whether no value changed but those named by table, id and column."""
    allowed = {tuple(place) for place in wanted}
    return all((change["table"], change["id"], change["column"]) in allowed for change in trajectory.changes)


def _outcome(task: Task, trajectory: AgentTrajectory, wanted: str) -> bool:
    return bool(trajectory.said) and said_outcome(trajectory.said[-1]) == wanted


def _looked_first(task: Task, trajectory: AgentTrajectory, wanted: Any) -> bool:
    """Whether a look-up that was answered stands before everything that changes something."""
    for event in trajectory.tool_events:
        if not event.call.name.startswith(_LOOKS):
            return False
        if event.outcome in ("ok", "edge", "refused"):
            return True
    return False


def _no_mistakes(task: Task, trajectory: AgentTrajectory, wanted: int) -> bool:
    """Whether every call could be read and carried out, but for as many refusals as the reference has."""
    mistakes = [event for event in trajectory.tool_events if event.outcome in ("invalid", "refused")]
    return len(mistakes) <= wanted and not trajectory.faults


def _no_repeats(task: Task, trajectory: AgentTrajectory, wanted: Any) -> bool:
    """Whether no call was made again after it had been answered."""
    answered = [
        (event.call.name, tuple(sorted(event.call.arguments.items())))
        for event in trajectory.tool_events
        if event.outcome in ("ok", "edge")
    ]
    return len(set(answered)) == len(answered)


CHECKS: Mapping[str, Callable[[Task, AgentTrajectory, Any], bool]] = {
    "values": _values,
    "nothing_else": _nothing_else,
    "outcome": _outcome,
    "looked_first": _looked_first,
    "no_mistakes": _no_mistakes,
    "no_repeats": _no_repeats,
}
