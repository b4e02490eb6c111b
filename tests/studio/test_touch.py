"""What the tabs show, without a page: pure functions from the values of their fields to HTML."""

import html
import importlib
import re
import shutil

import pytest
from touched import TABS

from tenfold.core import discovery
from tenfold.core.errors import UserError
from tenfold.core.touch import Choice, Number, Tab, Text, Ticks, shown, usable_runs

needs_isolation = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is missing: apt install bubblewrap"
)


def touch(paper):
    return importlib.import_module(f"tenfold.papers.{paper}.touch")


def said(pieces):
    """The text of the last piece, without tags."""
    last = list(pieces)[-1] if not isinstance(pieces, str) else pieces
    return html.unescape(re.sub(r"<[^>]*>", "", last))


@pytest.mark.parametrize("paper", TABS)
def test_a_tab_names_a_study_its_arms_and_fields(paper):
    tab = TABS[paper]
    assert tab.title and tab.about and tab.button and tab.fields
    for field in tab.fields.values():
        assert isinstance(field, Text | Number | Choice | Ticks) and field.label
        assert not isinstance(field, Number) or field.low <= field.value <= field.high
        assert not isinstance(field, Ticks) or isinstance(tab.fields[field.of], Choice)
    if tab.study:
        assert discovery.find_study(tab.study).paper == paper
        assert set(tab.arms) <= set(discovery.recipe_module(tab.study).ARMS) and tab.arms


def test_only_runs_that_have_all_a_tab_needs_are_offered(run_of, tmp_path):
    tab = TABS["kimi_k2"]
    run = run_of(tab)
    assert usable_runs(tab, [run.parent]) == usable_runs(tab, [run]) == [run]
    assert usable_runs(TABS["hrm"], [run.parent]) == [] == usable_runs(tab, [tmp_path, tmp_path / "absent"])
    more = Tab("", "", "", {}, str, study="kimi_k2", arms=(*tab.arms, "adamw"))
    assert usable_runs(more, [run]) == []


def test_what_is_refused_is_shown_as_a_sentence():
    def act(text):
        raise UserError(f"text is {text!r}; <none> allowed")

    (piece,) = shown(Tab("", "", "", {}, act), None, ["a"])
    assert piece == '<p class="refused">text is &#x27;a&#x27;; &lt;none&gt; allowed</p>'


def test_every_sentence_of_every_vignette_can_be_left_out():
    msa = touch("msa")
    for vignette in msa.vignettes():
        for sentence in vignette.conditions:
            program = msa.program_telling(vignette, [other for other in vignette.conditions if other != sentence])
            assert sentence not in program
            assert program.count("condition(") == vignette.gold_program.count("condition(") - 1
    with pytest.raises(UserError, match="is no sentence of ski-relay"):
        msa.program_telling(msa.named("ski-relay"), ["Rolf won."])


@needs_isolation
def test_msa_believes_otherwise_when_less_is_told():
    from tenfold.papers.msa.evaluation import gold_posteriors

    relay = touch("msa").named("ski-relay")
    whole = said(touch("msa").act("ski-relay", relay.conditions, 0))
    none = said(touch("msa").act("ski-relay", [], 0))
    mean = re.compile(r"how many is Rolf fitter than\? (\d+) ±")
    assert "5 of 5 sentences told" in whole and "0 of 5 sentences told" in none
    gold = float(gold_posteriors()["ski-relay"]["query2"].mean())
    assert abs(int(mean.search(none)[1]) - 50) < 5 < 50 - gold  # a rank of whom nothing is known
    assert abs(int(mean.search(whole)[1]) - gold) < 4


def test_hrm_shows_a_board_after_each_segment(run_of):
    hrm, run = touch("hrm"), run_of(TABS["hrm"])
    puzzle = "1.3434...1..4.2."
    pieces = list(hrm.act(run, puzzle, 3))
    assert [piece.count("<figure>") for piece in pieces] == [1, 2, 3, 3]
    givens = re.findall(r'<td class="given[^"]*">(.)</td>', pieces[0])
    assert len(givens) == sum(cell != "." for cell in puzzle)
    assert "segment 3:" in said(pieces) and "Model: arm hrm, seed 0" in said(pieces)
    assert len(list(hrm.act(run, "", 1))) == 2  # a fresh one
    assert "puzzle 1" in said(shown(TABS["hrm"], run, ["12", 1]))


