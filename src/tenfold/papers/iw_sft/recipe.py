"""iw-SFT against SFT on curated data: one experiment, top to bottom.

Every arm first clones all the data (stage 1), with the same seed and so to the same policy, and then trains for
equally many steps on what its idea says: all data, the curated part, the curated part with weights or drawn by
quality. AWR and IQL learn values in between. All arms had one grid of learning rates for their second training, on a
validation seed. The claims are about the two-route task; the other studies report the same metrics.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from math import nan

import numpy as np
import torch
from torch import nn

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Claim, Picture, Report, Scores
from tenfold.papers.iw_sft import pictures
from tenfold.papers.iw_sft.baselines import awr_advantages, iql_advantages
from tenfold.papers.iw_sft.config import Config, IWSFTConfig
from tenfold.papers.iw_sft.method import effective_exponent
from tenfold.papers.iw_sft.networks import GaussianPolicy, MixturePolicy
from tenfold.papers.iw_sft.tasks import ControlTask, load_task
from tenfold.papers.iw_sft.training import Columns, Evaluate, columns, fit

ARMS = {
    "sft": "fine-tuning on the kept trajectories",
    "bc": "cloning all trajectories for longer",
    "iw_sft": "weights q / reference on the kept trajectories, exponent 1",
    "iw_sft_mean": "the same with the mean ratio at temperature 1: exponent 1 / steps",
    "sft_quality": "kept trajectories drawn by a graded quality",
    "iw_sft_quality": "both: weights, and drawn by quality",
    "awr": "advantage-weighted regression on all trajectories",
    "iql": "implicit Q-learning on all trajectories",
}

_BUDGET = (
    "equal steps and batches in both stages; rates of stage 2 from one grid on the validation episodes of another seed"
)
CLAIMS = (
    Claim(
        id="importance",
        text="On the two-route task iw-SFT succeeds more often than SFT, by at least 0.08.",
        kind="superiority",
        metric="test/score",
        split="test",
        arm="iw_sft",
        baseline="sft",
        direction="higher",
        margin=0.08,
        budget=_BUDGET,
    ),
    Claim(
        id="exponent",
        text="A warning: with the mean ratio at temperature 1 the gain over SFT stays below 0.03.",
        kind="non_inferiority",
        metric="test/score",
        split="test",
        arm="sft",
        baseline="iw_sft_mean",
        direction="higher",
        margin=0.03,
        budget=_BUDGET,
    ),
    Claim(
        id="quality",
        text="Drawing kept trajectories by quality costs iw-SFT no more than 0.02 of success.",
        kind="non_inferiority",
        metric="test/score",
        split="test",
        arm="iw_sft_quality",
        baseline="iw_sft",
        direction="higher",
        margin=0.02,
        budget=_BUDGET,
    ),
)


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Train one arm with one seed and test it."""
    if config.study == "language":
        from tenfold.papers.iw_sft.language_study import run_language

        return run_language(config, arm, weighting(config, arm), seed, cell)
    task = load_task(config, seed)
    policy, after_cloning = train_arm(config, arm, task, seed, cell)
    scores = task.play(policy, config.control.num_test, "test")
    if cell.is_main:
        save_policy(policy, cell)
    return Scores(
        metrics={
            "test/score": float(scores.mean()),
            "test/score_after_cloning": after_cloning,
            "data/score": float(task.data.returns.mean()) if config.study == "two_route" else nan,
            "data/kept_trajectories": float(len(task.kept)),
            "weights/effective_exponent": exponent(weighting(config, arm), task.data.num_steps[task.kept].mean()),
            "cost/parameters": float(sum(parameter.numel() for parameter in policy.parameters())),
        },
        items={"test/score": scores.astype(float).tolist()},
        curves=cell.curves(),
        samples=task.samples(policy),
    )


