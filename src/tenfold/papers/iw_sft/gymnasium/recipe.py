"""iw-SFT against SFT and offline reinforcement learning in a Gymnasium environment: one experiment, top to bottom.

The rates are those of the two-route task; none was chosen here.
"""

from collections.abc import Mapping, Sequence

from tenfold.core.cell import Cell
from tenfold.core.types import Claim, Picture, Plan, Report, Scores
from tenfold.papers.iw_sft import control, pictures
from tenfold.papers.iw_sft.config import StageConfig
from tenfold.papers.iw_sft.control import ARMS as ARMS
from tenfold.papers.iw_sft.control import GRID as GRID
from tenfold.papers.iw_sft.control import ControlStudy
from tenfold.papers.iw_sft.gymnasium.config import Config
from tenfold.papers.iw_sft.gymnasium.episodes import sizes
from tenfold.papers.iw_sft.gymnasium.task import load_task

_BUDGET = "equal steps and batches in both stages; the rates of the two-route task, not tuned here"
CLAIMS = (
    Claim(
        id="importance",
        text="Trained on the kept tenth of mixed trajectories, iw-SFT has a higher mean return than SFT.",
        kind="superiority",
        metric="test/score",
        split="test",
        arm="iw_sft",
        baseline="sft",
        direction="higher",
        margin=0.0,
        budget=_BUDGET,
        source="no difference",
        headline=True,
    ),
    Claim(
        id="offline",
        text="Without learning values, iw-SFT is behind IQL by at most 0.05 of the way from the worst to the best "
        "behaviour in the data.",
        kind="non_inferiority",
        metric="test/score",
        split="test",
        arm="iw_sft",
        baseline="iql",
        direction="higher",
        margin=0.05,
        budget=_BUDGET,
        source="ours: a twentieth of the way from the worst to the best behaviour",
    ),
)
CHOSEN_ON = (0, 1, 2, 1000, 1001, 1002, 1003)
"""Those of the two-route study, whose settings this one shares."""
PLAN = Plan(laptop=(20, 21, 22, 23, 24), why="five, the fewest: no pilot was run")


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Train one arm with one seed and test it."""
    chosen = ARMS[arm]
    study = ControlStudy(config, load_task(config.control, seed), cell)
    control.require_weights(study, chosen)
    cloned = control.clone(study)
    after_cloning = control.score_after_cloning(study, cloned)
    policy = control.fine_tune(study, chosen, cloned)
    return control.tested(study, chosen, policy, after_cloning)


def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]:
    """The mean score of validation episodes, of the arm whose rate is at ``field``; for choosing rates."""
    study = ControlStudy(config, load_task(config.control, cell.seed), cell)
    return control.score_of_rate(study, ARMS[field.removeprefix("rates.")])


def figures(report: Report) -> Sequence[Picture]:
    """Score of every arm, learning curves, and effective sample size."""
    return pictures.draw(report, list(ARMS))


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``."""
    task = config.control
    observation_size, action_size, longest = sizes(task.env_id)
    trained = control.estimate(config, observation_size, action_size, task.num_trajectories, longest)
    validations = _validations(config.cloning) + len(ARMS) * _validations(config.fine_tuning)
    episodes = len(ARMS) * (task.num_trajectories + 2 * task.num_test) + validations * task.num_validation
    return trained | {"seconds": trained["seconds"] + episodes * longest * _SECONDS_PER_STEP}


def _validations(stage: StageConfig) -> int:
    """How often a training is evaluated; with 0 steps between evaluations at its end only."""
    if not stage.evaluate_every:
        return 1
    return stage.steps // stage.evaluate_every


_SECONDS_PER_STEP = 3e-5  # of an environment of classic control, on one core
