"""Curves that can be read: single points, whole steps, legends off the curves."""

import math

from matplotlib.figure import Figure

from tenfold.core.learning_curves import alone, draw_line, learning_curves, legend_outside
from tenfold.core.types import Report, Scores


def report_of(curve):
    scores = {arm: {0: Scores({}, curves={"train/loss": curve})} for arm in ("plain", "method")}
    return Report("demo", "laptop", [0], scores, (), {}, {})


def test_a_point_without_neighbours_is_alone():
    assert alone([math.nan, 1.0, math.nan]) == [False, True, False]
    assert alone([1.0, 2.0, math.nan, 3.0]) == [False, False, False, True]
    assert alone([1.0, 2.0]) == [False, False]


def test_points_that_no_line_reaches_are_markers():
    axes = Figure().subplots()
    draw_line(axes, [(1, 1.0), (2, math.nan), (3, 2.0), (4, 3.0)])
    draw_line(axes, [(1, 1.0), (2, 2.0)])
    broken, whole = axes.lines
    assert broken.get_marker() == "o" and broken.get_markevery() == [True, False, False, False]
    assert whole.get_marker() == ""


def test_ticks_of_steps_are_whole_also_for_a_single_evaluation():
    for curve in ([(3, 0.5)], [(1, 0.5), (2, 0.25)], [(0, 1.0), (400, 0.5)]):
        figure = Figure()
        axes = figure.subplots()
        draw_line(axes, curve)
        figure.draw_without_rendering()
        left, right = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if left <= tick <= right]
        assert ticks and all(tick == round(tick) for tick in ticks)


def test_the_legend_stands_above_all_panels_and_names_each_arm_once():
    (picture,) = learning_curves(report_of([(1, 1.0), (2, 2.0)]))
    figure = picture.figure
    figure.draw_without_rendering()
    assert all(axes.get_legend() is None for axes in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["plain", "method"]
    assert legend.get_window_extent().y0 >= max(axes.get_window_extent().y1 for axes in figure.axes)


def test_a_legend_of_many_arms_is_no_wider_than_its_figure_and_is_made_once():
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    for number in range(9):
        draw_line(axes, [(0, 1.0), (1, number)], label=f"an_arm_with_a_long_name_{number}")
    legend_outside(figure)
    legend_outside(figure)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    extent = legend.get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.width and len(legend.get_texts()) == 9


def test_without_curves_nothing_is_drawn():
    assert learning_curves(Report("demo", "laptop", [0], {"plain": {0: Scores({})}}, (), {}, {})) == []
