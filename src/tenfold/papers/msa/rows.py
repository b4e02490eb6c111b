"""What the network is trained on: each situation, asked in three ways, as rows of words of which some are targets.

- synthesis, in calls: the background to its model, each sentence to its condition, each question to its query;
- direct: background, sentences, and then every question with its numbers;
- thoughts: the same, with the mean rank so far of each person in a sentence behind it.

The rivals of synthesis are supervised on everything that can be asked of a situation, also on what can be read off it
without reasoning: how often somebody won and lost. All ways get equal numbers of
words in each step, padding not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tenfold.core.seeding import numpy_generator
from tenfold.papers.msa.situations import TRAINING, Labels, Situation, Split, draw_situation, simulate
from tenfold.papers.msa.wording import (
    ANSWER,
    END,
    INDEX,
    PAD,
    background_code,
    background_words,
    fact_code,
    fact_words,
    number_word,
    question_code,
    question_words,
)

WAYS = ("synthesis", "direct", "thought")


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


@dataclass(frozen=True)
class Row:
    """Words, and which of them are targets."""

    words: list[int]
    targets: list[bool]


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


def call_row(task: str, words: Sequence[str], code: Sequence[str]) -> Row:
    """A call of synthesis with its answer."""
    asked, said = [task, *words, ANSWER], [*code, END]
    return _row([*asked, *said], [False] * len(asked) + [True] * len(said))


def synthesis_rows(told: Told) -> list[Row]:
    """All calls of a situation: one for the background, one a sentence, one for each of two questions."""
    situation = told.situation
    rows = [call_row("<background>", told.background, background_code(situation))]
    for words, fact in zip(told.sentences, situation.facts, strict=True):
        rows.append(call_row("<condition>", words, fact_code(fact)))
    return rows + [call_row("<query>", question_words(q), question_code(q)) for q in situation.questions[:2]]


def direct_row(told: Told) -> Row:
    """Everything in one row, numbers behind each question."""
    words = ["<direct>", *told.background, *(word for sentence in told.sentences for word in sentence)]
    return _answered(told, words, [False] * len(words))


def thought_row(told: Told) -> Row:
    """The same, with thoughts behind each sentence that is about people."""
    words, targets = ["<thought>", *told.background], [False] * (1 + len(told.background))
    for sentence, means in zip(told.sentences, told.labels.thoughts, strict=True):
        words += [*sentence, *map(number_word, means)]
        targets += [False] * len(sentence) + [True] * len(means)
    return _answered(told, words, targets)


def _answered(told: Told, words: list[str], targets: list[bool]) -> Row:
    """Questions with their numbers behind a text: those of the situation, and what can be read off it."""
    situation = told.situation
    pairs = [(question_words(q), list(n)) for q, n in zip(situation.questions, told.labels.answers, strict=True)]
    for person in situation.people:
        for words_asked, number in recall(situation, person):
            pairs.append((words_asked, [number]))
    order = numpy_generator(len(words), " ".join(words)[:200], "order of questions").permutation(len(pairs))
    for asked, numbers in (pairs[i] for i in order):
        words = [*words, *asked, *map(number_word, numbers)]
        targets = [*targets, *[False] * len(asked), *[True] * len(numbers)]
    return _row(words, targets)


def recall(situation: Situation, person: str) -> list[tuple[list[str], float]]:
    """What can be read off a text without any reasoning: ten times how often somebody won, and lost."""
    wins = sum(person in contest.winners for contest in situation.contests)
    losses = sum(person in contest.losers for contest in situation.contests)
    return [(f"wins of {person} ?".split(), 10.0 * wins), (f"losses of {person} ?".split(), 10.0 * losses)]


def _row(words: Sequence[str], targets: list[bool]) -> Row:
    return Row([INDEX[word] for word in words], targets)


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
            "synthesis": [row for told in situations for row in synthesis_rows(told)],
            "direct": [direct_row(told) for told in situations],
            "thought": [thought_row(told) for told in situations],
        }
        self.rows = {way: _in_order(rows, seed, way) for way, rows in made.items()}
        self.starts = {way: np.cumsum([0, *(len(row.words) for row in rows)]) for way, rows in self.rows.items()}

    def batch(self, way: str, first_unit: int, last_unit: int) -> tuple[Tensor, Tensor]:
        """Words [B, S] and targets [B, S], -100 where there is none: the rows that begin within these units.

        The order of rows is gone through again when it is at its end.
        """
        rows, starts = self.rows[way], self.starts[way]
        total = int(starts[-1])
        low, high = first_unit * self.words_per_way, last_unit * self.words_per_way
        chosen = []
        while low < high:
            lap = low // total * total
            begin, end = np.searchsorted(starts[:-1], [low - lap, min(high - lap, total)])
            chosen += rows[begin:end]
            low = min(high, lap + total)
        return padded(chosen)


def _in_order(rows: Sequence[Row], seed: int, way: str) -> list[Row]:
    """Shuffled; then neighbours of like length, so that little is padded, in groups that are shuffled again."""
    generator = numpy_generator(seed, "order", way)
    shuffled = [rows[i] for i in generator.permutation(len(rows))]
    pieces = [sorted(shuffled[i : i + 512], key=lambda row: len(row.words)) for i in range(0, len(rows), 512)]
    groups = [piece[i : i + 16] for piece in pieces for i in range(0, len(piece), 16)]
    return [row for i in generator.permutation(len(groups)) for row in groups[i]]


def padded(rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Rows as tensors; a target stands at the position before its word, where it is predicted."""
    longest = max((len(row.words) for row in rows), default=1)
    words_BS = torch.full((len(rows), longest), INDEX[PAD])
    targets_BS = torch.full((len(rows), longest), -100)
    for number, row in enumerate(rows):
        words = torch.tensor(row.words)
        words_BS[number, : len(words)] = words
        targets_BS[number, : len(words) - 1] = torch.where(torch.tensor(row.targets[1:]), words[1:], -100)
    return words_BS, targets_BS
