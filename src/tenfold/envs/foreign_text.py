"""Text that is not the policy's, as tokens: whatever a tool prints, it spells no special token and fits a budget.

A tokenizer turns the name of a special token in a text into that token. In the output of a program, or on a page that
was found, such a name is text: spelled by the tokens of its characters it cannot end a message or open another.
"""

import itertools
import re
from collections.abc import Sequence
from typing import Any


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text in which names of special tokens, and of tags that are one token, stay text.

    Characters that the tokenizer does not have become its unknown token, and halves of a surrogate pair, which JSON can
    hold and no tokenizer takes, a question mark.

    Args:
        tokenizer: of transformers.
        text: any text.

    Example:
        >>> from tenfold.policies import character_tokenizer
        >>> tokenizer = character_tokenizer(special=("</think>",))
        >>> len(tokenizer.encode("1</think>2")), len(plain_ids(tokenizer, "1</think>2"))
        (3, 10)
    """
    text = text.encode(errors="replace").decode()
    token_ids: list[int] = []
    for start, end in itertools.pairwise([0, *_places_within_names(tokenizer, text), len(text)]):
        if start < end:
            token_ids += tokenizer.encode(text[start:end], add_special_tokens=False)
    return token_ids


def _places_within_names(tokenizer: Any, text: str) -> list[int]:
    """Where a text must be cut so that no piece has the name of a special token: behind each name's first character."""
    places = set()
    for token in tokenizer.added_tokens_decoder.values():
        name = token.content
        if len(name) < 2 or name.isalnum():
            continue  # an added word or number marks nothing, and is left whole
        for match in re.finditer(f"(?={re.escape(name)})", text):  # looking ahead finds names that overlap as well
            places.add(match.start() + 1)
    return sorted(places)


def cut_middle(token_ids: Sequence[int], limit: int, mark: Sequence[int]) -> list[int]:
    """At most ``limit`` tokens: all, or the first and last ones with ``mark`` between them, if that fits.

    Example:
        >>> cut_middle(range(10), 6, [99]), cut_middle(range(6), 6, [99]), cut_middle(range(9), 2, [98, 99])
        ([0, 1, 2, 99, 8, 9], [0, 1, 2, 3, 4, 5], [0, 8])
    """
    if len(token_ids) <= limit:
        return list(token_ids)
    mark = mark if len(mark) < limit else ()
    kept = limit - len(mark)
    tail = kept // 2
    return [*token_ids[: kept - tail], *mark, *token_ids[len(token_ids) - tail :]]


def framed_ids(
    tokenizer: Any, opening: str, foreign: str, closing: str, *, limit: int = 0, cut: str = "..."
) -> list[int]:
    """The tokens of what an environment says: a frame of its own words around foreign text, which is spelled plainly.

    Args:
        tokenizer: of the policy.
        opening: before the foreign text; names of special tokens in it are those tokens.
        foreign: what a tool, a program or a page says.
        closing: after it, as ``opening``.
        limit: most tokens of the foreign text, 0 for all; a longer one is cut in its middle.
        cut: stands where it was cut.

    Example:
        >>> from tenfold.policies import character_tokenizer
        >>> tokenizer = character_tokenizer(special=("<result>", "</result>"))
        >>> len(framed_ids(tokenizer, "<result>", "</result>", "</result>"))
        11
    """
    inside = plain_ids(tokenizer, foreign)
    if limit:
        inside = cut_middle(inside, limit, plain_ids(tokenizer, cut))
    before = tokenizer.encode(opening, add_special_tokens=False)
    after = tokenizer.encode(closing, add_special_tokens=False)
    return [*before, *inside, *after]


def span(begin: int, token_ids: Sequence[int]) -> dict[str, int]:
    """Where appended tokens lie among those of a completion: their first place, and the one behind their last.

    Example:
        >>> span(3, [7, 8])
        {'begin': 3, 'end': 5}
    """
    return {"begin": begin, "end": begin + len(token_ids)}
