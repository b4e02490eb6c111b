"""Refuses code that carries its picture with it: an image embedded as text or as numbers is a copy, not a program.

The process that runs a candidate never holds the reference, so a copy could come only from a policy that read the
pixels into its code; a bound on literals makes that useless.
"""

import ast
import re

MOST_TEXT = 2_000
"""Characters of one text in a program."""
MOST_CONSTANTS = 4_000
"""Constants of a program, all together."""
MOST_CODE = 40_000
"""Characters of a program or page."""
_DATA = re.compile(r"data:\s*[a-z]+/", re.IGNORECASE)


def why_refused(code: str) -> str:
    """Why a Python program is refused before it runs; empty for one that may run.

    A program that is no Python is left to the interpreter, which says where.

    Example:
        >>> why_refused("print(1)"), why_refused(f"x = {'a' * 3000!r}")
        ('', 'LiteralRefused: a text of 3000 characters; allowed: 2000')
    """
    if reason := _too_long(code):
        return reason
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    constants = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            constants += 1
            size = len(node.value) if isinstance(node.value, str | bytes) else len(repr_of_number(node.value))
            if size > MOST_TEXT:
                return f"LiteralRefused: a text of {size} characters; allowed: {MOST_TEXT}"
    if constants > MOST_CONSTANTS:
        return f"LiteralRefused: {constants} constants; allowed: {MOST_CONSTANTS}"
    return ""


def why_page_refused(code: str) -> str:
    """Why a page or drawing in markup is refused: too long, or with an embedded file.

    Example:
        >>> why_page_refused('<img src="data:image/png;base64,AAAA">')
        'LiteralRefused: an embedded file (data:)'
    """
    return _too_long(code) or ("LiteralRefused: an embedded file (data:)" if _DATA.search(code) else "")


def repr_of_number(value: object) -> str:
    """The digits of a number; huge whole numbers, which Python refuses to spell, as bits.

    Example:
        >>> repr_of_number(12), len(repr_of_number(1 << 40_000)) > 10_000
        ('12', True)
    """
    if isinstance(value, int):
        return "1" * (value.bit_length() // 3) if value.bit_length() > 10_000 else str(value)
    return repr(value)


def _too_long(code: str) -> str:
    return f"LiteralRefused: {len(code)} characters of code; allowed: {MOST_CODE}" if len(code) > MOST_CODE else ""
