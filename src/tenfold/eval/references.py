"""What counts as right, as graders take it: one text or several; a number counts as its text."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.core.errors import UserError
from tenfold.data.questions import answer_text


def reference_texts(references: Any, name: str = "answer") -> list[str]:
    """The accepted answers as texts.

    Args:
        references: a text or a finite number, or a sequence of them.
        name: of the column, for the message.

    Raises:
        UserError: for anything else.

    Example:
        >>> reference_texts("four"), reference_texts(4), reference_texts(["4", 4.5])
        (['four'], ['4'], ['4', '4.5'])
    """
    if isinstance(references, str):
        return [references]
    several = list(references) if isinstance(references, Sequence | np.ndarray) else [references]
    texts = [one if isinstance(one, str) else answer_text(one) for one in several]
    if None in texts:
        raise UserError(f"{name} = {_shown(references)}: must be a text or a finite number, or several of them")
    return [str(text) for text in texts]


def _shown(references: Any) -> str:
    """What was given, for a message; Python does not write integers of more than 4,300 digits."""
    try:
        return repr(references)
    except ValueError:
        return f"a {type(references).__name__} with a number of more than {sys.get_int_max_str_digits()} digits"
