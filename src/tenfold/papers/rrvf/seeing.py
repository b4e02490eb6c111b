"""What the small study can see: all programs with what their drawings look like, and remarks in words from pixels.

The comparator knows two images and the candidate's own program, never the reference's. It says whether the candidate
ran, whether its colour is right, and for each of its values whether the reference is higher or lower there:

    ran right ok up down        err <pad> <pad> <pad> <pad>
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np

from tenfold.envs.render.chart_language import (
    COLOURS,
    FEWEST,
    KINDS,
    LEVELS,
    MOST,
    SIZE,
    WORDS,
    Chart,
    Look,
    columns,
    draw,
    draw_as,
    parse,
)
from tenfold.eval.visual import DRAWING_WEIGHTS, Looked, Similarity, background
from tenfold.policies.small_vision import PAD, SPECIAL

REMARKS = ("ran", "err", "right", "wrong", "ok", "up", "down", "look")
VOCABULARY = (*WORDS, *REMARKS)
"""Beside the special words; ``look`` is the constant word of the control."""
ALL_WORDS = (*SPECIAL, *VOCABULARY)
WORD_IDS = {word: number for number, word in enumerate(ALL_WORDS)}
NUM_REMARKS = 2 + MOST
_INK = 0.3
"""Least difference to the background that counts as drawn; above the noise of any domain."""
SIMILARITY = Similarity(DRAWING_WEIGHTS)


@dataclass(frozen=True, eq=False)
class Seen:
    """What the comparator reads in images; N of them.

    Args:
        colours: number of the named colour that is nearest to what is drawn, [N].
        tops: in each pixel column the row where ink begins, 24 where there is none, [N, 24].
    """

    colours: np.ndarray
    tops: np.ndarray

    def take(self, numbers: np.ndarray) -> "Seen":
        """Some of them."""
        return Seen(self.colours[numbers], self.tops[numbers])


def see(images: np.ndarray) -> Seen:
    """Read images [N, 24, 24, 3]."""
    ink = np.abs(images - background(images)[:, None, None]).max(-1) > _INK
    count = np.maximum(ink.sum((1, 2)), 1)
    mean_N3 = (images * ink[..., None]).sum((1, 2)) / count[:, None]
    named = np.array(list(COLOURS.values()))
    colours = ((mean_N3[:, None] - named) ** 2).sum(-1).argmin(1)
    tops = np.where(ink.any(1), ink.argmax(1), SIZE)
    return Seen(colours, tops)


class Programs:
    """Every program that runs, by number, and what their plain drawings look like; made once for the process."""

    def __init__(self) -> None:
        counts = range(FEWEST, MOST + 1)
        values = [each for count in counts for each in product(range(1, LEVELS + 1), repeat=count)]
        self.charts = [Chart(kind, colour, each) for kind in KINDS for colour in COLOURS for each in values]
        self.number_of = {chart: number for number, chart in enumerate(self.charts)}

    @cached_property
    def images(self) -> np.ndarray:
        """Their drawings, [1200, 24, 24, 3]."""
        return np.stack([draw(chart) for chart in self.charts])

    @cached_property
    def looked(self) -> Looked:
        """For similarities."""
        return SIMILARITY.look(self.images)

    @cached_property
    def seen(self) -> Seen:
        """For remarks."""
        return see(self.images)

    def read(self, words: Sequence[int]) -> int:
        """The number of the program that word ids spell, without padding; -1 where it does not run."""
        chart = parse([ALL_WORDS[word] for word in words if word != WORD_IDS[PAD]])
        return -1 if isinstance(chart, str) else self.number_of[chart]


@lru_cache(maxsize=1)
def programs() -> Programs:
    """The one list of programs."""
    return Programs()


@dataclass(frozen=True, eq=False)
class Images:
    """References, as training and evaluation use them; B of them.

    Args:
        numbers: of their true programs, which training from images never reads, [B].
        pixels: [B, 24, 24, 3].
    """

    numbers: np.ndarray
    pixels: np.ndarray

    @cached_property
    def looked(self) -> Looked:
        """For similarities."""
        return SIMILARITY.look(self.pixels)

    @cached_property
    def seen(self) -> Seen:
        """For remarks."""
        return see(self.pixels)


def images_of(numbers: np.ndarray, look: Look, *key: int | str, first: int = 0) -> Images:
    """Images of programs in a domain; what is drawn by chance is drawn by the key and the place, counted from first."""
    charts = programs().charts
    drawn = [draw_as(charts[number], look, *key, place) for place, number in enumerate(numbers, first)]
    return Images(np.asarray(numbers), np.stack(drawn))


def similarities(images: Images, of: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Similarity of candidate programs to their references, 0 for one that does not run, [N].

    Args:
        images: the references.
        of: the reference of each candidate, [N].
        found: the numbers of the candidates, -1 for one that does not run, [N].
    """
    ran = found >= 0
    scores = np.zeros(len(found))
    if ran.any():
        parts = SIMILARITY.between(images.looked.take(of[ran]), programs().looked.take(found[ran]))
        scores[ran] = SIMILARITY.total(parts)
    return scores


def remarks(images: Images, of: np.ndarray, found: np.ndarray) -> np.ndarray:
    """What the comparator says of candidates, word ids [N, 5]; arguments as for :func:`similarities`."""
    said = np.full((len(found), NUM_REMARKS), WORD_IDS[PAD])
    seen, drawn = images.seen, programs().seen
    for row, (reference, number) in enumerate(zip(of, found, strict=True)):
        if number < 0:
            said[row, 0] = WORD_IDS["err"]
            continue
        is_right = seen.colours[reference] == drawn.colours[number]
        words = ["ran", "right" if is_right else "wrong"]
        for column in columns(len(programs().charts[number].values)):
            lower = seen.tops[reference, column] - drawn.tops[number, column]
            words.append("ok" if abs(lower) <= 1 else "down" if lower > 0 else "up")
        said[row, : len(words)] = [WORD_IDS[word] for word in words]
    return said


def constant_remarks(images: Images, of: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The control: one word, whatever was drawn."""
    return np.full((len(found), NUM_REMARKS), WORD_IDS["look"])
