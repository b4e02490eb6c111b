"""The laptop study's world: a domain of tools for each task, an item in a hidden status, a goal, a rubric.

A domain has four statuses and four tools that each move an item from one status to another (a *graph*: 4 of the 12
moves, 495 graphs), and one tool that reads the status. Their names are dealt out anew for each task, so that a policy
must find a tool in its prompt and cannot remember it. A call names the move that is wanted, and then a tool:

    prompt   <b-d> <tool12> <read> <tool03> <a-b> <tool47> … <goal> <b>
    agent    <read> <tool03> <call>      world  <a>
    agent    <a-b> <tool47> <call>       world  <busy>
    agent    <a-b> <tool47> <call>       world  <ok>
    agent    <done>

The tool alone decides what happens. Some items are lost: no tool finds them, and the true report is ``<cannot>``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from typing import Any

from tenfold.core.seeding import Key, numpy_generator
from tenfold.core.types import Reply, Turn

STATUSES = ("a", "b", "c", "d")
MOVES = tuple(f"{one}-{other}" for one, other in permutations(STATUSES, 2))
GRAPHS = tuple(combinations(MOVES, 4))
NUM_NAMES, NUM_HELD_OUT = 64, 100
NAMES = tuple(f"tool{number:02d}" for number in range(NUM_NAMES))
READ, CALL, GOAL, DONE, CANNOT = "read", "call", "goal", "done", "cannot"
OK, BUSY, MISSING, REFUSED, INVALID = "ok", "busy", "missing", "refused", "invalid"
WORDS = tuple(
    f"<{word}>"
    for word in (*STATUSES, *MOVES, *NAMES, READ, CALL, GOAL, DONE, CANNOT, OK, BUSY, MISSING, REFUSED, INVALID)
)
MOST_CALLS = 8
MANDATORY = 0.6
WEIGHTS: Mapping[str, float] = {"looked first": 0.2, "no invalid call": 0.1, "no second look": 0.1}
"""The score of a dialogue in which no mandatory criterion fails, and what each of the others adds."""


@dataclass(frozen=True)
class SmallTask:
    """A domain, an item and a goal.

    Args:
        key: what all noise of its dialogues is drawn by.
        moves: of the four tools.
        names: of these tools, and of the reading one, last.
        order: of the five tools in the prompt.
        status: of the item, which the prompt does not say.
        goal: the status that it shall have.
        is_lost: whether no tool finds the item.
    """

    key: tuple[Key, ...]
    moves: tuple[str, ...]
    names: tuple[str, ...]
    order: tuple[int, ...]
    status: str
    goal: str
    is_lost: bool

    @property
    def prompt(self) -> str:
        """The tools in their order, and the goal."""
        kinds = (*self.moves, READ)
        listed = "".join(f"<{kinds[place]}><{self.names[place]}>" for place in self.order)
        return f"{listed}<{GOAL}><{self.goal}>"

    def name_of(self, kind: str) -> str:
        """The name of the tool of a move, or of the reading one."""
        return self.names[(*self.moves, READ).index(kind)]


def held_out_graphs(seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the graphs to train on, and of those that no training sees.

    Args:
        seed: of the split.
    """
    order = numpy_generator(seed, "graphs").permutation(len(GRAPHS)).tolist()
    return sorted(order[NUM_HELD_OUT:]), sorted(order[:NUM_HELD_OUT])


def make_tasks(graphs: Sequence[int], number: int, seed: int, what: str, lost_share: float) -> list[SmallTask]:
    """Tasks with different keys.

    Args:
        graphs: to draw from.
        number: of tasks.
        seed: of the draws.
        what: they are for; tells the streams of one seed apart.
        lost_share: of the tasks whose item is lost.

    Example:
        >>> (task,) = make_tasks([0], 1, seed=0, what="example", lost_share=0.0)
        >>> task.moves, task.prompt.count("<"), f"{task.status}-{task.goal}" in task.moves
        (('a-b', 'a-c', 'a-d', 'b-a'), 12, True)
    """
    tasks = []
    for place in range(number):
        draw = numpy_generator(seed, "task", what, place)
        moves = GRAPHS[graphs[int(draw.integers(len(graphs)))]]
        names = tuple(NAMES[name] for name in draw.permutation(NUM_NAMES)[:5])
        order = tuple(int(tool) for tool in draw.permutation(5))
        status, goal = moves[int(draw.integers(4))].split("-")
        is_lost = bool(draw.random() < lost_share)
        tasks.append(SmallTask((seed, what, place), moves, names, order, status, goal, is_lost))
    return tasks


