"""A corpus: passages with an id, a title and a text, read from JSON lines, and the hash that tells two corpora apart.

The file has one object a line, ``{"id": …, "title": …, "text": …}``; other columns are left alone. An id is text or a
whole number (kept as text) and occurs once. The hash is over ids, titles and texts in their order, not over the bytes
of the file: a corpus that is only spelled differently (spacing, escapes, other columns) is the same corpus.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.data.json_lines import read_json_lines

COLUMNS = ("id", "title", "text")


@dataclass(frozen=True, slots=True)
class Passage:
    """What a search finds.

    Args:
        id: tells it apart from every other passage of its corpus.
        title: may be empty.
        text: what is read.
        score: how well it fits the query that found it, in the unit of what searched; 0 outside of a search.
    """

    id: str
    title: str
    text: str
    score: float = 0.0


def read_passages(path: Path) -> list[Passage]:
    """The passages of a corpus file, in its order.

    Raises:
        UserError: the file is missing, empty or not UTF-8; a row is no JSON object, lacks a column, has a value of the
            wrong kind or an empty text, or repeats an id. Rows are counted from 1, blank lines left out.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "corpus.jsonl"
        ...     _ = path.write_text('{"id": 7, "title": "Rome", "text": "Rome is on the Tiber."}')
        ...     read_passages(path)
        [Passage(id='7', title='Rome', text='Rome is on the Tiber.', score=0.0)]
    """
    rows = read_json_lines(path, COLUMNS)
    first_row: dict[str, int] = {}
    passages = []
    for number, row in enumerate(rows, start=1):
        passage = _passage(f"{path}, row {number}", row)
        if passage.id in first_row:
            raise UserError(
                f"{path}, row {number}: id {passage.id!r} is that of row {first_row[passage.id]}; allowed: each id once"
            )
        first_row[passage.id] = number
        passages.append(passage)
    return passages


def _passage(where: str, row: dict[str, Any]) -> Passage:
    identity, title, text = (row[column] for column in COLUMNS)
    if isinstance(identity, bool) or not isinstance(identity, str | int) or identity == "":
        raise UserError(f"{where}: id = {identity!r}; allowed: text that is not empty, or a whole number")
    if not isinstance(title, str):
        raise UserError(f"{where}: title = {title!r}; allowed: text, which may be empty")
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: text = {text!r}; allowed: text that is not empty")
    return Passage(str(identity), title, text)


def corpus_hash(passages: Iterable[Passage]) -> str:
    """32 hexadecimal digits that depend on the id, title and text of every passage and on their order.

    Example:
        >>> one, two = Passage("1", "", "a"), Passage("2", "", "b")
        >>> corpus_hash([one, two]) == corpus_hash([one, two]), corpus_hash([one, two]) == corpus_hash([two, one])
        (True, False)
    """
    digest = hashlib.blake2b(digest_size=16)
    for passage in passages:
        digest.update(json.dumps([passage.id, passage.title, passage.text]).encode())
        digest.update(b"\n")
    return digest.hexdigest()
