"""iw-SFT against SFT where two routes lead to the goal and one is risky: one experiment, top to bottom.

All arms had one grid of learning rates for their second training, on a validation seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tenfold.core.cell import Cell
from tenfold.core.types import Claim, Picture, Plan, Report, Scores
from tenfold.papers.iw_sft import control
from tenfold.papers.iw_sft.arms import Arm
from tenfold.papers.iw_sft.control import GRID as GRID
from tenfold.papers.iw_sft.control import ControlStudy
from tenfold.papers.iw_sft.two_route import pictures, task
from tenfold.papers.iw_sft.two_route.config import Config

ARMS: Mapping[str, Arm] = {
    **control.ARMS,
    "iw_sft": replace(
        control.ARMS["iw_sft"], text="iw-SFT: kept trajectories, weighted by q / reference with exponent 1"
    ),
}

_BUDGET = (
    "equal steps and batches in both stages; rates of stage 2 from one grid, on validation episodes of another seed"
)
CLAIMS = (
    Claim(
        id="importance",
        text="On the two-route task, the success rate of iw-SFT is at least 0.08 above that of SFT.",
        kind="superiority",
        metric="test/score",
        split="test",
        arm="iw_sft",
        baseline="sft",
        direction="higher",
        margin=0.08,
        budget=_BUDGET,
        source="the specification's check 6",
        headline=True,
    ),
    Claim(
        id="exponent",
        text="A warning: with the mean ratio at temperature 1, iw-SFT gains less than 0.03 over SFT.",
        kind="non_inferiority",
        metric="test/score",
        split="test",
        arm="sft",
        baseline="iw_sft_mean",
        direction="higher",
        margin=0.03,
        budget=_BUDGET,
        source="the specification's check 6",
    ),
    Claim(
        id="quality",
        text="Drawing kept trajectories by quality costs iw-SFT at most 0.02 of its success rate.",
        kind="non_inferiority",
        metric="test/score",
        split="test",
        arm="iw_sft_quality",
        baseline="iw_sft",
        direction="higher",
        margin=0.02,
        budget=_BUDGET,
        source="ours, before any run: two in a hundred episodes",
    ),
)
CHOSEN_ON = (0, 1, 2, 10, 11, 12, 13, 14, 15, 16, 17, 1000, 1001, 1002, 1003)
"""Task and rates on 0 to 2 and 1000 to 1003; 10 to 17 are the run that the plan is sized by."""
PLAN = Plan(laptop=(20, 21, 22, 23, 24), why="five: the headline has a power of 0.84 at five by the seeds 10 to 17")


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Train one arm with one seed and test it."""
    chosen = ARMS[arm]
    study = ControlStudy(config, task.load_task(config.control, seed), cell)
    control.require_weights(study, chosen)
    cloned = control.clone(study)
    after_cloning = control.score_after_cloning(study, cloned)
    policy = control.fine_tune(study, chosen, cloned)
    scores = control.tested(study, chosen, policy, after_cloning)
    return replace(scores, metrics={**scores.metrics, "data/score": float(study.task.data.returns.mean())})


def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]:
    """The share of validation episodes that succeed, of the arm whose rate is at ``field``; for choosing rates."""
    study = ControlStudy(config, task.load_task(config.control, cell.seed), cell)
    return control.score_of_rate(study, ARMS[field.removeprefix("rates.")])


def figures(report: Report) -> Sequence[Picture]:
    """Score of every arm, learning curves, effective sample size, and paths to the goal."""
    return pictures.draw(report, list(ARMS))


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``."""
    return control.estimate(
        config,
        observation_size=3,
        action_size=2,
        num_trajectories=config.control.num_trajectories,
        horizon=task.HORIZON,
    )
