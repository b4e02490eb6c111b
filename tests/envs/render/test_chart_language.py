"""The chart language: what runs, what does not and why, and its twin in Matplotlib."""

import numpy as np
import pytest

from tenfold.core.seeding import numpy_generator
from tenfold.envs.render.caching import CachedRenderer
from tenfold.envs.render.chart_language import (
    COLOURS,
    KINDS,
    PLAIN,
    Chart,
    ChartRenderer,
    Look,
    columns,
    draw,
    draw_as,
    parse,
    random_chart,
)
from tenfold.envs.render.renderer import RenderResult
from tenfold.envs.render.shapes import ShapeRenderer


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("", "SyntaxError: the program has no end"),
        ("bar red 3 5", "SyntaxError: the program has no end"),
        ("bar red 3 5 end end", "SyntaxError: words follow the end"),
        ("end", "KindError: the program is empty"),
        ("pie red 3 5 end", "KindError: 'pie' is no kind of chart"),
        ("bar end", "ColourError: there is none"),
        ("bar 3 5 end", "ColourError: '3' is no colour"),
        ("bar red 3 6 end", "ValueError: '6' is no level"),
        ("bar red 3 end", "ValueError: 1 values; allowed: 2 or 3"),
        ("bar red 1 2 3 4 end", "ValueError: 4 values; allowed: 2 or 3"),
    ],
)
def test_what_does_not_run_says_why(code, error):
    assert ChartRenderer().render(code) == RenderResult(None, error)


def test_a_bar_is_as_high_as_its_level():
    image = draw(Chart("bar", "red", (1, 5)))
    ink = (image < 0.95).any(-1)
    low, high = (int(ink[:, column].sum()) for column in columns(2))
    assert (low, high) == (4, 20)
    np.testing.assert_allclose(image[22, columns(2)[0]], COLOURS["red"], atol=1e-6)


def test_all_programs_differ_in_their_drawings():
    generator = numpy_generator(0, "charts")
    charts = {random_chart(generator) for _ in range(300)}
    assert len({draw(chart).tobytes() for chart in charts}) == len(charts)


def test_a_domain_draws_otherwise_and_repeats_itself():
    chart = Chart("dots", "blue", (2, 4, 1))
    look = Look(0.3, 0.2, 0.05)
    first = draw_as(chart, look, 0, 1)
    assert np.array_equal(first, draw_as(chart, look, 0, 1))
    assert not np.array_equal(first, draw_as(chart, look, 0, 2))
    assert np.array_equal(draw_as(chart, PLAIN, 0), draw(chart))
    assert first.min() >= 0 and first.max() <= 1


def test_words_and_parser_agree():
    generator = numpy_generator(0, "parse")
    for _ in range(50):
        chart = random_chart(generator)
        assert parse(chart.words()) == chart and chart.kind in KINDS


def test_a_cache_draws_equal_code_once_and_forgets_the_oldest():
    asked = []

    class Counting:
        def render(self, code):
            asked.append(code)
            return RenderResult(None, "TimeoutError: slow" if code == "slow" else "no")

    cached = CachedRenderer(Counting(), most=2, workers=2)
    cached.render_all(["a", "b", "a"])
    assert sorted(asked) == ["a", "b"] and cached.hits == 1
    for code in ("c", "c", "b", "a"):  # c pushed a out
        cached.render(code)
    assert sorted(asked) == ["a", "a", "b", "c"]
    cached.render("slow")
    cached.render("slow")
    assert asked.count("slow") == 2, "that a machine was busy is not remembered"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("circle", "line 1: a shape and a colour are needed"),
        ("circle reddish 1 2 3", "line 1: 'reddish' is no colour"),
        ("paper white\nstar red 1", "line 2: 'star' is no shape"),
        ("box red 1 2 x 4", "line 1: '1 2 x 4' are no numbers"),
        ("line red 1 2", "line 1: line takes 4 or 5 numbers, not 2"),
        ("circle red 1 2 1e9", "line 1: numbers must lie within ten sizes of the picture"),
        ("circle red 1 2 nan", "line 1: numbers must lie within ten sizes of the picture"),
        ("circle red 1 1 1\n" * 65, "65 shapes; allowed: 64"),
    ],
)
def test_shapes_that_cannot_be_drawn_say_why(code, error):
    assert ShapeRenderer().render(code).error == f"ShapeError: {error}"


def test_shapes_are_drawn_where_they_are_said():
    image = (
        ShapeRenderer(32).render("paper yellow\nbox blue 20 20 4 4\ncircle red 12 12 2\nline black 0 30 31 30 2").image
    )
    assert image[0, 0].tolist() == [255, 255, 0]
    assert image[5, 5].tolist() == [0, 0, 255]
    assert image[12, 12].tolist() == [255, 0, 0]
    assert image[30, 10].tolist() == [0, 0, 0]
