"""Tools over a state in sqlite: state machines with conditions before and after each call, and injected failures.

A :class:`StateMachineTool` says as data what a call needs (:class:`Condition`) and what it sets. A :class:`ToolWorld`
is the state of one trajectory: it checks the arguments and the conditions, makes the change in one transaction, checks
that the change and nothing else happened, and answers. Whatever a policy calls is answered; a call that is refused or
fails changes nothing.

Failures are drawn by the key of the world and the number of the call, so that equal calls have equal results, whatever
else ran before.

Source: Kimi K2, arXiv 2507.20534, section 3.1.1 (a stateful tool simulator with controlled randomness).
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tenfold.core.errors import UserError
from tenfold.core.seeding import Key, numpy_generator
from tenfold.envs.tool_calls import ToolCall, ToolSpec

Row = dict[str, Any]
Rows = Mapping[str, Sequence[Row]]
"""Table to rows; each has ``id``, ``name`` and ``status`` beside its own columns."""
Kind = Literal["read", "find", "list", "count", "change"]
Outcome = Literal["ok", "edge", "partial", "busy", "refused", "invalid"]
MOST_LISTED = 20


@dataclass(frozen=True)
class Condition:
    """What must hold before a call.

    Args:
        column: of the record that the call is about.
        allowed: its values.
        link: the column that names another record, if the condition is about that record's ``column``.
    """

    column: str
    allowed: tuple[str, ...]
    link: str = ""


@dataclass(frozen=True)
class StateMachineTool:
    """A tool over one table.

    Args:
        spec: as it is declared; the argument ``id`` names the record.
        table: what it reads or changes.
        kind: ``read`` a record, ``find`` one by name, ``list`` or ``count`` those whose columns equal the arguments,
            or ``change`` one.
        needs: before a change.
        sets: column to value that a change leaves there; ``$argument`` is the value of an argument.
        links: column to the table of the record that it names.
    """

    spec: ToolSpec
    table: str
    kind: Kind
    needs: tuple[Condition, ...] = ()
    sets: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failures:
    """How often a valid call is answered in another way; the rest is answered as it should be.

    Args:
        busy: nothing is done, and the answer asks to try again.
        partial: the change is made, but the answer does not say so; of calls that change nothing, nothing is said.
        edge: the answer is right and has a notice beside it that no schema promises.

    Raises:
        UserError: a share is negative, or they add up to more than 1.
    """

    busy: float = 0.0
    partial: float = 0.0
    edge: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what are no shares."""
        for name, share in asdict(self).items():
            if not 0 <= share <= 1:
                raise UserError(f"{name} = {share}: must be from 0 to 1")
        if self.busy + self.partial + self.edge > 1:
            raise UserError(f"busy + partial + edge = {self.busy + self.partial + self.edge}: must be at most 1")


@dataclass(frozen=True)
class ToolEvent:
    """A call with what came of it.

    Args:
        call: as the policy made it.
        result: JSON that the policy reads.
        state_before_hash: of all tables.
        state_after_hash: of all tables; the same unless a change was made.
        outcome: ``ok``; ``edge``, ``partial`` or ``busy``, which were injected; ``refused`` by a condition; ``invalid``
            by its name or its schema.
    """

    call: ToolCall
    result: Mapping[str, Any]
    state_before_hash: str
    state_after_hash: str
    outcome: Outcome


