"""Chart measures: dE2000 against published pairs, assignment against all permutations, and the published overall."""

from itertools import permutations

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.eval.charts import (
    ChartRecord,
    best_assignment,
    ciede2000,
    colour_f1,
    colour_similarity,
    compare_charts,
    lab_of,
    multiset_f1,
    overall,
    thinned,
)

# Sharma, Wu and Dalal (2005), table 1: L1 a1 b1, L2 a2 b2, dE00.
PUBLISHED = [
    (50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425),
    (50.0, 3.1571, -77.2803, 50.0, 0.0, -82.7485, 2.8615),
    (50.0, -1.3802, -84.2814, 50.0, 0.0, -82.7485, 1.0),
    (50.0, 0.0, 0.0, 50.0, -1.0, 2.0, 2.3669),
    (50.0, 2.49, -0.001, 50.0, -2.49, 0.0009, 7.1792),
    (50.0, 2.49, -0.001, 50.0, -2.49, 0.0011, 7.2195),
    (50.0, 2.5, 0.0, 50.0, 0.0, -2.5, 4.3065),
    (50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492),
    (50.0, 2.5, 0.0, 58.0, 24.0, 15.0, 19.4535),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (22.7233, 20.0904, -46.694, 23.0331, 14.973, -42.5619, 2.0373),
    (90.8027, -2.0831, 1.441, 91.1528, -1.6435, 0.0447, 1.4441),
    (2.0776, 0.0795, -1.135, 0.9033, -0.0636, -0.5514, 0.9082),
]


@pytest.mark.parametrize("row", PUBLISHED, ids=str)
def test_the_colour_difference_is_the_published_one(row):
    assert ciede2000(row[:3], row[3:6]) == pytest.approx(row[6], abs=1e-4)
    assert ciede2000(row[3:6], row[:3]) == pytest.approx(row[6], abs=1e-4)


def test_white_black_and_a_grey_have_no_colour():
    for colour, lightness in (("#ffffff", 100.0), ("#000000", 0.0), ("#777777", 50.034)):
        found = lab_of(colour)
        assert found[0] == pytest.approx(lightness, abs=1e-3)
        assert abs(found[1]) < 0.02 and abs(found[2]) < 0.02


def random_colours(generator, count):
    return [f"#{value:06x}" for value in generator.integers(0, 1 << 24, count)]


@pytest.mark.spec("rrvf", "A7")
def test_the_best_assignment_equals_all_permutations_on_200_random_sets():
    generator = np.random.default_rng(0)
    for _ in range(200):
        reference, generated = (random_colours(generator, int(generator.integers(1, 6))) for _ in range(2))
        short, long = sorted((reference, generated), key=len)
        by_force = max(
            sum(colour_similarity(a, b) for a, b in zip(short, chosen, strict=True))
            for chosen in permutations(long, len(short))
        )
        assert best_assignment(reference, generated) == pytest.approx(by_force, abs=1e-9)
        pairs = [[("bar", colour) for colour in each] for each in (reference, generated)]
        precision, recall = by_force / len(generated), by_force / len(reference)
        assert colour_f1(*pairs) == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-9)


@pytest.mark.spec("rrvf", "A8")
def test_overall_gives_the_published_number_from_the_published_row():
    row = {"text": 62.47, "layout": 80.97, "type": 53.56, "colour": 46.41}
    assert round(overall(row, 67.87), 2) == 64.36


def test_colours_of_different_calls_are_not_matched():
    assert colour_f1([("bar", "#ff0000"), ("plot", "#0000ff")], [("bar", "#0000ff"), ("plot", "#ff0000")]) < 0.6
    assert colour_f1([("imshow", "viridis")], [("imshow", "#440154")]) == 0.0
    assert colour_f1([("imshow", "viridis")], [("imshow", "viridis")]) == 1.0
    assert colour_f1([], []) == 1.0 and colour_f1([], [("bar", "#ff0000")]) == 0.0


def test_more_than_ten_colours_are_thinned_out_whatever_their_order():
    shades = [("bar", f"#{value:02x}0000") for value in range(100, 220, 10)]
    assert len(shades) == 12
    kept = thinned(shades)
    assert len(kept) < 6 and kept == thinned(shades[::-1])
    assert len(thinned(shades[:10])) == 10


def test_multisets_count_how_often():
    assert multiset_f1(["a", "a"], ["a"]) == pytest.approx(2 / 3)
    assert multiset_f1([], []) == 1.0 and multiset_f1(["a"], []) == 0.0


def test_a_program_that_failed_scores_nothing_and_a_failed_reference_is_refused():
    bars = ChartRecord(("Sales",), ((1, 1, 0, 0, 0, 0),), ("bar",), (("bar", "#1f77b4"),))
    failed = ChartRecord(error="NameError: name 'x' is not defined")
    assert set(compare_charts(bars, failed).values()) == {0.0}
    with pytest.raises(UserError, match="reference: its program failed"):
        compare_charts(failed, bars)
    with pytest.raises(UserError, match="colour is missing"):
        overall({"text": 1.0, "layout": 1.0, "type": 1.0}, 1.0)
    with pytest.raises(UserError, match="must be numbers"):
        overall({"text": 1.0, "layout": 1.0, "type": 1.0, "colour": 1.0}, float("nan"))
