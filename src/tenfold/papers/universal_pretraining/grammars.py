"""The two grammars of the evaluation suite: English-like sentences (``toy``) and arithmetic expressions (``toy2``).

The paper describes its grammars in a line each; these are our own of the same description. Both are probabilistic
context-free grammars in which every string has one derivation only, so the entropy of a string is that of its
derivation, and both have few enough recursions that derivations end. Then entropy and mean length are solutions of
linear systems: with x the vector over non-terminals, b what one expansion adds by itself and M[A, B] the mean number
of Bs in an expansion of A, x = b + M x.
"""

from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

Rule = tuple[float, tuple[str, ...]]
"""A probability and what a non-terminal becomes: names of non-terminals, and terminals as they are."""


@dataclass(frozen=True, eq=False)
class Grammar:
    """A probabilistic context-free grammar.

    Args:
        start: the non-terminal that a string is derived from.
        rules: for each non-terminal its rules, whose probabilities sum to one.

    Example:
        >>> dashes = Grammar("S", {"S": ((0.5, ("-", "S")), (0.5, (".",)))})
        >>> dashes.sample(np.random.default_rng(0)), dashes.entropy(), dashes.mean_length()
        ('.', 2.0, 2.0)
    """

    start: str
    rules: Mapping[str, tuple[Rule, ...]]

    def sample(self, generator: np.random.Generator) -> str:
        """Draw a string."""
        terminals, pending, bounds = [], [self.start], self._upper_bounds
        while pending:
            symbol = pending.pop()
            if symbol in self.rules:
                pending += reversed(self.rules[symbol][bisect(bounds[symbol], generator.random())][1])
            else:
                terminals.append(symbol)
        return "".join(terminals)

    def entropy(self) -> float:
        """The entropy of a string in bits, for a grammar in which every string has one derivation."""
        return self._total({name: -sum(p * np.log2(p) for p, _ in rules) for name, rules in self.rules.items()})

    def mean_length(self) -> float:
        """The mean number of characters in a string."""
        lengths = {
            name: sum(p * sum(len(symbol) for symbol in body if symbol not in self.rules) for p, body in rules)
            for name, rules in self.rules.items()
        }
        return self._total(lengths)

    def expansions(self) -> np.ndarray:
        """[A, B] float64: the mean number of Bs in one expansion of A; a spectral radius below 1 ends derivations."""
        names = list(self.rules)
        return np.array([[sum(p * body.count(b) for p, body in self.rules[a]) for b in names] for a in names])

    @cached_property
    def _upper_bounds(self) -> dict[str, list[float]]:
        """For each non-terminal the cumulated probabilities of its rules but the last."""
        return {name: list(accumulate(p for p, _ in rules[:-1])) for name, rules in self.rules.items()}

    def _total(self, per_expansion: Mapping[str, float]) -> float:
        names = list(self.rules)
        system = np.eye(len(names)) - self.expansions()
        totals = np.linalg.solve(system, np.array([per_expansion[name] for name in names]))
        return float(totals[names.index(self.start)])


ENGLISH = Grammar(
    "sentence",
    {
        "sentence": ((0.7, ("clause",)), (0.3, ("clause", " while ", "sentence"))),
        "clause": ((1.0, ("subject", "aside", " ", "predicate")),),
        "subject": (
            (0.3, ("the otter",)),
            (0.2, ("a heron",)),
            (0.2, ("the miller",)),
            (0.15, ("my aunt",)),
            (0.15, ("everybody",)),
        ),
        "aside": ((0.85, ()), (0.15, (" (", "sentence", ")"))),
        "predicate": ((0.5, ("verb",)), (0.3, ("verb", " ", "adverb")), (0.2, ("adverb", " ", "verb"))),
        "verb": ((0.3, ("sings",)), (0.25, ("waits",)), (0.2, ("swims",)), (0.15, ("laughs",)), (0.1, ("paints",))),
        "adverb": ((0.4, ("slowly",)), (0.3, ("badly",)), (0.3, ("quietly",))),
    },
)
"""Subject and verb, perhaps an adverb before or after it, perhaps a sentence in parentheses, perhaps another clause."""

ARITHMETIC = Grammar(
    "sum",
    {
        "sum": ((0.7, ("product",)), (0.2, ("product", "+", "sum")), (0.1, ("product", "-", "sum"))),
        "product": ((0.7, ("power",)), (0.2, ("power", "*", "product")), (0.1, ("power", "/", "product"))),
        "power": ((0.85, ("atom",)), (0.15, ("atom", "^", "power"))),
        "atom": ((0.45, ("x",)), (0.25, ("y",)), (0.15, ("z",)), (0.15, ("(", "sum", ")"))),
    },
)
"""Expressions over x, y and z with brackets; an operator that binds more tightly is further down."""
