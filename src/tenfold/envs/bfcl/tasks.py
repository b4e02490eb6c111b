"""The tasks of BFCL v4 multi-turn from the package ``bfcl-eval``, with tools as real JSON Schema.

Its own requirements contradict ours, so it is installed without them: ``pip install --no-deps bfcl-eval mpmath``.

Source: Berkeley Function-Calling Leaderboard, Apache-2.0; package bfcl-eval 2026.3.23. Its tool documents write
Python's names of types (``dict``, ``float``, ``tuple``), which JSON Schema does not know.
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.envs.tool_calls import ToolSpec

CATEGORIES = ("base", "miss_param", "miss_func", "long_context")
"""200 tasks each: all is said; an argument is told later; a tool comes later; answers are long."""
NEW_TOOLS = "I have updated some more functions you can choose from. What about now?"
"""What the user says, as in the package, at a turn where tools are added and nothing else is said."""
FILES = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
"""Class to the file with its tool documents, and to the module that holds it."""
_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}


@dataclass(frozen=True)
class BFCLTask:
    """A task.

    Args:
        id: of the benchmark.
        category: one of :data:`CATEGORIES`.
        user_turns: what the user says in each turn.
        classes: of the stateful tools, by name.
        initial_state: class to what it is loaded with.
        tools: that are there from the beginning.
        tools_from: turn to the tools that are added at its beginning.
        gold: the right calls of each turn, in Python; none in a turn in which nothing can be done yet.
    """

    id: str
    category: str
    user_turns: tuple[str, ...]
    classes: tuple[str, ...]
    initial_state: Mapping[str, Any]
    tools: tuple[ToolSpec, ...]
    tools_from: Mapping[int, tuple[ToolSpec, ...]]
    gold: tuple[tuple[str, ...], ...]

    def tools_at(self, turn: int) -> tuple[ToolSpec, ...]:
        """The tools that a policy has in a turn, from 0."""
        added = [spec for begin, specs in sorted(self.tools_from.items()) if begin <= turn for spec in specs]
        return (*self.tools, *added)


def load_bfcl(categories: Sequence[str] = CATEGORIES) -> list[BFCLTask]:
    """The tasks of some categories, in the benchmark's order.

    Raises:
        UserError: the package is not installed, or a category is unknown.
    """
    folder = package_folder() / "data"
    for category in categories:
        if category not in CATEGORIES:
            raise UserError(f"category = {category!r}: allowed are {', '.join(CATEGORIES)}")
    return [task for category in categories for task in _tasks(folder, category)]


def package_folder() -> Path:
    """Where the package lies; it is not imported.

    Raises:
        UserError: it is not installed.
    """
    found = importlib.util.find_spec("bfcl_eval")
    if found is None or found.origin is None or importlib.util.find_spec("mpmath") is None:
        raise UserError("BFCL needs packages that are installed apart: pip install --no-deps bfcl-eval mpmath")
    return Path(found.origin).parent


def real_schema(document: Any) -> Any:
    """A schema of BFCL as JSON Schema: its names of types are replaced, wherever a schema may stand.

    Args:
        document: a schema, or what is within one.

    Example:
        >>> real_schema({"type": "dict", "properties": {"type": {"type": "float"}}})
        {'type': 'object', 'properties': {'type': {'type': 'number'}}}
    """
    if not isinstance(document, Mapping):
        return document
    schema = dict(document)
    if "type" in schema:
        schema["type"] = _TYPES.get(schema["type"], schema["type"])
        if schema["type"] is None:
            del schema["type"]
    if isinstance(schema.get("properties"), Mapping):
        schema["properties"] = {name: real_schema(part) for name, part in schema["properties"].items()}
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            schema[keyword] = real_schema(schema[keyword])
    return schema


@cache
def _specs(folder: Path, class_name: str) -> tuple[ToolSpec, ...]:
    documents = _json_lines(folder / "multi_turn_func_doc" / f"{FILES[class_name]}.json")
    return tuple(
        ToolSpec(
            document["name"],
            document["description"],
            real_schema(document["parameters"]),
            real_schema(document.get("response", {})),
            domain=class_name,
            source="bfcl",
        )
        for document in documents
    )


def _tasks(folder: Path, category: str) -> Iterator[BFCLTask]:
    name = f"BFCL_v4_multi_turn_{category}.json"
    answers = {row["id"]: row["ground_truth"] for row in _json_lines(folder / "possible_answer" / name)}
    for row in _json_lines(folder / name):
        late = {int(turn): tuple(names) for turn, names in row.get("missed_function", {}).items()}
        specs = [spec for class_name in row["involved_classes"] for spec in _specs(folder, class_name)]
        all_late = {name for names in late.values() for name in names}
        yield BFCLTask(
            id=row["id"],
            category=category,
            user_turns=tuple("\n".join(said["content"] for said in turn) or NEW_TOOLS for turn in row["question"]),
            classes=tuple(row["involved_classes"]),
            initial_state=row["initial_config"],
            tools=tuple(spec for spec in specs if spec.name not in all_late),
            tools_from={turn: tuple(s for s in specs if s.name in names) for turn, names in late.items()},
            gold=tuple(tuple(turn) for turn in answers[row["id"]]),
        )


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)
