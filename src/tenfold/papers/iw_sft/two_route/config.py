"""Configuration of the two-route study: two routes to one goal, of which one fails half the time. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tenfold.papers.iw_sft.config import ControlConfig, ControlRatesConfig, IWSFTConfig, StageConfig

TASKS: tuple[str, ...] = ()
SOURCES: Mapping[str, Mapping[str, str]] = {}
"""The publication has a toy of two arms, not this task, so there is no preset ``paper``."""


@dataclass(frozen=True)
class TaskConfig:
    """Episodes of the task."""

    num_trajectories: int = 600
    """Number of trajectories of the scripted behaviour; those that succeed are kept."""
    num_test: int = 10_000
    """Number of test episodes."""
    num_validation: int = 2000
    """Number of validation episodes for curves and for choosing rates, with a noise of their own."""
    sample_actions: bool = True
    """Test with sampled actions; otherwise with the most likely one."""


@dataclass(frozen=True)
class Config(ControlConfig):
    """One experiment on the two-route task."""

    control: TaskConfig = field(default_factory=TaskConfig)
    """How many episodes there are, and how actions are chosen in the test."""


def smoke() -> Config:
    """The two-route task in seconds: shows that everything runs."""
    full = laptop()
    return replace(
        full,
        cloning=replace(full.cloning, steps=40, log_every=10, evaluate_every=20, checkpoint_every=10),
        fine_tuning=replace(full.fine_tuning, steps=20, log_every=5, evaluate_every=10, checkpoint_every=5),
        control=replace(full.control, num_trajectories=200, num_test=200, num_validation=100),
        policy=replace(full.policy, hidden_size=16),
        baselines=replace(full.baselines, value_steps=20),
    )


def laptop() -> Config:
    """The two-route task: 600 trajectories, a mixture policy, exponent 1 (temperature 20 on a mean of 20 steps).

    Rates: ``tenfold tune iw_sft`` gave the second training of every arm 2.5e-4, 5e-4, 1e-3 and 2e-3, on the validation
    episodes of seed 1000. An arm has 5e-4 unless another rate was better by more than 0.02, which is the spread of
    one rate over seeds: only AWR's 1e-3 was (0.841 against 0.803). iw_sft, iw_sft_quality and iql scored 0.999 or more
    with every rate.
    """
    return Config(
        cloning=StageConfig(steps=600, batch_size=64),
        fine_tuning=StageConfig(steps=400, batch_size=64, evaluate_every=50),
        weighting=IWSFTConfig(log_ratio="mean", temperature=20.0, q_ema=0.99),
        rates=ControlRatesConfig(awr=1e-3),
    )
