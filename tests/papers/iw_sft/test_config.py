"""What the weights' configuration means and refuses, and what each study's does; a refusal names the field."""

from dataclasses import replace

import pytest

from tenfold.core.errors import UserError
from tenfold.papers.iw_sft.arms import exponent
from tenfold.papers.iw_sft.config import IWSFTConfig, NetworkConfig, RatesConfig
from tenfold.papers.iw_sft.gymnasium import config as gymnasium
from tenfold.papers.iw_sft.gymnasium import recipe
from tenfold.papers.iw_sft.language import config as language
from tenfold.papers.iw_sft.two_route import config as two_route
from tenfold.train.settings import OptimizerSettings, SFTSettings


@pytest.mark.parametrize(
    ("field", "value"),
    [("weight_clip", (2.0, 1.0)), ("weight_clip", (-1.0, 1.0)), ("q_ema", 1.0), ("temperature", 0.0)],
)
def test_weights_that_cannot_be_meant_are_refused(field, value):
    with pytest.raises(UserError, match=field):
        IWSFTConfig(**{field: value})


@pytest.mark.parametrize("options", [{}, {"normalize": "none", "q_ema": 0.9}, {"normalize": "batch_sum"}])
def test_dft_with_another_weight_than_the_own_probability_is_refused(options):
    with pytest.raises(UserError, match="weight_fn = dft with normalize = "):
        IWSFTConfig(weight_fn="dft", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_fn": "dft", "normalize": "none", "temperature": 2.0}, "temperature = 2.0: does not act here; set we"),
        ({"weight_fn": "dft", "normalize": "none", "ref": "column"}, "ref = column: does not act here; set weight_fn"),
        ({"weight_fn": "rwr", "q_ema": 0.9}, "q_ema = 0.9: does not act here; set weight_fn = iw"),
        ({"weight_fn": "rwr", "weight_clip": (0.0, 2.0)}, "weight_clip = "),
        ({"weight_fn": "awr", "level": "step"}, "level = step: does not act here; set weight_fn = iw"),
        ({"weight_fn": "awr", "weight_clip": (0.1, 2.0)}, "awr has no least weight; allowed: 0 as the first number"),
        ({"weight_fn": "none", "log_ratio": "sum"}, "log_ratio = sum with weight_fn = none, .*allowed: None"),
        ({"weight_fn": "none", "normalize": "none"}, "normalize = none: does not act here; set weight_fn = iw"),
        ({"level": "step", "log_ratio": "sum"}, "log_ratio = sum with .*level = step: does not act here; allowed: No"),
    ],
)
def test_a_field_that_the_weight_does_not_use_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        IWSFTConfig(**options)


def test_the_clip_of_each_level_and_one_s_own():
    chosen = two_route.laptop().weighting
    assert IWSFTConfig().clip == (0.0, 16.0)
    assert replace(IWSFTConfig(), level="step").clip == replace(chosen, level="step", log_ratio=None).clip == (0.2, 1.8)
    assert IWSFTConfig(level="step", weight_clip=(0.0, 3.0)).clip == (0.0, 3.0)


def test_presets_say_what_they_mean():
    assert exponent(two_route.laptop().weighting, 20) == 1.0
    d4rl = gymnasium.paper("d4rl")
    assert d4rl.rates.cloning == 1e-3 and d4rl.rates.iw_sft == d4rl.rates.iql == 4e-5
    s1k = language.paper("s1k")
    assert s1k.weighting.normalize == "none" and s1k.fine_tuning.epochs == 5 and not s1k.has_stage_1
    assert s1k.rates.sft == s1k.rates.awr == 1e-5
    assert language.gpu().fine_tuning.lora.rank == 16


@pytest.mark.parametrize("module", [two_route, gymnasium], ids=["two_route", "gymnasium"])
@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        (
            IWSFTConfig(weight_fn="none"),
            "weighting.weight_fn = none: the arms sft and awr have those weights; allowed: iw, ",
        ),
        (
            IWSFTConfig(weight_fn="awr"),
            "weighting.weight_fn = awr: the arms sft and awr have those weights; allowed: iw, df",
        ),
        (
            IWSFTConfig(log_ratio="sum", quality_column="quality"),
            "weighting.quality_column = quality: does not act here; .*sft_quality",
        ),
        (
            IWSFTConfig(log_ratio="sum", ref="column"),
            "weighting.ref = column: does not act here; the reference is the policy after stage 1",
        ),
    ],
)
def test_a_control_study_refuses_weights_that_its_arms_do_not_have(module, weighting, message):
    with pytest.raises(UserError, match=message):
        replace(module.smoke(), weighting=weighting)


