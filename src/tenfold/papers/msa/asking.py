"""Asking the trained network: all rows step together, word by word, over one cache.

A row is a list of what is given and what is asked for: a word is fed as it is; :data:`SLOT` is a number, taken as the
median of the predicted distribution over number words and fed back; at :data:`FREE` the network writes on, greedily,
until its end. Greedy numbers would be worse than not reading at all; the median is what minimises the distance.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tenfold.papers.msa.network import Cache, Network
from tenfold.papers.msa.wording import ANSWER, END, INDEX, NUMBERS, PAD, STEP, VOCABULARY

SLOT, FREE = "<slot>", "<free>"
LONGEST_ANSWER = 64
_FIRST = INDEX[NUMBERS[0]]


@torch.no_grad()
def ask(network: Network, rows: Sequence[Sequence[str]], batch_size: int = 256) -> list[list[str]]:
    """What the network fills in, in order: number words for slots, words for free text.

    Args:
        network: the trained network, in evaluation mode.
        rows: words, :data:`SLOT`, and :data:`FREE` as the last one.
        batch_size: rows that step together.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    filled: list[list[str]] = [[] for _ in rows]
    for start in range(0, len(rows), batch_size):
        numbers = order[start : start + batch_size]
        for number, said in zip(numbers, _together(network, [rows[i] for i in numbers]), strict=True):
            filled[number] = said
    return filled


def _together(network: Network, rows: Sequence[Sequence[str]]) -> list[list[str]]:
    cache, said = Cache(), [[] for _ in rows]  # type: tuple[Cache, list[list[str]]]
    fed = [row[0] for row in rows]
    writing = [False] * len(rows)
    position = 0
    device = network.embedding.weight.device
    while True:
        words_B1 = torch.tensor([[INDEX[word]] for word in fed], device=device)
        logits_BV = network(words_B1, cache)[:, 0]
        greedy = logits_BV.argmax(-1).tolist()
        medians = median_numbers(logits_BV).tolist()
        position += 1
        fed = []
        for number, row in enumerate(rows):
            wanted = row[position] if position < len(row) else (FREE if writing[number] else PAD)
            if wanted == SLOT:
                wanted = NUMBERS[medians[number]]
                said[number].append(wanted)
            elif wanted == FREE:
                writing[number] = True
                wanted = VOCABULARY[greedy[number]]
                if wanted == END or len(said[number]) >= LONGEST_ANSWER:
                    writing[number], wanted = False, PAD
                else:
                    said[number].append(wanted)
            fed.append(wanted)
        if not any(writing) and all(position + 1 >= len(row) for row in rows):
            return said


def median_numbers(logits_BV: Tensor) -> Tensor:
    """The median of each row's distribution over number words, as an index into them, int64 [B]."""
    shares = logits_BV[:, _FIRST : _FIRST + len(NUMBERS)].double().softmax(-1).cumsum(-1)
    return (shares < 0.5).sum(-1).clamp(max=len(NUMBERS) - 1)


def value_of(word: str) -> float:
    """The number of a number word."""
    return float(STEP * (INDEX[word] - _FIRST))


def call(task: str, words: Sequence[str]) -> list[str]:
    """A call of synthesis."""
    return [task, *words, ANSWER, FREE]
