"""The parts of the reward and their presets, against values worked out by hand."""

from dataclasses import fields

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.rewards.visual import PRESETS, Parts, Rendered, VisualReward, VisualWeights, code_of, parts_of

DRAWN = {
    "good after a call": Rendered(0.6, [0.4]),
    "worse than its call": Rendered(0.6, [0.9]),
    "nearly equal": Rendered(0.97),
    "broken": Rendered(None, [0.4, None]),
    "malformed": Rendered(0.8, [0.5, 0.7, 0.8], well_formed=False),
}

BY_HAND = {
    # 0.8 V + 0.2 F + 0.2 T, T = gate * min(n, 2) / 2
    "default": {
        "good after a call": 0.8 * 0.6 + 0.2 * 0.5,
        "worse than its call": 0.8 * 0.6,
        "nearly equal": 0.8 * 0.97 + 0.2,
        "broken": -0.2,
        "malformed": 0.8 * 0.8 - 0.2 + 0.2,
    },
    # 0.8 V + 0.2 F + 1.2 T, T = used and V > 0.5
    "deepeyes": {
        "good after a call": 0.8 * 0.6 + 1.2,
        "worse than its call": 0.8 * 0.6 + 1.2,
        "nearly equal": 0.8 * 0.97,
        "broken": -0.2,
        "malformed": 0.8 * 0.8 - 0.2 + 1.2,
    },
    # 0.2 V + 0.8 F + 1.0 T, T = min(n, 2) / 2, or 1 above 0.95
    "rrvf_note": {
        "good after a call": 0.2 * 0.6 + 0.5,
        "worse than its call": 0.2 * 0.6 + 0.5,
        "nearly equal": 0.2 * 0.97 + 1.0,
        "broken": -0.8 + 0.5,
        "malformed": 0.2 * 0.8 - 0.8 + 1.0,
    },
}


@pytest.mark.spec("rrvf", "A6")
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_give_what_was_worked_out_by_hand(preset):
    weights = PRESETS[preset]
    for name, expected in BY_HAND[preset].items():
        parts = parts_of(DRAWN[name], weights)
        assert parts.total(weights) == pytest.approx(expected), name
        summed = weights.vision * parts.vision + weights.format * parts.format + weights.tool * parts.tool
        assert parts.total(weights) == pytest.approx(summed)


def test_the_presets_contradict_each_other():
    """No source agrees with another, so that nothing may hang on one of them being right."""
    assert len({PRESETS[name] for name in PRESETS}) == len(PRESETS) == 3
    assert {field.name for field in fields(VisualWeights)} >= {"vision", "format", "tool", "tool_rule"}


def test_a_failed_call_costs_what_the_weights_say():
    free, dear = VisualWeights(), VisualWeights(failed_call=2.0)
    assert parts_of(Rendered(0.8, [None]), free).format == 0.0
    assert parts_of(Rendered(0.8, [None]), dear).format == -2.0
    assert parts_of(Rendered(None, [None]), dear).format == -3.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision": -1.0}, "vision = -1.0: allowed: finite numbers from 0 on"),
        ({"tool_rule": "always"}, "tool_rule = 'always': allowed: gated, above_half, per_call"),
        ({"enough_calls": 0}, "enough_calls = 0: must be at least 1"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        VisualWeights(**change)


def drawing(number):
    image = np.full((12, 12, 3), 255, np.uint8)
    image[3 : 3 + number, 2:9] = (200, 30, 30)
    return image


def test_rewards_of_trl_are_rendered_once_for_the_three_parts():
    asked = []

    def render(code):
        asked.append(code)
        return drawing(int(code)) if code.isdigit() else None

    reward = VisualReward(render)
    functions, weights = reward.functions()
    given = {"completions": ["<answer>4</answer>", "<answer>x</answer>", "4"], "image": [drawing(4)] * 3}
    vision, form, tool = (function(prompts=[""] * 3, **given) for function in functions)
    assert (vision, form, tool) == ([1.0, 0.0, 0.0], [0.0, -1.0, -1.0], [1.0, 0.0, 0.0])
    assert asked == ["4", "x"] and weights == [0.8, 0.2, 0.2]
    assert [function.__name__ for function in functions] == ["vision", "format", "tool"], "logged by these names"


def test_conversations_are_read_and_the_column_has_a_name():
    reward = VisualReward(lambda code: drawing(2), column="picture")
    said = [[{"role": "assistant", "content": "<answer>a</answer>"}]]
    assert reward.vision(completions=said, picture=[drawing(2)]) == [1.0]
    with pytest.raises(UserError, match="column 'picture': the data set has image"):
        reward.vision(completions=said, image=[drawing(2)])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<answer>a</answer><answer> b </answer>", "b"),
        ("<answer>```python\nx = 1\n```</answer>", "x = 1"),
        ("words\n```python\nfirst\n```\nand\n```\nlast\n```\n", "last"),
        ("<answer></answer>", None),
        ("</answer><answer>", None),
        ("nothing", None),
        ("```python\nnot closed", None),
    ],
)
def test_the_program_of_an_answer(text, code):
    assert code_of(text) == code


def test_parts_are_plain_numbers():
    assert Parts(0.5, 0.0, 0.0).total(VisualWeights()) == pytest.approx(0.4)
