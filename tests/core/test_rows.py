"""Rows of the report's tables: strips of claims, their words, groups of arms."""

import math
from dataclasses import replace

import pytest

from tenfold.core.claims import judge, what_it_says
from tenfold.core.rows import MOST_ARMS, all_together_text, arm_groups, claim_row, claim_rows, strip_of
from tenfold.core.types import Claim, Gate, Looks, Scores

CLAIM = Claim("c", "A gains.", "superiority", "m/n", "test", "a", "b", "higher", 0.1, "steps", "a pilot")


def judged(values=(0.5, 0.6, 0.7), claim=CLAIM, plan=(0, 1, 2), **looks):
    scores = {
        "a": {seed: Scores({"m/n": value}) for seed, value in enumerate(values)},
        "b": {seed: Scores({"m/n": 0.2}) for seed in range(len(values))},
    }
    return judge(claim, scores, Looks(plan=plan, **looks))


def test_every_seed_is_a_dot_and_all_keep_their_order_on_the_strip():
    strip = strip_of(judged())
    low, high = strip["interval"]
    assert len(strip["values"]) == 3 and strip["values"] == sorted(strip["values"])
    assert strip["effect"] == strip["values"][1]
    assert min(strip["line"], low) > 0 and max(strip["line"], high) < 100
    assert low < strip["values"][0] < strip["values"][2] < high


def test_one_seed_without_an_interval_is_still_drawn():
    strip = strip_of(judged(values=(0.9,)))
    assert strip["interval"] is None and len(strip["values"]) == 1 and strip["line"] < strip["effect"]


def test_an_exact_claim_that_hits_stands_in_the_middle():
    strip = strip_of(judged(values=(0.5, 0.5), claim=replace(CLAIM, kind="exact", baseline=None, margin=0.5)))
    assert strip["line"] == strip["effect"] == 50.0 and strip["values"] == [50.0, 50.0]


def test_an_old_entry_without_values_has_its_interval_alone():
    strip = strip_of(replace(judged(), values=()))
    assert strip["values"] == [] and strip["interval"] is not None


def test_what_is_no_number_is_not_drawn():
    assert strip_of(judged(values=(0.5, math.nan))) is None


def test_a_further_look_says_its_confidence():
    first, second = claim_row(judged()), claim_row(judged(earlier={what_it_says(CLAIM): 1}))
    assert first["over"] == "95 % interval over 3 seeds"
    assert second["over"] == "97.5 % interval over 3 seeds" and "look 2" in second["verdict"]


@pytest.mark.parametrize(
    ("verdict", "together", "text"),
    [
        ("supported", True, "also when all claims are counted together"),
        ("supported", False, "not when all claims are counted together"),
        ("supported", None, ""),
        ("undecided", False, ""),
    ],
)
def test_a_supported_claim_says_whether_it_holds_with_all_others(verdict, together, text):
    assert all_together_text(replace(judged(), verdict=verdict, together=together)) == text


def test_a_claim_is_described_with_margin_source_and_gate():
    gate = Gate("b", "m/n", "higher", 0.3, "the rival did not learn")
    row = claim_row(judged(claim=replace(CLAIM, gate=gate)))
    assert row["compared"] == "a against b · m/n on test · superiority, higher is better"
    assert row["conditions"] == "Margin 0.1 (a pilot). Budget: steps."
    assert "b counts as a rival only if its m/n is above 0.3 in every seed. It failed." in row["gate"]
    assert claim_row(judged())["gate"] == ""


def test_the_headline_is_first():
    other, headline = judged(), judged(claim=replace(CLAIM, id="h", text="The known one.", headline=True))
    assert [row["text"] for row in claim_rows([other, headline])] == ["The known one.", "A gains."]


@pytest.mark.parametrize("count", range(12))
def test_groups_of_arms_are_complete_small_and_about_equal(count):
    arms = [f"arm {number}" for number in range(count)]
    groups = arm_groups(arms)
    assert [arm for group in groups for arm in group] == arms
    assert all(len(group) <= MOST_ARMS for group in groups)
    assert len(groups) == math.ceil(count / MOST_ARMS)
