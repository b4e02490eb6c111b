"""How alike two charts are by what was drawn: the low-level measures of ChartMimic (arXiv 2406.09961), from records.

A record says what one program drew; ``tenfold.envs.render.recorder`` makes records in the code sandbox, and this module
compares two of them and runs nothing.

    text    F1 of the multisets of drawn strings, ticks left out
    layout  F1 of the multisets of (rows, columns, first and last row, first and last column) of the axes
    type    F1 of the multisets of plotting calls
    colour  for each call the best assignment of colours, similarity max(0, 1 - dE2000 / 100); summed over calls to S,
            precision S / n_generated, recall S / n_reference

The original tries all permutations; the assignment here is the Hungarian one, which gives the same sum. Its current
code takes CIEDE2000, as here. ``overall`` is the mean of the four and of a model's score.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from tenfold.core.errors import UserError

MEASURES = ("text", "layout", "type", "colour")
MOST_COLOURS = 10
"""Above so many the published measure leaves out colours that are near to one already kept."""
NEAR = 0.7


@dataclass(frozen=True)
class ChartRecord:
    """What a program drew.

    Args:
        texts: every drawn string, ticks left out.
        layout: of each axes with a place in a grid: rows, columns, first and last row, first and last column.
        calls: plotting calls, each as often as it was made.
        colours: (call, colour) of what was drawn; a colour is ``#rrggbb`` or the name of a colour map.
        error: why nothing was drawn; empty where something was.

    Example:
        >>> ChartRecord(texts=("a",)) == ChartRecord(texts=("a",))
        True
    """

    texts: tuple[str, ...] = ()
    layout: tuple[tuple[int, ...], ...] = ()
    calls: tuple[str, ...] = ()
    colours: tuple[tuple[str, str], ...] = ()
    error: str = ""


def multiset_f1(reference: Sequence[Hashable], generated: Sequence[Hashable]) -> float:
    """2 P R / (P + R) of two multisets; 1 where both are empty, 0 where one is.

    Example:
        >>> multiset_f1(["a", "a", "b"], ["a", "b", "c"])
        0.6666666666666666
    """
    if not reference and not generated:
        return 1.0
    shared = sum((Counter(reference) & Counter(generated)).values())
    return 2 * shared / (len(reference) + len(generated))


def colour_f1(reference: Sequence[tuple[str, str]], generated: Sequence[tuple[str, str]]) -> float:
    """F1 of two sets of (call, colour), by the best assignment within each call.

    Example:
        >>> colour_f1([("bar", "#ff0000")], [("bar", "#ff0000")]), colour_f1([("bar", "#ff0000")], [("pie", "#ff0000")])
        (1.0, 0.0)
    """
    if not reference and not generated:
        return 1.0
    if not reference or not generated:
        return 0.0
    of_reference, of_generated = _by_call(reference), _by_call(generated)
    total = sum(best_assignment(of_reference[call], of_generated[call]) for call in of_reference.keys() & of_generated)
    precision, recall = total / len(generated), total / len(reference)
    return 2 * precision * recall / (precision + recall) if total else 0.0


def best_assignment(reference: Sequence[str], generated: Sequence[str]) -> float:
    """The largest sum of similarities when each colour is matched with at most one of the other side.

    Example:
        >>> best_assignment(["#000000", "#ffffff"], ["#ffffff"])
        1.0
    """
    similarity = np.array([[colour_similarity(a, b) for b in generated] for a in reference])
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    return float(similarity[rows, columns].sum())


def colour_similarity(a: str, b: str) -> float:
    """max(0, 1 - dE2000 / 100) of two colours; of colour maps 1 by equal names, and 0 beside a colour.

    Example:
        >>> round(colour_similarity("#ff0000", "#00ff00"), 3), colour_similarity("viridis", "viridis")
        (0.134, 1.0)
    """
    if not (a.startswith("#") and b.startswith("#")):
        return float(a == b)
    return max(0.0, 1.0 - ciede2000(lab_of(a), lab_of(b)) / 100)


def thinned(colours: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """As the published measure: of more than ten, those above a similarity of 0.7 to a kept one of the call go.

    Theirs goes through a set, whose order depends on hashing; here the order is that of the names.
    """
    unique = sorted(set(colours))
    if len(unique) <= MOST_COLOURS:
        return unique
    kept: list[tuple[str, str]] = []
    for call, colour in unique:
        if all(other != call or colour_similarity(colour, near) <= NEAR for other, near in kept):
            kept.append((call, colour))
    return kept


def compare_charts(
    reference: ChartRecord, generated: ChartRecord, *, published_colours: bool = False
) -> dict[str, float]:
    """The four measures, and their mean as ``low_level``; all 0 where the generated program failed.

    Args:
        reference: what was to be drawn.
        generated: what was drawn.
        published_colours: colours as a set that is thinned out above ten, as the published measure has it; else every
            recorded one counts.

    Raises:
        UserError: the reference failed.

    Example:
        >>> bars = ChartRecord(("Sales",), ((1, 1, 0, 0, 0, 0),), ("bar",), (("bar", "#1f77b4"),))
        >>> compare_charts(bars, bars)["low_level"]
        1.0
    """
    if reference.error:
        raise UserError(f"reference: its program failed ({reference.error}); allowed: one that draws")
    if generated.error:
        return dict.fromkeys((*MEASURES, "low_level"), 0.0)
    colours = thinned if published_colours else list
    scores = {
        "text": multiset_f1(reference.texts, generated.texts),
        "layout": multiset_f1(reference.layout, generated.layout),
        "type": multiset_f1(reference.calls, generated.calls),
        "colour": colour_f1(colours(reference.colours), colours(generated.colours)),
    }
    return scores | {"low_level": sum(scores.values()) / len(MEASURES)}


def overall(scores: Mapping[str, float], model_score: float) -> float:
    """(mean of the four + a model's score) / 2, all on the same scale.

    Args:
        scores: has ``text``, ``layout``, ``type`` and ``colour``.
        model_score: of a judge, on the scale of the others.

    Raises:
        UserError: a measure is missing, or a number is none.

    Example:
        >>> overall({"text": 1.0, "layout": 1.0, "type": 0.5, "colour": 0.5}, 0.25)
        0.5
    """
    for name in MEASURES:
        if name not in scores:
            raise UserError(f"scores: {name} is missing; needed are {', '.join(MEASURES)}")
    values = [*(scores[name] for name in MEASURES), model_score]
    if not all(math.isfinite(value) for value in values):
        raise UserError(f"scores = {values}: must be numbers")
    return (sum(values[:4]) / 4 + values[4]) / 2


# ------------------------------------------------------------------------------------------------------------ colours


def lab_of(colour: str) -> tuple[float, float, float]:
    """CIE L*a*b* (D65, 2 degrees) of a colour ``#rrggbb`` of sRGB.

    Raises:
        UserError: it is none.

    Example:
        >>> [round(value, 1) for value in lab_of("#ff0000")]
        [53.2, 80.1, 67.2]
    """
    try:
        red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    except ValueError as error:
        raise UserError(f"colour = {colour!r}: must be #rrggbb") from error
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in (red, green, blue)]
    x, y, z = ((np.array(_XYZ_OF_RGB) @ linear) / np.array(_WHITE)).tolist()
    fx, fy, fz = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


_XYZ_OF_RGB = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_WHITE = (0.95047, 1.0, 1.08883)


def ciede2000(first: Sequence[float], second: Sequence[float]) -> float:
    """dE2000 of two colours in L*a*b*, with all weights 1 (Sharma, Wu and Dalal, 2005; their numbers of equations).

    Example:
        >>> round(ciede2000((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485)), 4)
        2.0425
    """
    (l1, a1, b1), (l2, a2, b2) = first, second
    mean_chroma = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2  # (2), (3)
    g = 0.5 * (1 - math.sqrt(mean_chroma**7 / (mean_chroma**7 + 25**7)))  # (4)
    a1, a2 = (1 + g) * a1, (1 + g) * a2  # (5)
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)  # (6)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 if (a or b) else 0.0 for a, b in ((a1, b1), (a2, b2)))  # (7)
    dl, dc = l2 - l1, c2 - c1  # (8), (9)
    turn = h2 - h1
    turn += -360 if turn > 180 else 360 if turn < -180 else 0  # (10)
    dh = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn if c1 * c2 else 0.0) / 2)  # (11)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2  # (12), (13)
    mean_h = _mean_hue(h1, h2) if c1 * c2 else h1 + h2  # (14)
    t = (
        1
        - 0.17 * _cos(mean_h - 30)
        + 0.24 * _cos(2 * mean_h)
        + 0.32 * _cos(3 * mean_h + 6)
        - 0.2 * _cos(4 * mean_h - 63)
    )
    rotation = 30 * math.exp(-(((mean_h - 275) / 25) ** 2))  # (16)
    r_c = 2 * math.sqrt(mean_c**7 / (mean_c**7 + 25**7))  # (17)
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / math.sqrt(20 + (mean_l - 50) ** 2)  # (18)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t  # (19), (20)
    r_t = -math.sin(math.radians(2 * rotation)) * r_c  # (21)
    lightness, chroma, hue = dl / s_l, dc / s_c, dh / s_h
    return math.sqrt(lightness**2 + chroma**2 + hue**2 + r_t * chroma * hue)  # (22)


def _mean_hue(h1: float, h2: float) -> float:
    if abs(h1 - h2) <= 180:
        return (h1 + h2) / 2
    return (h1 + h2 + 360) / 2 if h1 + h2 < 360 else (h1 + h2 - 360) / 2


def _cos(degrees: float) -> float:
    return math.cos(math.radians(degrees))


def _by_call(colours: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for call, colour in colours:
        found[call].append(colour)
    return found