def train_arm(config: Config, arm: str, task: ControlTask, seed: int, cell: Cell) -> tuple[nn.Module, float]:
    """Both stages of an arm; returns the policy, and the test score after stage 1."""
    require_weights(weighting(config, arm), arm, task)
    steps = parts_of(config, arm)
    before = dict(zip(steps, np.cumsum([0, *steps.values()]).tolist(), strict=False))
    part = {name: cell.part(name, steps_before=before[name], total_steps=sum(steps.values())) for name in steps}
    cloned = clone(config, task, seed, part["cloning"])
    after_cloning = float(task.play(cloned, config.control.num_test, "test").mean())
    data = curated(config, arm, task, cloned, seed, part.get("values"))
    return fine_tune(config, arm, task, data, cloned, seed, part["fine-tuning"]), after_cloning


def clone(config: Config, task: ControlTask, seed: int, cell: Cell) -> nn.Module:
    """Stage 1: plain cloning of all trajectories."""
    plain = IWSFTConfig(weight_fn="none")
    return fit(
        build(config, task, seed),
        columns(task.data),
        plain,
        config.cloning,
        config.rates.cloning,
        (seed, "cloning"),
        cell,
        validation(config, task),
    )


def fine_tune(
    config: Config, arm: str, task: ControlTask, data: Columns, cloned: nn.Module, seed: int, cell: Cell
) -> nn.Module:
    """Stage 2: what the arm makes of the cloned policy."""
    rate = getattr(config.rates, arm)
    chosen = weighting(config, arm)
    return fit(cloned, data, chosen, config.fine_tuning, rate, (seed, "fine-tuning"), cell, validation(config, task))


def validation(config: Config, task: ControlTask) -> Evaluate:
    """The score on validation episodes."""

    def evaluate(policy: nn.Module, step: int) -> dict[str, float]:
        return {"validation/score": float(task.play(policy, config.control.num_validation, "validation").mean())}

    return evaluate


def curated(config: Config, arm: str, task: ControlTask, reference: nn.Module, seed: int, cell: Cell | None) -> Columns:
    """What the second training of an arm learns from, with the columns of its weights."""
    if arm == "bc":
        return columns(task.data)
    if arm in ("awr", "iql"):
        assert cell is not None
        advantages = {"awr": awr_advantages, "iql": iql_advantages}[arm](task.data, config, seed, cell)
        return columns(task.data, advantages=advantages)
    return columns(task.data.take(task.kept), reference=reference, quality=task.quality[task.kept])


def weighting(config: Config, arm: str) -> IWSFTConfig:
    """The scientific difference between the arms."""
    chosen, b = config.weighting, config.baselines
    plain = replace(chosen, weight_fn="none")
    extracted = IWSFTConfig(weight_fn="awr", temperature=b.awr_temperature, weight_clip=(0.0, b.largest_weight))
    return {
        "sft": plain,
        "bc": plain,
        "iw_sft": chosen,
        "iw_sft_mean": replace(chosen, log_ratio="mean", temperature=1.0),
        "sft_quality": replace(plain, quality_column="quality"),
        "iw_sft_quality": replace(chosen, quality_column="quality"),
        "awr": extracted,
        "iql": extracted,
    }[arm]


def require_weights(chosen: IWSFTConfig, arm: str, task: ControlTask) -> None:
    """Refuse weights that would all be equal, under whatever name.

    Raises:
        UserError: no trajectory is kept, or the weights need advantages or unequal returns that an arm does not have.
    """
    if not len(task.kept):
        raise UserError(f"control: none of {len(task.data)} trajectories is kept; allowed: at least one")
    if chosen.weight_fn == "awr" and arm not in ("awr", "iql"):
        raise UserError(f"weighting.weight_fn = awr: arm {arm} learns no advantages; use the arm awr, or iw, dft, rwr")
    if chosen.weight_fn == "rwr" and np.ptp(task.data.returns[task.kept]) == 0:
        raise UserError("weighting.weight_fn = rwr: all kept returns are equal, which is the arm sft; allowed: iw, dft")


def exponent(chosen: IWSFTConfig, num_steps: float) -> float:
    """The exponent on q / reference of a trajectory of so many steps; 0 for weights of another kind."""
    if chosen.weight_fn != "iw":
        return 0.0
    return effective_exponent("sum" if chosen.level == "step" else chosen.log_ratio, chosen.temperature, num_steps)


