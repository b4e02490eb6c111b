"""What the recipe reports: verdicts' metrics by hand, costs by hand, checkpoints that transformers loads, pictures."""

import re
from dataclasses import replace
from importlib.resources import files
from math import log2, nan
from types import SimpleNamespace

import pytest
from transformers import AutoModelForCausalLM

from tenfold.core.cell import Cell
from tenfold.core.claims import judge
from tenfold.core.config import to_plain
from tenfold.core.errors import UserError
from tenfold.core.report import SECONDS
from tenfold.core.types import Looks, Report, Scores
from tenfold.papers.universal_pretraining import config as presets
from tenfold.papers.universal_pretraining import recipe
from tenfold.papers.universal_pretraining.config import FinetuningConfig
from tenfold.papers.universal_pretraining.evaluation import evaluate_zero_shot
from tenfold.papers.universal_pretraining.optimization import build_model
from tenfold.study.tuning import with_value


def tiny():
    config = presets.smoke()
    return replace(
        config,
        model=replace(config.model, width=16, layers=1, context=32),
        pretraining=replace(config.pretraining, steps=4, evaluate_every=2),
        finetuning=replace(config.finetuning, limit=20_000, steps=4, evaluate_every=2),
        evaluation=replace(config.evaluation, windows=3, curve_windows=2),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Scores of every arm with one seed, and where they were made."""
    root = tmp_path_factory.mktemp("run")
    return root, {
        arm: recipe.run(tiny(), arm, 0, Cell(arm=arm, seed=0, directory=root / arm, device="cpu"))
        for arm in recipe.ARMS
    }


def claim(name):
    return next(claim for claim in recipe.CLAIMS if claim.id == name)


# --------------------------------------------------------------------------------------------------------- verdicts


def curve_metrics(points, steps=100, target=5.0):
    config = replace(presets.laptop(), finetuning=FinetuningConfig(steps=steps, target_bits=target))
    return recipe.finetuning_metrics({"held_out/bits": points, "retention/bits": [(0, 8.0), (steps, 3.0)]}, config)


def test_steps_to_the_target_are_read_off_the_curve_of_held_out_text():
    assert curve_metrics([(0, 8.0), (40, 6.0), (60, 4.0), (100, 3.5)]) == {
        "finetuning/held_out": 3.5,
        "finetuning/retention": 3.0,
        "finetuning/steps_to_target": 50.0,
        "finetuning/log2_steps_to_target": log2(50),
        "finetuning/reached_target": 1.0,
    }


def test_an_arm_that_never_gets_there_counts_as_if_it_had_at_the_last_step():
    missed = curve_metrics([(0, 8.0), (100, 5.5)])
    assert (missed["finetuning/steps_to_target"], missed["finetuning/reached_target"]) == (100.0, 0.0)
    at_once = curve_metrics([(0, 4.0), (100, 3.0)])
    assert (at_once["finetuning/steps_to_target"], at_once["finetuning/log2_steps_to_target"]) == (1.0, 0.0)


@pytest.mark.parametrize(("mixture", "verdict"), [(68, "supported"), (72, "not supported")])
def test_the_claim_of_transfer_is_a_ratio_of_steps_below_seven_tenths(mixture, verdict):
    metric = "finetuning/log2_steps_to_target"
    scores = {
        arm: {seed: Scores({metric: log2(steps * (1 + seed / spread))}) for seed in range(3)}
        for arm, steps, spread in (("scratch", 100, 100), ("mixture", mixture, 120))
    }
    assert judge(claim("transfer"), scores, Looks((0, 1, 2))).verdict == verdict


def test_zero_shot_claims_are_met_from_below_and_what_was_not_measured_decides_nothing():
    for name in ("rep-1", "rep-3", "dyck", "markov"):
        line = claim(name)
        values = {
            bits: {"mixture": {seed: Scores({line.metric: bits + seed / 1000}) for seed in range(3)}}
            for bits in (-0.1, 9.0, nan)
        }
        verdicts = [judge(line, scores, Looks((0, 1, 2))).verdict for scores in values.values()]
        assert verdicts == ["supported", "not supported", "undecided"], name
    assert {claim(name).margin for name in ("rep-1", "rep-3", "dyck")} == {0.5, 5.5, 3.8}


def test_a_run_without_the_claimed_tasks_still_ends_in_a_report(tmp_path):
    config = replace(tiny(), evaluation=replace(tiny().evaluation, tasks=("bits",), corpora=("python",)))
    scores = recipe.run(config, "scratch", 0, Cell(arm="scratch", seed=0, directory=tmp_path, device="cpu"))
    assert all(claim.metric in scores.metrics for claim in recipe.CLAIMS)
    assert repr(scores.metrics["zero_shot/rep-1"]) == "nan"


# ------------------------------------------------------------------------------------------------------------ costs


def test_costs_are_counted_by_hand():
    config = presets.laptop()
    model = SimpleNamespace(num_parameters=lambda: 7)
    per_token = 6 * 1000 + 12 * 3 * 128 * 160

    def cost(arm):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recipe, "training_flops_per_token", lambda *_: per_token)
            return recipe.cost_metrics(model, config, recipe.ARMS[arm])

    p, f, g = config.pretraining, config.finetuning, config.generator
    tokens = p.steps * p.batch_size * 128
    generated = p.steps / g.source_every * g.rows_per_source * 128
    assert cost("mixture")["cost/pretraining_tokens"] == tokens
    assert cost("mixture")["cost/generated_tokens"] == generated
    assert cost("mixture")["cost/pretraining_teraflops"] == pytest.approx(tokens * per_token / 1e12)
    assert cost("scratch")["cost/pretraining_tokens"] == cost("scratch")["cost/generation_teraflops"] == 0
    assert cost("scratch")["cost/finetuning_tokens"] == f.steps * f.batch_size * 128
    assert cost("mixture")["cost/parameters"] == 7


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((presets.PretrainingConfig, name) for name in ("steps", "batch_size", "gradient_accumulation", "log_every")),
        *((presets.FinetuningConfig, name) for name in ("steps", "batch_size", "evaluate_every", "checkpoint_every")),
        *((presets.EvaluationConfig, name) for name in ("windows", "curve_windows", "batch_size")),
        (presets.GeneratorConfig, "source_every"),
    ],
)
def test_counts_below_one_are_refused_before_anything_is_trained(kind, name):
    with pytest.raises(
        UserError, match=f"{name} = 0: must be at least 1 in {kind.__name__.removesuffix('Config').lower()}"
    ):
        kind(**{name: 0})


@pytest.mark.parametrize(
    ("preset", "field", "value", "acts", "default"),
    [
        (presets.smoke(), "model.dropout", 0.3, "model.architecture = post_norm", 0.0),
        (presets.smoke(), "pretraining.mup_base_width", 32, "pretraining.mup", 640),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused_with_the_one_that_acts(preset, field, value, acts, default):
    with pytest.raises(UserError) as refused:
        with_value(preset, field, value)
    assert str(refused.value) == f"{field} = {value}: does not act here; set {acts}, or leave it at {default}"
    assert with_value(presets.paper(), field, value) != presets.paper()


def test_the_gpu_preset_sees_a_hundred_million_tokens_in_each_arm():
    config = presets.gpu()
    assert config.pretraining.steps * config.pretraining.batch_size * config.model.context >= 10**8
    assert config.generator.rows_per_source >= 512 and config.generator.compiled
    assert 2e7 < recipe.estimate(config)["parameters"] < 9e7


# ------------------------------------------------------------------------------------------------------- whole runs


def test_all_arms_start_from_the_same_weights_and_only_scratch_is_untrained(finished):
    _, scores = finished
    curves = {arm: of_arm.curves["pretraining/zero_shot/dyck"] for arm, of_arm in scores.items() if arm != "scratch"}
    assert len({curve[0] for curve in curves.values()}) == 1, "the same bits before the first step"
    assert len({curve[-1] for curve in curves.values()}) == 3
    start = scores["scratch"].curves["finetuning/held_out/bits"][0]
    assert start[1] == pytest.approx(8, abs=0.05)
    assert "pretraining/train/loss" not in scores["scratch"].curves


def test_checkpoints_load_in_transformers_as_they_are(finished):
    root, scores = finished
    config = tiny()
    model = AutoModelForCausalLM.from_pretrained(root / "mixture/pretraining/model")
    again = evaluate_zero_shot(
        model, config.evaluation.tasks, config.evaluation.windows, config.model.context, seed=0, markov_order=0
    )
    for name, result in again.items():
        assert result.bits == pytest.approx(scores["mixture"].metrics[f"zero_shot/{name}"], abs=1e-6)
    tuned = AutoModelForCausalLM.from_pretrained(root / "scratch/finetuned")
    assert (tuned.lm_head.weight - build_model(config.model, 0).lm_head.weight).abs().max() > 1e-3


def test_zero_shot_items_average_to_their_metrics(finished):
    for scores in finished[1].values():
        for name, values in scores.items.items():
            assert len(values) == 3 and sum(values) / 3 == pytest.approx(scores.metrics[name])


def test_every_metric_is_explained_in_the_readme_and_no_other(finished):
    text = (files("tenfold.papers.universal_pretraining") / "README.md").read_text()
    table = text.split("## Metrics")[1].split("## Our numbers")[0]
    named = {
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`(\w+/[^`]+)`", row.split("|")[1])
    }
    reported = set()
    for name in finished[1]["mixture"].metrics:
        group, _, task = name.partition("/")
        generic = {"zero_shot": "zero_shot/<task>", "second_half": "second_half/<text>"}.get(group, name)
        reported.add(name if task == "mean_of_tasks" else generic)
    assert named == reported | {SECONDS}


@pytest.mark.parametrize("arms", [["scratch"], ["mixture", "noniterated"], list(recipe.ARMS)])
def test_pictures_are_drawn_of_whatever_is_finished(finished, arms):
    scores = {arm: {0: finished[1][arm]} for arm in arms} | {"lstm": {}} | {arm: {0: finished[1][arm]} for arm in arms}
    report = Report("universal_pretraining", "smoke", [0], scores, (), {}, to_plain(tiny()))
    pictures = {picture.name: picture for picture in recipe.figures(report)}
    expected = {"zero-shot", "finetuning"} | ({"pretraining", "rows"} if arms != ["scratch"] else set())
    assert set(pictures) == expected
    for picture in pictures.values():
        picture.figure.canvas.draw()
        assert not any(digit in picture.caption.replace("8 bits", "") for digit in "0123456789"), (
            "a caption is no result"
        )


def test_nothing_finished_draws_nothing():
    assert recipe.figures(Report("universal_pretraining", "smoke", [0], {"scratch": {}}, (), {}, {})) == []
