"""A run: verdict metrics by hand, what the README lists, parts left out, and the rate sweep of the specification."""

import re
from dataclasses import replace
from importlib.resources import files
from math import isnan

import numpy as np
import pytest
from torch import nn

from tenfold.core.cell import Cell
from tenfold.core.claims import judge_all
from tenfold.core.types import Looks, Scores
from tenfold.papers.kimi_k2.pretraining import config as presets
from tenfold.papers.kimi_k2.pretraining import recipe
from tenfold.papers.kimi_k2.pretraining.config import DataConfig, PartConfig
from tenfold.papers.kimi_k2.pretraining.data import load_text
from tenfold.papers.kimi_k2.pretraining.training import Outcome, Training, pretrain

SECONDS = "cost/seconds"


def curve(values):
    return list(enumerate(values, start=1))


def config_with(tau):
    return replace(presets.smoke(), stress=replace(presets.smoke().stress, tau=tau))


# -------------------------------------------------------------------------------------------------------- by hand


def test_logits_of_the_stress_test_are_taken_at_the_end_and_over_the_last_fifty_steps():
    logits = [1000.0] * 10 + [4.0] * 24 + [6.0] * 25 + [30.0]
    clipped = [0.0] * 45 + [1.0, 2.0, 3.0] * 5
    curves = {"stress/qk_clip/max_logit": curve(logits), "stress/qk_clip/heads_clipped": curve(clipped)}
    assert recipe.stress_metrics(config_with(tau=2.0), curves) == {
        "stress/last_logit_over_tau": 15.0,
        "stress/median_logit_over_tau": 3.0,  # of 24 fours, 25 sixes and one thirty
        "stress/steps_with_a_clip": 0.25,
    }


def test_load_violation_is_that_of_the_counted_loads():
    balanced = Outcome(None, [1.0], loads_before={"a": [9, 1, 1, 1]}, loads={"a": [4, 3, 3, 2]})
    without = Outcome(None, [2.0, 4.0], loads_before={"a": [9, 1, 1, 1]}, loads={"a": [6, 6, 0, 0]})
    outcomes = {"experts": balanced, "unbalanced": without}
    assert recipe.load_metrics(outcomes) == {
        "experts/violation_start": 2.0,
        "experts/violation_end": pytest.approx(1 / 3),
    }
    assert recipe.unbalanced_metrics(outcomes) == {
        "experts/violation_end_without_bias": 1.0,
        "experts/violation_over_control": pytest.approx(1 / 3),
        "experts/held_out_loss_without_bias": 3.0,
    }


def test_one_weight_that_differs_is_seen():
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.load_state_dict(one.state_dict())
    outcomes = {"calm": Outcome(one, []), "calm-unobserved": Outcome(other, [])}
    curves = {"calm/qk_clip/max_logit": curve([1.0, 3.0, 2.0])}
    equal = {"calm/largest_weight_difference": 0.0, "calm/largest_logit": 3.0}
    assert recipe.inertness_metrics(outcomes, curves) == equal
    other.bias.data[1] = one.bias.data[1] - 0.25
    assert recipe.inertness_metrics(outcomes, curves)["calm/largest_weight_difference"] == pytest.approx(0.25)


def test_losses_and_largest_logits_of_each_part():
    outcomes = {"dense": Outcome(None, [1.0, 2.0]), "stress": Outcome(None, [4.0])}
    metrics = recipe.loss_metrics(outcomes, {"dense/qk_clip/max_logit": curve([3.0, 7.0, 5.0])})
    assert metrics["dense/held_out_loss"] == 1.5 and metrics["stress/held_out_loss"] == 4.0
    assert metrics["dense/largest_logit"] == 7.0
    assert isnan(metrics["experts/held_out_loss"]) and isnan(metrics["stress/largest_logit"])


def jittered(metrics, by):
    """The metrics moved a little; a difference that must be exactly 0 stays so."""
    return {name: value + by if value else value for name, value in metrics.items()}


def test_claims_turn_over_where_the_issue_puts_their_lines():
    def verdicts(**changes):
        good = {
            "adamw": {"dense/held_out_loss": 2.0, "experts/held_out_loss": 2.0},
            "muon": {
                "dense/held_out_loss": 1.9,
                "experts/held_out_loss": 1.9,
                "stress/last_logit_over_tau": 5.01,
                "stress/held_out_loss": 2.0,
            },
            "muonclip": {
                "stress/median_logit_over_tau": 1.24,
                "stress/held_out_loss": 2.019,
                "calm/largest_weight_difference": 0.0,
                "experts/violation_over_control": 0.249,
            },
        }
        for name, (arm, metric, value) in changes.items():
            assert name and metric in good[arm]
            good[arm] = good[arm] | {metric: value}
        spread = {arm: index + 1 for index, arm in enumerate(good)}  # seeds that are all alike decide nothing
        scores = {
            arm: {seed: Scores(jittered(metrics, 1e-6 * seed * spread[arm])) for seed in range(3)}
            for arm, metrics in good.items()
        }
        return {judged.claim.id: judged.verdict for judged in judge_all(recipe.CLAIMS, scores, Looks((0, 1, 2)))}

    worse = {
        "muon-dense": ("muon", "dense/held_out_loss", 2.01),
        "muon-experts": ("muon", "experts/held_out_loss", 2.01),
        "explosion": ("muon", "stress/last_logit_over_tau", 4.99),
        "regulation": ("muonclip", "stress/median_logit_over_tau", 1.26),
        "no-cost": ("muonclip", "stress/held_out_loss", 2.021),
        "inert": ("muonclip", "calm/largest_weight_difference", 1e-9),
        "balance-by-bias": ("muonclip", "experts/violation_over_control", 0.251),
    }
    assert verdicts() == dict.fromkeys(worse, "supported")
    assert verdicts(**worse) == dict.fromkeys(worse, "not supported")