def parts_of(config: Config, arm: str) -> dict[str, int]:
    """The trainings of an arm and their steps, in order."""
    values = {"values": config.baselines.value_steps} if arm in ("awr", "iql") else {}
    return {"cloning": config.cloning.steps, **values, "fine-tuning": config.fine_tuning.steps}


def build(config: Config, task: ControlTask, seed: int) -> nn.Module:
    """A fresh policy; equal seeds give equal weights in every arm."""
    p = config.policy
    torch.manual_seed(key_to_seed(seed, "weights"))
    sizes = (task.data.observations.shape[-1], task.data.actions.shape[-1])
    if p.kind == "gaussian":
        return GaussianPolicy(*sizes, p.hidden_size, p.layers)
    return MixturePolicy(*sizes, p.num_components, p.hidden_size, p.layers)


def save_policy(policy: nn.Module, cell: Cell) -> None:
    """The trained weights as ``policy.safetensors`` in the cell's folder."""
    from safetensors.torch import save

    from tenfold.core.files import write_atomically

    weights = {name: value.detach().cpu().contiguous() for name, value in policy.state_dict().items()}
    write_atomically(cell.directory / "policy.safetensors", save(weights))


def validation_scores(config: Config, arms: Sequence[str], rates: Sequence[float], seed: int, cell: Cell):
    """Validation score of each arm with each rate, one after the other, from one stage 1; for choosing rates.

    Yields:
        ``(arm, rate, score)``.
    """
    task = load_task(config, seed)
    for arm in arms:
        require_weights(weighting(config, arm), arm, task)
    cloned = clone(config, task, seed, cell.part("cloning", steps_before=0, total_steps=config.cloning.steps))
    for arm in arms:
        values = cell.part(f"values-{arm}", steps_before=0, total_steps=config.baselines.value_steps)
        data = curated(config, arm, task, cloned, seed, values)
        for rate in rates:
            tried = replace(config, rates=replace(config.rates, **{arm: rate}))
            part = cell.part(f"{arm}-{rate:g}", steps_before=0, total_steps=config.fine_tuning.steps)
            policy = fine_tune(tried, arm, task, data, deepcopy(cloned), seed, part)
            yield arm, rate, float(task.play(policy, config.control.num_validation, "validation").mean())


def figures(report: Report) -> Sequence[Picture]:
    """Learning curves, score of every arm, effective sample size, and paths on the two-route task."""
    return pictures.draw(report)


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``; unknown for language models on disk."""
    if config.study == "language":
        return {"parameters": nan, "memory_bytes": nan, "seconds": nan}
    p, c = config.policy, config.control
    observation_size, action_size = (3, 2) if config.study == "two_route" else _sizes(c.env_id)
    width = p.num_components * (1 + 2 * action_size) if p.kind == "mixture" else action_size
    weights = (observation_size + width) * p.hidden_size + (p.layers - 1) * p.hidden_size**2
    horizon = 20 if config.study == "two_route" else 1000
    stages = ((config.cloning, 1), (config.fine_tuning, 2))
    steps = sum(stage.steps * stage.batch_size * horizon * passes for stage, passes in stages) * len(ARMS)
    return {
        "parameters": float(weights),
        "memory_bytes": 16.0 * weights + 4.0 * c.num_trajectories * horizon * (observation_size + action_size + 4),
        "seconds": steps * weights * 6 / _CPU_FLOPS + len(ARMS) * 4.0,
    }


def _sizes(env_id: str) -> tuple[int, int]:
    """Observation and action values of an environment, where it can be made; else those of HalfCheetah."""
    from tenfold.papers.iw_sft.gym_control import make

    try:
        environment = make(env_id)
    except UserError:
        return 17, 6
    return environment.observation_space.shape[0], environment.action_space.shape[0]


_CPU_FLOPS = 5e9  # assumed sustained by one core on networks of this size
