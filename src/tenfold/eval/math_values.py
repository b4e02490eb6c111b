"""Whether two mathematical answers are equal: their parts by :mod:`tenfold.eval.math_forms`, values by math-verify.

It has no limit in time, and runs in the processes of :mod:`tenfold.eval.math_match`. math-verify's own reading of
prose, lists and units is not used: it takes the last number of a text for its value, and ``1331, 1728`` for 1728.
"""

import re
from collections.abc import Sequence
from typing import Any

from tenfold.eval.exact_match import exact_match
from tenfold.eval.math_forms import (
    Form,
    form_of,
    has_ellipsis,
    is_prose,
    parts_of,
    stated_in,
    without_loose_spaces,
    without_unit,
)

LEFT_OUT, ROUNDING = 1e-5, 1e-12
"""Largest relative difference of equal numbers: where one is a decimal number, and where both are exact."""

MOST_CHARACTERS, MOST_ITEMS = 1000, 50
"""Of a formula and of a list. A longer one is equal to the same text alone: parsers take more than a time in proportion
to the length, and no answer that a person would check is as long."""

_NOT_EQUAL = re.compile(r"\\(?:approx|approxeq|sim|simeq|ne|neq|not|neg|lnot)(?![A-Za-z])")
_BASE = re.compile(r"(.*[\dA-Fa-f])_ ?\{?(\d+)\}?")


def equal_answers(answer: str, references: Sequence[str]) -> bool:
    """Whether an answer is equal to one of its references; any answer that says something is equal to itself.

    Args:
        answer: the given answer.
        references: the right ones.

    Example:
        >>> equal_answers("pi/2", ["\\\\dfrac{\\\\pi}{2}"]), equal_answers("1728", ["1331, 1728"])  # doctest: +SKIP
        (True, False)
    """
    given = form_of(answer)
    return any(_equal(given, form_of(reference)) for reference in references)


def _equal(given: Form, wanted: Form) -> bool:
    if not given.latex or not wanted.latex:
        return False
    if without_loose_spaces(given.latex) == without_loose_spaces(wanted.latex):
        return True
    if has_ellipsis(given.latex) or has_ellipsis(wanted.latex):
        return False
    (value, unit), (wanted_value, wanted_unit) = without_unit(given.latex), without_unit(wanted.latex)
    if unit and wanted_unit and unit != wanted_unit:
        return False
    if unit or len(wanted_unit) > 1:  # a unit may be left out, or added; a single letter may be a variable instead
        return _equal_latex(value, wanted_value)
    if is_prose(given.latex) or is_prose(wanted.latex):
        return _equal_prose(given, wanted)
    return _equal_parts(given.latex, wanted.latex)


def _equal_latex(given: str, wanted: str) -> bool:
    return _equal(form_of(given), form_of(wanted))


def _equal_prose(given: Form, wanted: Form) -> bool:
    """The same text, or a text that states the value that the other is: of two texts neither states the other's."""
    both = is_prose(given.latex) and is_prose(wanted.latex)
    if both and exact_match(given.latex, wanted.latex):
        return True
    stated, wanted_value = ((is_prose(one.latex) and stated_in(one.text)) or one for one in (given, wanted))
    if both and not (is_prose(stated.latex) or is_prose(wanted_value.latex)):
        return False
    return (stated, wanted_value) != (given, wanted) and _equal(stated, wanted_value)


def _equal_parts(given: str, wanted: str) -> bool:
    """Part by part: pairs and intervals in their order and with their brackets, sets and lists in any order."""
    these, those = parts_of(given), parts_of(wanted)
    if len(these.items) == len(those.items) == 1 and these.brackets == those.brackets:
        return _equal_values(these.items[0], those.items[0])
    if these.brackets and those.brackets:
        alike = these.brackets == those.brackets and len(these.items) == len(those.items) <= MOST_ITEMS
        return alike and all(map(_equal_latex, these.items, those.items))
    if these.brackets or those.brackets:  # an interval may be written as an inequality, but is no list
        return 1 in (len(these.items), len(those.items)) and _equal_values(given, wanted)
    return _equal_sets(list(dict.fromkeys(these.items)), list(dict.fromkeys(those.items)))


def _equal_sets(given: list[str], wanted: list[str]) -> bool:
    if len(given) != len(wanted) or len(wanted) > MOST_ITEMS:
        return sorted(given) == sorted(wanted)
    for item in wanted:
        place = next((place for place, one in enumerate(given) if _equal_latex(one, item)), None)
        if place is None:
            return False
        del given[place]
    return True


def _equal_values(given: str, wanted: str) -> bool:
    """Two expressions, as math-verify compares them, but for what it rounds away."""
    from math_verify import verify  # type: ignore[import-untyped]

    if max(len(given), len(wanted)) > MOST_CHARACTERS:
        return False
    if set(_NOT_EQUAL.findall(given)) != set(_NOT_EQUAL.findall(wanted)):
        return False  # the parser may read past it, and take the number behind it
    in_base, wanted_in_base = _BASE.fullmatch(given), _BASE.fullmatch(wanted)
    if in_base and wanted_in_base and in_base[2] != wanted_in_base[2]:
        return False  # the parser does not read the base
    ours, theirs = _parsed(given), _parsed(wanted)
    if ours is None or theirs is None:
        return False
    return bool(verify(theirs, ours, allow_set_relation_comp=True, timeout_seconds=None)) and _near(ours, theirs)


def _parsed(latex: str) -> Any:
    """An expression of sympy, or ``None``. The parser settles no units and no boxes, and reads nothing but formulas."""
    from latex2sympy2_extended import NormalizationConfig  # type: ignore[import-untyped]
    from math_verify import LatexExtractionConfig, parse

    spelling = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
    )
    reading = LatexExtractionConfig(normalization_config=spelling, boxed_match_priority=-1)
    found = parse(f"${latex}$", extraction_config=[reading], parsing_timeout=None)
    return found[0] if found and not isinstance(found[0], str) else None


def _near(ours: Any, theirs: Any) -> bool:
    """Whether two numbers, or two expressions at one point, differ by no more than digits that were left out.

    math-verify rounds to six places, and drops what is small beside 1: 1/2004! equals 1/2006! to it.
    """
    from sympy import Expr, Float, Rational, UnevaluatedExpr  # type: ignore[import-untyped]

    if not all(isinstance(one, Expr) and not one.has(UnevaluatedExpr) for one in (ours, theirs)):
        return True  # an equation, a set; a percentage, which may be meant either way
    names = sorted({str(symbol) for one in (ours, theirs) for symbol in one.free_symbols})
    point = {name: Rational(101 + 2 * place, 97) for place, name in enumerate(names)}
    try:
        u, v = (
            one.subs({symbol: point[str(symbol)] for symbol in one.free_symbols}).evalf(30) for one in (ours, theirs)
        )
        largest = LEFT_OUT if ours.has(Float) or theirs.has(Float) else ROUNDING
        if not (u.is_number and v.is_number and u.is_finite and v.is_finite):
            return True
        return bool(abs(u - v) <= largest * max(abs(u), abs(v)))
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        return True
