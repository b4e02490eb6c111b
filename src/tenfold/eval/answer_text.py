"""Short answers in one form, so that equal forms are equal answers: the two normalisations of the text graders.

``squad``: lower case, without punctuation and the articles a, an and the, white space collapsed. It is that of SQuAD's
evaluation, with which published numbers were made. It makes 12 of 1/2, 3 of -3 and of (3), x3 of x>3 and of x<3, c of
C++, and nothing of the option A.

``careful``, the default: the same for words, but what makes answers differ stays. :data:`STEPS` is the whole of it, in
order, with why. It also joins what SQuAD's holds apart: 5.0 and 5, 1,000 and 1000, and characters that say the same
(:mod:`tenfold.eval.characters`). It forgives less where words look like formulas: F-16 is not F16, and 50% not 50.
"""

import re
import string
import unicodedata
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from tenfold.core.errors import UserError
from tenfold.eval.characters import plain_characters

Normalisation = Literal["careful", "squad"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

_LETTER = r"[^\W\d_]"
_LONE = rf"(?<!{_LETTER}){_LETTER}(?!{_LETTER})"  # a variable, a unit, an option: not a word
_AFTER_VALUE = rf"(?:(?<=[\d)\]}}!%°|])|(?<={_LONE}))"
_BEFORE_VALUE = rf"(?=[\d.(\[{{|√∞]|{_LONE})"

MARKS: tuple[tuple[str, str], ...] = (
    # Marks that stay, where they stand so, and why. All others are dropped, as SQuAD's normalisation drops them.
    (r"[+=<>^%|]", "operators, C++, A+ and 50%"),
    (r"[()\[\]{}]", "brackets of pairs, intervals and functions, which are all that is left of brackets"),
    (rf"(?<!{_LETTER})\.(?=\d)", "the decimal point"),
    (r"(?<=\d):(?=\d)", "times and ratios"),
    (r"(?<=[\d)])!|!(?==)", "factorials, and what is not equal"),
    (r"(?<![\w)\]}!])[!~](?=[\w(\[{])", "not x, and about 3"),
    (rf"{_AFTER_VALUE}[&@~\\]+{_BEFORE_VALUE}", "a&b, but AT&T is a name"),
    (r"(?<=\d)[\"'](?!s\b)", "minutes and seconds, feet and inches"),
    (rf"(?<={_LETTER})#", "C#"),
    (r"(?<=[\w)\]}])(?:\*+|·)(?=[\w(\[{])", "products; other stars are Markdown's"),
    (rf"(?<=(?<!['*\"]){_LONE})(?:\*|')(?![\w*'])", "A* and f'"),
    (rf"{_AFTER_VALUE}/|/{_BEFORE_VALUE}", "fractions and units: 1/2, m/s"),
    (r"(?<![\w)\]}%!])-(?=[\w.(\[{|√∞€£¥₩])", "the sign of a number"),
    (rf"{_AFTER_VALUE}-{_BEFORE_VALUE}", "minus and ranges: x-3, 1914-1918"),
    (rf"(?<=\b{_LETTER})-(?!\w)|(?<=\b{_LETTER}{_LETTER})-(?!\w)", "AB- and Cl-, unlike AB+"),
)


class Step(NamedTuple):
    """One step of the careful normalisation: what is found, what stands there afterwards, and why."""

    found: str
    becomes: str | Callable[[re.Match[str]], str]
    why: str


def _without_commas(number: re.Match[str]) -> str:
    return number[0].replace(",", "")


def _unbracketed(pair: re.Match[str]) -> str:
    """What is in brackets, without them unless it is a formula of several parts."""
    inside = pair[1]
    is_formula = re.search(r"[,;+*/^=<>|-]", inside) and re.search(rf"\d|{_LONE}", inside)
    return pair[0] if is_formula else inside


def shortest_decimal(number: re.Match[str]) -> str:
    """A decimal number without the zeros that change nothing: 5.0 is 5 and .50 is 0.5."""
    whole, _, fraction = number[0].partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole or '0'}.{fraction}" if fraction else whole or "0"


_MARK = re.compile(rf"(?=[^\w\s]|_)(?:{'|'.join(f'({mark})' for mark, _ in MARKS)}|.)")


def _if_kept(mark: re.Match[str]) -> str:
    is_punctuation = mark[0] in string.punctuation or unicodedata.category(mark[0][0]).startswith("P")
    return mark[0] if mark.lastindex or not is_punctuation else ""  # no accent, no vowel sign of an Indic script


STEPS: tuple[Step, ...] = (
    Step(r"^(\*{1,3}|_{1,2}|`)(.*)\1$", r"\2", "Markdown around all of it"),
    Step(r"^([\"'])(.*)\1$", r"\2", "quotation marks around all of it"),
    Step(r"\\?\$", "", "a dollar sign is LaTeX's or one of money, and decoration in both"),
    Step(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d|,\d)", _without_commas, "1,000 is 1000"),
    Step(r" ?\bper ?cent\b| ?\\?%", "%", "percent is a sign, whoever spells it out"),
    Step(
        rf"(?<![\d)\]}}])(?<!{_LONE})[(\[{{]([^()\[\]{{}}]*)[)\]}}]",
        _unbracketed,
        "(Paris) is Paris and (3) is 3, but (3, 5) is a pair, and f(3) a function",
    ),
    Step(r"[,;]|:(?!\d)|(?<!\d):", " ", "commas separate; so do colons, but in 1:30"),
    Step(rf" ?([=<>]+) ?|{_AFTER_VALUE} ?([-+*/^&]) ?{_BEFORE_VALUE}", r"\1\2", "x = 3 is x=3"),
    Step(_MARK.pattern, _if_kept, "of all other marks those stay that MARKS names"),
    Step(r"(?<![\w)\]}!%^+])\+(?=[\d.])", "", "+5 is 5"),
    Step(
        rf"(?<![\w.:])(?<!{_LETTER} )\d*\.\d+(?![\d.:])",
        shortest_decimal,
        "5.0 is 5 and .5 is 0.5, but Python 3.10 is not Python 3.1",
    ),
    Step(r"(?<![\w)\]}!%^.])-(?=0(?![\w.:/*^]))", "", "-0 is 0"),
    Step(
        r"\b(?:an?|the) (?=\w)", "", "articles, where a word follows: vitamin A keeps its letter, and so does option A"
    ),
)
"""The careful normalisation, in order, after characters have one spelling, letters are small and spaces single."""

_STEPS = tuple((re.compile(step.found), step.becomes) for step in STEPS)


def normalized(answer: str, normalisation: Normalisation = "careful") -> str:
    """An answer in the form in which it is compared.

    Args:
        answer: a text.
        normalisation: see the module.

    Raises:
        UserError: for another normalisation.

    Example:
        >>> normalized("The  Eiffel Tower!"), normalized("(3)"), normalized("-3 degrees"), normalized("$29.00")
        ('eiffel tower', '3', '-3 degrees', '29')
        >>> normalized("The  Eiffel Tower!", "squad"), normalized("-3 degrees", "squad"), normalized("A", "squad")
        ('eiffel tower', '3 degrees', '')
    """
    if normalisation == "squad":
        return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())
    require_normalisation(normalisation)
    text = plain_characters(answer).casefold()
    for found, becomes in _STEPS:
        text = " ".join(found.sub(becomes, text).split())
    return text


def require_normalisation(normalisation: str) -> None:
    """Refuse a normalisation that there is not, as a :class:`UserError`."""
    if normalisation not in get_args(Normalisation):
        raise UserError(f"normalisation = {normalisation!r}: must be one of {', '.join(get_args(Normalisation))}")
