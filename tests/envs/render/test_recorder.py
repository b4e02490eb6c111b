"""Records of real Matplotlib programs, and what charts they make alike."""

import pytest

from tenfold.envs.render.recorder import ChartRecorder
from tenfold.eval.charts import ChartRecord, compare_charts

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("_bubblewrap")]
HEAD = "import matplotlib.pyplot as plt\n"


@pytest.fixture(scope="module")
def recorder():
    with ChartRecorder() as found:
        yield found


def test_strings_without_ticks_calls_layout_and_colours(recorder):
    found = recorder.record(
        HEAD
        + "figure, (left, right) = plt.subplots(1, 2)\n"
        + "left.bar(['a', 'b'], [1, 2], color=['red', '#00ff00'], label='sold')\n"
        + "right.plot([1, 2], color='blue')\nright.set_xlabel('year')\nleft.legend()\nfigure.suptitle('Sales')\n"
    )
    assert found.error == ""
    assert sorted(found.texts) == ["Sales", "sold", "year"]
    assert found.calls == ("bar", "plot")
    assert sorted(found.layout) == [(1, 2, 0, 0, 0, 0), (1, 2, 0, 0, 1, 1)]
    assert set(found.colours) == {("bar", "#ff0000"), ("bar", "#00ff00"), ("plot", "#0000ff")}
    assert set(found.published_colours) == set(found.colours)


def test_calls_within_calls_are_not_counted_and_polar_is_a_type_of_its_own(recorder):
    found = recorder.record(
        HEAD
        + "axes = plt.subplot(111, projection='polar')\naxes.plot([0, 1], [1, 2])\n"
        + "plt.figure()\nplt.hist([1, 1, 2])\nplt.errorbar([1], [2], yerr=[0.1])\nplt.pie([1, 2])\n"
    )
    assert found.calls == ("polar plot", "hist", "errorbar", "pie")


def test_colours_that_are_set_after_the_call_count_in_both_readings_as_they_say(recorder):
    """A box plot whose boxes are coloured afterwards: each of them, or only the last."""
    found = recorder.record(
        HEAD
        + "boxes = plt.boxplot([[1, 2, 3], [2, 3, 4], [3, 4, 5]], patch_artist=True)\n"
        + "for box, colour in zip(boxes['boxes'], ['#ff0000', '#00ff00', '#0000ff']):\n    box.set_facecolor(colour)\n"
    )
    every = {colour for _, colour in found.colours}
    assert {"#ff0000", "#00ff00", "#0000ff"} <= every
    published = {colour for _, colour in found.published_colours}
    assert len(published & {"#ff0000", "#00ff00", "#0000ff"}) == 1 and "#0000ff" in published


def test_colour_maps_are_named(recorder):
    found = recorder.record(HEAD + "plt.imshow([[1, 2], [3, 4]], cmap='plasma')\n")
    assert found.colours == (("imshow", "plasma"),)
    scattered = recorder.record(HEAD + "plt.scatter([1, 2], [1, 2], c=[0.1, 0.9], cmap='magma')\n")
    assert scattered.colours == (("scatter", "magma"),)


def test_a_program_that_fails_says_why_and_scores_nothing(recorder):
    reference = recorder.record(HEAD + "plt.bar([1], [2])\n")
    failed = recorder.record(HEAD + "plt.bar([1], [2\n")
    assert failed.error.startswith("SyntaxError")
    assert recorder.record("x = 1").error == "NothingDrawn: the program made no figure"
    scores = compare_charts(ChartRecord(**reference.fields()), ChartRecord(**failed.fields()))
    assert set(scores.values()) == {0.0}


def test_a_program_that_spoils_its_record_spoils_its_own(recorder):
    for spoil in (
        "import json\njson.dump = lambda *_, **__: open('record.json', 'w').write('[1]')\n",
        "import json\njson.dump = lambda *_, **__: open('record.json', 'w').write('[' * 100000)\n",
        "import json\njson.dump = lambda *_, **__: None\n",
    ):
        assert recorder.record(HEAD + spoil + "plt.bar([1], [2])\n").error.startswith("RecordError")
    assert recorder.record(HEAD + "plt.bar([1], [2])\n").error == ""


def test_equal_charts_score_one_and_one_change_lowers_its_own_measure(recorder):
    def record(**change):
        given = {"title": "Sales", "colour": "'red'", "call": "bar", "grid": "1, 1, 1"} | change
        code = f"plt.subplot({given['grid']})\nplt.{given['call']}([1, 2], [3, 4], color={given['colour']})\n"
        return ChartRecord(**recorder.record(f"{HEAD}{code}plt.title({given['title']!r})\n").fields())

    reference = record()
    assert set(compare_charts(reference, record()).values()) == {1.0}
    for change, measure in (
        ({"title": "Costs"}, "text"),
        ({"colour": "'blue'"}, "colour"),
        ({"grid": "1, 2, 1"}, "layout"),
    ):
        scores = compare_charts(reference, record(**change))
        assert scores[measure] < 1.0
        assert [name for name, value in scores.items() if value < 1.0] == [measure, "low_level"]
    other_call = compare_charts(reference, record(call="plot"))
    assert other_call["type"] == other_call["colour"] == 0.0, "colours are matched within a call"
