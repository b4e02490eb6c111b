"""What the network is trained on: each situation, asked in three ways, as rows of words of which some are targets.

- synthesis, in calls: the background to its model, each sentence to its condition, each question to its query;
- direct: background, sentences, and then every question with its numbers;
- thoughts: the same, with the name and the mean rank so far of each person in a sentence behind it.

The rivals of synthesis are supervised on everything that can be asked of a situation, also on what can be read off it
without reasoning: how often somebody won and lost. A question sees the text and itself, never another question or its
numbers: it is trained as it will be asked, and nothing can be copied from a neighbour's answer. All ways get equal
numbers of words in each step, padding not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tenfold.core.seeding import numpy_generator
from tenfold.papers.msa.network import Sight
from tenfold.papers.msa.situations import TRAINING, Labels, Situation, Split, draw_situation, people_of, simulate
from tenfold.papers.msa.wording import (
    ANSWER,
    END,
    INDEX,
    PAD,
    answer_words,
    background_code,
    background_words,
    fact_code,
    fact_words,
    number_word,
    question_code,
    question_words,
)

WAYS = ("synthesis", "direct", "thought")
IGNORED = -100
"""What stands for a word that nothing is learned from."""


@dataclass(frozen=True)
class Told:
    """A situation in words.

    Args:
        situation: what is told.
        background: its words.
        sentences: words of each fact.
        labels: what training knows of it.
    """

    situation: Situation
    background: list[str]
    sentences: list[list[str]]
    labels: Labels


@dataclass
class Row:
    """Words in the order in which they are fed, and what each of them is.

    Args:
        words: indices into the vocabulary.
        weights: how much a word counts that the network learns to write; 0 for what it is given.
        reach: the last position that a word sees: the end of what is given together, or itself if it is written.
        question: 0 in the text; the number of the question, from 1, that a word belongs to.
    """

    words: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    reach: list[int] = field(default_factory=list)
    question: list[int] = field(default_factory=list)

    def give(self, words: Sequence[str], question: int = 0) -> "Row":
        """Add words that are read together."""
        self.reach += [len(self.words) + len(words) - 1] * len(words)
        return self._add(words, 0.0, question)

    def write(self, words: Sequence[str], question: int = 0, weight: float = 1.0) -> "Row":
        """Add words that are learned, one after the other."""
        self.reach += range(len(self.words), len(self.words) + len(words))
        return self._add(words, weight, question)

    def _add(self, words: Sequence[str], weight: float, question: int) -> "Row":
        self.words += [INDEX[word] for word in words]
        self.weights += [weight] * len(words)
        self.question += [question] * len(words)
        return self


def tell(split: Split, particles: int, seed: int, name: str, number: int) -> Told:
    """Situation ``number`` of a split, in words, with its labels; without any where there are no particles."""
    generator = numpy_generator(seed, name, number)
    situation = draw_situation(generator, split)
    sentences = [fact_words(fact, generator, split.rewords) for fact in situation.facts]
    background = background_words(situation, generator)
    labels = simulate(situation, generator, particles) if particles else Labels((), (), 0)
    return Told(situation, background, sentences, labels)


def training_situations(count: int, particles: int, seed: int) -> list[Told]:
    """What the network learns from."""
    return [tell(TRAINING, particles, seed, "training", number) for number in range(count)]


def synthesis_row(told: Told) -> Row:
    """All calls of a situation, side by side: the background's, one a sentence, one for each of two questions."""
    situation = told.situation
    calls = [(["<background>", *told.background], background_code(situation))]
    for words, fact in zip(told.sentences, situation.facts, strict=True):
        calls.append((["<condition>", *words], fact_code(fact)))
    calls += [(["<query>", *question_words(q)], question_code(q)) for q in situation.questions[:2]]
    row = Row()
    for number, (asked, code) in enumerate(calls, start=1):  # as questions without a text: none sees another
        row.give([*asked, ANSWER], number).write([*code, END], number)
    return row


def direct_row(told: Told) -> Row:
    """Everything in one row, numbers behind each question."""
    row = Row().give(["<direct>", *told.background])
    for sentence in told.sentences:
        row.give(sentence)
    return _answered(told, row)


def thought_row(told: Told) -> Row:
    """The same, with thoughts behind each sentence that is about people: each one's name, and the mean rank so far."""
    row = Row().give(["<thought>", *told.background])
    for sentence, fact, means in zip(told.sentences, told.situation.facts, told.labels.thoughts, strict=True):
        row.give(sentence)
        for person, mean in zip(people_of(fact), means, strict=True):
            row.give([person]).write([number_word(mean)])
    return _answered(told, row)


def _answered(told: Told, row: Row) -> Row:
    """Questions with their numbers behind a text: those of the situation, and what can be read off it.

    Each question counts alike, whether it has one number or five.
    """
    situation = told.situation
    pairs = [(question_words(q), numbers) for q, numbers in zip(situation.questions, told.labels.answers, strict=True)]
    for person in situation.people:
        pairs += [(words, (number,)) for words, number in recall(situation, person)]
    for number, (words, numbers) in enumerate(pairs, start=1):
        row.give(words, number).write(answer_words(numbers), number, 1 / len(numbers))
    return row


