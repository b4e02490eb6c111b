"""``tenfold train iw_sft``: fine-tune a causal language model on JSON lines of a user's own, with an arm's weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.config import differences, refuse_idle
from tenfold.core.errors import UserError
from tenfold.papers.iw_sft.arms import tell_exponent
from tenfold.papers.iw_sft.config import IWSFTConfig
from tenfold.papers.iw_sft.language import arithmetic, recipe
from tenfold.papers.iw_sft.language.config import Config, own
from tenfold.papers.iw_sft.language.data import curated
from tenfold.papers.iw_sft.language.own_data import read_supervised
from tenfold.papers.iw_sft.trainer import weighting_of
from tenfold.policies import Policy
from tenfold.study.language import build_policy
from tenfold.study.tuning import with_value

ARMS = ("iw_sft", "sft", "bc", "iw_sft_mean", "sft_quality", "iw_sft_quality", "awr")
ACTING = ("policy", "fine_tuning", "rates", "weighting", "baselines")


@dataclass(frozen=True, eq=False)
class Start:
    """What a training begins with.

    Args:
        rows: of the user.
        policy: before training.
        weights: of the arm.
    """

    rows: Dataset
    policy: Policy
    weights: IWSFTConfig


def read(config: Config, arm: str) -> Start:
    """The user's rows, the model and the weights.

    Raises:
        UserError: a row, a column or the model cannot be used, or a value does nothing with this arm.
    """
    refuse_idle(config, ("fine_tuning.evaluate_every",), acts="fine_tuning.log_every: rows of your own have no test")
    refuse_idle_for(config, arm)
    chosen = recipe.ARMS[arm]
    rows = recipe.rows_of(chosen, curated(read_supervised(Path(config.task.train_file))))
    weights = recipe.weights_of(config, chosen)
    weighting_of(weights, rows)
    return Start(rows, build_policy(config.policy, arithmetic.ALPHABET, seed=0), weights)


def train(config: Config, arm: str, start: Start, cell: Cell) -> Policy:
    """One training, with its effective exponent said first."""
    if cell.is_main:
        tell_exponent(start.weights, recipe.mean_tokens(start.policy, start.rows))
    return recipe.second_training(config, recipe.ARMS[arm], start.policy, start.rows, cell)


def refuse_idle_for(config: Config, arm: str) -> None:
    """Refuse values of one's own that change nothing in the training of this arm.

    Raises:
        UserError: naming the first such field.
    """
    for field, (default, value) in differences(own(config.task.train_file), config).items():
        if not _changes(config, field, default, arm):
            raise UserError(f"--{field} = {value}: does nothing with --arm {arm}; leave it out, or name another arm")


def _changes(config: Config, field: str, default: Any, arm: str) -> bool:
    """Whether the training of an arm would be another one with the default of a field."""
    try:
        otherwise = with_value(config, field, default)
    except UserError:  # other values need this one
        return True
    return _made_from(otherwise, arm) != _made_from(config, arm)


def _made_from(config: Config, arm: str) -> tuple[Any, ...]:
    """All that the training of an arm depends on."""
    chosen = recipe.ARMS[arm]
    rate = getattr(config.rates, chosen.rate)
    return config.policy, config.fine_tuning, rate, recipe.weights_of(config, chosen)
