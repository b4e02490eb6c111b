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


def test_steps_follow_from_epochs_where_there_are_any():
    assert SFTSettings(steps=7).total_steps(1000) == 7
    assert SFTSettings(steps=7, epochs=1.5, batch_size=4).total_steps(10) == 4
    assert SFTSettings(steps=0).total_steps(10) == 0