def recall(situation: Situation, person: str) -> list[tuple[list[str], float]]:
    """What can be read off a text without any reasoning: ten times how often somebody won, and lost."""
    wins = sum(person in contest.winners for contest in situation.contests)
    losses = sum(person in contest.losers for contest in situation.contests)
    return [(f"wins of {person}".split(), 10.0 * wins), (f"losses of {person}".split(), 10.0 * losses)]


class Mixture:
    """Batches with equal numbers of words for each way.

    Args:
        situations: told situations.
        words_per_way: of a unit; a step has so many units as it has slots.
        seed: of the order.
    """

    def __init__(self, situations: Sequence[Told], words_per_way: int, seed: int) -> None:
        self.words_per_way = words_per_way
        made = {
            "synthesis": [synthesis_row(told) for told in situations],
            "direct": [direct_row(told) for told in situations],
            "thought": [thought_row(told) for told in situations],
        }
        self.rows = {way: _in_order(rows, seed, way) for way, rows in made.items()}
        self.starts = {way: np.cumsum([0, *(len(row.words) for row in rows)]) for way, rows in self.rows.items()}

    def batch(self, way: str, first_unit: int, last_unit: int) -> "Batch":
        """The rows that begin within these units."""
        return padded(self.rows_between(way, first_unit, last_unit))

    def weight(self, way: str, first_unit: int, last_unit: int) -> float:
        """How much all words of these units that are learned count together."""
        return sum(sum(row.weights) for row in self.rows_between(way, first_unit, last_unit))

    def rows_between(self, way: str, first_unit: int, last_unit: int) -> list[Row]:
        """The rows that begin within these units; their order is gone through again when it is at its end."""
        rows, starts = self.rows[way], self.starts[way]
        total = int(starts[-1])
        low, high = first_unit * self.words_per_way, last_unit * self.words_per_way
        chosen = []
        while low < high:
            lap = low // total * total
            begin, end = np.searchsorted(starts[:-1], [low - lap, min(high - lap, total)])
            chosen += rows[begin:end]
            low = min(high, lap + total)
        return chosen


def _in_order(rows: Sequence[Row], seed: int, way: str) -> list[Row]:
    """Shuffled; then neighbours of like length, so that little is padded, in groups that are shuffled again."""
    generator = numpy_generator(seed, "order", way)
    shuffled = [rows[i] for i in generator.permutation(len(rows))]
    pieces = [sorted(shuffled[i : i + 512], key=lambda row: len(row.words)) for i in range(0, len(rows), 512)]
    groups = [piece[i : i + 16] for piece in pieces for i in range(0, len(piece), 16)]
    return [row for i in generator.permutation(len(groups)) for row in groups[i]]


class Batch(NamedTuple):
    """Rows as tensors.

    Args:
        words: [B, S] int64; padding stands at the end.
        targets: [B, S] int64, the word that is learned at each position: the next one of its row; -100 for none.
        weights: [B, S], how much it counts.
        sight: what each word sees.
    """

    words: Tensor
    targets: Tensor
    weights: Tensor
    sight: Sight

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        sight = Sight(*(part.to(device) for part in self.sight))
        return Batch(self.words.to(device), self.targets.to(device), self.weights.to(device), sight)


def padded(rows: Sequence[Row]) -> Batch:
    """Rows as tensors."""
    longest = max((len(row.words) for row in rows), default=1)
    shape = (len(rows), longest)
    words_BS, targets_BS = torch.full(shape, INDEX[PAD]), torch.full(shape, IGNORED)
    weights_BS = torch.zeros(shape)
    for number, row in enumerate(rows):
        words, weights = torch.tensor(row.words), torch.tensor(row.weights)
        words_BS[number, : len(words)] = words
        targets_BS[number, : len(words) - 1] = torch.where(weights[1:] > 0, words[1:], IGNORED)
        weights_BS[number, : len(words) - 1] = weights[1:]
    return Batch(words_BS, targets_BS, weights_BS, sight_of(rows, longest))


def sight_of(rows: Sequence[Row], length: int) -> Sight:
    """What the words of rows see when all are fed at once: padding sees itself, and no word sees padding."""
    places_S = np.arange(length)
    reach_BS = np.tile(places_S, (len(rows), 1))
    question_BS = np.full((len(rows), length), -1)
    positions_BS, before_BS = np.zeros_like(reach_BS), np.full_like(reach_BS, -1)
    for number, row in enumerate(rows):
        size, text = len(row.words), row.question.count(0)
        question = np.array(row.question)
        reach_BS[number, :size], question_BS[number, :size] = row.reach, question
        starts = np.flatnonzero(np.diff(question)) + 1  # each question goes on where the text ends
        begun = np.zeros(size, dtype=int)
        begun[starts] = starts - text
        positions_BS[number, :size] = np.arange(size) - np.maximum.accumulate(begun)
        before_BS[number, :size] = np.arange(size) - 1
        before_BS[number, starts] = text - 1
    of_text_or_own_BST = (question_BS[:, None] == 0) | (question_BS[:, None] == question_BS[:, :, None])
    mask_BST = of_text_or_own_BST & (places_S <= reach_BS[:, :, None])
    mask_BST &= (question_BS >= 0)[:, :, None]
    mask_BST[:, places_S, places_S] = True
    after_BS = np.where(reach_BS > places_S, places_S + 1, -1)
    return Sight(*(torch.from_numpy(part) for part in (mask_BST, positions_BS, before_BS, after_BS)))
