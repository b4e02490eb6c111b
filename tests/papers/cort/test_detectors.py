"""Segments and steps, found in one pass, are those of the expressions that define them, on short texts."""

import re

from tenfold.core.seeding import numpy_generator
from tenfold.papers.cort.detectors import arithmetic_steps, computation, recheck, segments

BLOCK = re.compile(r"```(python|output)[ \t]*\n(.*?)^[ \t]*```[ \t]*(?:\n|\Z)", re.MULTILINE | re.DOTALL)
UNCLOSED = re.compile(r"```python[ \t]*\n(?:(?!^[ \t]*```).)*\Z", re.MULTILINE | re.DOTALL)
NUMBER = r"-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
STEP = re.compile(rf"({NUMBER}(?:\s*[-+*/]\s*{NUMBER})+)\s*=\s*\$?\s*({NUMBER})")


def blocks(text):
    """Starts and ends of programs and outputs."""
    found, at = [], 0
    for block in [*BLOCK.finditer(text), *UNCLOSED.finditer(text)]:
        if block.start() >= at:
            found.append(block.span())
            at = block.end()
    return found


def drawn(pieces, num, seed):
    generator = numpy_generator(seed, "texts")
    for _ in range(num):
        yield "".join(generator.choice(pieces, size=generator.integers(1, 14)))


def test_segments_are_those_of_one_expression():
    pieces = [
        "```python\n",
        "```output\n",
        "```\n",
        "```",
        "\n",
        "  ```\n",
        "x",
        "```python \t\n",
        "````\n",
        "print(1)\n",
    ]
    for text in drawn(pieces, 3000, seed=0):
        parts = segments(text)
        assert "".join(text[part.start : part.end] for part in parts) == text
        assert [(part.start, part.end) for part in parts if part.kind != "prose"] == blocks(text), text


def test_steps_are_those_of_one_expression():
    pieces = ["6*7=42", "1 + 1", " = ", "=", "-", "3", " ", "0.5 ", "1,234", " so ", "$", "+", "2,776.", "x"]
    for text in drawn(pieces, 3000, seed=1):
        if re.search(r"\d[.,]\d+[.,]\d|\d{4},|,\d{3}\d|\.\d+\.", text):
            continue  # no numbers of people
        expected = [(step.start(), step[2].replace(",", "")) for step in STEP.finditer(text)]
        found = [(start, result) for start, result in arithmetic_steps(text)]
        assert [start for start, _ in found] == [start for start, _ in expected], text
        assert [float(result) for _, result in found] == [float(result) for _, result in expected], text


def test_places_lie_at_the_starts_of_sentences():
    for text in drawn(["6*7=42. ", "1+1=2. ", "So it is. ", "\n\n", "Wait, ", "let me check: ", "Yes! "], 500, seed=2):
        for place in (computation(text), recheck(text)):
            assert place is None or place == 0 or re.search(r"[.!?:\n]\s*$", text[:place]), text
