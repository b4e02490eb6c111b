"""Domains by hierarchical evolution, without a model: category, application, thing, tools with what they mean, records.

Each thing of a blueprint gives tools of the same kinds: reading, finding by name, listing and counting by columns, a
tool for each step of its life and one for each attribute. Names and descriptions are made of the blueprint's words, and
``semantics`` of the conditions. Records are drawn by a seed.

Source: Kimi K2, arXiv 2507.20534, section 3.1.1, where a language model proposes what the blueprints say here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tenfold.core.config import nearest
from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.envs.tool_calls import ToolSpec
from tenfold.envs.tool_domains.blueprints import BLUEPRINTS, Blueprint, Step, Thing
from tenfold.envs.tool_domains.world import Condition, Row, StateMachineTool


@dataclass(frozen=True)
class Domain:
    """An application with its tools.

    Args:
        blueprint: what it is made of.
        tools: all of them.
    """

    blueprint: Blueprint
    tools: tuple[StateMachineTool, ...]

    @property
    def name(self) -> str:
        """Of the application."""
        return self.blueprint.name

    def tool(self, name: str) -> StateMachineTool:
        """The tool of that name."""
        return next(tool for tool in self.tools if tool.spec.name == name)

    def thing(self, table: str) -> Thing:
        """The thing whose records are in a table."""
        return next(thing for thing in self.blueprint.things if thing.plural == table)

    def rows(self, seed: int, records: int = 8) -> dict[str, list[Row]]:
        """Records of a seed, ``records`` of each thing, with different names.

        Example:
            >>> domain_named("shop").rows(0)["orders"][0].keys()
            dict_keys(['id', 'name', 'status', 'priority', 'delivery', 'customers_id'])
        """
        made: dict[str, list[Row]] = {}
        for thing in self.blueprint.things:
            draw = numpy_generator(seed, "records", self.name, thing.plural)
            pairs = [f"{first} {second}" for first in thing.names for second in thing.names if first != second]
            names = draw.permutation(pairs)[:records]
            numbers = sorted(int(number) for number in draw.choice(900, records, replace=False) + 100)
            made[thing.plural] = [
                _record(thing, f"{thing.noun[:3].upper()}-{number}", str(name), draw, made)
                for number, name in zip(numbers, names, strict=True)
            ]
        return made


@cache
def domain_named(name: str) -> Domain:
    """A domain by its name.

    Raises:
        UserError: there is none of that name.

    Example:
        >>> [tool.spec.name for tool in domain_named("shop").tools][:4]
        ['get_customer', 'find_customer', 'list_customers', 'count_customers']
    """
    known = {blueprint.name: blueprint for blueprint in BLUEPRINTS}
    if name not in known:
        raise UserError(f"domain = {name!r}: {nearest(name, list(known))}")
    blueprint = known[name]
    return Domain(blueprint, tuple(tool for thing in blueprint.things for tool in _tools(blueprint, thing)))


def domain_names() -> tuple[str, ...]:
    """All of them, in a fixed order."""
    return tuple(blueprint.name for blueprint in BLUEPRINTS)


def _record(thing: Thing, id: str, name: str, draw: Any, made: dict[str, list[Row]]) -> Row:
    row: Row = {"id": id, "name": name, "status": str(draw.choice(thing.statuses))}
    row |= {column: str(draw.choice(values)) for column, values in thing.attributes.items()}
    if thing.link:
        row[f"{thing.link}_id"] = str(draw.choice([other["id"] for other in made[thing.link]]))
    return row


def _tools(blueprint: Blueprint, thing: Thing) -> Iterator[StateMachineTool]:
    noun, table = thing.noun, thing.plural
    columns = {"status": thing.statuses, **thing.attributes}
    filters = {column: _one_of(values, f"{column} of the {table}") for column, values in columns.items()}
    id_of = {"id": {"type": "string", "description": f"Id of the {noun}, such as {noun[:3].upper()}-123."}}
    name_of = {"name": {"type": "string", "description": f"Full name of the {noun}."}}
    looks: list[tuple[str, Any, str, dict[str, Any], Sequence[str]]] = [
        (f"get_{noun}", "read", f"Read a {noun} by its id.", id_of, ["id"]),
        (f"find_{noun}", "find", f"Find a {noun} by its name.", name_of, ["name"]),
        (f"list_{table}", "list", f"List {table}, all or those with given values.", filters, []),
        (f"count_{table}", "count", f"Count {table}, all or those with given values.", filters, []),
    ]
    for name, kind, description, properties, required in looks:
        yield StateMachineTool(
            _spec(blueprint, name, description, properties, required, "Changes nothing."), table, kind
        )
    for step in thing.steps:
        yield _step_tool(blueprint, thing, step, id_of)
    for column, values in thing.attributes.items():
        label = column.replace("_", " ")
        properties = {**id_of, column: _one_of(values, f"New {label}")}
        meaning = f"Sets {column} of the {noun}; needs nothing but that it exists."
        spec = _spec(
            blueprint, f"set_{noun}_{column}", f"Set the {label} of a {noun}.", properties, ["id", column], meaning
        )
        yield StateMachineTool(spec, table, "change", (), {column: f"${column}"})


def _step_tool(blueprint: Blueprint, thing: Thing, step: Step, id_of: dict[str, Any]) -> StateMachineTool:
    noun, needs, links = thing.noun, [Condition("status", step.begins)], {}
    meaning = f"Needs status {' or '.join(step.begins)}"
    if step.needs:
        link = f"{thing.link}_id"
        needs.append(Condition("status", step.needs, link))
        links = {link: thing.link}
        meaning += f", and a record of {thing.link} in status {' or '.join(step.needs)}"
    meaning += f"; afterwards its status is {step.ends}, and nothing else is different."
    words = step.verb.replace("_", " ")
    description = f"{words.capitalize()} a {noun}: its status becomes {step.ends}. {meaning.partition(';')[0]}."
    spec = _spec(blueprint, f"{step.verb}_{noun}", description, id_of, ["id"], meaning)
    return StateMachineTool(spec, thing.plural, "change", tuple(needs), {"status": step.ends}, links)


def _spec(
    blueprint: Blueprint, name: str, description: str, properties: Any, required: Sequence[str], semantics: str
) -> ToolSpec:
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        parameters["required"] = list(required)
    return ToolSpec(
        name, description, parameters, {"type": "object"}, semantics, domain=blueprint.name, source="synthetic"
    )


def _one_of(values: Sequence[str], what: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values), "description": f"{what}."}
