"""A dialogue of a user, an agent and tools, and the users and agents that need no language model.

The agent is text in, text out, in Kimi K2's format of calls, so that a language model takes the place of a scripted one
by the same protocol. Scripted agents know the reference solution. A *careful* one follows it, asks for what it was not
told, tries again where a service is busy and looks where an answer was lost, but slips now and then. A *sloppy* one has
habits instead: it does not look first, takes no second try, or reports success in any case. Slips are independent,
habits are not: training averages the first away, and learns the second.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tenfold.core.seeding import numpy_generator
from tenfold.envs.tool_calls import ToolCall, read_turn, write_calls, write_result
from tenfold.envs.tool_domains import Failures, ToolEvent, ToolWorld, domain_named
from tenfold.papers.kimi_k2.agentic.records import AgentTrajectory, Task

MOST_TURNS, MOST_TRIES = 24, 6
"""Of the agent in a dialogue; of one call that meets a busy service."""
NO_FAILURES = Failures()
HABITS = ("does not look first", "gives up", "claims success")


class AgentSession(Protocol):
    """The agent's side of one dialogue."""

    def reply(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The agent's next turn, with its calls in Kimi K2's format."""
        ...


class Agent(Protocol):
    """Who acts; ``name`` is kept in the trajectory."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def open(self, task: Task, attempt: int) -> AgentSession:
        """A session for one attempt at a task."""
        ...


@dataclass(frozen=True)
class ScriptedAgent:
    """An agent without a model.

    Args:
        name: kept in the trajectory.
        slip: the probability of a wrong turn at each decision.
        habits: some of :data:`HABITS`.
    """

    name: str
    slip: float = 0.0
    habits: tuple[str, ...] = ()

    def open(self, task: Task, attempt: int) -> "_ScriptedSession":
        """A session that knows the solution."""
        return _ScriptedSession(self, task, attempt)


@dataclass(frozen=True)
class Mixture:
    """Half careful agents, each with a slip of up to ``most_slip``, and half sloppy ones, each with one or two habits.

    Args:
        careful: the share of careful ones.
        most_slip: of a careful one.
    """

    careful: float = 0.5
    most_slip: float = 0.2
    name: str = "mixture"

    def open(self, task: Task, attempt: int) -> AgentSession:
        """A session of an agent that is drawn by the task and the attempt."""
        draw = numpy_generator(task.seed, "agent", attempt)
        if draw.random() < self.careful:
            return ScriptedAgent("careful", slip=float(draw.random() * self.most_slip)).open(task, attempt)
        habits = draw.permutation(HABITS)[: draw.integers(1, 3)]
        return ScriptedAgent("sloppy", habits=tuple(str(habit) for habit in habits)).open(task, attempt)


AGENTS: Mapping[str, Agent] = {
    "mixture": Mixture(),
    "careful": ScriptedAgent("careful"),
    "sloppy": ScriptedAgent("sloppy", habits=HABITS),
}
"""By name, for the command line."""


@dataclass
class _ScriptedSession:
    agent: ScriptedAgent
    task: Task
    attempt: int
    _turn: int = 0
    _index: int = 0
    _step: int = 0
    _tries: int = 0
    _asked: bool = False
    _pending: list[ToolCall] = field(default_factory=list)

    def reply(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The next turn by the results of the last one."""
        self._turn += 1
        if self.task.persona.withholds and not self._asked:
            self._asked = True
            if "does not look first" not in self.agent.habits:
                return "Certainly. Which record do you mean? Please tell me its name."
        results = [json.loads(message["content"].partition("\n")[2]) for message in _answers(messages)]
        if self._pending and (again := self._after(results)) is not None:
            return again
        return self._go_on()

    def _after(self, results: Sequence[Mapping[str, Any]]) -> str | None:
        """What follows on the results of the pending calls; ``None`` where they were as hoped."""
        busy = [call for call, result in zip(self._pending, results, strict=True) if "busy" in str(result.get("error"))]
        lost = [call for call, result in zip(self._pending, results, strict=True) if "warning" in result]
        if any("error" in result for result in results) and not busy:
            return self._end(failed=True)
        if busy or (lost and all("id" not in call.arguments for call in lost)):
            self._tries += 1
            if "gives up" in self.agent.habits or self._tries >= MOST_TRIES:
                return self._end(failed=True)
            return self._call([(call.name, call.arguments) for call in busy or lost], "I try again.")
        if lost and "gives up" not in self.agent.habits:
            return self._call([_look(self.task, call) for call in lost], "I look whether that was done.")
        self._tries = 0
        return None

    def _go_on(self) -> str:
        calls = self.task.solution.calls
        looks = [call for call in calls if call[0].startswith("find_")]
        if self._step == 0 and "does not look first" in self.agent.habits:
            self._step = len(looks)  # it writes ids that it cannot know
        if self._step < len(looks):
            self._step = len(looks)
            return self._call(looks, "I look that up.")
        if self._step >= len(calls) or self._slips("ends early", 0.2):
            return self._end(failed=self._step < len(calls))
        name, arguments = calls[self._step]
        self._step += 1
        if self._slips("wrong record", 0.4):
            table = domain_named(self.task.agent.domain).tool(name).table
            others = [row["id"] for row in self.task.init_state[table] if row["id"] != arguments["id"]]
            arguments = {**arguments, "id": others[self._turn % len(others)]}
        elif self._slips("again", 0.4):
            self._step -= 1
        return self._call([(name, arguments)], "")

    def _slips(self, what: str, share: float) -> bool:
        draw = numpy_generator(self.task.seed, "slip", self.attempt, self._turn, what)
        return bool(draw.random() < self.agent.slip * share)

    def _call(self, calls: Sequence[tuple[str, Mapping[str, Any]]], said: str) -> str:
        self._pending = [
            ToolCall(name, arguments, self._index + place) for place, (name, arguments) in enumerate(calls)
        ]
        self._index += len(calls)
        return said + write_calls(self._pending)

    def _end(self, failed: bool) -> str:
        wanted = self.task.solution.outcome
        outcome = "cannot" if failed or wanted == "cannot" else "done"
        if "claims success" in self.agent.habits or self._slips("false report", 0.5):
            outcome = "done"
        said = "All of that is done." if outcome == "done" else "I am sorry, that is not possible."
        return f"{said}\nOUTCOME: {outcome}"


def _answers(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The tool messages at the end."""
    found: list[Mapping[str, Any]] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        found.insert(0, message)
    return found


def _look(task: Task, call: ToolCall) -> tuple[str, Mapping[str, Any]]:
    domain = domain_named(task.agent.domain)
    thing = domain.thing(domain.tool(call.name).table)
    return f"get_{thing.noun}", {"id": call.arguments["id"]}


class ScriptedUser:
    """Says the goal, tells names when asked, and thanks in the end.

    Args:
        task: with goal and persona.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._told = task, not task.persona.withholds

    def begin(self) -> str:
        """The first message."""
        names = [f"I mentioned ({number})" for number in range(1, len(self._task.names) + 1)]
        if not self._task.persona.withholds:
            names = [f'"{name}"' for name in self._task.names]
        return self._task.persona.opening.format(goal=self._task.user_goal.format(names=names))

    def answer(self, said: str) -> str | None:
        """To a turn of the agent without calls; ``None`` where there is nothing more to say."""
        if not self._told and "?" in said:
            self._told = True
            return self._task.persona.answer.format(fact=" and ".join(f'"{name}"' for name in self._task.names))
        return None


def run_dialogue(task: Task, agent: Agent, attempt: int = 0, failures: Failures = NO_FAILURES) -> AgentTrajectory:
    """One attempt at a task; the same for the same arguments, with scripted agents.

    Args:
        task: to be solved.
        agent: who acts.
        attempt: its number; failures and agents are drawn by it.
        failures: that are injected.
    """
    names = {spec.name for spec in task.agent.tools}
    tools = [tool for tool in domain_named(task.agent.domain).tools if tool.spec.name in names]
    world = ToolWorld(tools, task.init_state, failures, (task.seed, "attempt", attempt))  # type: ignore[arg-type]
    session, user = agent.open(task, attempt), ScriptedUser(task)
    messages: list[Mapping[str, Any]] = [
        {"role": "system", "content": task.agent.system_prompt},
        {"role": "user", "content": user.begin()},
    ]
    said: list[str] = []
    events: list[ToolEvent] = []
    faults: list[str] = []
    while len(said) < MOST_TURNS:
        said.append(session.reply(messages))
        turn = read_turn(said[-1], first=len(events))
        faults += [fault.reason for fault in turn.faults]
        message: dict[str, Any] = {"role": "assistant", "content": turn.text}
        if turn.calls:
            message["tool_calls"] = [call.to_openai() for call in turn.calls]
        messages.append(message)
        for call in turn.calls:
            events.append(world.call(call))
            text = write_result(call, json.dumps(events[-1].result, ensure_ascii=False))
            messages.append({"role": "tool", "tool_call_id": call.id, "name": call.name, "content": text})
        if turn.faults and not turn.calls:
            problem = f"This was not a call: {turn.faults[0].reason}."
            messages.append({"role": "user", "content": problem})
        elif not turn.calls:
            if (answer := user.answer(turn.text)) is None:
                break
            messages.append({"role": "user", "content": answer})
    changes = tuple(world.changes())
    world.close()
    policy = getattr(getattr(session, "agent", agent), "name", agent.name)
    return AgentTrajectory(
        task.id, attempt, policy, tuple(messages), tuple(said), tuple(events), changes, faults=tuple(faults)
    )
