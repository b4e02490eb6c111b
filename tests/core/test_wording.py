import math

import pytest

from tenfold.core.claims import judge
from tenfold.core.types import Claim, Looks, Scores
from tenfold.core.wording import duration, entry_of, needed_text, preset_text, readable, verdict_row


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.65625, "0.656"),
        (-0.05, "−0.050"),
        (0.0, "0.000"),
        (5.0, "5.000"),
        (12.345, "12.3"),
        (128000.0, "128,000"),
        (27275266, "27,275,266"),
        (1234.5, "1,234"),
        (1.5e12, "1.5e+12"),
        (2e-5, "2e-05"),
        (math.nan, "not a number"),
        (-math.inf, "−∞"),
    ],
)
def test_readable_numbers(value, text):
    assert readable(value) == text


def test_durations_cannot_be_mistaken_for_times_of_day():
    assert [duration(seconds) for seconds in (0.3, 59, 61, 3600)] == ["0 s", "59 s", "1 min 1 s", "1 h 0 min"]


def test_an_entry_shows_mean_half_interval_and_seeds():
    entry = entry_of([1.0, 2.0, 3.0])
    assert (entry.mean, entry.spread, entry.seeds) == ("2.000", "± 2.484", "1.000  2.000  3.000")
    assert entry_of([]).mean == "–"
    assert entry_of([7.0, 7.0, 7.0]) == entry_of([7.0])
    assert entry_of([1.0, math.nan]).mean == "not a number"


@pytest.mark.parametrize(
    ("kind", "baseline", "direction", "margin", "text"),
    [
        ("superiority", "b", "higher", 0.0, "gain above 0"),
        ("superiority", "b", "lower", 0.1, "gain above 0.1"),
        ("non_inferiority", "b", "higher", 0.05, "gain above −0.05"),
        ("threshold", None, "higher", 0.3, "above 0.3"),
        ("threshold", None, "lower", 0.3, "below 0.3"),
        ("exact", None, "higher", 27275266.0, "exactly 27,275,266"),
        ("exact", "b", "higher", 0.0, "equal to b"),
    ],
)
def test_what_a_claim_needs(kind, baseline, direction, margin, text):
    assert needed_text(Claim("c", "A claim.", kind, "m/n", "test", "a", baseline, direction, margin, "")) == text


def test_a_preset_is_named_with_what_was_changed():
    changed = {"training.steps": 500, "arms.hrm.q_continue": False, "data.files": ["a", "b"], "data.kind": "easy"}
    text = 'laptop with training.steps 500, arms.hrm.q_continue false, data.files ["a", "b"], data.kind easy'
    assert preset_text("laptop", changed) == text
    assert preset_text("laptop", {}) == "laptop"


def test_a_row_of_the_verdict_table_has_effect_and_interval():
    claim = Claim("c", "A claim.", "threshold", "m/n", "test", "a", None, "higher", 0.3, "")
    judgement = judge(
        claim, {"a": {seed: Scores({"m/n": value}) for seed, value in enumerate((0.5, 0.6, 0.7))}}, Looks((0, 1, 2))
    )
    assert verdict_row(judgement)["effect"] == "0.600 [0.352, 0.848]"
