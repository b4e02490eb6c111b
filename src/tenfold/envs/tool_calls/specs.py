"""What a tool is to a policy: its name, what it is for, and a JSON Schema of its arguments.

One :class:`ToolSpec` for all sources (a generator, a benchmark, a server, a Python function), which is converted to
what a chat template takes (:meth:`ToolSpec.to_openai`) and to a compact declaration in TypeScript
(:func:`tenfold.envs.tool_calls.typescript.to_typescript`). Arguments are checked by ``jsonschema``, draft 2020-12.

Source: Kimi K2, arXiv 2507.20534, section 3.1.1 and appendix B.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema

from tenfold.core.errors import UserError

NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)
"""Of a tool."""

MOST_PROBLEMS = 5
"""That are told about one call's arguments."""


@dataclass(frozen=True)
class ToolSpec:
    """A tool as it is declared to a policy.

    Args:
        name: a letter or ``_``, then up to 63 letters, digits, ``_``, ``-`` and ``.``.
        description: what it is for.
        parameters: JSON Schema (draft 2020-12) of the arguments, of type ``object``.
        returns: JSON Schema of the result; empty where nothing is promised.
        semantics: what a call needs and what it changes, in words. It is not declared to the policy.
        domain: of the application it belongs to.
        source: where it comes from, such as ``given``, ``synthetic``, ``mcp`` or ``bfcl``.

    Raises:
        UserError: the name or a schema is not allowed.

    Example:
        >>> city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        >>> spec = ToolSpec("weather", "The weather of a city.", city)
        >>> spec.problems({"city": 3})
        ("city: 3 is not of type 'string'",)
        >>> spec.to_openai()["function"]["name"], ToolSpec.from_openai(spec.to_openai()) == spec
        ('weather', True)
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    returns: Mapping[str, Any] = field(default_factory=dict)
    semantics: str = ""
    domain: str = ""
    source: str = "given"
    _validator: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Refuse what no policy could call."""
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise UserError(
                f"tool name = {self.name!r}: allowed are a letter or _, then up to 63 letters, digits, _, - and ."
            )
        _check_schema(f"tool {self.name}: parameters", self.parameters)
        if self.parameters.get("type") != "object":
            said = self.parameters.get("type")
            raise UserError(f"tool {self.name}: parameters are of type {said!r}; allowed: 'object'")
        _check_schema(f"tool {self.name}: returns", self.returns)
        object.__setattr__(self, "_validator", jsonschema.Draft202012Validator(dict(self.parameters)))

    def problems(self, arguments: Any) -> tuple[str, ...]:
        """What is wrong with the arguments of a call, by name; at most five, the first of them in order of place.

        Args:
            arguments: as parsed from JSON.

        Returns:
            A sentence for each problem; empty if the schema accepts the arguments.
        """
        try:
            found = sorted(self._validator.iter_errors(arguments), key=lambda error: [str(part) for part in error.path])
        except RecursionError:
            return ("the arguments are nested too deeply",)
        return tuple(_sentence(error) for error in found[:MOST_PROBLEMS])

    def to_openai(self) -> dict[str, Any]:
        """The declaration that chat templates and OpenAI-compatible servers take."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        if self.returns:
            function["return"] = dict(self.returns)  # as transformers' get_json_schema spells it
        return {"type": "function", "function": function}

    @classmethod
    def from_openai(cls, declaration: Mapping[str, Any], domain: str = "", source: str = "given") -> "ToolSpec":
        """A spec from such a declaration, as ``transformers.utils.get_json_schema`` makes one of a function.

        Args:
            declaration: ``{"type": "function", "function": {…}}``, or what is within ``function``.
            domain: of the tool.
            source: of the tool.

        Raises:
            UserError: the declaration has no name, or another field cannot be used.
        """
        function = declaration.get("function", declaration)
        if not isinstance(function, Mapping) or "name" not in function:
            raise UserError(f"tool declaration = {str(declaration)[:80]}: has no function with a name")
        return cls(
            function["name"],
            function.get("description", ""),
            function.get("parameters") or {"type": "object", "properties": {}},
            function.get("return") or {},
            domain=domain,
            source=source,
        )


def _check_schema(where: str, schema: Any) -> None:
    if not isinstance(schema, Mapping):
        raise UserError(f"{where} = {schema!r}: allowed is a JSON Schema, which is an object")
    try:
        jsonschema.Draft202012Validator.check_schema(dict(schema))
    except jsonschema.SchemaError as error:
        place = ".".join(str(part) for part in error.path) or "the schema"
        raise UserError(f"{where}: {place}: {error.message}; allowed: JSON Schema, draft 2020-12") from None


def _sentence(error: jsonschema.ValidationError) -> str:
    place = ".".join(str(part) for part in error.path)
    message = error.message if len(error.message) <= 200 else f"{error.message[:200]}…"
    return f"{place}: {message}" if place else message
