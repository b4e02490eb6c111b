"""Kimi K2's format of tool calls: what is written is read again, and nothing that a model says raises."""

import json
import random

import pytest

from tenfold.envs.tool_calls import ToolCall, read_turn, write_calls, write_result
from tenfold.envs.tool_calls.k2_format import MARKS

ARGUMENTS = [
    {},
    {"a": {"b": {"c": [{"d": "}}{{"}]}}},
    {"text": "ends <|tool_call_end|><|tool_calls_section_end|> early"},
    {"text": '"quoted", \\ and \n new line, 서울, \u2028'},
    {"number": 1.5, "nothing": None, "yes": True},
]


@pytest.mark.spec("kimi_k2/agentic", "G7")
def test_calls_come_back_from_among_text():
    calls = [ToolCall(f"tool-{number}.x", arguments, number) for number, arguments in enumerate(ARGUMENTS)]
    said = read_turn(f"before {write_calls(calls[:2])} between {write_calls(calls[2:])} after", first=0)
    assert said.calls == tuple(calls) and not said.faults
    assert said.text == "before  between  after"


@pytest.mark.spec("kimi_k2/agentic", "G7")
@pytest.mark.parametrize(
    ("header", "arguments", "reason"),
    [
        ("functions.a:0", '{"x": ', "not JSON"),
        ("functions.a:0", "{'x': 1}", "not JSON"),
        ("functions.a:0", "", "not JSON"),
        ("functions.a:0", '{"x": NaN}', "NaN is not a number"),
        ("functions.a:0", '{"x": 1e999}', "1e999 is larger than any float"),
        ("functions.a:0", '{"x": 1, "x": 2}', "a name stands twice"),
        ("functions.a:0", '{"x": "\\ud800"}', "not JSON"),
        ("functions.a:0", '{"x": ' + "9" * 5000 + "}", "not JSON"),
        ("functions.a:0", "[" * 100_000, "not JSON"),
        ("functions.a:0", "[1]", "not a JSON object"),
        ("functions.a", "{}", "not headed functions.NAME:IDX"),
        ("a:0", "{}", "not headed functions.NAME:IDX"),
        ("functions.a b:0", "{}", "not headed functions.NAME:IDX"),
        ("functions.a:-1", "{}", "not headed functions.NAME:IDX"),
        ("functions.a:1", "{}", "has number 1; the next is 0"),
    ],
)
def test_what_is_no_call_is_reported_and_the_next_one_is_made(header, arguments, reason):
    section, call, middle, end, close = MARKS
    good = ToolCall("b", {"x": 1}, 0)
    good_text = f"{call}{good.id}{middle}{json.dumps(good.arguments)}{end}"
    said = read_turn(f"{section}{call}{header}{middle}{arguments}{end}{good_text}{close}!", first=0)
    assert said.calls == (good,) and said.text == "!"
    (fault,) = said.faults
    assert reason in fault.reason and len(fault.text) <= 80


SECTION, CALL, MIDDLE, END, CLOSE = MARKS


@pytest.mark.spec("kimi_k2/agentic", "G7")
@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        (f"{SECTION}{CALL}functions.a:0{MIDDLE}{{", ["the call does not end"]),
        (f"{SECTION}{CALL}functions.a:0", ["the call does not end"]),
        (SECTION, ["the section does not end"]),
        (f"{SECTION}{CALL}functions.a:0{MIDDLE}{{}}{CLOSE}", ["the call does not end"]),
        (f"{SECTION}words{CLOSE}", ["text between calls"]),
        (CLOSE, ["a section ends that did not begin"]),
        (f"{CALL}functions.a:0{MIDDLE}{{}}{END}", ["a call outside of a section"] * 3),
        (f"{SECTION}{MIDDLE}{CLOSE}", ["a mark of a call without a call"]),
    ],
)
def test_marks_in_a_wrong_order_are_reported(text, reasons):
    said = read_turn(text)
    assert not said.calls and [fault.reason for fault in said.faults] == reasons


def test_the_reports_blanks_and_the_singular_are_read():
    text = (
        f'<|tool_call_section_begin|> {CALL} functions.a:0 {MIDDLE} {{"x": 1}} {END}\n'
        f"{CALL} functions.a:1 {MIDDLE} {{}} {END} <|tool_call_section_end|>"
    )
    assert read_turn(text, first=0).calls == (ToolCall("a", {"x": 1}, 0), ToolCall("a", {}, 1))


@pytest.mark.spec("kimi_k2/agentic", "G7")
def test_any_sequence_of_marks_and_words_is_survived():
    draw = random.Random(0)
    parts = [*MARKS, "functions.a:0", "{}", '{"x": {', "}}", "words", "<|", " "]
    for _ in range(2000):
        text = "".join(draw.choices(parts, k=draw.randrange(12)))
        said = read_turn(text)
        again = read_turn(write_calls(said.calls))
        assert again.calls == said.calls and not again.faults


def test_a_call_without_numbers_given_takes_any():
    assert [call.index for call in read_turn(write_calls([ToolCall("a", {}, 7), ToolCall("a", {}, 3)])).calls] == [7, 3]


def test_a_result_is_headed_by_its_call_and_messages_hold_objects():
    call = ToolCall("a", {"x": 1}, 2)
    assert write_result(call, "done") == "## Results of functions.a:2\ndone"
    assert call.to_openai() == {
        "id": "functions.a:2",
        "type": "function",
        "function": {"name": "a", "arguments": {"x": 1}},
    }
