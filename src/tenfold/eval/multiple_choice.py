"""Which option of a multiple-choice question an answer names.

Accepted are the letter alone (``A``, ``a``, ``(A)``, ``[A]``, ``A.``, ``A)``, ``A:``), the letter before a text
(``A) Paris``, ``(A) Paris``, ``A. Paris``), and the text of an option. Letters are read before anything is normalised:
the normalisation of free answers drops articles, and with them the letter A, so that every question whose answer is A
would count as wrong. Not accepted are sentences around a letter ("the answer is A"): what a model says around its
answer is cut away before, by the tags or the box of its format.

Where forms contradict each other nothing is chosen: a letter before the text of another option, a text that two options
share.
"""

import re
from collections.abc import Iterable, Sequence

from tenfold.core.errors import UserError
from tenfold.eval.exact_match import normalized

_ALONE = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\]]?\s*[.:]?")
_BEFORE_TEXT = re.compile(r"(?:[(\[]\s*([A-Za-z])\s*[)\]]\s*[.:]?|([A-Za-z])\s*[).:])\s*(\S.*)", re.DOTALL)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def chosen_option(answer: str, choices: Sequence[str] = ()) -> str | None:
    """The letter of the option that an answer names, ``None`` where it names none or more than one.

    Args:
        answer: the given answer.
        choices: the texts of the options A, B, … in their order, at most 26; without them any letter may be chosen,
            and only by its letter.

    Raises:
        UserError: for more than 26 options.

    Example:
        >>> choices = ["Paris", "London", "a city"]
        >>> [chosen_option(answer, choices) for answer in ("a", "(B)", "C) a city", "city", "paris.", "D", "it is A")]
        ['A', 'B', 'C', 'C', 'A', None, None]
    """
    if len(choices) > len(_LETTERS):
        raise UserError(f"choices = {len(choices)} of them: at most {len(_LETTERS)} have a letter")
    answer = answer.strip()
    letters = _LETTERS[: len(choices)] if choices else _LETTERS
    if (alone := _ALONE.fullmatch(answer)) and alone[1].upper() in letters:
        return alone[1].upper()
    # An option may itself look like a letter before a text, such as "E. coli".
    if same := _only(letter for letter, text in zip(letters, choices, strict=False) if _plain(text) == _plain(answer)):
        return same
    if (before := _BEFORE_TEXT.fullmatch(answer)) and (letter := (before[1] or before[2]).upper()) in letters:
        named = _by_text(before[3], letters, choices)
        return letter if not named or letter in named else None
    return _only(_by_text(answer, letters, choices))


def multiple_choice(answer: str, references: str | Sequence[str], choices: Sequence[str] = ()) -> bool:
    """Whether an answer chooses a right option.

    Args:
        answer: the given answer.
        references: one right option or several, in any form that an answer may have.
        choices: as for :func:`chosen_option`.

    Raises:
        UserError: if a reference names no option.

    Example:
        >>> multiple_choice("A", "A"), multiple_choice("(b) London", "A", ["Paris", "London"])
        (True, False)
    """
    right = set()
    for reference in [references] if isinstance(references, str) else references:
        letter = chosen_option(reference, choices)
        if letter is None:
            allowed = f"one of the {len(choices)} options" if choices else "a letter"
            raise UserError(f"references = {reference!r}: must name {allowed}")
        right.add(letter)
    return chosen_option(answer, choices) in right


def _by_text(answer: str, letters: str, choices: Sequence[str]) -> list[str]:
    """Letters of the options with this text, normalised where that leaves something."""
    wanted = normalized(answer)
    return [
        letter
        for letter, text in zip(letters, choices, strict=False)
        if _plain(text) == _plain(answer) or (wanted and normalized(text) == wanted)
    ]


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _only(letters: Iterable[str]) -> str | None:
    found = list(letters)
    return found[0] if len(found) == 1 else None
