"""Completions in blocks: what is read, what counts as well-formed, and what training must never accept."""

import re
from collections import Counter

import pytest

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.rewards import FORMATS, FormatReward, parse_tagged, text_of

WHOLE = "<think>so</think><answer>7</answer><analysis>sure</analysis><confidence>0.9</confidence>"


def with_confidence(stated, blocks="ac"):
    assert blocks == "ac"
    return f"<answer>7</answer><confidence>{stated}</confidence>"


def reasons(text, blocks):
    """What is wrong with a completion: its form, its confidence."""
    return {"confidence" if "is no number" in one else "form" for one in parse_tagged(text, blocks).problems}


@pytest.mark.spec("rlcr", "4")
@pytest.mark.parametrize("text", [WHOLE, WHOLE.removeprefix("<think>"), WHOLE.replace("><", ">\n \t<") + " \n"])
def test_the_opening_think_is_optional_and_white_space_is_free(text):
    parsed = parse_tagged(text)
    assert (parsed.answer, parsed.confidence, parsed.ok, parsed.problems) == ("7", 0.9, True, ())


@pytest.mark.spec("rlcr", "4")
@pytest.mark.parametrize(
    "stated",
    ["nan", "NaN", "-nan", "inf", "-inf", "1.2", "-0.1", "90%", "", " ", "0.5 or so", "½", "0.9.", "95", "0_1"],
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


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ("tac", "<think><answer>1</answer></think>" + with_confidence("0.5")),
        ("tabc", WHOLE.replace("sure", "<confidence>0.1</confidence>")),
        ("tac", "so</think> no</think>" + with_confidence("0.5")),
        ("ac", "<answer>" + with_confidence("0.5")),
        ("ac", with_confidence("<confidence>0.5")),
        ("ac", with_confidence("0.5").replace("</answer>", "</answer></answer>")),
    ],
)
def test_a_tag_that_comes_twice_anywhere_spoils_the_strict_form_alone(blocks, text):
    assert parse_tagged(text, blocks).ok
    assert not parse_tagged(text, blocks, strict=True).ok
    assert parse_tagged(WHOLE, strict=True).ok and parse_tagged(WHOLE.removeprefix("<think>"), strict=True).ok


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
        ("1, surely", False, 1.0), ("1e-1", False, 0.1), ("1e-1 or so", False, 0.1), ("0.9.", False, 0.9),
        ("nan", False, 0.0), ("1e2", False, 1.0),
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


@pytest.mark.parametrize("stated", ["0", "1", "1.0", "1e-1", ".5", "+0.25", " 0.75 "])
def test_evaluation_reads_what_training_reads(stated):
    text = with_confidence(stated)
    assert parse_tagged(text, "ac", loose=True).confidence == parse_tagged(text, "ac").confidence is not None


@pytest.mark.parametrize(
    "text",
    [
        "<answer>" * 2000 + "x" * 20_000,
        "</think><answer>x</answer><analysis>x</analysis>" * 3000,  # one expression for the form would never end
        "</answer>" * 20_000,
        "</think>" + " " * 20_000 + "<answer>",
    ],
)
def test_a_long_malformed_completion_is_read_at_once(text):
    assert not parse_tagged(text, "tabc").ok and not parse_tagged(text, "tabc", strict=True).ok


def test_the_form_is_that_of_one_regular_expression():
    """Completions made of tags, letters and blanks drawn by chance, against the expression that RLCR's code uses."""
    pieces = [f"<{slash}{name}>" for name in FORMATS["tabc"] for slash in ("", "/")] + ["x", " \n", "0.5"]
    generator, agreed = numpy_generator(0, "completions"), Counter()
    for blocks, names in FORMATS.items():
        inner = [f"{'' if name == 'think' else f'<{name}>'}.*?</{name}>" for name in names]
        expression = re.compile(r"\s*" + r"\s*".join(inner) + r"\s*", re.DOTALL)
        whole = "".join(f"<{name}>0.5</{name}>" for name in names)
        for _ in range(400):
            parts = re.split(r"(?<=>)|(?=<)", whole)
            for place in generator.integers(len(parts), size=2):
                parts[place] = "".join(generator.choice(pieces, size=generator.integers(3)))
            text = "".join(parts)
            wanted = expression.fullmatch(text) is not None
            assert ("form" not in reasons(text, blocks)) is wanted, text
            agreed[wanted] += 1
    assert min(agreed.values()) > 200
