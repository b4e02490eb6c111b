"""The two stages of training of a control arm: cloning all trajectories, then weighted fine-tuning on the curated ones.

Both run in the loop of ``tenfold.train``. The rows of a step are drawn by (seed, stage, step), by quality where that is
asked for. The weights of the *whole* batch are computed before a process takes its own rows of it, so that
normalisation is over the global batch however it is split; reference log-probabilities are computed once and are a
column of the data. The lagging q is carried from step to step as one vector, and so is in every checkpoint.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tenfold.core.cell import Cell
from tenfold.core.seeding import numpy_generator
from tenfold.data.trajectories import TrajectoryDataset, quality_probabilities
from tenfold.models import weight_statistics, weighted_nll
from tenfold.optim import lagging_average, warmup_cosine
from tenfold.papers.iw_sft import method
from tenfold.papers.iw_sft.config import IWSFTConfig, LossOver, StageConfig
from tenfold.train.loop import LoopConfig, train

Evaluate = Callable[[nn.Module, int], Mapping[str, float]]
"""``(policy, step) -> metrics`` on validation episodes."""


@dataclass(frozen=True, eq=False)
class Columns:
    """A dataset as tensors: N trajectories of T steps, with the columns that weights are made of.

    Returns are those below the largest one of the data, so that exp(return / temperature) is at most 1.
    """

    observations_NTO: Tensor
    actions_NTA: Tensor
    mask_NT: Tensor
    reference_NT: Tensor
    advantages_NT: Tensor
    returns_below_best_N: Tensor
    quality_N: Tensor

    def rows(self, index: np.ndarray | list[int], device: torch.device) -> "Columns":
        """Some trajectories, on a device."""
        return Columns(*(getattr(self, name)[torch.as_tensor(index)].to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Lagging:
    """Parameters of q (or of another average) as one vector [P], carried by the training loop."""

    parameters: Tensor


def columns(
    data: TrajectoryDataset,
    *,
    reference: nn.Module | None = None,
    quality: np.ndarray | None = None,
    advantages: Tensor | None = None,
) -> Columns:
    """The dataset as tensors; reference log-probabilities are those of ``reference``, once and for all.

    Args:
        data: N trajectories.
        reference: the policy that models the unfiltered data; without one the column is 0.
        quality: [N] scores >= 0, stored over their mean; without them all are 1.
        advantages: [N, T]; without them 0.
    """
    observations, actions = torch.from_numpy(data.observations), torch.from_numpy(data.actions)
    mask = torch.from_numpy(data.mask)
    reference_NT = advantages_NT = torch.zeros(mask.shape)
    if reference is not None:
        device = next(reference.parameters()).device
        with torch.no_grad():
            reference_NT = reference(observations.to(device), actions.to(device)).cpu()
    if advantages is not None:
        advantages_NT = advantages.cpu()
    quality_N = torch.ones(len(data))
    if quality is not None:
        quality_N = torch.as_tensor(quality_probabilities(quality) * len(data), dtype=torch.float32)
    below_best_N = torch.from_numpy(data.returns - data.returns.max())
    return Columns(observations, actions, mask, reference_NT, advantages_NT, below_best_N, quality_N)


def drawn_rows(data: Columns, weighting: IWSFTConfig, batch_size: int, *key: int | str) -> np.ndarray:
    """Rows of one batch, with replacement: uniform, or by quality where quality enters by sampling."""
    probabilities = None
    if weighting.quality_column is not None and weighting.quality == "sample":
        probabilities = quality_probabilities(data.quality_N.numpy())
    return numpy_generator(*key).choice(len(data.quality_N), size=batch_size, p=probabilities)


def batch_weights(
    policy: nn.Module, q: Lagging, batch: Columns, weighting: IWSFTConfig
) -> tuple[Tensor | None, Tensor]:
    """Weights of one global batch, normalised, and the same before normalisation; ``None`` for plain SFT.

    Args:
        policy: the trained policy, unwrapped; its parameters are replaced by q's.
        q: the lagging parameters (those of the policy itself where ``q_ema`` is 0).
        batch: the whole batch of an optimizer step.
        weighting: which weight.
    """
    q_NT, scores = batch.reference_NT, batch.returns_below_best_N
    with torch.no_grad():
        if weighting.weight_fn in ("iw", "dft"):  # the other weights don't look at q
            inputs = (batch.observations_NTO, batch.actions_NTA)
            q_NT = functional_call(policy, as_parameters(policy, q.parameters), inputs)
        if weighting.weight_fn == "awr":
            scores = batch.advantages_NT
        raw = method.raw_weights(
            weighting.weight_fn,
            q_NT,
            batch.mask_NT,
            reference_log_probs_BT=batch.reference_NT,
            scores=scores,
            level=weighting.level,
            log_ratio=weighting.log_ratio,
            temperature=weighting.temperature,
            clip=weighting.clip,
        )
    weights = None
    if raw is not None:
        weights = method.normalize_weights(raw, weighting.normalize, batch.mask_NT)
    if weighting.quality_column is not None and weighting.quality == "weight":
        weights = _scaled(weights, batch.quality_N)
    if raw is None:
        raw = torch.ones_like(batch.returns_below_best_N)
    return weights, raw


def _scaled(weights: Tensor | None, quality_N: Tensor) -> Tensor:
    """Weights [N] or [N, T] times quality, whose mean over the whole data is 1: in the mean as if drawn by it."""
    if weights is None:
        return quality_N
    return weights * quality_N.reshape(-1, *[1] * (weights.dim() - 1))


def fit(
    policy: nn.Module,
    data: Columns,
    weighting: IWSFTConfig,
    stage: StageConfig,
    learning_rate: float,
    key: tuple[int | str, ...],
    cell: Cell,
    evaluate: Evaluate | None = None,
    loss_over: LossOver = "steps",
) -> nn.Module:
    """Minimise the weighted negative log-likelihood of ``data``; returns the trained policy.

    Args:
        policy: where training starts; q starts there, too.
        data: the trajectories; its reference column must be the log-probabilities of the start for ``iw``.
        weighting: which weight; ``weight_fn="none"`` is cloning or SFT.
        stage: steps, batch and schedule.
        learning_rate: Adam's.
        key: of the rows' order.
        cell: a cell of this training alone.
        evaluate: validation.
        loss_over: what the loss is a mean over: all steps of a batch, or trajectories with the mean of each.
    """
    return train(
        policy,
        lambda model: [torch.optim.Adam(model.parameters(), lr=learning_rate)],
        partial(_step, data, weighting, stage.batch_size, key, loss_over),
        LoopConfig(
            steps=stage.steps,
            batch_size=stage.batch_size,
            log_every=stage.log_every,
            evaluate_every=stage.evaluate_every,
            checkpoint_every=stage.checkpoint_every,
        ),
        cell,
        initial_carry=lambda model, rows: Lagging(flat_parameters(model)),
        schedule=partial(
            warmup_cosine, total_steps=stage.steps, warmup_steps=stage.warmup_steps, floor=stage.rate_floor
        ),
        evaluate=evaluate,
    ).model


def _step(
    data: Columns,
    weighting: IWSFTConfig,
    batch_size: int,
    key: tuple[int | str, ...],
    loss_over: LossOver,
    wrapped: nn.Module,
    carry: Lagging,
    step: int,
    slots: range,
) -> tuple[Tensor, Lagging, dict[str, Tensor]]:
    """One process's part of a step: loss, q as it is now, and what to log about the weights of the whole batch."""
    bare = unwrapped(wrapped)
    q = lagged(carry, bare, weighting.q_ema if step > 1 else 0.0)  # before the first step q is the policy
    batch = data.rows(drawn_rows(data, weighting, batch_size, *key, step), carry.parameters.device)
    weights, raw = batch_weights(bare, q, batch, weighting)
    mine = slice(slots.start, slots.stop)
    # The loop averages the pieces; the normaliser of a piece is its share of that of the whole batch.
    normalizer: Tensor | float = batch.mask_NT.sum() * (len(slots) / batch_size)
    if loss_over == "trajectories":
        weights, normalizer = method.of_trajectory_means(weights, batch.mask_NT), float(len(slots))
    loss = weighted_nll(
        wrapped(batch.observations_NTO[mine], batch.actions_NTA[mine]),
        batch.mask_NT[mine],
        None if weights is None else weights[mine],
        normalizer=normalizer,
    )
    statistics = weight_statistics(raw, weighting.clip if weighting.weight_fn == "iw" else None, batch.mask_NT)
    return loss, q, {f"weights/{name}": value for name, value in statistics.items()}


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, without what wraps it for several processes."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def flat_parameters(model: nn.Module) -> Tensor:
    """A copy of all parameters as one vector, [P]."""
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def lagged(lagging: Lagging, model: nn.Module, decay: float) -> Lagging:
    """The parameters that lag behind, after another step of the model."""
    return Lagging(lagging_average(lagging.parameters, flat_parameters(model), decay))


def as_parameters(model: nn.Module, vector: Tensor) -> dict[str, Tensor]:
    """Parameters by name from such a vector, for ``functional_call``."""
    named = dict(model.named_parameters())
    pieces = vector.split([parameter.numel() for parameter in named.values()])
    return {name: piece.view_as(named[name]) for name, piece in zip(named, pieces, strict=True)}
