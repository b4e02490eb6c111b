"""Texts said again in other words, chunk by chunk, and checked for what they say.

A document is cut into chunks. Each is rewritten with an excerpt of the document around it and what is rewritten so far
before it, and the parts are put together; so the length of an answer does not bound that of a document. A rewrite whose
fidelity is too low is tried again, and then rejected. No text is rephrased more than twice.

Source: Kimi K2, arXiv 2507.20534, section 2.2 (chunks of 256 tokens, excerpts of 4,096). Words stand for tokens here.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.files import write_atomically
from tenfold.core.seeding import key_to_seed, numpy_generator

MOST_REPHRASES = 2
"""Of one text, in the report."""
Generator = Callable[[str, int], str]
"""A request and a seed in, the rewritten chunk out: a language model, or anything else."""
Fidelity = Callable[[str, str], float]
"""Source and rewrite in, a number from 0 to 1 out: how much of what the source says is kept."""

STYLES: Mapping[str, str] = {
    "encyclopedia": "Rewrite the passage in the sober style of an encyclopedia.",
    "lecture": "Rewrite the passage as a teacher explains it in a lecture.",
    "dialogue": "Rewrite the passage as questions and answers of two people.",
    "notes": "Rewrite the passage as learning notes, with each step on a line of its own.",
}
_WORD = re.compile(r"\S+\s*|\s+")
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_NAME = re.compile(r"(?<=[\w,;)] )[A-Z]\w+")  # a capital within a sentence
_PASSAGE = "<passage>", "</passage>"


def chunks_of(text: str, words: int) -> list[str]:
    """The text in pieces of so many words, which put together are the text.

    Raises:
        UserError: ``words`` is below 1.

    Example:
        >>> chunks_of("one two  three\\nfour", 2)
        ['one two  ', 'three\\nfour']
    """
    if words < 1:
        raise UserError(f"chunk words = {words}: must be at least 1")
    pieces = _WORD.findall(text)
    return ["".join(pieces[begin : begin + words]) for begin in range(0, len(pieces), words)]


def facts_kept(source: str, rewrite: str) -> float:
    """The share of the source's numbers, dates and names that the rewrite has, as often; 1 where it has none.

    Names are words with a capital within a sentence, which finds those of English and of languages that write so.

    Example:
        >>> facts_kept("In 1871 the writer George Eliot finished it.", "George Eliot was done in 1871.")
        1.0
        >>> facts_kept("It took 3 years and 12 months.", "It took 12 months.")
        0.5
    """
    facts = Counter(_NUMBER.findall(source)) + Counter(set(_NAME.findall(source)))
    words = Counter(_NUMBER.findall(rewrite)) + Counter(set(re.findall(r"[A-Z]\w+", rewrite)))
    return (facts & words).total() / facts.total() if facts else 1.0


def passage_of(request: str) -> str:
    """The chunk that a request asks to rewrite."""
    return request.rpartition(_PASSAGE[0])[2].removesuffix(_PASSAGE[1])


@dataclass(frozen=True)
class Rephraser:
    """How texts are rephrased.

    Args:
        generator: writes; see :data:`Generator`.
        generator_id: its name, which is kept with each row.
        styles: name to instruction.
        fidelity: of a whole rewrite; see :data:`Fidelity`.
        least_fidelity: below it a rewrite is rejected.
        chunk_words: of a chunk.
        excerpt_words: of the document, shown with each chunk.
        retries: after a rewrite that was rejected.
        rephrases: of each text, in as many styles; 1 or 2.
        seed: of styles and generator.

    Raises:
        UserError: a number is out of range, or there are fewer styles than rephrases.
    """

    generator: Generator
    generator_id: str
    styles: Mapping[str, str]
    fidelity: Fidelity = facts_kept
    least_fidelity: float = 1.0
    chunk_words: int = 256
    excerpt_words: int = 4096
    retries: int = 2
    rephrases: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not 1 <= self.rephrases <= MOST_REPHRASES:
            raise UserError(f"rephrases = {self.rephrases}: allowed are 1 to {MOST_REPHRASES}")
        if len(self.styles) < self.rephrases:
            raise UserError(f"styles = {', '.join(self.styles)}: needed are at least {self.rephrases}")
        if self.chunk_words < 1 or self.excerpt_words < self.chunk_words or self.retries < 0:
            raise UserError(
                f"chunk_words = {self.chunk_words}, excerpt_words = {self.excerpt_words}, retries = {self.retries}: "
                "allowed are at least 1, at least chunk_words, and at least 0"
            )

    def styles_of(self, text: str) -> list[str]:
        """The styles in which a text is rephrased; drawn by the text, not by its place."""
        draw = numpy_generator(self.seed, "styles", _hash(text))
        return [str(name) for name in draw.permutation(sorted(self.styles))[: self.rephrases]]

    def rewritten(self, text: str, style: str) -> dict[str, Any]:
        """One rewrite with its fidelity, and whether it is accepted; the last one tried where none is."""
        row: dict[str, Any] = {}
        for attempt in range(self.retries + 1):
            seed = key_to_seed(self.seed, "rephrase", _hash(text), style, attempt)
            said, places = self._by_chunks(text, style, seed)
            fidelity = self.fidelity(text, said)
            row = {"style": style, "text": said, "chunks": places, "fidelity": fidelity, "attempts": attempt + 1}
            row |= {"accepted": fidelity >= self.least_fidelity, "generator": self.generator_id, "seed": seed}
            if row["accepted"]:
                break
        return row

    def _by_chunks(self, text: str, style: str, seed: int) -> tuple[str, list[list[int]]]:
        """The rewrite, and for each chunk where it lies in the source and in the rewrite."""
        said, places, begin = "", [], 0
        for number, chunk in enumerate(chunks_of(text, self.chunk_words)):
            request = self._request(text, begin, chunk, said, style)
            core = chunk.strip()
            before, _, after = chunk.partition(core) if core else (chunk, "", "")
            new = f"{before}{self.generator(request, key_to_seed(seed, number)).strip()}{after}" if core else chunk
            places.append([begin, begin + len(chunk), len(said), len(said) + len(new)])
            said, begin = said + new, begin + len(chunk)
        return said, places

    def _request(self, text: str, begin: int, chunk: str, said: str, style: str) -> str:
        around = (self.excerpt_words - self.chunk_words) // 2
        before = "".join(_WORD.findall(text[:begin])[-around:] if around else [])
        behind = "".join(_WORD.findall(text[begin + len(chunk) :])[:around])
        return (
            f"{self.styles[style]} Keep every fact, number and name. Write the passage alone.\n\n"
            f"<excerpt>{before}{chunk}{behind}</excerpt>\n\n<rewritten>{said}</rewritten>\n\n"
            f"{_PASSAGE[0]}{chunk.strip()}{_PASSAGE[1]}"
        )


def rephrase(documents: Mapping[str, str], rephraser: Rephraser, out: Path) -> list[dict[str, Any]]:
    """Rephrase documents into JSON lines, or what is missing of them; rows do not depend on the order of documents.

    A text that stands under several ids is rephrased under the first one alone, so that no text is above the limit.

    Args:
        documents: id to text.
        rephraser: how.
        out: a file, one row for each rewrite; rewrites that it has are not made again.

    Returns:
        All rows, also the rejected ones.

    Raises:
        UserError: ``out`` has rewrites by another generator or other seeds, or is no such file.
    """
    rows = _read(out)
    known = {(row["document"], row["style"]) for row in rows}
    for row in rows:
        if row["generator"] != rephraser.generator_id or row["base_seed"] != rephraser.seed:
            raise UserError(f"{out}: was made by {row['generator']} with seed {row['base_seed']}; give another file")
    for id, text in _distinct(documents):
        for style in rephraser.styles_of(text):
            if (id, style) not in known:
                rows.append({"document": id, "base_seed": rephraser.seed, **rephraser.rewritten(text, style)})
                write_atomically(out, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    return rows


def _distinct(documents: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Documents whose text stands under no smaller id."""
    first: dict[str, str] = {}
    for id in sorted(documents):
        first.setdefault(documents[id], id)
    return ((id, text) for id, text in documents.items() if first[text] == id)


def _read(out: Path) -> list[dict[str, Any]]:
    if not out.is_file():
        return []
    lines: Sequence[str] = out.read_text(encoding="utf-8").split("\n")
    try:
        rows = [json.loads(line) for line in lines if line]
        return [row for row in rows if row["document"] and row["style"] and row["generator"] is not None]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{out}: is no file of rephrased texts; give another one") from None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
