"""Seeded tasks: records to bring into a status or to change, personas who ask for it, rubrics and reference solutions.

A plan is the shortest way through the steps of a thing's life; where a step needs a linked record in some status, that
record is brought there first. Where no plan exists, or the named record does not, the right outcome is ``cannot``, with
nothing changed.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.envs.tool_domains import Domain, StateMachineTool, Thing, domain_named
from tenfold.envs.tool_domains.world import Row
from tenfold.papers.kimi_k2.agentic.records import AgentSpec, Criterion, Difficulty, Persona, Rubric, Solution, Task

PERSONAS = (
    Persona("plain", "Hello. {goal} Thank you.", "It is {fact}.", "Thank you."),
    Persona("terse", "{goal}", "{fact}", "ok"),
    Persona("hurried", "I am in a hurry: {goal} Please be quick!", "{fact}, quickly please!", "Finally. Bye."),
    Persona(
        "talkative",
        "Good morning! I was just telling a colleague how much there is to do today. Anyway: {goal} "
        "There is no rush, but I should like to know how it went.",
        "Of course, how could you know? It is {fact}. It was on my desk all the time.",
        "How kind of you. Have a good day!",
    ),
    Persona("vague", "Hi, could you help me? {goal}", "Oh, sorry: {fact}.", "Thanks.", withholds=True),
    Persona("formal", "Dear team, {goal} With kind regards", "The name is {fact}.", "With thanks.", withholds=True),
)
SYSTEM_PROMPT = (
    "You work for a {domain} service and help its users with the tools that you have. Look records up before you "
    "change them, do what is asked and nothing else, and try again when a service is busy. End with one line, "
    "OUTCOME: done, or OUTCOME: cannot if it cannot be done."
)
_TRIES = 200

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Goal:
    """One wish: a column of a record and the value that it shall have; no ``id`` where there is no such record."""

    thing: Thing
    id: str
    name: str
    column: str
    value: str
    steps: tuple[Call, ...] | None
    """That reach it; ``None`` where nothing does."""

    @property
    def text(self) -> str:
        """In words; ``{name}`` stands for the record's name."""
        label = "status" if self.column == "status" else self.column.replace("_", " ")
        return f"the {label} of the {self.thing.noun} {{name}} should be {self.value}"


def make_task(domain_name: str, number: int, seed: int = 0) -> Task:
    """Task ``number`` of a domain; the same for the same arguments.

    Args:
        domain_name: of ``tenfold.envs.tool_domains``.
        number: from 0.
        seed: of the whole set.

    Raises:
        UserError: there is no such domain.

    Example:
        >>> task = make_task("shop", 0)
        >>> task == make_task("shop", 0), task.id, len(task.rubric.criteria)
        (True, 'shop-00000', 6)
    """
    domain = domain_named(domain_name)
    draw = numpy_generator(seed, "task", domain_name, number)
    rows = domain.rows(key_to_seed(seed, "rows", domain_name, number))
    difficulty: Difficulty = draw.choice(["simple", "moderate", "complex", "impossible"], p=[0.3, 0.35, 0.2, 0.15])
    goals = _goals(domain, rows, str(difficulty), draw)
    solution = _solution(goals)
    return Task(
        id=f"{domain_name}-{number:05}",
        agent=_agent(domain, goals, solution, draw),
        user_goal=_in_words(goals),
        names=tuple(goal.name for goal in goals),
        persona=PERSONAS[draw.integers(len(PERSONAS))],
        difficulty=str(difficulty),  # type: ignore[arg-type]
        rubric=_rubric(domain, goals, solution),
        init_state=rows,
        solution=solution,
        seed=key_to_seed(seed, "run", domain_name, number),
    )


def plan(domain: Domain, rows: dict[str, list[Row]], table: str, id: str, status: str) -> tuple[Call, ...] | None:
    """The fewest steps that bring a record into a status; ``None`` if there are none.

    Steps of the records that it is linked to, directly or by another one, are among them where a step needs them.

    Args:
        domain: with the tools.
        rows: the state; not changed.
        table: of the record.
        id: of the record.
        status: wanted.
    """
    chain = list(_chain(domain, rows, table, id))
    waiting: deque[tuple[tuple[str, ...], tuple[Call, ...]]] = deque([(tuple(row["status"] for _, row in chain), ())])
    seen = {waiting[0][0]}
    while waiting:
        statuses, calls = waiting.popleft()
        if statuses[0] == status:
            return calls
        for place, (thing, row) in enumerate(chain):
            for step in thing.steps:
                following = (*statuses[:place], step.ends, *statuses[place + 1 :])
                may = statuses[place] in step.begins and (not step.needs or statuses[place + 1] in step.needs)
                if may and following not in seen:
                    seen.add(following)
                    waiting.append((following, (*calls, (f"{step.verb}_{thing.noun}", {"id": row["id"]}))))
    return None


def _chain(domain: Domain, rows: dict[str, list[Row]], table: str, id: str) -> Iterator[tuple[Thing, Row]]:
    """A record, that which it is linked to, and so on."""
    while table:
        thing = domain.thing(table)
        row = next(row for row in rows[table] if row["id"] == id)
        yield thing, row
        table, id = thing.link, row[f"{thing.link}_id"] if thing.link else ""