def test_an_estimate_counts_a_single_look_where_a_training_is_measured_at_its_end_alone():
    config = gymnasium.smoke()
    at_the_end = replace(
        config,
        cloning=replace(config.cloning, evaluate_every=0),
        fine_tuning=replace(config.fine_tuning, evaluate_every=0),
    )
    once = replace(
        config,
        cloning=replace(config.cloning, evaluate_every=config.cloning.steps),
        fine_tuning=replace(config.fine_tuning, evaluate_every=config.fine_tuning.steps),
    )
    assert recipe.estimate(at_the_end) == recipe.estimate(once)


def test_components_of_a_single_gaussian_are_refused():
    with pytest.raises(UserError, match=r"policy\.num_components = 3: does not act here; set policy\.kind = mixture"):
        replace(gymnasium.smoke(), policy=NetworkConfig(kind="gaussian", num_components=3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"file": "a.hdf5"},
            "control.file = a.hdf5 with control.score_low = None, control.score_high = None.*each of "
            "control.score_low and control.score_high",
        ),
        ({"file": "a.hdf5", "score_low": 0.0}, "control.score_high = None"),
        (
            {"file": "a.hdf5", "score_low": 0.0, "score_high": 1.0, "num_trajectories": 10},
            "control.num_trajectories = 10: does not act here; set control.file to nothing",
        ),
    ],
)
def test_a_file_needs_its_scale_and_takes_the_place_of_generated_data(options, message):
    with pytest.raises(UserError, match=message):
        replace(gymnasium.smoke(), control=gymnasium.TaskConfig(**options))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fine_tuning": SFTSettings(optimizer=OptimizerSettings(learning_rate=0.7))},
            "fine_tuning.optimizer.learning_rate = 0.7: does not act here; set rates",
        ),
        (
            {"cloning": SFTSettings(optimizer=OptimizerSettings(learning_rate=0.7))},
            "cloning.optimizer.learning_rate = 0.7: does not act here; set rates",
        ),
        ({"cloning": SFTSettings(steps=0)}, "cloning.steps = 0 with a tiny policy"),
        ({"weighting": IWSFTConfig(weight_fn="none")}, "weighting.weight_fn = none: .*allowed: iw, dft, rwr, awr"),
        ({"weighting": IWSFTConfig(log_ratio="sum", ref="model")}, "weighting.ref = model: a study has no other model"),
        (
            {"weighting": IWSFTConfig(log_ratio="sum", quality_column="merit")},
            "weighting.quality_column = merit: does not act here",
        ),
    ],
)
def test_the_language_study_refuses_what_does_nothing(changes, message):
    with pytest.raises(UserError, match=message):
        replace(language.smoke(), **changes)


def test_a_rate_of_a_first_training_that_is_left_out_is_refused():
    with pytest.raises(UserError, match=r"rates\.cloning = 0\.002: does not act here; set cloning\.steps above 0"):
        replace(language.paper(), rates=RatesConfig(cloning=2e-3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"train_file": "a.jsonl", "num_traces": 10},
            "task.num_traces = 10: does not act here; set task.train_file to",
        ),
        (
            {"train_file": "a.jsonl", "sloppy_share": 0.1},
            "task.sloppy_share = 0.1: does not act here; set task.train_f",
        ),
        (
            {"train_file": "a", "test_file": "b", "digits": 3},
            "task.digits = 3: does not act here; set task.train_file ",
        ),
    ],
)
def test_what_describes_generated_sums_is_refused_beside_files(options, message):
    with pytest.raises(UserError, match=message):
        replace(language.paper(), task=language.TaskConfig(**options))
    of_the_test = language.TaskConfig(train_file="a.jsonl", digits=3)
    assert replace(language.paper(), task=of_the_test).task.digits == 3  # of the problems of the test
