"""Questions with their answers, as data: what is asked, what counts as right, and a reader of a user's own files.

A question holds what the data say. How it is put to a policy (instructions, letters before the choices, a chat) is a
matter of the experiment, which makes a prompt of it. Rows of a file may use any spelling that is common: ``prompt``,
``question`` or ``messages``; ``answer``, ``answers`` or ``reward_model.ground_truth``; ``key`` or ``id``; ``source`` or
``data_source``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.data.json_lines import read_json_lines

Messages = list[dict[str, str]]
"""A conversation: each message with ``role`` and ``content``."""
ASKED = ("prompt", "question", "messages")
ANSWERED = ("answer", "answers")
PUBLISHED = "reward_model"
"""Of rows in the layout of reinforcement frameworks, whose answer is its ``ground_truth``."""
LARGEST_EXACT = 2**53
"""From here on, whole numbers in floating point are not exact."""


@dataclass(frozen=True)
class Question:
    """One question.

    Args:
        prompt: the question as the data have it: a text, or a conversation that is taken as it is.
        answers: what counts as right, one text or several; a letter or the text of an option where there are choices.
        key: tells it apart from others of its source.
        choices: the options, in order; empty for an open question.
        source: the data set that it is from.
        facts: what else is known of it, plain data by name; columns of their own in a dataset.

    Example:
        >>> Question("What river is Rome on?", ("Tiber", "the Tiber"), "1").answers
        ('Tiber', 'the Tiber')
    """

    prompt: str | Messages
    answers: tuple[str, ...]
    key: str
    choices: tuple[str, ...] = ()
    source: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_questions(
    path: Path, *, facts: Sequence[str] = (), check: Callable[[Question], None] | None = None
) -> list[Question]:
    """The questions of a file of JSON lines, in any of the spellings of the module's docstring.

    Args:
        path: the file; a row without a key has its number, counted from 1.
        facts: names of further columns that are kept where a row has them.
        check: raises :class:`UserError` for a question that cannot be used; its message gets the row in front.

    Raises:
        UserError: the file is missing or empty, or a row cannot be used; with the row and what is allowed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "rows.jsonl"
        ...     _ = path.write_text('{"question": "6 * 7?", "answer": 42}')
        ...     read_questions(path)[0].answers
        ('42',)
    """
    rows = enumerate(read_json_lines(path, ()), start=1)
    return [_read(row, f"{path}, row {number}", str(number), facts, check) for number, row in rows]


def _read(
    row: Mapping[str, Any], where: str, number: str, facts: Sequence[str], check: Callable[[Question], None] | None
) -> Question:
    question = Question(
        prompt=_prompt(row, where),
        answers=_answers(row, where),
        key=str(row.get("key", row.get("id", number))),
        choices=_choices(row, where),
        source=str(row.get("source", row.get("data_source", ""))),
        facts={name: row[name] for name in facts if name in row},
    )
    if check is not None:
        try:
            check(question)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    return question


def _prompt(row: Mapping[str, Any], where: str) -> str | Messages:
    name = _only_one_of(row, ASKED, where)
    prompt = row[name]
    is_text = isinstance(prompt, str) and prompt.strip() != "" and name != "messages"
    if not is_text and not _is_conversation(prompt):
        raise UserError(f"{where}: {name} is {str(prompt)[:60]!r}; allowed: a text, or messages with role and content")
    return prompt


def _answers(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    if PUBLISHED in row and not any(name in row for name in ANSWERED):
        name, published = f"{PUBLISHED}.ground_truth", row[PUBLISHED]
        given = published.get("ground_truth") if isinstance(published, dict) else None
    else:
        name = _only_one_of(row, ANSWERED, where)
        given = row[name]
    texts = [answer_text(one) for one in (given if isinstance(given, list) else [given])]
    if not texts or None in texts:
        raise UserError(f"{where}: {name} is {given!r}; allowed: a text, a finite number, or a list of them")
    return tuple(str(text) for text in texts)


def _choices(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    choices = row.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise UserError(f"{where}: choices is {choices!r}; allowed: a list of texts")
    return tuple(choices)


def answer_text(value: Any) -> str | None:
    """A text that is not blank, or the text of a finite number, 4 and not 4.0; ``None`` for what is no answer.

    Example:
        >>> answer_text(4.0), answer_text("Tiber"), answer_text(True)
        ('4', 'Tiber', None)
    """
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool) or not isinstance(value, Real):  # NumPy's numbers are Real, too
        return None
    try:
        if isinstance(value, Integral):
            return str(int(value))
        number = float(value)
    except (ValueError, OverflowError):  # more digits than Python writes, more than a float holds
        return None
    if not math.isfinite(number):
        return None
    return str(int(number)) if number.is_integer() and abs(number) < LARGEST_EXACT else str(number)


def _only_one_of(row: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    """The one of these columns that a row has."""
    found = [name for name in names if name in row]
    if not found:
        raise UserError(f"{where}: no column {names[0]!r} (or {', '.join(names[1:])}); it has {', '.join(row)}")
    if len(found) > 1:
        raise UserError(f"{where}: has {found[0]} and {found[1]}, which mean the same; allowed: one of them")
    return found[0]


def _is_conversation(value: Any) -> bool:
    """Whether it is a list of messages, at least one."""
    if not isinstance(value, list) or not value:
        return False
    return all(
        isinstance(message, dict) and all(isinstance(message.get(name), str) for name in ("role", "content"))
        for message in value
    )
