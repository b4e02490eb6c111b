"""Scripted agents of the laptop study, whose dialogues a policy is taught: half careful, half sloppy.

A careful agent knows the way and errs now and then, with a probability of its own at each decision. A sloppy one has
habits: it does not look first, gives up where a service is busy, and claims success in any case. Errors are independent
of the task and mostly averaged away by maximum likelihood; habits are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.core.seeding import numpy_generator
from tenfold.papers.kimi_k2.agentic.small_world import (
    CALL,
    CANNOT,
    DONE,
    MISSING,
    MOST_CALLS,
    OK,
    READ,
    STATUSES,
    SmallState,
    SmallTask,
    SmallVerdict,
    judged_small,
)


@dataclass(frozen=True)
class SmallDialogue:
    """What a scripted agent did.

    Args:
        task: that it was about.
        parts: stretches of text, and whether the agent said them.
        verdict: of the rubric.
        is_careful: whether the agent was.
    """

    task: SmallTask
    parts: tuple[tuple[str, bool], ...]
    verdict: SmallVerdict
    is_careful: bool


def make_dialogues(
    tasks: Sequence[SmallTask], failures: float, careful_share: float, most_slip: float
) -> list[SmallDialogue]:
    """One dialogue for each task, by an agent that the task's key draws.

    Args:
        tasks: different ones.
        failures: probability that a valid call is answered ``busy``.
        careful_share: probability that the agent is careful.
        most_slip: of a careful agent at each decision; its own slip is uniform from 0 to this.
    """
    dialogues = []
    for task in tasks:
        draw = numpy_generator(*task.key, "agent")
        is_careful = bool(draw.random() < careful_share)
        slip = float(draw.random() * most_slip)
        state = SmallState(task, failures, sample=0)
        parts, report = _careful(state, slip, draw) if is_careful else _sloppy(state, draw)
        dialogues.append(SmallDialogue(task, tuple(parts), judged_small(state, report), is_careful))
    return dialogues


Parts = list[tuple[str, bool]]


def _careful(state: SmallState, slip: float, draw: np.random.Generator) -> tuple[Parts, str]:
    """Look, move, report; every busy answer is followed by another try, every decision may be a slip."""
    task, parts = state.task, Parts()
    status = ""  # as far as the agent knows
    while len(state.events) < MOST_CALLS:
        wanted = READ if not status else f"{status}-{task.goal}"
        if draw.random() < slip:
            wanted = str(draw.choice([READ, *task.moves]))
        result = _say(state, parts, wanted)
        if result == MISSING:
            return _reported(parts, DONE if draw.random() < slip else CANNOT)
        if result == OK:
            return _reported(parts, CANNOT if draw.random() < slip else DONE)
        status = result if result in STATUSES else status
    return parts, ""


def _sloppy(state: SmallState, draw: np.random.Generator) -> tuple[Parts, str]:
    """Some move to the goal, no second try, and success is claimed in any case."""
    task, parts = state.task, Parts()
    towards = [move for move in task.moves if move.endswith(task.goal)]
    _say(state, parts, str(draw.choice(towards)))
    return _reported(parts, DONE)


def _say(state: SmallState, parts: Parts, wanted: str) -> str:
    """A call of the tool for what is wanted; the world's answer."""
    name = state.task.name_of(wanted)
    parts.append((f"<{wanted}><{name}><{CALL}>", True))
    result = state.call(name)
    parts.append((f"<{result}>", False))
    return result


def _reported(parts: Parts, report: str) -> tuple[Parts, str]:
    parts.append((f"<{report}>", True))
    return parts, report
