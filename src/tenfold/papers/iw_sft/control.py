"""What both control studies do: their arms, the two stages of training of each, and the test.

Stage 1 clones all the data and is the same in every arm, so it is made once for a seed. Stage 2 trains for equally many
steps on what the arm says: all data, the curated part, the curated part with weights or drawn by quality. AWR and IQL
learn values in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.files import write_atomically
from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Scores
from tenfold.papers.iw_sft.arms import (
    Arm,
    as_chosen,
    by_advantage,
    exponent,
    grid_of,
    mean_at_temperature_1,
    weighting,
    without_weights,
)
from tenfold.papers.iw_sft.baselines import awr_advantages, iql_advantages
from tenfold.papers.iw_sft.config import ControlConfig, IWSFTConfig
from tenfold.papers.iw_sft.networks import GaussianPolicy, MixturePolicy
from tenfold.papers.iw_sft.tasks import ControlTask
from tenfold.papers.iw_sft.training import Columns, Evaluate, columns, fit
from tenfold.study.stages import json_made_once, made_once
from tenfold.train.distributed import device_of

ARMS: Mapping[str, Arm] = {
    "sft": Arm("SFT: plain fine-tuning on the kept trajectories", "sft", without_weights),
    "bc": Arm("cloning of all trajectories, for longer", "bc", without_weights, learns_from="all"),
    "iw_sft": Arm("iw-SFT: kept trajectories, weighted by q / reference", "iw_sft", as_chosen),
    "iw_sft_mean": Arm(
        "iw-SFT with the mean ratio at temperature 1, which is the exponent 1 / steps",
        "iw_sft_mean",
        mean_at_temperature_1,
    ),
    "sft_quality": Arm(
        "SFT on kept trajectories, drawn by a graded quality", "sft_quality", without_weights, by_quality=True
    ),
    "iw_sft_quality": Arm(
        "iw-SFT on kept trajectories, drawn by a graded quality", "iw_sft_quality", as_chosen, by_quality=True
    ),
    "awr": Arm(
        "advantage-weighted regression on all trajectories",
        "awr",
        by_advantage,
        learns_from="all",
        advantages=awr_advantages,
    ),
    "iql": Arm(
        "implicit Q-learning on all trajectories", "iql", by_advantage, learns_from="all", advantages=iql_advantages
    ),
}
GRID = grid_of(ARMS)

WEIGHTS = "policy.safetensors"
_CPU_FLOPS = 5e9  # assumed sustained by one core on networks of this size


@dataclass(frozen=True, eq=False)
class ControlStudy:
    """One arm's surroundings: the settings, the seed's task, and where to train.

    Args:
        config: of the study.
        task: data and test.
        cell: of the arm.
    """

    config: ControlConfig
    task: ControlTask
    cell: Cell

    def weights(self, arm: Arm) -> IWSFTConfig:
        """The weights of an arm's second training."""
        return weighting(arm, self.config.weighting, self.config.baselines)

    def score(self, policy: nn.Module, split: str) -> float:
        """The mean over the episodes of a split."""
        return float(self.task.play(policy, split).mean())

    @property
    def evaluate(self) -> Evaluate:
        """The score on validation episodes, for curves."""
        return lambda policy, step: {"validation/score": self.score(policy, "validation")}


def clone(study: ControlStudy) -> nn.Module:
    """Stage 1: plain cloning of all trajectories, by whichever arm of the seed comes first."""
    return made_once(
        study.cell,
        "cloning",
        lambda stage: _clone(study, stage),
        save=save_policy,
        load=lambda folder: _load_policy(study, folder),
    )


def score_after_cloning(study: ControlStudy, cloned: nn.Module) -> float:
    """The test score after stage 1, which is played once for all arms of the seed."""
    return float(json_made_once(study.cell, "after-cloning", lambda stage: study.score(cloned, "test")))


def fine_tune(study: ControlStudy, arm: Arm, cloned: nn.Module) -> nn.Module:
    """Stage 2: what the arm makes of the cloned policy, which is changed."""
    config, seed = study.config, study.cell.seed
    values = {} if arm.advantages is None else {"values": config.baselines.value_steps}
    parts = study.cell.parts({**values, "fine-tuning": config.fine_tuning.steps})
    return fit(
        cloned,
        learned_from(study, arm, cloned, parts.get("values")),
        study.weights(arm),
        config.fine_tuning,
        getattr(config.rates, arm.rate),
        (seed, "fine-tuning"),
        parts["fine-tuning"],
        study.evaluate,
        config.loss_over,
    )


