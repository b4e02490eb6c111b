"""Configuration of the Gymnasium study: curated trajectories of a continuous control task. Imports no torch."""

from dataclasses import dataclass, field, replace

from tenfold.core.config import refuse_idle
from tenfold.core.errors import UserError
from tenfold.papers.iw_sft.config import (
    BaselinesConfig,
    ControlConfig,
    ControlRatesConfig,
    IWSFTConfig,
    NetworkConfig,
    StageConfig,
)
from tenfold.papers.iw_sft.sources import D4RL

TASKS = ("d4rl",)
SOURCES = {"d4rl": D4RL}


@dataclass(frozen=True)
class TaskConfig:
    """The environment, its data, and what counts as curated."""

    env_id: str = "Pendulum-v1"
    """Gymnasium's name of the environment; generated data come from it, and policies are tested in it."""
    file: str = ""
    """A D4RL file (.hdf5) or Minari data set (main_data.hdf5) in place of generated data."""
    num_trajectories: int = 600
    """Number of trajectories to generate."""
    percentiles: tuple[float, ...] = (90.0, 95.0, 98.0)
    """Trajectories with a return from each of these percentiles on are kept. The parts are joined, so that the best are
    there several times."""
    score_low: float | None = None
    """Return that scores 0; none: the mean return of the worst generated behaviour."""
    score_high: float | None = None
    """Return that scores 1; none: the mean return of the best generated behaviour."""
    num_test: int = 100
    """Number of test episodes."""
    num_validation: int = 20
    """Number of validation episodes for curves and for choosing rates, with a noise of their own."""
    sample_actions: bool = True
    """Test with sampled actions; otherwise with the most likely one."""


@dataclass(frozen=True)
class Config(ControlConfig):
    """One experiment in a Gymnasium environment."""

    control: TaskConfig = field(default_factory=TaskConfig)
    """The environment and its data."""

    def __post_init__(self) -> None:
        """Refuse a file without its scale, what is said of generated data beside it, and what no control study has."""
        super().__post_init__()
        task = self.control
        if not task.file:
            return
        refuse_idle(self, ("control.num_trajectories",), acts="control.file to nothing, for generated data")
        if task.score_low is None or task.score_high is None:
            raise UserError(
                f"control.file = {task.file} with control.score_low = {task.score_low}, control.score_high = "
                f"{task.score_high}: a file does not say which returns are bad and good; allowed: a number for each of "
                "control.score_low and control.score_high"
            )


def smoke() -> Config:
    """Pendulum in seconds: shows that everything runs."""
    full = laptop()
    return replace(
        full,
        cloning=replace(full.cloning, steps=40, log_every=10, evaluate_every=20, checkpoint_every=10),
        fine_tuning=replace(full.fine_tuning, steps=20, log_every=5, evaluate_every=10, checkpoint_every=5),
        control=replace(full.control, num_trajectories=40, num_test=10, num_validation=5),
        policy=replace(full.policy, hidden_size=16),
        baselines=replace(full.baselines, value_steps=20),
    )


def laptop() -> Config:
    """Pendulum with generated data of four qualities; the settings and rates of the two-route task, not tuned here.

    Episodes have 200 steps, so that temperature 20 on their mean is an exponent of 0.1.
    """
    return Config(
        cloning=StageConfig(steps=600, batch_size=64),
        fine_tuning=StageConfig(steps=400, batch_size=64, evaluate_every=50),
        weighting=IWSFTConfig(log_ratio="mean", temperature=20.0, q_ema=0.99),
        rates=ControlRatesConfig(awr=1e-3),
        policy=NetworkConfig(kind="gaussian"),
    )


def paper(task: str = "d4rl") -> Config:
    """The published setting: a D4RL v2 medium-replay data set, the authors' networks and stages.

    Every value has its source in ``SOURCES``.
    """
    if task not in TASKS:
        raise UserError(f"task = {task!r}: must be one of {', '.join(TASKS)}")
    stage_2 = StageConfig(2000, 256, warmup_steps=300, rate_floor=0.0, evaluate_every=200, checkpoint_every=500)
    return Config(
        cloning=StageConfig(10_000, 128, evaluate_every=1000, checkpoint_every=1000),
        fine_tuning=stage_2,
        loss_over="trajectories",
        weighting=IWSFTConfig(
            log_ratio="mean", temperature=10.0, weight_clip=(0.0, 1000.0), normalize="batch_sum", q_ema=0.9
        ),
        rates=ControlRatesConfig(1e-3, *[4e-5] * 8),
        control=TaskConfig(
            env_id="HalfCheetah-v5",
            file="halfcheetah_medium_replay-v2.hdf5",
            score_low=0.0,
            score_high=1.0,
            num_test=100,
            num_validation=10,
            sample_actions=False,
        ),
        policy=NetworkConfig(kind="gaussian", hidden_size=256, layers=3),
        baselines=BaselinesConfig(value_steps=10_000, value_rate=3e-4, discount=0.99, target_decay=0.995),
    )
