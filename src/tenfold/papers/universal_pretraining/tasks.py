"""The synthetic tasks of the paper's evaluation suite, none of which a universally pre-trained model has seen.

The definitions are those of the author's code (section 4 of our specification). The repetition tasks draw each window
by itself. Every other task is a stream of characters, of which windows are cut at random places, so that a window
begins anywhere; the paper's streams have 100,000 characters. Most streams join independent words with ``|``.

Each task comes with its *entropy rate*: in the long run no predictor needs fewer bits per byte. For words of a code in
which their ends can be told, that is the entropy of a word over its mean length with separator; an automaton in which
state and symbol determine the next state has the mean entropy of its states. At any place in a window the cost is at
least the rate on average, for a window shows no more than the whole past does.

Different from the paper: the grammars of ``toy`` and ``toy2`` and the automaton of ``aut`` are our own of the same
description, so numbers on these three cannot be compared with published ones. Real bytes are in ``data.corpora``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.seeding import Key, numpy_generator
from tenfold.data.corpora import windows
from tenfold.eval.bits_per_byte import Positions, first_counted
from tenfold.papers.universal_pretraining.grammars import ARITHMETIC, ENGLISH, Grammar

STREAM_LENGTH = 100_000
"""Characters of a stream, as in the paper."""

_WORDS_AT_ONCE = 256
_CHAMP_NUMBERS = 256
_CHAMP_STARTS = 2**24 - _CHAMP_NUMBERS
_DYCK_OPEN = 7 / 16
_NDFA_STOP = 1 / 4
_NDFA_WORDS = ("abc!", "uvw!", "klm!")

AUTOMATON_NEXT = np.array([[3, 4, 1], [1, 3, 4], [2, 0, 4], [2, 0, 0], [2, 3, 2]])
"""The fixed automaton of ``aut``: [state, symbol] to the next state, drawn once at random."""
AUTOMATON_PROBABILITIES = np.array(
    [[0.14, 0.62, 0.24], [0.92, 0.04, 0.04], [0.16, 0.25, 0.59], [0.37, 0.47, 0.16], [0.89, 0.08, 0.03]]
)
"""[state, symbol] to the probability that the state emits the symbol, drawn once at random."""

Words = Callable[[np.random.Generator, int], list[str]]
"""A generator and a number to that many words."""


@dataclass(frozen=True)
class Task:
    """A synthetic task.

    Args:
        definition: in a line.
        entropy_rate: bits per byte that no predictor can go below in the long run.
        stream: a generator and a length to a stream of characters, [length] uint8; ``None`` for repetition.
        block: bytes of the block that is repeated; 0 for streams.
    """

    definition: str
    entropy_rate: float
    stream: Callable[[np.random.Generator, int], np.ndarray] | None = None
    block: int = 0


def sample_task(name: str, count: int, length: int, *key: Key, stream_length: int = STREAM_LENGTH) -> np.ndarray:
    """Draw windows of a task, the same for the same key.

    Args:
        name: of a task in :data:`TASKS`.
        count: number of windows.
        length: bytes in a window.
        *key: what the windows are for, such as ``(seed, "zero-shot")``.
        stream_length: characters of the stream that they are cut from, at random and overlapping places.

    Returns:
        [count, length] uint8.

    Raises:
        UserError: for an unknown name, or a stream shorter than a window.

    Example:
        >>> sample_task("bitsrep", 2, 12, 0, "example").shape
        (2, 12)
    """
    block = _find(name).block
    if block:
        blocks = numpy_generator("task", name, *key).integers(256, size=(count, block), dtype=np.uint8)
        return np.tile(blocks, -(-length // block))[:, :length]
    stream = _kept_stream(name, stream_length, *key)
    last = max(len(stream) - length, 0)
    return windows(stream, length, numpy_generator("task", name, *key, "starts").integers(last + 1, size=count))


def task_stream(name: str, length: int, *key: Key) -> np.ndarray:
    """A stream of a task: text to train a Markov model on, with a key other than that of the windows.

    Args:
        name: of a task in :data:`TASKS` that is a stream.
        length: in characters; a longer stream of the same key begins with the shorter one.
        *key: what the stream is for.

    Returns:
        [length] uint8.

    Raises:
        UserError: for an unknown name or a repetition task.

    Example:
        >>> task_stream("dyck", 1000, 0).tobytes().split(b"|")[0].startswith(b"(")
        True
    """
    task = _find(name)
    if task.stream is None:
        raise UserError(f"task {name!r} draws each window by itself, so it has no stream.")
    return task.stream(numpy_generator("task", name, *key), length)


@lru_cache(maxsize=16)  # arms of a seed, and curves and results of an arm, cut their windows from the same streams
def _kept_stream(name: str, length: int, *key: Key) -> np.ndarray:
    return task_stream(name, length, *key)


def lower_bound(name: str, length: int, positions: Positions = "all") -> float:
    """The bits per byte that no predictor can go below, on average over windows and over the tokens that count.

    For streams this is the entropy rate; for repetition it is what is left of the block after its first byte.

    Args:
        name: of a task in :data:`TASKS`.
        length: bytes in a window.
        positions: which of them count; the first never does.

    Example:
        >>> lower_bound("rep-10", 128, "all"), lower_bound("rep-10", 128, "last"), lower_bound("bitsflip", 128)
        (0.5669291338582677, 0.0, 0.5)
    """
    task = _find(name)
    first = first_counted(length - 1, positions) + 1
    return task.entropy_rate + 8 * max(min(task.block, length) - first, 0) / (length - first)


def _find(name: str) -> Task:
    if name not in TASKS:
        raise UserError(f"task is {name!r}, but it must be one of {', '.join(TASKS)}.")
    return TASKS[name]


def _joined(words: Words, separator: str = "|") -> Callable[[np.random.Generator, int], np.ndarray]:
    """The stream of words, drawn in lots of a fixed size so that its length does not change its beginning."""

    def stream(generator: np.random.Generator, length: int) -> np.ndarray:
        drawn, have = [], 0
        while have < length:
            lot = words(generator, _WORDS_AT_ONCE)
            drawn += lot
            have += sum(len(word) + len(separator) for word in lot)
        text = separator.join(drawn) + separator
        return np.frombuffer(bytearray(text[:length].encode("ascii")), dtype=np.uint8)

    return stream


def _champ(generator: np.random.Generator, count: int) -> list[str]:
    starts = generator.integers(_CHAMP_STARTS, size=count).tolist()
    return ["".join(f"{number:x}" for number in range(start, start + _CHAMP_NUMBERS)) for start in starts]


def _dyck(generator: np.random.Generator, count: int) -> list[str]:
    words: list[str] = []
    word, depth = ["("], 1
    while True:
        for opens in (generator.random(1024) < _DYCK_OPEN).tolist():
            word.append("(" if opens else ")")
            depth += 1 if opens else -1
            if not depth:
                words.append("".join(word))
                word, depth = ["("], 1
                if len(words) == count:
                    return words


def _ndfa(generator: np.random.Generator, count: int) -> list[str]:
    repeats = generator.geometric(_NDFA_STOP, size=count) - 1
    choices = generator.integers(len(_NDFA_WORDS), size=count)
    return [f"s{_NDFA_WORDS[choice] * times}s" for choice, times in zip(choices, repeats, strict=True)]


def _bits(generator: np.random.Generator, count: int) -> list[str]:
    pairs = generator.integers(32, size=(count, 2)).tolist()
    return ["".join(f"{word:05b}" for word in (a, b, a ^ b, a & b, a | b, 31 ^ a ^ b)) for a, b in pairs]


def _bitsrep(generator: np.random.Generator, count: int) -> list[str]:
    return [f"{word:03b}" * 3 for word in generator.integers(8, size=count)]


def _bitsflip(generator: np.random.Generator, count: int) -> list[str]:
    return [(half := f"{word:06b}") + half[::-1] for word in generator.integers(64, size=count)]


def _strings(grammar: Grammar) -> Words:
    return lambda generator, count: [grammar.sample(generator) for _ in range(count)]


def _automaton(generator: np.random.Generator, length: int) -> np.ndarray:
    """The symbols a, b and c of a walk through the automaton, from a state of its stationary distribution."""
    state = int(generator.choice(len(AUTOMATON_NEXT), p=_stationary()))
    following, upper_bounds = AUTOMATON_NEXT.tolist(), AUTOMATON_PROBABILITIES.cumsum(axis=1)[:, :-1].tolist()
    symbols = bytearray()
    for uniform in generator.random(length).tolist():
        symbol = sum(uniform >= bound for bound in upper_bounds[state])
        symbols.append(ord("a") + symbol)
        state = following[state][symbol]
    return np.frombuffer(symbols, dtype=np.uint8)


def _stationary() -> np.ndarray:
    """[states]: the share of time in each state, the solution of p = p M with sum 1."""
    num_states = len(AUTOMATON_NEXT)
    step = np.zeros((num_states, num_states))
    np.add.at(step, (np.arange(num_states)[:, None], AUTOMATON_NEXT), AUTOMATON_PROBABILITIES)
    system = np.vstack([step.T - np.eye(num_states), np.ones(num_states)])
    return np.linalg.lstsq(system, np.eye(num_states + 1)[-1], rcond=None)[0]


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    """In bits, over the last axis."""
    return -(probabilities * np.log2(probabilities)).sum(axis=-1)


def _coin(p: float) -> float:
    return float(_entropy(np.array([p, 1 - p])))


def _champ_rate() -> float:
    """All starts are equally likely, and a word tells its start.

    An integer has one digit and one more for each power of 16, from 16 on, that it reaches.
    """
    falls_short = sum(max(16**power - place, 0) for power in range(1, 6) for place in range(_CHAMP_NUMBERS))
    mean_length = 6 * _CHAMP_NUMBERS - falls_short / _CHAMP_STARTS
    return math.log2(_CHAMP_STARTS) / (mean_length + 1)


def _dyck_rate() -> float:
    """From depth 1 the mean number of free choices until depth 0 is 1 / (1 - 2p): the drift is p - (1 - p) a step."""
    choices = 1 / (1 - 2 * _DYCK_OPEN)
    return choices * _coin(_DYCK_OPEN) / (1 + choices + 1)


def _ndfa_rate() -> float:
    """The number of repeats, a geometric variable, and one of three words unless that is 0."""
    mean_repeats = 1 / _NDFA_STOP - 1
    word_bits = _coin(_NDFA_STOP) / _NDFA_STOP + (1 - _NDFA_STOP) * math.log2(len(_NDFA_WORDS))
    return word_bits / (2 + len(_NDFA_WORDS[0]) * mean_repeats + 1)


def _grammar_rate(grammar: Grammar) -> float:
    return grammar.entropy() / (grammar.mean_length() + 1)


def _repetition(block: int) -> Task:
    return Task(f"a random block of {block} uniform bytes, repeated", 0.0, block=block)


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "rep-1": _repetition(1),
        "rep-3": _repetition(3),
        "rep-10": _repetition(10),
        "champ": Task("256 consecutive integers in hexadecimal, from a random start", _champ_rate(), _joined(_champ)),
        "dyck": Task("balanced parentheses, each opening with probability 7/16", _dyck_rate(), _joined(_dyck)),
        "ndfa": Task("s, then abc! or uvw! or klm! a number of times, then s", _ndfa_rate(), _joined(_ndfa)),
        "toy": Task("sentences of a small grammar like English", _grammar_rate(ENGLISH), _joined(_strings(ENGLISH))),
        "toy2": Task("arithmetic expressions", _grammar_rate(ARITHMETIC), _joined(_strings(ARITHMETIC))),
        "bits": Task("two 5-bit words, then their xor, and, or and equality", 10 / 31, _joined(_bits)),
        "bitsrep": Task("three bits, three times, without a separator", 3 / 9, _joined(_bitsrep, "")),
        "bitsflip": Task("six bits and their mirror image, without a separator", 6 / 12, _joined(_bitsflip, "")),
        "aut": Task(
            "one fixed automaton of five states and three symbols",
            float(_stationary() @ _entropy(AUTOMATON_PROBABILITIES)),
            _automaton,
        ),
    }
)
"""The tasks by name."""

ENTROPY_RATES: Mapping[str, float] = MappingProxyType({name: task.entropy_rate for name, task in TASKS.items()})
"""For each task the bits per byte that no predictor can go below in the long run."""
