"""Markov models with additive smoothing: the rivals that any predictor of bytes has to beat.

A model of order k predicts a token from the k before it: p = (n(context, token) + a) / (n(context) + a · vocabulary),
where n counts what was seen and a is the smoothing. Two kinds differ in what they have seen. *Trained* models have read
a text of the same source; *in-context* models know only the tokens that precede in the window, and adapt with each
one, which makes them the fair rivals of a model that was never trained on the source.

Tables have the shape of ``eval.bits_per_byte``: column t is the cost of token t + 1, and the first token of a window,
which costs every one of these models 8 bits, is left out. A token with fewer than k before it costs an in-context
model log2(vocabulary), for it has seen no context of that length; a trained model falls back on the order that fits.

Of the smoothings on trial the one that does best on the windows at hand is taken, order by order: a slight advantage
to the baseline. Windows must come from text that the trained model has not read, and every mean divides by the number
of windows; published numbers of such baselines have suffered from both slips.

With the default vocabulary of 256 bytes a context never met costs 8 bits, as it does a predictor that is not told which
bytes occur. Some published baselines are told: for theirs, number the symbols that occur (``np.unique``,
``np.searchsorted``) and give their number as ``vocab_size``.

Letters in shapes: N windows, L tokens in a window, T = L - 1.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tenfold.core.errors import UserError
from tenfold.eval.bits_per_byte import Positions, bits_per_byte

ORDERS = (0, 1, 2, 3, 4, 5)
SMOOTHINGS = (1.0, 0.1, 0.01, 1e-4, 1e-6)


@dataclass(frozen=True)
class MarkovScore:
    """What a Markov model needs.

    Args:
        order: length of the context.
        smoothing: the one that did best.
        bits: mean bits per byte.
        standard_error: of the mean, over windows.
    """

    order: int
    smoothing: float
    bits: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class MarkovCounts:
    """What a Markov model had seen when each token came.

    Args:
        contexts_NT: [N, L - 1] integers, how often this context had come before, with something after it.
        tokens_NT: [N, L - 1] integers, how often this token had come after it.
        vocab_size: number of different tokens that are possible.
    """

    contexts_NT: np.ndarray
    tokens_NT: np.ndarray
    vocab_size: int

    def bits(self, smoothing: float) -> np.ndarray:
        """[N, L - 1] float64: -log2 of the smoothed share of this token among those after this context."""
        if smoothing <= 0:
            raise UserError(
                f"smoothing is {smoothing}, but it must be positive: a token never seen would be impossible."
            )
        return np.log2(self.contexts_NT + smoothing * self.vocab_size) - np.log2(self.tokens_NT + smoothing)


class MarkovModel:
    """A Markov model that has read a text.

    Args:
        data: [tokens] integers, the text.
        order: length of the context.
        vocab_size: number of different tokens; ``vocab_size ** (order + 1)`` must fit 63 bits.

    Raises:
        UserError: for a text that is too short, a token outside the vocabulary or an order that is too large.

    Example:
        >>> model = MarkovModel(np.frombuffer(b"abcabcabc", dtype=np.uint8), order=1)
        >>> model.bits(np.frombuffer(b"abcaz", dtype=np.uint8)[None], smoothing=1e-6).round(3).tolist()
        [[0.0, 0.0, 0.0, 21.517]]
    """

    def __init__(self, data: np.ndarray, order: int, vocab_size: int = 256) -> None:
        _check_order(order, vocab_size)
        if len(data) <= order:
            raise UserError(
                f"data have {len(data)} tokens, but a Markov model of order {order} needs more than {order}."
            )
        _check_tokens(data, vocab_size)
        self.order, self.vocab_size = order, vocab_size
        self._tables = [_CountTable(data, each, vocab_size) for each in range(order + 1)]

    def counts(self, windows_NL: np.ndarray) -> Iterator[MarkovCounts]:
        """What the text says about each token but the first of windows [N, L], for orders 0, 1, … ``order``."""
        _check_windows(windows_NL, self.vocab_size)
        num_windows, length = windows_NL.shape
        contexts_NT = np.empty((num_windows, length - 1), dtype=np.int64)
        tokens_NT = np.empty_like(contexts_NT)
        for table in self._tables:
            first = max(table.order, 1)
            if first < length:  # tokens with fewer before them keep the counts of the order that fits
                found = table.look_up(windows_NL[:, first - table.order :])
                contexts_NT[:, first - 1 :], tokens_NT[:, first - 1 :] = found
            yield MarkovCounts(contexts_NT.copy(), tokens_NT.copy(), self.vocab_size)

    def bits(self, windows_NL: np.ndarray, smoothing: float = 0.01) -> np.ndarray:
        """[N, L - 1] float64: the bits of each token but the first of windows [N, L]."""
        *_, counts = self.counts(windows_NL)
        return counts.bits(smoothing)


def in_context_markov_bits(
    tokens_NL: np.ndarray, order: int, vocab_size: int = 256, smoothing: float = 0.01
) -> np.ndarray:
    """The bits of each token under the Markov model fitted on the tokens before it in its window.

    Args:
        tokens_NL: [N, L] integers.
        order: length of the context.
        vocab_size: number of different tokens that are possible.
        smoothing: added to every count.

    Returns:
        [N, L - 1] float64; independent of the other windows.

    Raises:
        UserError: for a token outside the vocabulary, a negative order or a smoothing that is not positive.

    Example:
        >>> in_context_markov_bits(np.array([[1, 0, 1, 0, 1]]), order=1, vocab_size=2, smoothing=1.0).round(2).tolist()
        [[1.0, 1.0, 0.58, 0.58]]
    """
    *_, counts = in_context_counts(tokens_NL, order, vocab_size)
    return counts.bits(smoothing)


def in_context_counts(tokens_NL: np.ndarray, max_order: int, vocab_size: int = 256) -> Iterator[MarkovCounts]:
    """The counts of the in-context models of orders 0, 1, … ``max_order``, each built on the one before.

    Every context gets a number that is unique within its window. A context of order k is one of order k - 1 and the
    token before that; where the window has not begun yet, that token is a blank, so that contexts which are too
    short occur once and have never been seen. How often one was seen before is its rank among its equals.
    """
    if max_order < 0:
        raise UserError(f"order is {max_order}, but it must not be negative.")
    _check_windows(tokens_NL, vocab_size)
    tokens_NL = tokens_NL.astype(np.int64)
    context_NL = np.zeros_like(tokens_NL)
    for order in range(max_order + 1):
        if order:
            older_NL = np.full_like(tokens_NL, vocab_size)
            older_NL[:, order:] = tokens_NL[:, :-order]
            context_NL, _ = _number_equals(context_NL * (vocab_size + 1) + older_NL)
        _, contexts_NL = _number_equals(context_NL)
        _, pairs_NL = _number_equals(context_NL * vocab_size + tokens_NL)
        yield MarkovCounts(contexts_NL[:, 1:], pairs_NL[:, 1:], vocab_size)


def in_context_baselines(
    tokens_NL: np.ndarray, positions: Positions = "all", max_order: int = ORDERS[-1], vocab_size: int = 256
) -> list[MarkovScore]:
    """What the in-context models of orders 0 to ``max_order`` need, each with its best smoothing.

    Args:
        tokens_NL: [N, L] integers.
        positions: which tokens of a window count.
        max_order: of the models.
        vocab_size: number of different tokens that are possible.

    Returns:
        One score for each order, from 0 on.

    Example:
        >>> window = np.tile(np.arange(8), 16)[None]  # after one round, order 1 knows the next token
        >>> [score.bits < 0.01 for score in in_context_baselines(window, "second_half", max_order=1)]
        [False, True]
    """
    return _best(in_context_counts(tokens_NL, max_order, vocab_size), positions)


def trained_baselines(
    data: np.ndarray,
    tokens_NL: np.ndarray,
    positions: Positions = "all",
    max_order: int = ORDERS[-1],
    vocab_size: int = 256,
) -> list[MarkovScore]:
    """What models of orders 0 to ``max_order``, trained on ``data``, need, each with its best smoothing.

    Args:
        data: [tokens] integers, the text to train on.
        tokens_NL: [N, L] integers, windows of other text.
        positions: which tokens of a window count.
        max_order: of the models.
        vocab_size: number of different tokens that are possible.

    Returns:
        One score for each order, from 0 on.

    Example:
        >>> text = np.tile(np.arange(8), 100)
        >>> [round(score.bits, 2) for score in trained_baselines(text, text[None, :16], max_order=1)]
        [3.0, 0.0]
    """
    return _best(MarkovModel(data, max_order, vocab_size).counts(tokens_NL), positions)


def _best(counts: Iterable[MarkovCounts], positions: Positions) -> list[MarkovScore]:
    scores = []
    for order, seen in enumerate(counts):
        tried = [MarkovScore(order, each, *bits_per_byte(seen.bits(each), positions)) for each in SMOOTHINGS]
        scores.append(min(tried, key=lambda score: score.bits))
    return scores


class _CountTable:
    """How often each run of ``order + 1`` tokens, and each run of ``order`` with one after it, occurs in a text."""

    def __init__(self, data: np.ndarray, order: int, vocab_size: int) -> None:
        self.order, self.vocab_size = order, vocab_size
        codes = _codes(data[None], order + 1, vocab_size)[0]
        self._runs = np.unique(codes, return_counts=True)
        self._contexts = np.unique(codes // vocab_size, return_counts=True)

    def look_up(self, windows_NL: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = _codes(windows_NL, self.order + 1, self.vocab_size)
        return _counts_of(codes // self.vocab_size, *self._contexts), _counts_of(codes, *self._runs)


def _codes(tokens_NL: np.ndarray, run: int, vocab_size: int) -> np.ndarray:
    """Each run of tokens as one number, [N, L - run + 1] int64, the first token most significant."""
    num_runs = tokens_NL.shape[1] - run + 1
    codes = np.zeros((len(tokens_NL), num_runs), dtype=np.int64)
    for offset in range(run):
        codes = codes * vocab_size + tokens_NL[:, offset : offset + num_runs]
    return codes


def _counts_of(codes: np.ndarray, known: np.ndarray, counts: np.ndarray) -> np.ndarray:
    place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    return np.where(known[place] == codes, counts[place], 0)


def _number_equals(keys_NL: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Within each row: a number for each different key, and how many equal keys stand to the left of each.

    Returns:
        Two [N, L] int64; the numbers count from 0 in the order of the keys.
    """
    order_NL = np.argsort(keys_NL, axis=1, kind="stable")
    sorted_NL = np.take_along_axis(keys_NL, order_NL, axis=1)
    new_NL = np.ones(keys_NL.shape, dtype=bool)
    new_NL[:, 1:] = sorted_NL[:, 1:] != sorted_NL[:, :-1]
    place_L = np.arange(keys_NL.shape[1])
    start_NL = np.maximum.accumulate(np.where(new_NL, place_L, 0), axis=1)
    numbers_NL, earlier_NL = np.empty_like(order_NL), np.empty_like(order_NL)
    np.put_along_axis(numbers_NL, order_NL, new_NL.cumsum(axis=1) - 1, axis=1)
    np.put_along_axis(earlier_NL, order_NL, place_L - start_NL, axis=1)
    return numbers_NL, earlier_NL


def _check_order(order: int, vocab_size: int) -> None:
    if order < 0 or vocab_size ** (order + 1) >= 1 << 63:
        raise UserError(
            f"order is {order}, but it must not be negative, and {vocab_size} ** (order + 1) must be below 2 ** 63."
        )


def _check_windows(tokens_NL: np.ndarray, vocab_size: int) -> None:
    if tokens_NL.ndim != 2 or not len(tokens_NL) or tokens_NL.shape[1] < 2:
        raise UserError(f"tokens have the shape {tokens_NL.shape}, but it must be [windows, at least 2 tokens].")
    _check_tokens(tokens_NL, vocab_size)


def _check_tokens(tokens: np.ndarray, vocab_size: int) -> None:
    if tokens.min() < 0 or tokens.max() >= vocab_size:
        raise UserError(
            f"tokens reach from {tokens.min()} to {tokens.max()}, but they must lie in 0..{vocab_size - 1}."
        )
