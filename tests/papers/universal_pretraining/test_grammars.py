"""The grammars: a parser that adds up all derivations of a string agrees with the sampler, entropy and mean length."""

from functools import cache

import numpy as np
import pytest

from tenfold.core.seeding import numpy_generator
from tenfold.papers.universal_pretraining.grammars import ARITHMETIC, ENGLISH, Grammar

GRAMMARS = pytest.mark.parametrize("grammar", [ENGLISH, ARITHMETIC], ids=["english", "arithmetic"])


def parse(grammar, text):
    """The probability of a string, summed over its derivations, and their number."""

    @cache
    def ends(symbol, begin):
        """Where a symbol that begins here can end: place to (probability, number of derivations)."""
        if symbol not in grammar.rules:
            return {begin + len(symbol): (1.0, 1)} if text.startswith(symbol, begin) else {}
        found = {}
        for probability, body in grammar.rules[symbol]:
            reached = {begin: (probability, 1)}
            for part in body:
                reached = add(
                    (end, (p * q, m * n))
                    for place, (p, m) in reached.items()
                    for end, (q, n) in ends(part, place).items()
                )
            found = add([*found.items(), *reached.items()])
        return found

    return ends(grammar.start, 0).get(len(text), (0.0, 0))


def add(pairs):
    total = {}
    for end, (p, n) in pairs:
        q, m = total.get(end, (0.0, 0))
        total[end] = p + q, m + n
    return total


def strings(grammar, count):
    generator = numpy_generator("grammar test")
    return [grammar.sample(generator) for _ in range(count)]


@GRAMMARS
def test_rules_are_distributions_and_derivations_end(grammar):
    for rules in grammar.rules.values():
        assert sum(probability for probability, _ in rules) == pytest.approx(1)
    assert max(abs(np.linalg.eigvals(grammar.expansions()))) < 0.9


@GRAMMARS
def test_every_string_has_one_derivation_and_the_stated_entropy_and_length(grammar):
    drawn = strings(grammar, 1500)
    parsed = [parse(grammar, text) for text in drawn if len(text) < 200]
    assert len(parsed) > 0.98 * len(drawn)
    assert {number for _, number in parsed} == {1}
    drawn_bits = -np.log2([parse(grammar, text)[0] for text in drawn])
    lengths = np.array([len(text) for text in drawn])
    for values, expected in ((drawn_bits, grammar.entropy()), (lengths, grammar.mean_length())):
        assert values.mean() == pytest.approx(expected, abs=4 * values.std() / np.sqrt(len(values)))


@GRAMMARS
def test_frequent_strings_come_as_often_as_their_probability_says(grammar):
    drawn = strings(grammar, 3000)
    for text in ("everybody waits", "the otter sings") if grammar is ENGLISH else ("x", "y", "x+x", "(x)"):
        probability, _ = parse(grammar, text)
        error = np.sqrt(probability * (1 - probability) / len(drawn))
        assert drawn.count(text) / len(drawn) == pytest.approx(probability, abs=4 * error)


def test_the_languages_are_the_described_ones():
    assert set("".join(strings(ARITHMETIC, 500))) == set("xyz+-*/^()")
    for text in strings(ARITHMETIC, 200):
        compile(text.replace("^", "**"), "expression", "eval")
    sentences = strings(ENGLISH, 500)
    for part in (" while ", " (", "badly ", " slowly"):
        assert sum(part in text for text in sentences) > 20
    assert all(text.count("(") == text.count(")") for text in sentences)


def test_a_grammar_solved_by_hand():
    """S becomes a, or S in brackets: a geometric number of brackets, of mean 1/2 with p = 1/3."""
    brackets = Grammar("S", {"S": ((2 / 3, ("a",)), (1 / 3, ("[", "S", "]")))})
    assert brackets.mean_length() == pytest.approx(1 + 2 * 0.5)
    coin = -(1 / 3) * np.log2(1 / 3) - (2 / 3) * np.log2(2 / 3)
    assert brackets.entropy() == pytest.approx(coin / (2 / 3))