class ToolWorld:
    """The state of one trajectory, and its tools.

    Args:
        tools: those that can be called.
        rows: the state at the beginning; not changed.
        failures: that are injected.
        key: what the failures are drawn by.

    Raises:
        UserError: two tools have one name.

    Example:
        >>> schema = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
        >>> close = StateMachineTool(
        ...     ToolSpec("close", "Close a ticket.", schema), "tickets", "change",
        ...     (Condition("status", ("open",)),), {"status": "closed"},
        ... )
        >>> world = ToolWorld([close], {"tickets": [{"id": "T-1", "name": "Lamp", "status": "open"}]})
        >>> world.call(ToolCall("close", {"id": "T-1"}, 0)).result["record"]["status"]
        'closed'
        >>> world.call(ToolCall("close", {"id": "T-1"}, 1)).result
        {'error': 'status of T-1 is closed; needed: open'}
        >>> world.changes()
        [{'table': 'tickets', 'id': 'T-1', 'column': 'status', 'before': 'open', 'after': 'closed'}]
    """

    def __init__(
        self,
        tools: Sequence[StateMachineTool],
        rows: Rows,
        failures: Failures = Failures(),
        key: Sequence[Key] = (),
    ) -> None:
        self._tools = {tool.spec.name: tool for tool in tools}
        if len(self._tools) < len(tools):
            raise UserError("tools: two have the same name; each needs one of its own")
        self._failures, self._key, self._num_valid = failures, tuple(key), 0
        self._database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._columns = {table: list(records[0]) for table, records in rows.items() if records}
        for table, columns in self._columns.items():
            names = ", ".join(f'"{column}"' for column in columns)
            self._database.execute(f'CREATE TABLE "{table}" ({names}, PRIMARY KEY (id))')
            marks = ", ".join("?" * len(columns))
            for row in rows[table]:
                self._database.execute(f'INSERT INTO "{table}" VALUES ({marks})', [row[column] for column in columns])
        self._initial = self.dump()

    def close(self) -> None:
        """Free the state."""
        self._database.close()

    def dump(self) -> dict[str, list[Row]]:
        """All tables, rows by ``id``."""
        return {
            table: [dict(zip(columns, row, strict=True)) for row in self._select(f'* FROM "{table}" ORDER BY id')]
            for table, columns in self._columns.items()
        }

    def state_hash(self) -> str:
        """Sixteen hexadecimal digits, the same for equal states."""
        text = json.dumps(self.dump(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def changes(self) -> list[dict[str, Any]]:
        """Every value that differs from that at the beginning, with its table, ``id`` and column."""
        found = []
        for table, rows in self.dump().items():
            for before, after in zip(self._initial[table], rows, strict=True):
                for column in self._columns[table]:
                    if before[column] != after[column]:
                        values = {"before": before[column], "after": after[column]}
                        found.append({"table": table, "id": before["id"], "column": column, **values})
        return found

    def call(self, call: ToolCall) -> ToolEvent:
        """Make a call; a policy's mistakes are answered, not raised."""
        before = self.state_hash()
        result, outcome = self._answered(call)
        after = self.state_hash()
        assert before == after or outcome in ("ok", "edge", "partial"), f"{call.id}: {outcome}, and the state changed"
        return ToolEvent(call, result, before, after, outcome)

    def _answered(self, call: ToolCall) -> tuple[Row, Outcome]:
        tool = self._tools.get(call.name)
        if tool is None:
            return {"error": f"there is no tool {call.name}"}, "invalid"
        if problems := tool.spec.problems(call.arguments):
            return {"error": "; ".join(problems)}, "invalid"
        if any(not _is_storable(value) for value in call.arguments.values()):
            return {"error": "an argument has half of a surrogate pair"}, "invalid"
        if refusal := self._refusal(tool, call.arguments):
            return {"error": refusal}, "refused"
        injected = self._draw()
        if injected == "busy":
            return {"error": "the service is busy; nothing was done, try again"}, "busy"
        answer = _ANSWERS[tool.kind](self, tool, call.arguments)
        if injected == "partial":
            return {"warning": "the service stopped answering; look whether the call was carried out"}, "partial"
        if injected == "edge":
            return {**answer, "notice": "this service will be under maintenance on Sunday"}, "edge"
        return answer, "ok"

    def _draw(self) -> Outcome:
        """What is injected into the next valid call."""
        self._num_valid += 1
        share = numpy_generator(*self._key, "failures", self._num_valid).random()
        failures = self._failures
        if share < failures.busy:
            return "busy"
        if share < failures.busy + failures.partial:
            return "partial"
        return "edge" if share < failures.busy + failures.partial + failures.edge else "ok"

    def _refusal(self, tool: StateMachineTool, arguments: Mapping[str, Any]) -> str:
        """Why the conditions of a call do not hold; empty if they do."""
        if tool.kind in ("list", "count"):
            return ""
        column = "name" if tool.kind == "find" else "id"
        record = self._record(tool.table, column, arguments[column])
        if record is None:
            return f"there is no record with {column} {arguments[column]} in {tool.table}"
        for condition in tool.needs:
            about: Row | None = record
            if condition.link:
                about = self._record(tool.links[condition.link], "id", record[condition.link])
            if about is None or about[condition.column] not in condition.allowed:
                said = (
                    "missing" if about is None else f"{condition.column} of {about['id']} is {about[condition.column]}"
                )
                return f"{said}; needed: {' or '.join(condition.allowed)}"
        return ""

    def _record(self, table: str, column: str, value: Any) -> Row | None:
        rows = self._select(f'* FROM "{table}" WHERE "{column}" = ? ORDER BY id', [value])
        return dict(zip(self._columns[table], rows[0], strict=True)) if rows else None

    def _select(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._database.execute(f"SELECT {query}", list(values)).fetchall()

    def _read(self, tool: StateMachineTool, arguments: Mapping[str, Any]) -> Row:
        column = "name" if tool.kind == "find" else "id"
        return {"record": self._record(tool.table, column, arguments[column])}

    def _matching(self, tool: StateMachineTool, arguments: Mapping[str, Any], what: str) -> list[tuple[Any, ...]]:
        where = " AND ".join(f'"{column}" = ?' for column in arguments) or "1"
        return self._select(f'{what} FROM "{tool.table}" WHERE {where} ORDER BY id', list(arguments.values()))

    def _list(self, tool: StateMachineTool, arguments: Mapping[str, Any]) -> Row:
        rows = self._matching(tool, arguments, "id, name, status")
        listed = [dict(zip(("id", "name", "status"), row, strict=True)) for row in rows[:MOST_LISTED]]
        return {"records": listed, "more": len(rows) > MOST_LISTED}

    def _count(self, tool: StateMachineTool, arguments: Mapping[str, Any]) -> Row:
        return {"count": len(self._matching(tool, arguments, "id"))}

    def _change(self, tool: StateMachineTool, arguments: Mapping[str, Any]) -> Row:
        """Set the columns; what must hold afterwards is that they are set, and nothing else is different."""
        wanted = {
            column: arguments[value[1:]] if value.startswith("$") else value for column, value in tool.sets.items()
        }
        expected = self.dump()
        for row in expected[tool.table]:
            if row["id"] == arguments["id"]:
                row |= wanted
        assignments = ", ".join(f'"{column}" = ?' for column in wanted)
        self._database.execute(
            f'UPDATE "{tool.table}" SET {assignments} WHERE id = ?', [*wanted.values(), arguments["id"]]
        )
        assert self.dump() == expected, f"{tool.spec.name}: its postcondition does not hold"
        return {"record": self._record(tool.table, "id", arguments["id"])}


def _is_storable(value: Any) -> bool:
    """Whether sqlite can take it; JSON of a server may hold half of a character."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return True


_ANSWERS: dict[Kind, Callable[[ToolWorld, StateMachineTool, Mapping[str, Any]], Row]] = {
    "read": ToolWorld._read,
    "find": ToolWorld._read,
    "list": ToolWorld._list,
    "count": ToolWorld._count,
    "change": ToolWorld._change,
}