def test_a_board_tells_given_and_changed_cells_apart():
    board = touch("hrm").board_html("1234341221434321", "1...............", "1234341221434312", (2, 2))
    assert board.count('class="given') == 1 and board.count('class="changed') == 2
    assert board.count("right") == 8 and board.count("below") == 8


def test_kimi_k2_replays_what_the_run_logged(run_of):
    kimi, run = touch("kimi_k2"), run_of(TABS["kimi_k2"])
    curves, _ = kimi.stress_curves(run, "muonclip")
    pieces = list(kimi.act(run, 2))
    steps, last = curves[kimi.LOGIT][-1]
    assert len(pieces) == 2 and f"Up to step {steps:.0f} of {steps:.0f}" in said(pieces)
    assert f"muonclip: largest logit {last:.1f}" in said(pieces) and "clipped in 0 of" in said(pieces)


def test_predicted_bytes_cost_what_the_evaluation_says(run_of):
    import torch

    from tenfold.eval.bits_per_byte import token_bits
    from tenfold.models.causal_lm import load_causal_lm

    universal, run = touch("universal_pretraining"), run_of(TABS["universal_pretraining"])
    folder = run / "cells" / "mixture" / "seed-0" / "pretraining" / "model"
    bits, expected = universal.predictions(folder, b"abcabc")
    truth = token_bits(load_causal_lm(folder), torch.tensor([list(b"abcabc")]))[0].tolist()
    assert sum(bits) == pytest.approx(sum(truth), abs=0.05) and len(expected) == 5
    shown_text = universal.act(run, "mixture", "a <b>")
    assert shown_text.count('class="byte') == 5 + 1 and "&lt;" in shown_text  # and the box around them
    assert "allowed: 2 to" in said(shown(TABS["universal_pretraining"], run, ["lstm", "x" * 10_000]))


def test_rlcr_says_how_sure_it_is_and_may_be(run_of):
    rlcr, run = touch("rlcr"), run_of(TABS["rlcr"])
    text = said(rlcr.act(run, "rlcr", "2 + 3"))
    assert text.startswith("2+3=") and "the best one is 5, with 1.00" in text
    assert "the best one is 3, with 0.50" in said(rlcr.act(run, "rlvr", "3+?="))
    assert "allowed: two digits or question marks" in said(shown(TABS["rlcr"], run, ["rlcr", "33+1"]))


@needs_isolation
def test_cort_samples_a_trajectory_in_colours(run_of):
    run = run_of(TABS["cort"])
    one, other = (touch("cort").act(run, "hint_engineering", 1, 0) for _ in range(2))
    assert one == other and 'class="pieces"' in one and "tokens of the model" in said(one)


def test_sem_samples_a_response_in_colours(run_of):
    run = run_of(TABS["sem"])
    one, other = (touch("sem").act(run, "sem", "in the index alone", 1, 0) for _ in range(2))
    assert one == other and 'class="pieces"' in one and "the final answer is" in said(one)


def test_a_picture_of_rrvf_has_the_colours_of_its_pixels():
    import base64
    import io

    import numpy as np
    from PIL import Image

    shown_picture = touch("rrvf").picture(np.array([[[0.2, 0.4, 1.0], [1.0, 1.0, 1.0]]]))
    png = base64.b64decode(re.search(r"base64,([^\"]*)", shown_picture)[1])
    assert np.asarray(Image.open(io.BytesIO(png))).tolist() == [[[51, 102, 255], [255, 255, 255]]]


def test_rrvf_draws_in_two_turns(run_of):
    run = run_of(TABS["rrvf"])
    rrvf = touch("rrvf")
    pieces = list(rrvf.act(run, rrvf.DOMAINS[1], 1, 0))
    assert [piece.count("<figcaption>turn") for piece in pieces] == [1, 2, 2]
    assert "turn 2: score" in said(pieces) and "remarks:" in said(pieces)
    assert pieces == list(rrvf.act(run, rrvf.DOMAINS[1], 1, 0)) != list(rrvf.act(run, rrvf.DOMAINS[1], 2, 0))


def test_dino_world_replays_a_clip_and_plans(run_of):
    run = run_of(TABS["dino_world"])
    clip, plans = (list(touch("dino_world").act(run, what)) for what in touch("dino_world").SHOWN)
    assert len(clip) > 1 and len(set(clip)) == len(clip) and "seconds after the last frame" in said(clip)
    assert "After 0 steps" in said(plans[0]) and len(plans) > 1 and "end at their goal" in said(plans)
