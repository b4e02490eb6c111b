"""What a search engine compares: the words of a text, or, where a script puts no spaces between words, characters.

A word is a run of letters, digits and the marks on them (the vowel signs of Devanagari, say), in small letters, after
Unicode's compatibility normalisation, without the most frequent English words; there is no stemming. Text in Han, kana,
Hangul, Thai, Lao, Khmer or Burmese has no words of that kind: Korean puts particles on its nouns, and the others write
without spaces. There, passages are indexed by their characters and by pairs of neighbouring ones, and a query asks for
its pairs (for the character, where it has one alone): ``한강`` finds ``한강이 흐른다``, and ``부산`` does not find
``서울``.
"""

import itertools
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from tenfold.core.config import nearest
from tenfold.core.errors import UserError

LUCENE_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to
was will with
"""
STOP_WORDS = frozenset(LUCENE_STOP_WORDS.split())
JOINERS = "\u200c\u200d"
"""Between letters of a word; they change how it looks, and are left out."""
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao; Burmese; Khmer
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""A character class: the scripts that are compared by characters."""
_PART = re.compile(rf"[{UNSPACED}]+|[^{UNSPACED}]+")
_UNSPACED = re.compile(rf"[{UNSPACED}]")
_COUNTED = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s]")


class _OfWords(dict[int, int | str | None]):
    """For ``str.translate``: letters, digits, marks and ``_`` stay, joiners go, all else becomes a space."""

    def __missing__(self, code: int) -> int | str | None:
        character = chr(code)
        if character in JOINERS:
            self[code] = None
        else:
            self[code] = code if character.isalnum() or character == "_" or is_mark(character) else " "
        return self[code]


_OF_WORDS = _OfWords()


def is_mark(character: str) -> bool:
    """Whether a character is written on the one before it."""
    return unicodedata.category(character)[0] == "M"


def words(text: str) -> list[str]:
    """The words of a text: Unicode-normalised, case folded, without Lucene's list of English stop words.

    Example:
        >>> words("The ﬁrst Café of Rome, no. 1")
        ['first', 'café', 'rome', '1']
        >>> words("दिल्ली भारत में है।")
        ['दिल्ली', 'भारत', 'में', 'है']
    """
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_OF_WORDS)
    return [word for word in plain.split() if word not in STOP_WORDS]


def characters(text: str) -> list[str]:
    """The characters of a text as a reader sees them: each with the marks on it.

    Example:
        >>> characters("ที่นี่")
        ['ที่', 'นี่']
    """
    found: list[str] = []
    for character in text:
        joined = bool(found) and found[-1][-1] == "\u200d" and not character.isspace()
        if found and (joined or is_mark(character) or character in JOINERS):
            found[-1] += character
        else:
            found.append(character)
    return found


def by_script(text: str) -> list[str]:
    """What is indexed of a passage: words, and in scripts without spaces characters and pairs of them.

    Example:
        >>> by_script("BTS의 서울")
        ['bts', '의', '서', '울', '서울']
    """
    return [token for run in _runs(text) for token in (_singles_and_pairs(run) if isinstance(run, list) else [run])]


def asked_by_script(text: str) -> list[str]:
    """What a query asks for: words, and in scripts without spaces pairs of characters; a lone one as it is.

    Example:
        >>> asked_by_script("서울은 river 山")
        ['서울', '울은', 'river', '山']
    """
    return [token for run in _runs(text) for token in (_pairs(run) or run if isinstance(run, list) else [run])]


def _runs(text: str) -> list[str | list[str]]:
    """The words of a text; parts of them in scripts without spaces as lists of their characters."""
    found: list[str | list[str]] = []
    for word in words(text):
        if word.isascii() or not _UNSPACED.search(word):
            found.append(word)
        else:
            found += [characters(part) if _UNSPACED.match(part) else part for part in _PART.findall(word)]
    return found


def _pairs(run: list[str]) -> list[str]:
    return [first + second for first, second in itertools.pairwise(run)]


def _singles_and_pairs(run: list[str]) -> list[str]:
    return [*run, *_pairs(run)]


@dataclass(frozen=True)
class Tokenizer:
    """How texts are taken apart for an index.

    Args:
        name: kept with an index, so that queries are taken apart likewise.
        passages: of a passage, what is indexed.
        queries: of a query, what is asked for.
    """

    name: str
    passages: Callable[[str], list[str]]
    queries: Callable[[str], list[str]]


BY_SCRIPT = Tokenizer("script", by_script, asked_by_script)
WORDS = Tokenizer("words", words, words)
TOKENIZERS = {tokenizer.name: tokenizer for tokenizer in (BY_SCRIPT, WORDS)}


def tokenizer_named(name: str) -> Tokenizer:
    """One of ``TOKENIZERS``.

    Raises:
        UserError: there is none of that name.
    """
    if name not in TOKENIZERS:
        raise UserError(f"tokenizer = {name!r}; {nearest(name, list(TOKENIZERS))}")
    return TOKENIZERS[name]


def count_words(text: str) -> int:
    """A rough number of tokens that needs no tokenizer of a model: words, punctuation marks, unspaced characters.

    Example:
        >>> count_words("Rome is on the Tiber."), count_words("한강은 서울")
        (6, 5)
    """
    if not text.isascii():
        text = "".join(character for character in text if not is_mark(character))
    return len(_COUNTED.findall(text))


def places_to_cut(text: str) -> list[int]:
    """Where a text may end: after each word, and within one that has no end near, after each of its characters.

    Example:
        >>> places_to_cut("Rome 서울")
        [4, 6, 7]
    """
    ends: list[int] = []
    for match in re.finditer(r"\S+", text):
        word = match.group()
        if len(word) <= LONGEST_WHOLE and (word.isascii() or not _UNSPACED.search(word)):
            ends.append(match.end())
            continue
        end = match.start()
        for character in characters(word):
            end += len(character)
            ends.append(end)
    return ends


LONGEST_WHOLE = 40
"""Characters of a word above which it may be cut, as an address of the web."""
