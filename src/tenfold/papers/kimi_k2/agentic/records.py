"""What synthesis makes: agents, tasks with their rubrics, and trajectories with their verdicts.

Source: Kimi K2, arXiv 2507.20534, section 3.1.1: agents are a system prompt and a set of tools; each task has a rubric
of success criteria, expected patterns of tool use and checkpoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tenfold.core.errors import UserError
from tenfold.envs.tool_calls import ToolCall, ToolSpec
from tenfold.envs.tool_domains import ToolEvent

Check = Literal["values", "nothing_else", "outcome", "looked_first", "no_mistakes", "no_repeats"]
Difficulty = Literal["simple", "moderate", "complex", "impossible"]


@dataclass(frozen=True)
class AgentSpec:
    """An agent: what it is told, and the tools it has.

    Args:
        system_prompt: the first message.
        tools: that it may call.
        domain: of the tools.
    """

    system_prompt: str
    tools: tuple[ToolSpec, ...]
    domain: str


@dataclass(frozen=True)
class Criterion:
    """One criterion of a rubric.

    Args:
        id: unique within the rubric.
        text: for people, and for a model that judges.
        check: the programmatic check, a function of ``judge.CHECKS``.
        wanted: what the check compares with.
        weight: of the score.
        mandatory: whether the score is 0 without it.
    """

    id: str
    text: str
    check: Check
    wanted: Any = None
    weight: float = 0.0
    mandatory: bool = False


@dataclass(frozen=True)
class Rubric:
    """What a trajectory is judged by.

    Args:
        criteria: mandatory ones first; the weights of all add up to 1.
        expected_tools: the names that the reference solution calls, in order.
        checkpoints: what the reference reaches on its way, in words.

    Raises:
        UserError: two criteria have one id, or the weights do not add up to 1.
    """

    criteria: tuple[Criterion, ...]
    expected_tools: tuple[str, ...]
    checkpoints: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse rubrics whose score would not lie between 0 and 1."""
        ids = [criterion.id for criterion in self.criteria]
        if len(set(ids)) < len(ids):
            raise UserError(f"criteria = {', '.join(ids)}: each needs an id of its own")
        total = sum(criterion.weight for criterion in self.criteria)
        if abs(total - 1) > 1e-6:
            raise UserError(f"criteria: the weights add up to {total:.3f}; they must add up to 1")


@dataclass(frozen=True)
class Persona:
    """A simulated user.

    Args:
        name: of the style.
        opening: the first message, with ``{goal}`` in it.
        answer: what is said to a question, with ``{fact}`` in it.
        thanks: the last message.
        withholds: whether names are told only when they are asked for.
    """

    name: str
    opening: str
    answer: str
    thanks: str
    withholds: bool = False


@dataclass(frozen=True)
class Solution:
    """A reference: calls that solve a task where nothing fails, and what they end in.

    Args:
        calls: name and arguments, in order.
        outcome: ``done`` or ``cannot``.
    """

    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    outcome: Literal["done", "cannot"]


@dataclass(frozen=True)
class Task:
    """A task with all that is needed to run and to judge it.

    Args:
        id: ``DOMAIN-NUMBER``.
        agent: who solves it.
        user_goal: in words; ``{names}`` in it are the names that a persona may withhold.
        names: of the records that it is about.
        persona: of the user.
        difficulty: by the length of the solution.
        rubric: what it is judged by.
        init_state: table to rows.
        solution: the reference.
        seed: of what is drawn while it runs.
    """

    id: str
    agent: AgentSpec
    user_goal: str
    names: tuple[str, ...]
    persona: Persona
    difficulty: Difficulty
    rubric: Rubric
    init_state: Mapping[str, Sequence[Mapping[str, Any]]]
    solution: Solution
    seed: int


@dataclass(frozen=True)
class Verdict:
    """What the judge says.

    Args:
        score: in [0, 1]; 0 if a mandatory criterion fails.
        passed: whether the trajectory is kept.
        failed: ids of the criteria that fail.
    """

    score: float
    passed: bool
    failed: tuple[str, ...]


@dataclass(frozen=True)
class AgentTrajectory:
    """A dialogue of user, agent and tools.

    Args:
        task_id: of its task.
        attempt: number among the attempts at the task, from 0.
        policy: who acted.
        messages: of a chat; the agent's have ``tool_calls`` where it called.
        said: the text of each of the agent's turns, with calls in Kimi K2's format.
        tool_events: calls with their results, in order.
        changes: of the state, from beginning to end.
        verdict: of the judge; ``None`` before it is judged.
    """

    task_id: str
    attempt: int
    policy: str
    messages: tuple[Mapping[str, Any], ...]
    said: tuple[str, ...]
    tool_events: tuple[ToolEvent, ...]
    changes: tuple[Mapping[str, Any], ...]
    verdict: Verdict | None = None
    faults: tuple[str, ...] = field(default_factory=tuple)
    """What the agent wrote that begins like a call and is none."""

    def to_row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "AgentTrajectory":
        """From that JSON."""
        events = tuple(ToolEvent(**{**event, "call": ToolCall(**event["call"])}) for event in row["tool_events"])
        verdict = row["verdict"] and Verdict(**{**row["verdict"], "failed": tuple(row["verdict"]["failed"])})
        parts = {name: tuple(row[name]) for name in ("messages", "said", "changes", "faults")}
        return cls(row["task_id"], row["attempt"], row["policy"], tool_events=events, verdict=verdict, **parts)
