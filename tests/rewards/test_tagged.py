"""Completions in blocks: what is read, what counts as well-formed, and what training must never accept."""

import math

import pytest

from tenfold.core.errors import UserError
from tenfold.rewards import FORMATS, FormatReward, parse_tagged, text_of

WHOLE = "<think>so</think><answer>7</answer><analysis>sure</analysis><confidence>0.9</confidence>"


def with_confidence(stated, blocks="ac"):
    assert blocks == "ac"
    return f"<answer>7</answer><confidence>{stated}</confidence>"


@pytest.mark.spec("rlcr", "4")
@pytest.mark.parametrize("text", [WHOLE, WHOLE.removeprefix("<think>"), WHOLE.replace("><", ">\n \t<") + " \n"])
def test_the_opening_think_is_optional_and_white_space_is_free(text):
    parsed = parse_tagged(text)
    assert (parsed.answer, parsed.confidence, parsed.ok, parsed.problems) == ("7", 0.9, True, ())


@pytest.mark.spec("rlcr", "4")
@pytest.mark.parametrize(
    "stated", ["nan", "NaN", "-nan", "inf", "-inf", "1.2", "-0.1", "90%", "", " ", "0.5 or so", "½"]
)
def test_training_takes_no_confidence_but_a_bare_number_in_the_unit_interval(stated):
    parsed = parse_tagged(with_confidence(stated), "ac")
    assert parsed.confidence is None and not parsed.ok
    assert parsed.answer == "7" and "confidence" in parsed.problems[0]


@pytest.mark.spec("rlcr", "4")
@pytest.mark.parametrize(("stated", "value"), [("0", 0.0), ("1", 1.0), (" 0.25\n", 0.25), ("1e-1", 0.1), (".5", 0.5)])
def test_numbers_at_the_edges_are_confidences(stated, value):
    parsed = parse_tagged(with_confidence(stated), "ac")
    assert parsed.ok and parsed.confidence == value


@pytest.mark.spec("rlcr", "4")
def test_the_last_answer_and_the_last_confidence_count_and_strict_refuses_repetition():
    text = "<answer>1</answer>" + with_confidence("0.1") + "<answer>8</answer><confidence>0.8</confidence>"
    parsed = parse_tagged(text, "ac")
    assert (parsed.answer, parsed.confidence) == ("8", 0.8)
    assert not parse_tagged(text, "ac", strict=True).ok
    twice_in_thought = "<think><answer>1</answer></think>" + with_confidence("0.5")
    assert parse_tagged(twice_in_thought, "tac").ok


@pytest.mark.spec("rlcr", "4")
@pytest.mark.parametrize(
    "text",
    [
        WHOLE + " that is all",
        WHOLE.replace("</answer>", "</answer> and "),
        WHOLE.replace("<analysis>sure</analysis>", ""),
    ],
)
def test_text_after_or_between_blocks_and_missing_blocks_spoil_the_form(text):
    parsed = parse_tagged(text)
    assert not parsed.ok and parsed.problems
    assert parsed.answer == "7" and parsed.confidence == 0.9


@pytest.mark.parametrize("blocks", FORMATS)
def test_each_format_wants_its_blocks_in_its_order(blocks):
    inner = {"confidence": "0.5"}
    parts = [f"<{name}>{inner.get(name, 'x')}</{name}>" for name in FORMATS[blocks]]
    assert parse_tagged("".join(parts), blocks).ok
    if len(parts) > 1:
        assert not parse_tagged("".join(reversed(parts)), blocks).ok


@pytest.mark.parametrize(
    ("stated", "percent", "value"),
    [
        ("90", False, 0.9), ("90%", False, 0.9), ("about 0.7, I think", False, 0.7), ("1", False, 1.0),
        ("1", True, 0.01), ("100", False, 1.0), ("250", False, 0.0), ("none", False, 0.0), ("-0.3", False, 0.0),
    ],
)  # fmt: skip
def test_evaluation_reads_more_and_keeps_the_judgement_of_the_form(stated, percent, value):
    parsed = parse_tagged(with_confidence(stated), "ac", loose=True, percent=percent)
    assert parsed.confidence == pytest.approx(value)
    assert parsed.ok == parse_tagged(with_confidence(stated), "ac").ok


def test_without_any_block_there_is_nothing():
    parsed = parse_tagged("seven", "ac")
    assert (parsed.answer, parsed.confidence, parsed.ok) == (None, None, False)
    assert parse_tagged("seven", "ac", loose=True).confidence == 0.0


def test_the_reward_reads_texts_and_conversations():
    good = with_confidence("0.5")
    messages = [{"role": "assistant", "content": good}]
    assert FormatReward("ac")([None] * 3, [good, messages, "x" + good]) == [1.0, 1.0, 0.0]
    assert text_of(messages) == good


def test_unknown_blocks_are_refused():
    with pytest.raises(UserError, match="blocks = 'abc'"):
        FormatReward("abc")


def test_a_long_malformed_completion_is_read_in_no_time():
    text = "<answer>" * 2000 + "x" * 20_000
    assert not parse_tagged(text, "tabc", strict=True).ok
    assert math.isclose(len(text), 36_000)
