"""Words and signs around a number that make it another statement: not 3, at least 3, about 3, 3 or more, 3 million.

Prose states a value where nothing else than names, verbs and units stand around its number. What stands in these lists
makes it a bound, a guess, a denial or another number; a grader that took the number alone would pay for it.
"""

import re

FILLERS = "or|equal|to|the|an?|number|value|of|just|only|exactly|some|about|be|is|being|even"
"""Words that may stand between one of :data:`BEFORE` and the number, as in "less than or equal to"."""

BEFORE = (
    "than|at (?:the )?(?:very )?(?:least|most)|"
    "about|around|approx|approximately|approximate|circa|ca|roughly|nearly|almost|over|under|above|"
    "below|beyond|up to|upto|close to|near|between|within|until|before|after|but|exceed|exceeds|exceeding|reaches|"
    "no|hardly|barely|scarcely|unlikely|minus|plus|negative|times|half|twice|double|triple|either|unlike|"
    "(?:half|third|quarter|root|square|cube|multiple|multiples|factor|power|reciprocal|inverse|logarithm|log|percent|"
    "fraction|maximum|minimum|max|min|out|short|excess|upwards|order|neighbou?rhood) of|"
    "약|대략|거의|최소|최대|적어도|많아야|마이너스"
)
"""Directly before the number, or with fillers between."""

AFTER = (
    "minus|plus|times|squared|cubed|factorial|hundred|thousand|million|billion|trillion|dozen|hundredths?|tenths?|"
    "thousandths?|thirds?|halves|quarters?|more than|less than|fewer than|too many|too few|too much|too little|or so|"
    "ish|and a half|approximately|approx|roughly|tops|give or take"
)
"""Directly behind the number."""

BEHIND = (
    r"(?:or|and|at|if|is|are) (?:not )?(?:more|less|fewer|so|up|over|under|above|below|greater|higher|lower|larger|"
    r"smaller|least|most|beyond|bigger|upwards?|downwards?)\b|이상|이하|미만|초과|가량|정도|쯤|보다|만큼은 아니"
)
"""Anywhere behind the number: 3 apples or more."""

DENIALS = (
    r"\b(?:not|never|neither|nor|cannot|without|except|excluding|unless|wrong|incorrect|false|untrue|impossible|"
    r"no (?:longer|more|less|fewer|answer)|none)\b|n't\b|아니|아닌|아닙|아님|아냐|않|못|틀"
)
"""Anywhere in the sentence with the number."""

_SIGNS = (
    r"(?:[<>≤≥≠≈≃≅≲≳≉≇¬~]=?|!=|=/=|\\(?:not|neq?|neg|lnot|approx(?:eq)?|sim(?:eq)?|[lg](?:t|e|eq|eqslant))(?![A-Za-z]))"
)

_BEFORE = re.compile(rf"(?<![^\W\d_])(?:{BEFORE})\.?(?: (?:{FILLERS}))* ?[$(\\\"'*]*$", re.IGNORECASE)
_AFTER = re.compile(rf"[$)\"'\\]* ?[(-]?(?:{AFTER})(?![^\W\d_])| ?(?:[십백천만억조배]|제곱|분의)", re.IGNORECASE)
_BEHIND = re.compile(BEHIND, re.IGNORECASE)
_DENIED = re.compile(DENIALS, re.IGNORECASE)
_SIGN_BEFORE = re.compile(rf"{_SIGNS}=? ?[$(]*$")
_SIGN_AFTER = re.compile(rf"[$)]* ?{_SIGNS}")
_SET = re.compile(
    r"\\(?:text[a-z]*|math[a-z]+|mbox|operatorname)(?![A-Za-z])|[{}]"
)  # words are words, whatever sets them
_SENTENCE_END = re.compile(r"[.;!?](?=\s|$)")


def is_denied(clause: str) -> bool:
    """Whether words deny what a text says.

    Example:
        >>> is_denied("It is not true that"), is_denied("So"), is_denied("It's not 4. So")
        (True, False, False)
    """
    start = max((end.end() for end in _SENTENCE_END.finditer(clause)), default=0)
    return _DENIED.search(clause, start) is not None


def is_changed(before: str, after: str) -> bool:
    """Whether the number between two texts means something else by what they say.

    Args:
        before: what stands before the number.
        after: what stands behind it.

    Example:
        >>> [is_changed(*around) for around in (("at least ", ""), ("", " apples or more"), ("not ", ""), ("≥ ", ""))]
        [True, True, True, True]
        >>> [is_changed(*around) for around in (("the least value is ", ""), ("", " apples"), ("It is not 4. So ", ""))]
        [False, False, False]
    """
    before, after = (" ".join(_SET.sub(" ", text).split()) for text in (before, after))
    end = _SENTENCE_END.search(after)
    sentence = after[: end.start()] if end else after
    return bool(
        is_denied(before)
        or _DENIED.search(sentence)
        or _BEFORE.search(before[-200:])
        or _AFTER.match(after)
        or _BEHIND.search(sentence)
        or _SIGN_BEFORE.search(before[-20:])
        or _SIGN_AFTER.match(after)
    )
