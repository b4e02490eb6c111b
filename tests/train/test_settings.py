"""Settings that cannot be meant are refused when they are made, with field and value."""

import math

import pytest

from tenfold.core.errors import UserError
from tenfold.train.settings import GRPOSettings, LoraSettings, OptimizerSettings, SFTSettings


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        (SFTSettings, "steps", -1),
        (SFTSettings, "epochs", math.nan),
        (SFTSettings, "batch_size", 0),
        (SFTSettings, "gradient_accumulation", 0),
        (SFTSettings, "max_length", -3),
        (SFTSettings, "log_every", 0),
        (SFTSettings, "checkpoint_every", -1),
        (SFTSettings, "keep_checkpoints", 0),
        (GRPOSettings, "steps", 0),
        (GRPOSettings, "prompts_per_step", 0),
        (GRPOSettings, "num_generations", 1),
        (GRPOSettings, "max_completion_length", 0),
        (GRPOSettings, "temperature", 0.0),
        (GRPOSettings, "top_p", 1.5),
        (GRPOSettings, "beta", -0.1),
        (OptimizerSettings, "learning_rate", -1e-3),
        (OptimizerSettings, "learning_rate", math.inf),
        (OptimizerSettings, "warmup_fraction", 1.0),
        (OptimizerSettings, "beta2", 1.0),
        (OptimizerSettings, "tau", 0.0),
        (LoraSettings, "rank", -1),
        (LoraSettings, "dropout", 1.0),
    ],
)
def test_values_out_of_range_are_refused(settings, field, value):
    with pytest.raises(UserError, match=f"{field} = {value}: allowed: "):
        settings(**{field: value})


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (OptimizerSettings, {"momentum": 0.5}, "momentum = 0.5: does not act here; set name = muon_clip"),
        (OptimizerSettings, {"tau": 30.0}, "tau = 30.0: does not act here; set name = muon_clip"),
        (
            OptimizerSettings,
            {"warmup_steps": 5, "warmup_fraction": 0.1},
            "warmup_steps = 5: does not act here; set warmup_fraction = 0",
        ),
        (LoraSettings, {"alpha": 8.0}, "alpha = 8.0: does not act here; set rank"),
        (LoraSettings, {"dropout": 0.1}, "dropout = 0.1: does not act here; set rank"),
        (LoraSettings, {"target_modules": ("q_proj",)}, r"target_modules = \('q_proj',\): does not act here; set rank"),
        (SFTSettings, {"steps": 0, "batch_size": 4}, "batch_size = 4: does not act here; set steps or epochs above 0"),
        (
            SFTSettings,
            {"steps": 0, "optimizer": OptimizerSettings(learning_rate=1e-3)},
            "optimizer.learning_rate = 0.001: does not act here; set steps or epochs above 0",
        ),
        (SFTSettings, {"steps": 0, "lora": LoraSettings(rank=2)}, "lora.rank = 2: does not act here; set steps or epo"),
        (GRPOSettings, {"epsilon": 0.3}, "epsilon = 0.3: does not act here; set updates_per_generation or num_itera"),
        (GRPOSettings, {"epsilon_high": 0.3}, "epsilon_high = 0.3: does not act here; set updates_per_generation"),
        (
            GRPOSettings,
            {"importance_sampling_level": "sequence"},
            "importance_sampling_level = sequence: does not act here; set updates_per_generation or num_iterations",
        ),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused_with_what_acts(make, changes, message):
    with pytest.raises(UserError, match=message):
        make(**changes)


def test_settings_that_act_together_are_accepted():
    OptimizerSettings(name="muon_clip", momentum=0.5, tau=30.0)
    OptimizerSettings(warmup_fraction=0.1)
    LoraSettings(rank=2, alpha=8.0, dropout=0.1, target_modules=("q_proj",))
    SFTSettings(steps=0)
    SFTSettings(steps=0, epochs=2.0, batch_size=4)
    ratio = {"epsilon": 0.3, "epsilon_high": 0.4, "importance_sampling_level": "sequence"}
    GRPOSettings(updates_per_generation=2, **ratio)
    GRPOSettings(num_iterations=2, **ratio)


def test_epochs_may_not_come_to_more_steps_than_are_allowed():
    assert SFTSettings(epochs=3, batch_size=1).total_steps(1000) == 3000
    assert SFTSettings(steps=0, epochs=3, batch_size=1).total_steps(1000) == 3000
    assert SFTSettings(steps=30, epochs=3, batch_size=1).total_steps(10) == 30
    with pytest.raises(UserError, match=r"epochs = 3: 33 steps on 11 rows; allowed: up to steps = 30, or any number"):
        SFTSettings(steps=30, epochs=3, batch_size=1).total_steps(11)


def test_steps_follow_from_epochs_where_there_are_any():
    assert SFTSettings(steps=7).total_steps(1000) == 7
    assert SFTSettings(steps=7, epochs=1.5, batch_size=4).total_steps(10) == 4
    assert SFTSettings(steps=0).total_steps(10) == 0
