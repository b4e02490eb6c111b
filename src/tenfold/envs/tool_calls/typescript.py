"""Tools declared as TypeScript types, which are shorter than JSON Schema, and read back from them.

    namespace functions {
    type integer = number;

    // Closes a ticket.
    type close_ticket = (_: {
      // Number of the ticket.
      // @minimum 1
      id: integer;
      reason?: "solved" | "withdrawn";
    }) => any;
    }

Types, optional arguments, enumerations, arrays, nested objects and unions are TypeScript's own. What TypeScript cannot
say stands above in comments, a keyword of JSON Schema and its value in JSON, so that a schema comes back as it was, up
to the order of ``required`` and whether an empty one is there. ``@name`` is a name that is no word of TypeScript.

Source: Kimi K2, arXiv 2507.20534, appendix B (TypeScript declarations of tools); the comments are ours.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from tenfold.core.errors import UserError
from tenfold.envs.tool_calls.specs import ToolSpec

SIMPLE = ("string", "number", "integer", "boolean", "null", "object")
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)
_WORDS_OF_JSON = ("true", "false", "null")
_DEEPEST = 40


def to_typescript(specs: Sequence[ToolSpec]) -> str:
    """Declarations of tools; names, descriptions, types and required arguments can be read back.

    Raises:
        UserError: a schema nests more than 40 levels.

    Example:
        >>> city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        >>> print(to_typescript([ToolSpec("weather", "The weather of a city.", city)]))
        namespace functions {
        type integer = number;
        <BLANKLINE>
        // The weather of a city.
        type weather = (_: {
          city: string;
        }) => any;
        }
    """
    tools = "\n".join(f"\n{_written_tool(spec)}" for spec in specs)
    return f"namespace functions {{\ntype integer = number;\n{tools}\n}}"


def from_typescript(text: str, source: str = "given") -> list[ToolSpec]:
    """The tools of such a text.

    Raises:
        UserError: the text is not in this form; with the line.

    Example:
        >>> (spec,) = from_typescript("namespace functions { type stop = (_: {hard?: boolean}) => any; }")
        >>> spec.parameters
        {'type': 'object', 'properties': {'hard': {'type': 'boolean'}}}
    """
    return _Reader(text, source).namespace()


def _written_tool(spec: ToolSpec) -> str:
    name = re.sub(r"[.-]", "_", spec.name)
    tags = [] if name == spec.name else [f"@name {_json(spec.name)}"]
    above = {key: value for key, value in spec.parameters.items() if key not in ("type", "properties", "required")}
    properties = spec.parameters.get("properties")
    required = _required(spec.parameters)
    if spec.parameters.get("required") and set(required) != set(spec.parameters["required"]):
        above["required"] = spec.parameters["required"]
    beside = [f"@parameters.{key} {_json(value)}" for key, value in above.items()]
    lines = [*_description(spec.description), *tags, *beside]
    body = "object" if properties is None else _object(properties, required, "", 0)
    comments = "".join(f"// {line}\n" if line else "//\n" for line in lines)
    result_tags, result = _type(spec.returns, "", 0)
    return f"{comments}type {name} = (_: {body}) => {_with_comments(result_tags, result, '')};"


def _object(properties: Mapping[str, Any], required: Sequence[str], indent: str, depth: int) -> str:
    if depth > _DEEPEST:
        raise UserError(f"schema: nests more than {_DEEPEST} levels, which is the most")
    inner, lines = indent + "  ", []
    for name, schema in properties.items():
        tags, written = _type(schema, inner, depth + 1)
        lines += [f"{inner}// {tag}" if tag else f"{inner}//" for tag in tags]
        key = name if _IDENTIFIER.fullmatch(name) else _json(name)
        lines.append(f"{inner}{key}{'' if name in required else '?'}: {written};")
    return "\n".join(["{", *lines, indent + "}"])


def _type(schema: Any, indent: str, depth: int) -> tuple[list[str], str]:
    """What stands in comments above the type, and the type."""
    if depth > _DEEPEST:
        raise UserError(f"schema: nests more than {_DEEPEST} levels, which is the most")
    if not isinstance(schema, Mapping):
        return [f"@schema {_json(schema)}"], "any"  # true and false are schemas, too
    rest = dict(schema)
    tags = _description(rest.pop("description")) if isinstance(rest.get("description"), str) else []
    written, said = _expression(schema, indent, depth)
    for keyword in said:
        rest.pop(keyword, None)
    if "enum" in said and "type" not in schema:
        rest["type"] = None  # for a reader gives one to an enumeration
    return tags + [f"@{keyword} {_json(value)}" for keyword, value in rest.items()], written


def _expression(schema: Mapping[str, Any], indent: str, depth: int) -> tuple[str, tuple[str, ...]]:
    """The type, and the keywords that it says."""
    kind = schema.get("type")
    if "enum" in schema and schema["enum"] and all(_is_literal(value) for value in schema["enum"]):
        says_type = kind == _type_of_literals(schema["enum"])
        return " | ".join(map(_json, schema["enum"])), ("enum", "type") if says_type else ("enum",)
    if kind == "array":
        if "items" not in schema:
            return "Array<any>", ("type",)
        tags, written = _type(schema["items"], indent, depth + 1)
        if not tags and written == "any":
            tags = ["@schema {}"]
        return f"Array<{_with_comments(tags, written, indent)}>", ("type", "items")
    if kind == "object" and isinstance(schema.get("properties"), Mapping):
        required = _required(schema)
        written = _object(schema["properties"], required, indent, depth + 1)
        says_required = set(required) == set(schema.get("required", ()))
        return written, ("type", "properties", "required") if says_required else ("type", "properties")
    if kind in SIMPLE:
        return kind, ("type",)
    if isinstance(kind, list) and len(kind) > 1 and all(part in SIMPLE for part in kind):
        return " | ".join(kind), ("type",)
    if kind is None and len(schema.get("anyOf", ())) > 1:
        parts = [_type(part, indent, depth + 1) for part in schema["anyOf"]]
        if any(part not in ({"type": simple} for simple in SIMPLE) for part in schema["anyOf"]):
            return " | ".join(f"({_with_comments(*part, indent)})" for part in parts), ("anyOf",)
    return "any", ()


def _required(schema: Mapping[str, Any]) -> list[str]:
    """Required arguments that are properties, in the order of these."""
    wanted = set(schema.get("required", ()))
    return [name for name in schema.get("properties", {}) if name in wanted]


def _with_comments(tags: Sequence[str], written: str, indent: str) -> str:
    if not tags:
        return written
    lines = "".join(f"\n{indent}// {tag}" if tag else f"\n{indent}//" for tag in tags)
    return f"{lines}\n{indent}{written}"


def _description(text: str) -> list[str]:
    """Its lines; in JSON where a line would be read as something else."""
    lines = text.split("\n")
    is_plain = all(line == line.strip() and not line.startswith("@") and line.isprintable() for line in lines)
    if not text:
        return []
    return lines if is_plain and text.strip() == text else [f"@description {_json(text)}"]


def _is_literal(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | int)


def _type_of_literals(values: Sequence[Any]) -> str | list[str]:
    """The ``type`` that a reader gives to an enumeration."""
    names = list(dict.fromkeys(_literal_type(value) for value in values))
    return names[0] if len(names) == 1 else names


def _literal_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "integer"


def _json(value: Any) -> str:
    written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in written)  # such as U+2028, which ends a line


_TOKEN = re.compile(
    r'\s+|(?P<comment>//[^\n]*)|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<number>-?\d{1,300})|(?P<word>[A-Za-z_$][\w$]*)'
    r"|(?P<sign>=>|[{}()<>|:;,?=])",
    re.ASCII,
)
_Token = tuple[str, str, int]  # kind, text, place


class _Reader:
    """Recursive descent over tokens; comments are kept for the type or the name that follows them."""

    def __init__(self, text: str, source: str) -> None:
        self._text, self._source = text, source
        self._tokens = list(self._tokenised(text))
        self._at = 0

    def namespace(self) -> list[ToolSpec]:
        for word in ("namespace", "functions", "{"):
            self._expect(word)
        specs: list[ToolSpec] = []
        while True:
            comments = self._comments()
            if self._peek()[1] == "}":
                break
            self._expect("type")
            name = self._take("word")
            self._expect("=")
            if name == "integer" and self._peek()[1] == "number":
                self._expect("number")
                self._expect(";")
                continue
            specs.append(self._tool(name, comments))
        self._expect("}")
        if self._peek()[0] != "end":
            self._refuse("something after the namespace")
        return specs

    def _tool(self, name: str, comments: list[str]) -> ToolSpec:
        description, tags = self._said(comments)
        for sign in ("(", "_", ":"):
            self._expect(sign)
        parameters = self._type(0)
        for sign in (")", "=>"):
            self._expect(sign)
        returns = self._type(0)
        self._expect(";")
        for keyword, value in tags.items():
            if keyword.startswith("parameters."):
                parameters[keyword.removeprefix("parameters.")] = value
        return ToolSpec(tags.get("name", name), description, parameters, returns, source=self._source)

    def _type(self, depth: int, comments: Sequence[str] = ()) -> Any:
        """A type with the comments above it, as JSON Schema."""
        if depth > _DEEPEST:
            self._refuse(f"more than {_DEEPEST} levels")
        description, tags = self._said([*comments, *self._comments()])
        schema = self._union(depth)
        if "schema" in tags:
            return tags["schema"]
        schema |= tags
        if schema.get("type", "") is None:
            del schema["type"]
        if description:
            schema["description"] = description
        return schema

    def _union(self, depth: int) -> dict[str, Any]:
        """Alternatives between bars: values, types by name, or schemas."""
        values, schemas = [], []
        is_of_values = self._is_of_values()
        while True:
            kind, text, _ = self._peek()
            if is_of_values and (kind in ("string", "number") or text in _WORDS_OF_JSON):
                self._at += 1
                values.append(json.loads(text))
            else:
                schemas.append(self._one(depth))
            if self._peek()[1] != "|":
                break
            self._at += 1
        if values and schemas:
            self._refuse("values and types in one union")
        if values:
            return {"enum": values, "type": _type_of_literals(values)}
        if len(schemas) == 1:
            return dict(schemas[0])
        if all(list(schema) == ["type"] for schema in schemas):
            return {"type": [schema["type"] for schema in schemas]}
        return {"anyOf": schemas}

    def _is_of_values(self) -> bool:
        """Whether the union that begins here has a value before any type; ``null`` alone may be either."""
        at = self._at
        while self._tokens[at][1] == "null" and self._tokens[at + 1][1] == "|":
            at += 2
        kind, text, _ = self._tokens[at]
        return kind in ("string", "number") or text in ("true", "false")

    def _one(self, depth: int) -> Any:
        text = self._peek()[1]
        if text == "(":
            self._at += 1
            schema = self._type(depth + 1)
            self._expect(")")
            return schema
        if text == "{":
            return self._object(depth)
        word = self._take("word")
        if word == "Array":
            self._expect("<")
            says_nothing = self._peek()[1] == "any"
            items = self._type(depth + 1)
            self._expect(">")
            return {"type": "array"} if says_nothing else {"type": "array", "items": items}
        if word == "any":
            return {}
        if word not in SIMPLE:
            self._refuse(f"the type {word}; allowed: {', '.join(SIMPLE)}, any, Array")
        return {"type": word}

    def _object(self, depth: int) -> dict[str, Any]:
        self._expect("{")
        properties: dict[str, Any] = {}
        required = []
        while True:
            comments = self._comments()
            kind, text, _ = self._peek()
            if text == "}":
                break
            name = json.loads(self._take("string")) if kind == "string" else self._take("word")
            if name in properties:
                self._refuse(f"the argument {name} a second time")
            is_optional = self._peek()[1] == "?"
            self._at += is_optional
            self._expect(":")
            properties[name] = self._type(depth + 1, comments)
            if not is_optional:
                required.append(name)
            if self._peek()[1] in (";", ","):
                self._at += 1
        self._expect("}")
        return {"type": "object", "properties": properties} | ({"required": required} if required else {})

    def _said(self, comments: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """Description and keywords in comments."""
        lines: list[str] = []
        tags: dict[str, Any] = {}
        for comment in comments:
            if not comment.startswith("@"):
                lines.append(comment)
                continue
            keyword, _, value = comment[1:].partition(" ")
            try:
                tags[keyword] = json.loads(value)
            except (ValueError, RecursionError):
                self._refuse(f"the comment @{keyword[:40]} without a value in JSON")
        description = tags.pop("description", "\n".join(lines))
        return description, tags

    def _comments(self) -> list[str]:
        found = []
        while self._peek()[0] == "comment":
            found.append(self._peek()[1][2:].strip())
            self._at += 1
        return found

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, kind: str) -> str:
        if self._peek()[0] != kind:
            self._refuse(f"{self._peek()[1][:40]!r} in place of a {kind}")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _expect(self, text: str) -> None:
        if self._peek()[1] != text:
            self._refuse(f"{self._peek()[1][:40]!r} in place of {text!r}")
        self._at += 1

    def _refuse(self, found: str) -> NoReturn:
        line = self._text.count("\n", 0, self._tokens[self._at][2]) + 1
        raise UserError(f"TypeScript declarations, line {line}: {found}")

    def _tokenised(self, text: str) -> Iterator[_Token]:
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                line = text.count("\n", 0, at) + 1
                raise UserError(f"TypeScript declarations, line {line}: {text[at]!r} is not allowed here")
            if match.lastgroup:
                yield match.lastgroup, match.group(), at
            at = match.end()
        yield "end", "the end", len(text)
