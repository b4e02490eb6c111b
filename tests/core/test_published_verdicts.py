"""What the published results of this repository are under the rule, whether they were planned or not."""

from pathlib import Path

import pytest

from tenfold.core.claims import verdict_text
from tenfold.core.results import shown
from tenfold.core.tables import headline_of, newest, published

REPOSITORY = Path(__file__).parents[2]
FEW, TWICE = "undecided (3 of 5 seeds)", "supported (look 2)"

BEFORE_PLANS = {
    "cort": dict.fromkeys(("accuracy", "tokens", "place", "length", "tool"), TWICE),
    "hrm": dict.fromkeys(("recurrence", "refinement", "tiny", "adaptive"), FEW),
    "iw_sft": dict.fromkeys(("importance", "exponent", "quality"), "supported"),
    "kimi_k2": {
        **dict.fromkeys(("muon-dense", "muon-experts", "explosion", "regulation", "no-cost", "inert"), TWICE),
        "balance": "undecided (look 2)",
    },
    "rlcr": {
        **dict.fromkeys(("accuracy", "brier", "brier-alone", "log-score"), "supported"),
        **dict.fromkeys(("calibration", "discrimination", "voting"), "undecided"),
    },
    "sem": dict.fromkeys(("known", "unknown", "f1", "over-search"), FEW),
    "universal_pretraining": {
        **dict.fromkeys(("rep-1", "rep-3", "dyck", "transfer"), TWICE),
        **dict.fromkeys(("retention", "iteration"), "undecided (look 2)"),
        "markov": "not supported (look 2)",
    },
}
HEADLINES = {
    "cort": "tokens",
    "hrm": "recurrence",
    "iw_sft": "importance",
    "kimi_k2": "regulation",
    "rlcr": "brier",
    "sem": "over-search",
    "universal_pretraining": "markov",
}


def unplanned(paper):
    """The first published run of a paper: that of its plain laptop preset, of the time before there were plans."""
    first = next(one for one in shown(published(REPOSITORY)[paper]) if not one.run["changed"])
    assert not one_of_today(first)
    return first


def one_of_today(one):
    return "run" in one.run


@pytest.mark.parametrize("paper", BEFORE_PLANS)
def test_a_run_of_the_time_before_plans_is_judged_by_the_rule_of_today(paper):
    verdicts = {judged.claim.id: verdict_text(judged) for judged in unplanned(paper).judgements}
    assert verdicts == BEFORE_PLANS[paper]


@pytest.mark.parametrize("paper", BEFORE_PLANS)
def test_the_front_page_knows_the_headline_of_each(paper):
    one = newest(shown(published(REPOSITORY)[paper]))
    headline = headline_of(paper, one)
    assert headline is not None and headline.claim.id == HEADLINES[paper]
