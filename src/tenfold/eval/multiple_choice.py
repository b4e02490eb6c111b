"""Which option of a multiple-choice question an answer names.

Accepted are the letter alone (``A``, ``a``, ``(A)``, ``[A]``, ``A.``, ``A)``, ``A:``, ``A;``), with "option" or
"choice" before it, in bold or italics, in LaTeX's ``\\text{A}`` or in full-width characters; the letter before a text
that a delimiter sets off (``A) Paris``, ``(A) Paris``, ``A. Paris``, ``A - Paris``) or that is the option's own
(``A Paris``); and the text of an option. Letters are read before anything is normalised: SQuAD's normalisation of free
answers drops articles, and with them the letter A, so that every question whose answer is A would count as wrong. Not
accepted are sentences around a letter ("the answer is A", "I think so"): what a model says around its answer is cut
away before, by the tags or the box of its format.

Where forms contradict each other nothing is chosen: a letter before the text of another option, several letters, a text
that two options share.
"""

import re
from collections.abc import Iterable, Sequence

from tenfold.core.errors import UserError
from tenfold.eval.answer_text import normalized
from tenfold.eval.characters import plain_characters
from tenfold.eval.references import reference_texts

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# The texts that these read have single spaces, and no two parts of an expression can take the same one.
_DECORATION = re.compile(r"\*\*|__|`|\$|\\[()\[\]]|\\(?:text|textbf|textit|mathrm|mathbf|boxed) ?(?=\{)|[{}]|^\"|\"$")
_EMPHASIS = re.compile(r"(?<![\w*'])([*_'])([A-Za-z(][^*_']*)\1(?![\w*'])")  # *B*, but not A* or f'
_CALLED = re.compile(r"^(?:option|choice) (?=[(\[]?[a-z]\b)", re.IGNORECASE)
_ALONE = re.compile(r"[(\[]? ?([A-Za-z]) ?[)\]]? ?(?:[.:,;!]|번)?")
_SET_OFF = re.compile(r"(?:[(\[] ?([A-Za-z]) ?[)\]] ?[.:]?|([A-Za-z]) ?(?:[).:]| - )) ?(\S.*)")
_BESIDE = re.compile(r"([A-Za-z])[,;]? (\S.*)")
_ANOTHER = re.compile(r"(?<![A-Za-z])([A-Za-z])[)\]]")


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
        >>> [chosen_option(answer, choices) for answer in ("**B**", "Option B", "B London", "A man", "(A) (B)")]
        ['B', 'B', 'B', None, None]
    """
    if len(choices) > len(_LETTERS):
        raise UserError(f"choices: there are {len(choices)}, but at most {len(_LETTERS)} have a letter")
    letters = _LETTERS[: len(choices)] if choices else _LETTERS
    texts = dict(zip(letters, choices, strict=False))
    said = plain_characters(answer)
    if (alone := _ALONE.fullmatch(said)) and alone[1].upper() in letters:
        return alone[1].upper()
    # An option may itself look like a letter before a text, such as "E. coli".
    if same := _only(letter for letter, text in texts.items() if _plain(text) == _plain(said)):
        return same
    said = _CALLED.sub("", plain_characters(_EMPHASIS.sub(r"\2", _DECORATION.sub("", said))))
    if (alone := _ALONE.fullmatch(said)) and alone[1].upper() in letters:
        return alone[1].upper()
    if (before := _SET_OFF.fullmatch(said)) and (letter := (before[1] or before[2]).upper()) in letters:
        return letter if _agrees(letter, before[3], letters, texts) else None
    if (beside := _BESIDE.fullmatch(said)) and (letter := beside[1].upper()) in _by_text(beside[2], texts):
        return letter
    return _only(_by_text(said, texts))


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
    for reference in reference_texts(references):
        letter = chosen_option(reference, choices)
        if letter is None:
            allowed = f"one of the {len(choices)} options" if choices else "a letter"
            raise UserError(f"references = {reference!r}: must name {allowed}")
        right.add(letter)
    return chosen_option(answer, choices) in right


def _agrees(letter: str, text: str, letters: str, texts: dict[str, str]) -> bool:
    """Whether the text behind a letter names no other option."""
    if named := _by_text(text, texts):
        return letter in named
    others = {other.upper() for other in _ANOTHER.findall(text)}
    if alone := _ALONE.fullmatch(text):
        others.add(alone[1].upper())
    return not others.intersection(letters) - {letter}


def _by_text(answer: str, texts: dict[str, str]) -> list[str]:
    """Letters of the options with this text, normalised where that leaves something."""
    wanted = normalized(answer)
    return [
        letter
        for letter, text in texts.items()
        if _plain(text) == _plain(answer) or (wanted and normalized(text) == wanted)
    ]


def _plain(text: str) -> str:
    return plain_characters(text).casefold()


def _only(letters: Iterable[str]) -> str | None:
    found = list(letters)
    return found[0] if len(found) == 1 else None