@dataclass
class SmallState:
    """An item within one dialogue, and what has happened to it.

    Args:
        task: with the tools.
        failures: probability that a valid call is answered ``busy`` and does nothing.
        sample: number of the dialogue; failures are drawn by it.
    """

    task: SmallTask
    failures: float
    sample: int
    status: str = ""
    events: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.status = self.task.status

    def call(self, name: str) -> str:
        """The world's answer to a call; whatever is called is answered."""
        result = self._answered(name)
        self.events.append({"tool": name, "kind": self._kind(name), "result": result, "status": self.status})
        return result

    def _kind(self, name: str) -> str:
        if name not in self.task.names:
            return INVALID
        return (*self.task.moves, READ)[self.task.names.index(name)]

    def _answered(self, name: str) -> str:
        kind = self._kind(name)
        if kind == INVALID:
            return INVALID
        draw = numpy_generator(*self.task.key, "busy", self.sample, len(self.events))
        if draw.random() < self.failures:
            return BUSY
        if self.task.is_lost:
            return MISSING
        if kind == READ:
            return self.status
        before, after = kind.split("-")
        if self.status != before:
            return REFUSED
        self.status = after
        return OK


@dataclass(frozen=True)
class SmallVerdict:
    """What the rubric says of a dialogue.

    Args:
        success: whether the mandatory criteria hold: the goal is reached and reported, or a lost item is.
        score: 0 without success, so that no points are collected from failed dialogues.
        failed: criteria that do not hold.
    """

    success: bool
    score: float
    failed: tuple[str, ...]


def judged_small(state: SmallState, report: str) -> SmallVerdict:
    """The rubric, which is a program.

    Args:
        state: at the end of the dialogue.
        report: ``done``, ``cannot``, or empty where the dialogue ended without one.

    Example:
        >>> (task,) = make_tasks([0], 1, seed=0, what="example", lost_share=0.0)
        >>> state = SmallState(task, failures=0.0, sample=0)
        >>> for kind in ("read", f"{task.status}-{task.goal}"):
        ...     answer = state.call(task.name_of(kind))
        >>> judged_small(state, "done").score, judged_small(state, "cannot").score
        (1.0, 0.0)
    """
    task, events = state.task, state.events
    if task.is_lost:
        mandatory = {"a true report": report == CANNOT}
    else:
        mandatory = {"goal reached": state.status == task.goal, "a true report": report == DONE}
    answered = [event for event in events if event["result"] != BUSY]
    looks = [event for event in answered if event["kind"] == READ]
    others = {
        "looked first": bool(answered) and events[0]["kind"] == READ and answered[0]["kind"] == READ,
        "no invalid call": all(event["result"] not in (INVALID, REFUSED) for event in events),
        "no second look": len(looks) <= 1,
    }
    failed = [name for name, holds in (mandatory | others).items() if not holds]
    success = all(mandatory.values())
    score = MANDATORY + sum(weight for name, weight in WEIGHTS.items() if others[name]) if success else 0.0
    return SmallVerdict(success, round(score, 6), tuple(failed))


@dataclass(frozen=True)
class SmallEnvironment:
    """The world of several tasks as a policy acts on it: a :class:`tenfold.core.types.Environment`.

    Each of a trajectory's ``tool_calls`` has the tool, its kind, the result and the item's status; ``reward_parts`` has
    ``success`` and ``score`` once the agent has reported.

    Args:
        tasks: in the order of the prompts.
        failures: probability that a valid call is answered ``busy``.
    """

    tasks: Sequence[SmallTask]
    failures: float

    @property
    def stop(self) -> tuple[str, ...]:
        """A call, or a report."""
        return tuple(f"<{word}>" for word in (CALL, DONE, CANNOT))

    def open(self, prompt: int, sample: int) -> "_SmallSession":
        """The item of one dialogue."""
        return _SmallSession(SmallState(self.tasks[prompt], self.failures, sample))


@dataclass
class _SmallSession:
    state: SmallState

    def respond(self, turn: Turn) -> Reply | None:
        words = re.findall(r"<([^<>]+)>", turn.text)
        if turn.stop is None:  # an end without a report
            return Reply(end=True, reward_parts={"success": 0.0, "score": 0.0})
        if words[-1] in (DONE, CANNOT):
            verdict = judged_small(self.state, words[-1])
            parts: dict[str, Any] = {"success": float(verdict.success), "score": verdict.score}
            return Reply(end=True, reward_parts=parts)
        if len(self.state.events) == MOST_CALLS:
            return Reply(end=True, reward_parts={"success": 0.0, "score": 0.0})
        result = self.state.call(words[-2] if len(words) > 1 else "")
        return Reply(f"<{result}>", tool_calls=[self.state.events[-1]])

    def close(self) -> None:
        """Nothing is held."""
