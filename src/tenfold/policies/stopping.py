"""Stop strings on the level of tokens: exactly when a turn ends, without ever cutting or re-encoding a token.

A turn ends with the first sampled token after which the text of the turn's sampled tokens contains a stop string. So

- a stop string may span several tokens, and it ends with the token that completes it;
- that token is kept whole, also when it contains more than the stop string's end: the ids are what was sampled;
- special tokens count by their names: ``</answer>`` stops a turn as one special token as well as as nine characters;
- the prompt and the tokens of the environment don't count: a stop string that begins there and ends in the turn isn't
  one;
- with several strings, the one that the text completes first ends the turn; of those completed at the same
  character, the first in the given order.

Decoding the turn at each token would cost more than a small model's forward pass, so it is done only after a token that
can complete a stop string: one whose own text contains it or begins with an end of it, or whose bytes are no
text by themselves. This assumes that the text of a token does not depend on later tokens, other than to complete a
character of several bytes. Which tokens can do so is found once for a tokenizer and its stop strings, and kept as long
as the tokenizer is: spelling a vocabulary takes as long as many steps.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from tenfold.core.errors import UserError

# By tokenizer, then by stop strings and size of the vocabulary, which may grow: anchor and tokens that may complete.
_KNOWN: WeakKeyDictionary[Any, dict[tuple[tuple[str, ...], int], tuple[int, frozenset[int]]]] = WeakKeyDictionary()
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # how tokenizers decode bytes that are no character


def turn_text(tokenizer: Any, token_ids: Sequence[int], anchor: int | None = None) -> str:
    """The text of tokens, special tokens spelled out.

    Args:
        tokenizer: of transformers.
        token_ids: the tokens.
        anchor: a token to put in front and take away again, for tokenizers whose decoder drops a leading space.
    """
    if anchor is None:
        return tokenizer.decode(list(token_ids), clean_up_tokenization_spaces=False)
    front = tokenizer.decode([anchor], clean_up_tokenization_spaces=False)
    return tokenizer.decode([anchor, *token_ids], clean_up_tokenization_spaces=False)[len(front) :]


class StopStrings:
    """Says after each token whether a turn ends.

    Args:
        tokenizer: of transformers.
        stop: the strings.

    Raises:
        UserError: if the tokenizer cannot spell a stop string.

    Attributes:
        anchor: for :func:`turn_text`; ``None`` without stop strings.

    Example:
        >>> from tenfold.policies.tiny import character_tokenizer
        >>> stopping = StopStrings(character_tokenizer("abc;"), ("a;",))
        >>> tokens = character_tokenizer("abc;").encode("ba;")
        >>> [stopping.found(tokens[: length + 1]) for length in range(3)]
        [None, None, 'a;']
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self.anchor: int | None = None
        self._candidates: frozenset[int] = frozenset()
        if not self._stop:
            return
        known, key = _KNOWN.setdefault(tokenizer, {}), (self._stop, len(tokenizer))
        if key not in known:
            known[key] = self._found_out()
        self.anchor, self._candidates = known[key]

    def found(self, token_ids: Sequence[int], start: int = 0) -> str | None:
        """The stop string that the last token completed, or ``None``.

        Args:
            token_ids: all tokens so far.
            start: index of the turn's first token among them.
        """
        if token_ids[-1] not in self._candidates:
            return None
        text = turn_text(self._tokenizer, token_ids[start:], self.anchor)
        ends = {stop: text.find(stop) + len(stop) for stop in self._stop if stop in text}
        return min(ends, key=ends.__getitem__, default=None)

    def _found_out(self) -> tuple[int, frozenset[int]]:
        """The anchor, and the tokens that may complete a stop string."""
        for text in self._stop:
            ids = self._tokenizer.encode(text, add_special_tokens=False)
            if not ids or self._tokenizer.unk_token_id in ids:
                raise UserError(f"stop = {text!r}: the tokenizer has no tokens for it")
        anchor = self._tokenizer.encode(self._stop[0], add_special_tokens=False)[-1]
        pieces = _pieces(self._tokenizer, anchor)
        return anchor, frozenset(token for token, piece in enumerate(pieces) if self._may_complete(piece))

    def _may_complete(self, piece: str) -> bool:
        if _REPLACEMENT in piece:
            return True
        return any(
            stop in piece or any(stop.endswith(piece[: n + 1]) for n in range(len(piece))) for stop in self._stop
        )


def _pieces(tokenizer: Any, anchor: int) -> list[str]:
    """The text of every token, each decoded behind the anchor."""
    front = tokenizer.decode([anchor], clean_up_tokenization_spaces=False)
    pairs = [[anchor, token] for token in range(len(tokenizer))]
    return [text[len(front) :] for text in tokenizer.batch_decode(pairs, clean_up_tokenization_spaces=False)]
