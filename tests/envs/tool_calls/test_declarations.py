"""Tools as JSON Schema, OpenAI's declarations and TypeScript: each comes back as it was."""

import pytest
from transformers.utils import get_json_schema

from tenfold.core.errors import UserError
from tenfold.envs.tool_calls import ToolSpec, from_typescript, to_typescript

NESTED = {
    "type": "object",
    "description": "All of it.",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "description": "A name.\n\nIn two paragraphs.", "minLength": 1},
        "count": {"type": "integer", "minimum": 0, "default": None},
        "price": {"type": "number"},
        "mode": {"type": "string", "enum": ["fast", 'a "quoted" | one'], "description": "@odd beginning"},
        "level": {"enum": [1, 2, None]},
        "rate": {"type": "number", "enum": [1, 2]},
        "maybe": {"type": ["string", "null"]},
        "either": {"anyOf": [{"type": "string", "description": "words"}, {"type": "array", "items": {"type": "null"}}]},
        "bare": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "list": {"type": "array", "items": {"type": "number", "maximum": 3, "description": "One of them."}},
        "all": {"type": "array"},
        "anything": {"type": "array", "items": {}},
        "free": {},
        "yes": True,
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "empty": {"type": "object", "properties": {}},
        "inner": {
            "type": "object",
            "properties": {"x-y": {"type": "boolean", "description": " spaces "}, "z": {"const": "a\u2028b"}},
            "required": ["x-y"],
        },
        "hidden": {"type": "object", "properties": {}, "required": ["unlisted"]},
        "several": {"allOf": [{"type": "string"}, {"pattern": "^a"}]},
    },
    "required": ["name", "inner"],
}
TOOLS = [
    ToolSpec("get-all.things", "Gets things.\nAll of them.", NESTED, {"type": "array", "items": {"type": "string"}}),
    ToolSpec("stop", "", {"type": "object"}),
    ToolSpec("bare", "@ sign first", {"type": "object", "properties": {}, "required": ["unlisted"]}, {"type": "null"}),
]


@pytest.mark.spec("kimi_k2/agentic", "G6")
def test_typescript_comes_back_as_it_was():
    assert from_typescript(to_typescript(TOOLS)) == TOOLS


@pytest.mark.spec("kimi_k2/agentic", "G6")
def test_openai_declarations_come_back_as_they_were():
    assert [ToolSpec.from_openai(spec.to_openai()) for spec in TOOLS] == TOOLS
    assert ToolSpec.from_openai(TOOLS[0].to_openai()["function"]) == TOOLS[0]


@pytest.mark.spec("kimi_k2/agentic", "G6")
def test_names_required_fields_types_and_descriptions_are_there_to_read():
    written = to_typescript(TOOLS[:1])
    for part in (
        "type get_all_things = (_: {", '@name "get-all.things"', "// Gets things.", "  // A name.", "  name: string;",
        "  count?: integer;", "// @minimum 0", '  mode?: "fast" | "a \\"quoted\\" | one";', "  maybe?: string | null;",
        "  inner: {", '    "x-y": boolean;', "}) => Array<string>;",
    ):  # fmt: skip
        assert part in written, part


def test_a_python_function_is_a_tool():
    def weather(city: str, days: int = 1) -> str:
        """
        The weather of a city.

        Args:
            city: its name.
            days: to look ahead.
        """
        return city * days

    spec = ToolSpec.from_openai(get_json_schema(weather), source="python")
    assert spec.parameters["required"] == ["city"] and spec.returns["type"] == "string"
    assert from_typescript(to_typescript([spec]), "python") == [spec]
    assert spec.problems({"city": "Rome"}) == () and spec.problems({"days": 1}) == ("'city' is a required property",)


def test_problems_are_named_and_few():
    (spec,) = from_typescript("namespace functions { type a = (_: {x: {y: Array<integer>}}) => any; }")
    assert spec.problems({"x": {"y": [1, "b"]}}) == ("x.y.1: 'b' is not of type 'integer'",)
    assert len(spec.problems({"x": {"y": ["b"] * 99}})) == 5
    assert spec.problems([]) == ("[] is not of type 'object'",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a b", "", {"type": "object"}), "tool name = 'a b'"),
        (("a", "", {"type": "string"}), "parameters are of type 'string'; allowed: 'object'"),
        (("a", "", {"type": "dict"}), "'dict' is not valid"),
        (("a", "", []), "allowed is a JSON Schema"),
        (("a", "", {"type": "object"}, {"type": "tuple"}), "returns: type: 'tuple' is not valid"),
    ],
)
def test_what_is_no_tool_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        ToolSpec(*arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: 'the end' in place of 'namespace'"),
        ("namespace functions {\ntype a = (_: {x: text}) => any; }", "line 2: the type text; allowed"),
        ("namespace functions {\ntype a = (_: {\nx: string, x: string}) => any; }", "line 3: the argument x a second"),
        ("namespace functions { type a = (_: {x: 1 | string}) => any; }", "values and types in one union"),
        ("namespace functions { type a = (_: {x: null | null |", "'the end' in place of a word"),
        ("namespace functions { type a = (_: {x: " + "(" * 99, "more than 40 levels"),
        ("namespace functions {\n// @minimum\ntype a = (_: {}) => any; }", "@minimum without a value in JSON"),
        ('namespace functions { "', "'\"' is not allowed here"),
        ("namespace functions {} type", "something after the namespace"),
        ("namespace functions { type a = (_: {x: " + "9" * 5000, "line 1"),
    ],
)
def test_what_is_no_declaration_is_refused_with_its_line(text, message):
    with pytest.raises(UserError, match=message):
        from_typescript(text)


def test_a_declaration_without_a_name_is_refused():
    with pytest.raises(UserError, match="has no function with a name"):
        ToolSpec.from_openai({"type": "function"})