def _goals(domain: Domain, rows: dict[str, list[Row]], difficulty: str, draw: np.random.Generator) -> list[Goal]:
    wanted = {"simple": (1, 2), "moderate": (2, 4), "complex": (2, 4), "impossible": (0, 0)}[difficulty]
    found: list[Goal] = []
    for _ in range(_TRIES):
        goal = _status_goal(domain, rows, draw)
        if difficulty == "impossible":
            if goal.steps is None:
                return [goal]
            continue
        if goal.steps is None or not wanted[0] <= len(goal.steps) <= wanted[1]:
            continue
        found.append(goal)
        if difficulty == "complex":
            other = next(thing for thing in domain.blueprint.things if thing != goal.thing)
            found.append(_value_goal(other, rows, draw))
        return found
    return [_value_goal(domain.blueprint.things[0], rows, draw)]  # a state in which nothing moves


def _status_goal(domain: Domain, rows: dict[str, list[Row]], draw: np.random.Generator) -> Goal:
    things = domain.blueprint.things
    thing = things[draw.integers(len(things))]
    row = rows[thing.plural][draw.integers(len(rows[thing.plural]))]
    status = str(draw.choice([status for status in thing.statuses if status != row["status"]]))
    if draw.random() < 0.1:  # a record that is not there
        return Goal(thing, "", f"{row['name']} Junior", "status", status, None)
    return Goal(thing, row["id"], row["name"], "status", status, plan(domain, rows, thing.plural, row["id"], status))


def _value_goal(thing: Thing, rows: dict[str, list[Row]], draw: np.random.Generator) -> Goal:
    row = rows[thing.plural][draw.integers(len(rows[thing.plural]))]
    column = str(draw.choice(list(thing.attributes)))
    value = str(draw.choice([value for value in thing.attributes[column] if value != row[column]]))
    call = (f"set_{thing.noun}_{column}", {"id": row["id"], column: value})
    return Goal(thing, row["id"], row["name"], column, value, (call,))


def _in_words(goals: Sequence[Goal]) -> str:
    wishes = [goal.text.replace("{name}", f"{{names[{number}]}}") for number, goal in enumerate(goals)]
    text = ", and ".join(wishes) + "."
    return text[0].upper() + text[1:]


def _solution(goals: Sequence[Goal]) -> Solution:
    looks = [(f"find_{goal.thing.noun}", {"name": goal.name}) for goal in goals]
    if any(goal.steps is None for goal in goals):
        return Solution(tuple(looks), "cannot")
    return Solution((*looks, *(call for goal in goals for call in goal.steps or ())), "done")


def _agent(domain: Domain, goals: Sequence[Goal], solution: Solution, draw: np.random.Generator) -> AgentSpec:
    """The tools of the solution, and others of the domain, in an order that tells nothing."""
    needed = {name for name, _ in solution.calls} | {f"get_{thing.noun}" for thing in domain.blueprint.things}
    needed |= {f"{step.verb}_{goal.thing.noun}" for goal in goals for step in goal.thing.steps}
    others = [tool.spec.name for tool in domain.tools if tool.spec.name not in needed]
    needed |= {str(name) for name in draw.permutation(others)[: draw.integers(3, 9)]}
    chosen = [tool.spec for tool in domain.tools if tool.spec.name in needed]
    order = draw.permutation(len(chosen))
    prompt = SYSTEM_PROMPT.format(domain=domain.name)
    return AgentSpec(prompt, tuple(chosen[place] for place in order), domain.name)


def _rubric(domain: Domain, goals: Sequence[Goal], solution: Solution) -> Rubric:
    is_done = solution.outcome == "done"
    values = [{"table": goal.thing.plural, "id": goal.id, "column": goal.column, "value": goal.value} for goal in goals]
    places = [list(place) for place in _touched(domain, solution.calls)]
    wishes = "; ".join(goal.text.replace("{name}", goal.name) for goal in goals)
    missing = sum(not goal.id for goal in goals)
    criteria = (
        Criterion(
            "goal",
            wishes if is_done else "nothing can be done",
            "values",
            values if is_done else [],
            0.2,
            mandatory=True,
        ),
        Criterion("nothing-else", "No other value is changed.", "nothing_else", places, 0.2, mandatory=True),
        Criterion(
            "true-report",
            f"The last line is OUTCOME: {solution.outcome}.",
            "outcome",
            solution.outcome,
            0.1,
            mandatory=True,
        ),
        Criterion("looked-first", "A record is looked up before anything is changed.", "looked_first", None, 0.3),
        Criterion("no-mistakes", "No call is wrong or refused.", "no_mistakes", missing, 0.1),
        Criterion("no-repeats", "No call is made again once it was answered.", "no_repeats", None, 0.1),
    )
    checkpoints = tuple(f"{name} {' '.join(map(str, arguments.values()))}" for name, arguments in solution.calls)
    return Rubric(criteria, tuple(name for name, _ in solution.calls), checkpoints)


def _touched(domain: Domain, calls: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Table, id and column of what the reference changes."""
    for name, arguments in calls:
        tool: StateMachineTool = domain.tool(name)
        for column in tool.sets:
            yield tool.table, arguments["id"], column