# ------------------------------------------------------------------------------------------------------ whole runs


@pytest.fixture(scope="module")
def scores_of(tmp_path_factory):
    """Scores of every arm of the smoke preset."""
    config = presets.smoke()
    return {
        arm: recipe.run(config, arm, 0, Cell(arm=arm, seed=0, directory=tmp_path_factory.mktemp(arm), device="cpu"))
        for arm in recipe.ARMS
    }


def documented():
    """The names in the first column of the README's table of metrics."""
    section = (files("tenfold.papers.kimi_k2") / "README.md").read_text().split("## Metrics")[1].split("\n## ")[0]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("|")]
    return {name for row in rows for name in re.findall("`([^`]+)`", row)}


def test_a_run_reports_the_metrics_that_the_readme_lists_and_no_other(scores_of):
    assert set(scores_of["muonclip"].metrics) | {SECONDS} == documented()
    only = {name for name in documented() if name.startswith("calm/") or "without_bias" in name or "control" in name}
    assert set(scores_of["adamw"].metrics) == set(scores_of["muon"].metrics) == documented() - only - {SECONDS}
    assert not any(isnan(value) for scores in scores_of.values() for value in scores.metrics.values())


def test_the_clip_acts_in_smoke_and_only_in_its_arm_and_is_inert_where_it_should_be(scores_of):
    shares = {arm: scores.metrics["stress/steps_with_a_clip"] for arm, scores in scores_of.items()}
    assert shares["adamw"] == shares["muon"] == 0 < shares["muonclip"]
    assert scores_of["muonclip"].metrics["calm/largest_weight_difference"] == 0
    assert scores_of["muonclip"].metrics["stress/held_out_loss"] != scores_of["muon"].metrics["stress/held_out_loss"]


def test_losses_are_kept_for_each_window_and_heads_for_each_step_of_the_stress_test(scores_of):
    for scores in scores_of.values():
        for part in ("dense", "experts", "stress"):
            items = scores.items[f"{part}/held_out_loss"]
            assert len(items) == 32 and np.mean(items) == pytest.approx(scores.metrics[f"{part}/held_out_loss"])
        heads = {name: points for name, points in scores.curves.items() if name.startswith("stress/logits/")}
        assert len(heads) == 8 and all([step for step, _ in points] == [*range(1, 21)] for points in heads.values())
        largest = np.max([[value for _, value in points] for points in heads.values()], axis=0)
        assert largest.tolist() == [value for _, value in scores.curves["stress/qk_clip/max_logit"]]


def test_parts_without_steps_are_left_out_and_their_claims_undecided(tmp_path):
    config = replace(
        presets.smoke(),
        dense=PartConfig(),
        stress=PartConfig(),
        calm=PartConfig(),
        dense_model=presets.DenseModelConfig(),
    )
    expert_model = replace(config.expert_model, control=False)
    config = replace(config, expert_model=expert_model)
    scores = {}
    for arm in recipe.ARMS:
        cell = Cell(arm=arm, seed=0, directory=tmp_path / arm, device="cpu")
        scores[arm] = recipe.run(config, arm, 0, cell)
        assert [path.name for path in (tmp_path / arm).iterdir()] == ["experts"]
    unknown = {judged.claim.id for judged in judge_all(recipe.CLAIMS, {a: {0: s} for a, s in scores.items()}, Looks())}
    assert unknown == {claim.id for claim in recipe.CLAIMS}
    assert isnan(scores["muon"].metrics["stress/last_logit_over_tau"])
    assert isnan(scores["muonclip"].metrics["calm/largest_weight_difference"])
    assert scores["muonclip"].metrics["experts/violation_end"] > 0


# --------------------------------------------------------------------------------------------------- the rate sweep


@pytest.mark.slow
@pytest.mark.spec("kimi_k2", "T1")
def test_the_best_muon_beats_the_best_adamw_at_equal_steps(tmp_path):
    """250 steps, cosine to 10 %, weight decay 0.1, one rate for both parts of MuonClip; two rates against three."""
    config = replace(presets.laptop(), data=DataConfig(validation_windows=512))
    part = PartConfig(warmup_steps=20, decay_steps=230)
    text = load_text(config.data)

    def loss(optimizer, rate):
        training = Training("sweep", "dense", part, optimizer, rate, 0.0, 50)
        cell = Cell(arm=optimizer, seed=0, directory=tmp_path / f"{optimizer}-{rate}", device="cpu")
        return np.mean(pretrain(training, config, text, 0, cell).losses)

    muon = min(loss("muonclip", rate) for rate in (1e-2, 2e-2))
    adamw = min(loss("adamw", rate) for rate in (1e-3, 2e-3, 3e-3))
    assert muon < adamw - 0.1
