"""Asking the trained network: all rows step together over one cache.

A row is a list of what is given and what is asked for. Words of one list are given together and read at once; at
:data:`SLOT` the network puts a number, the median of its distribution over number words, which is fed back; at
:data:`FREE` it writes on, greedily, until its end. Greedy numbers would be worse than not reading at all; the median is
what minimises the distance.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tenfold.papers.msa.network import Cache, Network, Sight
from tenfold.papers.msa.wording import ANSWER, END, INDEX, NUMBERS, PAD, VOCABULARY

SLOT, FREE = "<slot>", "<free>"
LONGEST_ANSWER = 64
_FIRST = INDEX[NUMBERS[0]]
Asked = Sequence[Sequence[str] | str]
"""Lists of words that are given, and between or behind them :data:`SLOT` or :data:`FREE`."""


@torch.no_grad()
def ask(network: Network, rows: Sequence[Asked], batch_size: int = 256) -> list[list[str]]:
    """What the network fills in, in order: number words for slots, words for free text.

    Args:
        network: the trained network, in evaluation mode.
        rows: given words, :data:`SLOT`, and :data:`FREE` as the last one.
        batch_size: rows that step together.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    filled: list[list[str]] = [[] for _ in rows]
    for start in range(0, len(rows), batch_size):
        numbers = order[start : start + batch_size]
        for number, said in zip(numbers, _together(network, [rows[i] for i in numbers]), strict=True):
            filled[number] = said
    return filled


class _Reader:
    """Where one row is: which words are fed next, and what it has said."""

    def __init__(self, row: Asked) -> None:
        self.row, self.place, self.said = row, 0, []  # type: Asked, int, list[str]
        self.words: list[str] = []  # fed in the next call
        self.reach: list[int] = []  # the last of them that each one sees
        self.length = 0  # of what was fed before
        self._read_on()

    @property
    def is_done(self) -> bool:
        return self.place >= len(self.row)

    def _read_on(self) -> None:
        while not self.is_done and not isinstance(self.row[self.place], str):
            given = self.row[self.place]
            self.reach += [len(self.words) + len(given) - 1] * len(given)
            self.words += given
            self.place += 1

    def hear(self, number: str, word: str) -> None:
        """What the network says behind the words that were fed: as a number, and greedily."""
        self.length += len(self.words)
        self.words, self.reach = [], []
        if self.is_done:
            return
        is_slot = self.row[self.place] == SLOT
        said = number if is_slot else word
        is_over = not is_slot and (said == END or len(self.said) >= LONGEST_ANSWER)
        if is_slot or is_over:
            self.place += 1
        if not is_over:
            self.said.append(said)
            self.words, self.reach = [said], [0]
        self._read_on()


def _together(network: Network, rows: Sequence[Asked]) -> list[list[str]]:
    device = network.embedding.weight.device
    readers = [_Reader(row) for row in rows]
    fed_BT = np.zeros((len(rows), 0), dtype=bool)
    cache = Cache(torch.zeros(len(rows), dtype=torch.int64, device=device))
    while not all(reader.is_done for reader in readers):
        words_BS, sight, fed_BT = _call(readers, fed_BT)
        ends_B = torch.tensor([max(len(reader.words), 1) - 1 for reader in readers], device=device)
        cache.ends = ends_B
        logits_BSV = network(words_BS.to(device), Sight(*(part.to(device) for part in sight)), cache)
        logits_BV = logits_BSV[torch.arange(len(rows), device=device), ends_B]
        greedy, medians = logits_BV.argmax(-1).tolist(), median_numbers(logits_BV).tolist()
        for reader, best, median in zip(readers, greedy, medians, strict=True):
            reader.hear(NUMBERS[median], VOCABULARY[best])
    return [reader.said for reader in readers]


def _call(readers: Sequence[_Reader], fed_BT: np.ndarray) -> tuple[Tensor, Sight, np.ndarray]:
    """The words of the next call, what they see, and which positions hold words from then on."""
    longest = max(len(reader.words) for reader in readers)
    shape, places_S = (len(readers), longest), np.arange(longest)
    words_BS, reach_BS = np.full(shape, INDEX[PAD]), np.full(shape, -1)
    for number, reader in enumerate(readers):
        size = len(reader.words)
        words_BS[number, :size], reach_BS[number, :size] = [INDEX[word] for word in reader.words], reader.reach
    is_word_BS = reach_BS >= 0
    new_BSS = (places_S <= reach_BS[:, :, None]) & is_word_BS[:, None]
    new_BSS[:, places_S, places_S] = True  # padding sees itself, and no word sees padding
    old_BST = np.repeat(fed_BT[:, None], longest, axis=1)
    positions_BS = np.array([reader.length for reader in readers])[:, None] + places_S
    before_BS = np.broadcast_to(places_S - 1, shape)
    after_BS = np.where(reach_BS > places_S, places_S + 1, -1)
    parts = (np.concatenate((old_BST, new_BSS), 2), positions_BS * is_word_BS, before_BS.copy(), after_BS)
    sight = Sight(*(torch.from_numpy(part) for part in parts))
    return torch.from_numpy(words_BS), sight, np.concatenate((fed_BT, is_word_BS), 1)


def median_numbers(logits_BV: Tensor) -> Tensor:
    """The median of each row's distribution over number words, as an index into them, int64 [B]."""
    shares = logits_BV[:, _FIRST : _FIRST + len(NUMBERS)].double().softmax(-1).cumsum(-1)
    return (shares < 0.5).sum(-1).clamp(max=len(NUMBERS) - 1)


def call(task: str, words: Sequence[str]) -> list[Sequence[str] | str]:
    """A call of synthesis."""
    return [[task, *words, ANSWER], FREE]