def learned_from(study: ControlStudy, arm: Arm, cloned: nn.Module, values_cell: Cell | None = None) -> Columns:
    """The trajectories that the second training of an arm learns from, with the columns of its weights.

    Args:
        study: with its data.
        arm: which.
        cloned: the policy after stage 1: the reference of the weights.
        values_cell: where an arm with advantages trains its values.
    """
    task = study.task
    if arm.advantages is not None:
        advantages = arm.advantages(task.data, study.config, study.cell.seed, values_cell)
        return columns(task.data, advantages=advantages)
    if arm.learns_from == "all":
        return columns(task.data)
    return columns(task.data.take(task.kept), reference=cloned, quality=task.quality[task.kept])


def require_weights(study: ControlStudy, arm: Arm) -> None:
    """Refuse to fine-tune on nothing, or with weights that are all equal.

    Raises:
        UserError: no trajectory is kept, or returns are exponentiated that don't differ.
    """
    task = study.task
    if not len(task.kept):
        raise UserError(f"control: none of {len(task.data)} trajectories is kept; allowed: at least one")
    if study.weights(arm).weight_fn == "rwr" and np.ptp(task.data.returns[task.kept]) == 0:
        raise UserError("weighting.weight_fn = rwr: all kept returns are equal, which is the arm sft; allowed: iw, dft")


def tested(study: ControlStudy, arm: Arm, policy: nn.Module, after_cloning: float) -> Scores:
    """The test of a trained policy, with what is told beside it; its weights are stored in the cell's folder."""
    task = study.task
    scores = task.play(policy, "test")
    if study.cell.is_main:
        save_policy(policy, study.cell.directory)
    return Scores(
        metrics={
            "test/score": float(scores.mean()),
            "test/score_after_cloning": after_cloning,
            "data/kept_trajectories": float(len(task.kept)),
            "weights/effective_exponent": exponent(study.weights(arm), task.data.num_steps[task.kept].mean()),
            "cost/parameters": float(sum(parameter.numel() for parameter in policy.parameters())),
        },
        items={"test/score": scores.astype(float).tolist()},
        curves=study.cell.curves(),
        samples=task.drawn_from(policy),
    )


def score_of_rate(study: ControlStudy, arm: Arm) -> dict[str, float]:
    """The validation score of an arm at the rate of the configuration, for choosing rates."""
    require_weights(study, arm)
    policy = fine_tune(study, arm, clone(study))
    return {"validation/score": study.score(policy, "validation")}


def build_policy(study: ControlStudy) -> nn.Module:
    """A fresh policy; equal seeds give equal weights in every arm."""
    networks, data = study.config.policy, study.task.data
    torch.manual_seed(key_to_seed(study.cell.seed, "weights"))
    sizes = (data.observations.shape[-1], data.actions.shape[-1])
    if networks.kind == "gaussian":
        return GaussianPolicy(*sizes, networks.hidden_size, networks.layers)
    return MixturePolicy(*sizes, networks.num_components, networks.hidden_size, networks.layers)


def save_policy(policy: nn.Module, folder: Path) -> None:
    """The weights as ``policy.safetensors`` in a folder."""
    from safetensors.torch import save

    weights = {name: value.detach().cpu().contiguous() for name, value in policy.state_dict().items()}
    write_atomically(folder / WEIGHTS, save(weights))


def estimate(
    config: ControlConfig, observation_size: int, action_size: int, num_trajectories: int, horizon: int
) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``.

    Args:
        config: of the study.
        observation_size: O.
        action_size: A.
        num_trajectories: of the data.
        horizon: their longest.
    """
    networks = config.policy
    outputs = action_size
    if networks.kind == "mixture":
        outputs = networks.num_components * (1 + 2 * action_size)
    hidden = (networks.layers - 1) * networks.hidden_size**2
    weights = (observation_size + outputs) * networks.hidden_size + hidden
    rows = config.cloning.steps * config.cloning.batch_size
    rows += 2 * len(ARMS) * config.fine_tuning.steps * config.fine_tuning.batch_size  # once more without gradients: q
    numbers_of_a_step = observation_size + action_size + 4
    return {
        "parameters": float(weights),
        "memory_bytes": 16.0 * weights + 4.0 * num_trajectories * horizon * numbers_of_a_step,
        "seconds": rows * horizon * weights * 6 / _CPU_FLOPS + len(ARMS) * 4.0,
    }


def _clone(study: ControlStudy, stage: Cell) -> nn.Module:
    config = study.config
    return fit(
        build_policy(study),
        columns(study.task.data),
        IWSFTConfig(weight_fn="none"),
        config.cloning,
        config.rates.cloning,
        (stage.seed, "cloning"),
        stage,
        study.evaluate,
        config.loss_over,
    )


def _load_policy(study: ControlStudy, folder: Path) -> nn.Module:
    from safetensors.torch import load_file

    policy = build_policy(study)
    policy.load_state_dict(load_file(folder / WEIGHTS))
    return policy.to(device_of(study.cell)).eval()
