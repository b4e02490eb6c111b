r"""Mathematical answers as people and models spell them, brought into one LaTeX that a parser reads without surprises.

Parsers of LaTeX read ``pi/2`` as p·i/2, ``yes`` as y·e·s, ``1.2e3`` as 1.2·e·3, ``1 2 3`` as 6 and ``4\sqrt(2)`` as
4, and out of a text they take its last number. So what an answer says is settled here, without a parser: its spelling
(:data:`STEPS`, in order, with why), whether it is prose (:func:`is_prose`) and which value prose states
(:func:`stated_in`), its unit (:func:`without_unit`), and what it is a list of (:func:`parts_of`). What is left for a
parser is single expressions.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tenfold.eval.characters import plain_characters
from tenfold.eval.math_words import is_changed, is_denied


class Step(NamedTuple):
    """What is found, what stands there afterwards, and why."""

    found: str
    becomes: str | Callable[[re.Match[str]], str]
    why: str


FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|sec|csc|cot|log|ln|lg|exp|det|gcd|lcm"
GREEK = "alpha|beta|gamma|delta|epsilon|zeta|theta|eta|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|chi|psi|omega"
UNITS = frozenset(
    re.findall(
        r"\w+",
        "mm cm m km in inch inches ft foot feet yd yard yards mi mile miles mg g kg lb lbs oz ml l liter liters litre "
        "litres s sec second seconds min minute minutes h hr hrs hour hours day days week weeks month months year "
        "years deg degree degrees rad radian radians hz mol mph kph dollar dollars cent cents euro euros meter meters "
        "metre metres centimeter centimeters kilometer kilometers gram grams kilogram kilograms unit units square sq "
        "cubic",
    )
)
"""Names that may stand behind a number, in small letters."""

_COMMAND = r"(?<![A-Za-z\\])"  # of a name: no command, and no part of another name


def _without_spaces(found: re.Match[str]) -> str:
    return found[0].replace(" ", "")


def _repeating(found: re.Match[str]) -> str:
    r"""0.1\overline{6} as \frac{15}{90}."""
    whole, fixed, repeated = found[1], found[2], found[3] or found[4]
    numerator = int(whole + fixed + repeated) - int(whole + fixed or "0")
    return rf"\frac{{{numerator}}}{{{(10 ** len(repeated) - 1) * 10 ** len(fixed)}}}"


STEPS: tuple[Step, ...] = (
    Step(r"\\(?:left|right|big|Big|displaystyle|limits)(?![A-Za-z])|\\!", "", "sizes mean nothing"),
    Step(r"\\[dtc]frac", r"\\frac", "a fraction is a fraction"),
    Step(r"\{,\}|(?<=\d)\\,(?=\d{3}(?!\d))", ",", "separators of thousands, as LaTeX has them"),
    Step(r"(?:^|(?<=[ (=]))~|[≈≃≅]", r"\\approx ", "about; a tilde elsewhere is a space of LaTeX"),
    Step(r"=/=", r"\\ne ", "not equal, as typed"),
    Step(r"\\[,;: ]|~|\\q?quad(?![A-Za-z])", " ", "spaces of LaTeX"),
    Step(
        r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|operatorname|mbox) ?\{([^{}]*)\}",
        r" \1 ",
        "words are words, whatever sets them",
    ),
    Step(r"\\?\$", "", "a dollar sign that delimits nothing is money"),
    Step(r"(?<=\d) ?per ?cent(?![A-Za-z])|(?<!\\)%", r"\\%", "percent is a sign"),
    Step(r"\*\*", "^", "powers as in Python"),
    Step(r"(?<=[\d)}]) ?[xX] ?(?=10 ?\^)", r"\\cdot ", "1.2 x 10^3, typed without a sign for times"),
    Step(r"\*|·|\\(?:ast|bullet)(?![A-Za-z])", r"\\cdot ", "products"),
    Step(r"<=", r"\\le ", "at most"),
    Step(r">=", r"\\ge ", "at least"),
    Step(r"!=", r"\\ne ", "not equal"),
    Step(r"±|\+/-", r"\\pm ", "both signs"),
    Step(rf"∞|{_COMMAND}(?:infinity|infty|inf|oo)(?![A-Za-z])", r"\\infty ", "infinity"),
    Step(r"π", r"\\pi ", "the letter pi"),
    Step(rf"{_COMMAND}({GREEK})(?![A-Za-z])", r"\\\1 ", "Greek letters by name"),
    Step(r"°", r"^\\circ ", "degrees"),
    Step(rf"{_COMMAND}sqrt(?=[ (\d])|√", r"\\sqrt", "roots; what is under them follows"),
    Step(r"\\sqrt ?(\d+|[A-Za-z])", r"\\sqrt{\1}", "a root of one number or letter"),
    Step(rf"{_COMMAND}({FUNCTIONS})(?![A-Za-z])", r"\\\1", "functions by name"),
    Step(
        r"(?<![\w.])(\d++(?:\.\d*+)?+|\.\d++)[eE]([+-]?\d+)(?!\w)",
        r"\1\\cdot 10^{\2}",
        "numbers as programs write them",
    ),
    Step(
        r"(?<![\w.])(\d*)\.(\d*)(?:\\overline ?\{(\d{1,99})\}|\((\d{1,99})\))(?!\w)",
        _repeating,
        "repeating decimals",
    ),
    Step(r"\^ ?([+-]\d+)", r"^{\1}", "negative powers"),
    Step(r"(?<![\w./])(\d+) (\d+) ?/ ?(\d+)(?![\w/])", r"\1\\frac{\2}{\3}", "3 1/2 is 3.5"),
    Step(r"^[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?$", _without_spaces, "10 000 is 10000"),
    Step(r"(?<![\w.)\]}])\+(?=[\d.])", "", "+5 is 5"),
    Step(r"(?<![\d.])\.(?=\d)", "0.", ".5 is 0.5"),
)
"""The spelling of a formula, in order, after characters have one spelling and delimiters around all of it are gone."""

_STEPS = tuple((re.compile(step.found), step.becomes) for step in STEPS)
_BOX = re.compile(r"\\boxed\s*\{")
_AROUND = tuple(
    re.compile(around, re.DOTALL)
    for around in (
        r"\$\$(.*)\$\$",
        r"\$([^$]*)\$",
        r"\\\[(.*)\\\]",
        r"\\\((.*)\\\)",
        r"\*\*([^*]*)\*\*",
        r"[\"`](.*)[\"`]",
    )
)
_LONE_POINT = re.compile(r"(?<!\.) ?\.$")
_WORD = re.compile(r"[^\W\d_]+")
_COMMAND_NAME = re.compile(r"\\(?:begin|end) ?\{[a-z]*\}|\\[A-Za-z]+")
_OPERATORS = tuple("-+/^=<>_|")
_ELLIPSIS = re.compile(r"\.\.\.|\\[lcd]?dots")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d|,\d)")
_STRUCTURE = re.compile(r"\\[{}]|[()\[\]{},;]|(?<![A-Za-z\\])(?:or|and|OR|AND)(?![A-Za-z])")
_CLOSES = {")": "(", "]": "[", "}": "{", "\\}": "\\{"}
_BARE_NUMBERS = re.compile(r"[-+]?\d+(?:\.\d+)?(?: [-+]?\d+(?:\.\d+)?)+")
_NUMBER = re.compile(
    r"(?<![\w.,^*/+\\{(-])-?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?: ?/ ?\d+)?(?: ?\\?%)?(?![^\W가-힣]|[\^*/\\{(=])"
)
_SAID_TO_BE = re.compile(r"\banswer(?: is)?:? ", re.IGNORECASE)
_CHUNK = re.compile(r"\$([^$]+)\$|\\\(((?:(?!\\[()]).)+)\\\)")
_UNIT_TOKEN = re.compile(r"[A-Za-z]+|\^\{?-?\d\}?|\\cdot|\\[A-Za-z]+|\S")


class Form(NamedTuple):
    """An answer, as text (one spelling of characters, no delimiters around it) and as LaTeX."""

    text: str
    latex: str


def form_of(answer: str) -> Form:
    r"""An answer in one spelling: the content of its last box, if it has one.

    Example:
        >>> form_of("$pi/2$").latex, form_of("３½").latex, form_of("\\boxed{.5}").latex
        ('\\pi /2', '3\\frac{1}{2}', '0.5')
    """
    text = plain_characters(answer if (boxed := last_boxed(answer)) is None else boxed)
    for _ in range(4):
        text = _LONE_POINT.sub("", text.strip())
        for around in _AROUND:
            if inside := around.fullmatch(text):
                text = inside[1]
    latex = text = " ".join(text.split())
    for found, becomes in _STEPS:
        latex = " ".join(found.sub(becomes, latex).split())
    return Form(text, _with_braces(latex))


def last_boxed(text: str) -> str | None:
    r"""The content of the last box of a text; ``None`` without one. Braces may nest.

    Example:
        >>> last_boxed("so \\boxed {\\frac{1}{2}}."), last_boxed("\\boxed{1"), last_boxed("1")
        ('\\frac{1}{2}', None, None)
    """
    boxes = list(_BOX.finditer(text))
    if not boxes:
        return None
    box = boxes[-1]
    depth = 1
    for brace in re.finditer(r"[{}]", text[box.end() :]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[box.end() :][: brace.start()].strip()
    return None


def is_prose(latex: str) -> bool:
    r"""Whether words stand in it that are no product of letters: such an answer is compared as a text.

    Example:
        >>> [is_prose(latex) for latex in ("yes", "서울", "5 cm", "xy+1", "2ab", "x", "\\sin x", "2 or 3")]
        [True, True, True, False, False, False, False, False]
    """
    text = _COMMAND_NAME.sub(" ", latex)
    for word in _WORD.finditer(text):
        if not word[0].isascii():
            return True
        if len(word[0]) > 1 and word[0].lower() not in ("or", "and") and not _in_product(text, word):
            return True
    return False


def _in_product(text: str, word: re.Match[str]) -> bool:
    """Whether letters are glued to a number, bracket or power, or, being few, stand beside an operator."""
    before, after = text[max(0, word.start() - 2) : word.start()], text[word.end() : word.end() + 2]
    if before[-1:].isdigit() or before[-1:] in (")", "}", "]") or after[:1].isdigit():
        return True
    if after[:1] in ("(", "[", "{", "^", "_") and after:
        return True
    beside_operator = before.rstrip()[-1:] in _OPERATORS or after.lstrip()[:1] in _OPERATORS
    return len(word[0]) <= 3 and beside_operator


def stated_in(text: str) -> Form | None:
    """The value that prose states: what it calls its answer, its only formula, or its only number.

    None where words make it something else (:mod:`tenfold.eval.math_words`): at least 3 is not 3.

    Example:
        >>> stated_in("it is 3").latex, stated_in("The answer is 1/2, not 2/1").latex, stated_in("3 of 4")
        ('3', '1/2, not 2/1', None)
        >>> stated_in("about 3"), stated_in("3 or more"), stated_in("3 is not it")
        (None, None, None)
    """
    called = list(_SAID_TO_BE.finditer(text))
    if called and (tail := form_of(text[called[-1].end() :])).latex:
        return None if is_denied(text[: called[-1].start()]) else tail
    found = list(_CHUNK.finditer(text))
    if len(found) != 1:
        found = list(_NUMBER.finditer(text))
        if len(found) != 1 or re.search(r"\d", text[: found[0].start()] + text[found[0].end() :]):
            return None
    if is_changed(text[: found[0].start()], text[found[0].end() :]):
        return None
    return form_of(next(group for group in (*found[0].groups(), found[0][0]) if group))


def without_unit(latex: str) -> tuple[str, str]:
    """The value and its unit, in small letters; an empty unit where there is none.

    Example:
        >>> [without_unit(latex) for latex in ("24 m^2", "5cm", "90 km/h", "24x", "3m")]
        [('24', 'm^2'), ('5', 'cm'), ('90', 'km/h'), ('24x', ''), ('3m', '')]
    """
    start = len(latex)
    tokens = list(_UNIT_TOKEN.finditer(latex))
    for place in range(len(tokens) - 1, -1, -1):
        token = tokens[place]
        is_word = token[0].isalpha()
        if not (token[0].lower() in UNITS if is_word else token[0] in ("/", "\\cdot") or token[0][0] == "^"):
            break
        if is_word and place and (len(token[0]) > 1 or latex[token.start() - 1] in " /"):
            start = token.start()
    value = latex[:start].rstrip()
    if start == len(latex) or not re.search(r"[\d})!]$|\\pi$", value):
        return latex, ""
    return value, "".join(latex[start:].lower().split())


class Parts(NamedTuple):
    """What an answer is a list of; and its brackets, where order matters in them: none for lists and sets."""

    items: tuple[str, ...]
    brackets: str = ""


def parts_of(latex: str) -> Parts:
    r"""The parts of a pair, an interval, a set, or a list; one part for what is none of them.

    Example:
        >>> parts_of("(1, 2)"), parts_of("1331, 1728").items, parts_of("1,728").items, parts_of("2 or 3").items
        (Parts(items=('1', '2'), brackets='()'), ('1331', '1728'), ('1728',), ('2', '3'))
        >>> parts_of("\\{1,2\\}"), parts_of("[1,2]\\cup[3,4]").items, parts_of("x=\\pm 2").items
        (Parts(items=('1', '2'), brackets=''), ('[1,2]\\cup[3,4]',), ('x=+ 2', 'x=- 2'))
    """
    latex = _without_thousands(latex)
    opening = closing = ""
    for _ in range(4):  # brackets around all of it
        marks = list(_marks(latex))
        if not marks or marks[0].start or marks[0].text not in _CLOSES.values():
            break
        end = next((mark for mark in marks if mark.text in _CLOSES and mark.depth == 1), None)
        if end is None or end.start + len(end.text) != len(latex):
            break
        opening, closing = marks[0].text, end.text
        latex = latex[len(opening) : end.start].strip()
        if opening != "(" or closing != ")" or any(mark.depth == 1 and mark.separates for mark in marks):
            break
        opening = closing = ""
    if _BARE_NUMBERS.fullmatch(latex):
        items = latex.split()
    else:
        cuts = [mark for mark in _marks(latex) if mark.separates and mark.depth == 0]
        starts = [0, *(mark.start + len(mark.text) for mark in cuts)]
        ends = [*(mark.start for mark in cuts), len(latex)]
        items = [latex[start:end].strip() for start, end in zip(starts, ends, strict=True)]
    both_signs = [sign for item in items if item for sign in _signs(item)]
    return Parts(tuple(both_signs), "" if opening.endswith("{") else opening + closing)


class _Mark(NamedTuple):
    """A bracket, a comma or a word that separates; ``depth`` is how many brackets are open before it."""

    start: int
    text: str
    depth: int
    within: str

    @property
    def separates(self) -> bool:
        return self.text.lower() in (",", ";", "or", "and")


def _marks(latex: str) -> Iterator[_Mark]:
    within: list[str] = []
    for found in _STRUCTURE.finditer(latex):
        yield _Mark(found.start(), found[0], len(within), within[-1] if within else "")
        if found[0] in _CLOSES:
            del within[-1:]
        elif found[0] in _CLOSES.values():
            within.append(found[0])


def _without_thousands(latex: str) -> str:
    """1,728 as 1728, but for pairs in brackets."""
    spans = [found.span() for found in _THOUSANDS.finditer(latex)]
    kept, begin, spans_left = [], 0, iter(spans)
    span = next(spans_left, None)
    for mark in _marks(latex):
        while span and mark.start >= span[1]:
            span = next(spans_left, None)
        if span and mark.text == "," and mark.start >= span[0] and mark.within in ("", "{"):
            kept.append(latex[begin : mark.start])
            begin = mark.start + 1
    return "".join([*kept, latex[begin:]])


def _signs(item: str) -> tuple[str, ...]:
    before, sign, after = item.partition("\\pm")
    return (before + "+" + after, before + "-" + after) if sign and "\\pm" not in after else (item,)


def _with_braces(latex: str) -> str:
    r"""\sqrt(x) as \sqrt{x}: parsers drop a root with round brackets."""
    if "\\sqrt(" not in latex and "\\sqrt (" not in latex:
        return latex
    characters, begins = list(latex), []
    roots = {root.end() for root in re.finditer(r"\\sqrt ?", latex)}
    for place, character in enumerate(latex):
        if character == "(":
            begins.append(place)
        elif character == ")" and begins and (begin := begins.pop()) in roots:
            characters[begin], characters[place] = "{", "}"
    return "".join(characters)


def has_ellipsis(latex: str) -> bool:
    r"""Whether it has an ellipsis, so that no parser knows what it says."""
    return _ELLIPSIS.search(latex) is not None


def without_loose_spaces(latex: str) -> str:
    """Spaces stay between letters or digits only.

    Example:
        >>> without_loose_spaces("( 1, 2 )"), without_loose_spaces("1 2")
        ('(1,2)', '1 2')
    """
    return re.sub(r"(?<!\w) | (?!\w)", "", latex)
