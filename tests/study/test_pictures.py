import math

import pytest
from matplotlib.figure import Figure

from tenfold.core.types import Report, Scores
from tenfold.study import pictures


def cells(**curves):
    return {
        arm: {
            seed: Scores({"test/score": 0.1 * seed}, curves={"train/loss": curve}) for seed, curve in enumerate(found)
        }
        for arm, found in curves.items()
    }


def test_arms_without_a_finished_cell_are_left_out():
    scores = {"plain": {}, "hrm": {0: Scores({})}}
    report = Report("hrm", "smoke", [0], scores, [], {}, {})
    assert list(pictures.finished(report)) == ["hrm"]


def test_an_arm_keeps_its_colour_and_colours_differ():
    arms = [f"arm {number}" for number in range(9)]
    found = pictures.colours(arms)
    assert len(set(found.values())) == 9 and pictures.colours(arms[:3])["arm 2"] == found["arm 2"]


def test_a_thin_line_for_each_seed_and_a_thick_mean_as_far_as_all_go():
    figure, axes = pictures.one_panel()
    found = cells(method=[[(1, 1.0), (2, 3.0)], [(1, 3.0), (2, 5.0), (3, 9.0)]])
    pictures.draw_curves(axes, found, pictures.named("train/loss"), {"method": "#000000"})
    *thin, mean = axes.lines
    assert [len(line.get_xdata()) for line in thin] == [2, 3]
    assert list(mean.get_ydata()) == [2.0, 4.0] and mean.get_label() == "method"
    assert isinstance(figure, Figure)


def test_a_curve_of_one_point_can_be_seen():
    _, axes = pictures.one_panel()
    pictures.draw_curves(axes, cells(method=[[(5, 1.0)]]), pictures.named("train/loss"), {"method": "#000000"})
    assert axes.lines[-1].get_marker() == "o"


def test_cells_without_the_curve_draw_nothing():
    _, axes = pictures.one_panel()
    pictures.draw_curves(axes, cells(method=[[(5, 1.0)]]), pictures.named("absent"), {"method": "#000000"})
    assert not axes.lines


def test_bars_are_means_with_a_dot_for_each_seed():
    _, axes = pictures.one_panel()
    pictures.draw_bars(axes, cells(a=[[(1, 1.0)], [(1, 1.0)]]), "test/score", {"a": "#000000"})
    assert axes.patches[0].get_width() == pytest.approx(0.05)
    assert list(axes.lines[0].get_xdata()) == [0.0, 0.1]


def test_coloured_text_loses_no_letter():
    pieces = [("said", "one two\nthree"), ("search", "four" * 5)]
    lines = pictures.coloured_lines(pieces, 8)
    assert all(sum(len(text) for _, text in line) <= 8 for line in lines)
    assert "".join(text for line in lines for _, text in line) == "one twothree" + "four" * 5
    flat = pictures.coloured_lines(pieces, 100, keep_breaks=False)
    assert flat == [[("said", "one two three"), ("search", "four" * 5)]]
    figure = pictures.draw_text([[("heading", "Q")], *lines], 8, {"search": "#d1603d"})
    letters = figure.axes[0].texts
    assert len(letters) == 1 + len("one twothree") + 20
    assert {letter.get_color() for letter in letters[-20:]} == {"#d1603d"}
    assert math.isclose(letters[0].get_fontsize(), pictures.POINTS) and letters[0].get_weight() == "bold"
