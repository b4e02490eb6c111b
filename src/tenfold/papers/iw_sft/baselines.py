"""Values for the offline-RL baselines: AWR's V by regression on returns, IQL's V and Q by expectile regression.

Both give an advantage for every step of the data; the policy is then extracted by the same weighted log-likelihood as
everything else here, with weights exp(advantage / temperature) (``weight_fn="awr"``). Networks are as large as the
policy's. Advantages are divided by the standard deviation of the returns, so that one temperature serves several tasks.
Left out: %BC, which is SFT on the kept trajectories, and AWR's TD(lambda) returns (Monte-Carlo returns here).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.data.trajectories import TrajectoryDataset
from tenfold.papers.iw_sft.config import ControlConfig
from tenfold.papers.iw_sft.networks import IQLValues, perceptron
from tenfold.papers.iw_sft.training import Lagging, as_parameters, flat_parameters, lagged, unwrapped
from tenfold.train.loop import LoopConfig, train


def returns_to_go(rewards_NT: np.ndarray, discount: float = 1.0) -> np.ndarray:
    """Sum of this and the later rewards of a trajectory, [N, T]; rewards behind the end must be 0.

    Example:
        >>> returns_to_go(np.array([[1.0, 0.0, 2.0]])).tolist()
        [[3.0, 2.0, 2.0]]
    """
    total = np.zeros_like(rewards_NT)
    total[:, -1] = rewards_NT[:, -1]
    for step in range(rewards_NT.shape[1] - 2, -1, -1):
        total[:, step] = rewards_NT[:, step] + discount * total[:, step + 1]
    return total


def expectile_loss(difference: Tensor, expectile: float, mask: Tensor) -> Tensor:
    """|expectile - 1(difference < 0)| * difference^2, mean over the mask; 0.5 is half the squared error.

    Example:
        >>> expectile_loss(torch.tensor([1.0, -1.0]), 0.9, torch.tensor([True, True])).item()
        0.5
    """
    weight = torch.where(difference < 0, 1 - expectile, expectile)
    return (weight * difference.square())[mask].mean()


class _Arrays:
    """A dataset with rewards as tensors [N, T, ...], and the scale of its returns."""

    def __init__(self, data: TrajectoryDataset, device: torch.device | None = None) -> None:
        assert data.rewards is not None, "values are learned from rewards"
        self.observations = torch.from_numpy(data.observations).to(device)
        self.actions = torch.from_numpy(data.actions).to(device)
        self.mask = torch.from_numpy(data.mask).to(device)
        self.rewards = torch.from_numpy(data.rewards).to(device)
        self.to_go = torch.from_numpy(returns_to_go(data.rewards)).to(device)
        self.scale = max(float(data.returns.std()), 1e-6)


def awr_advantages(data: TrajectoryDataset, config: ControlConfig, seed: int, cell: Cell) -> Tensor:
    """Return to go minus a fitted V(s), in units of the returns' standard deviation; [N, T]."""
    torch.manual_seed(key_to_seed(seed, "values"))
    net = perceptron(data.observations.shape[-1], 1, config.policy.hidden_size, config.policy.layers)

    def loss(model: nn.Module, batch: _Arrays, lagging: Lagging | None) -> Tensor:
        return (model(batch.observations)[..., 0] - batch.to_go)[batch.mask].square().mean()

    values = _fit_values(net, data, loss, config, seed, cell)
    whole = _Arrays(data, next(values.parameters()).device)
    with torch.no_grad():
        advantages = whole.to_go - values(whole.observations)[..., 0]
    return advantages / whole.scale


def iql_advantages(data: TrajectoryDataset, config: ControlConfig, seed: int, cell: Cell) -> Tensor:
    """min Q(s, a) - V(s) by implicit Q-learning, in units of the returns' standard deviation; [N, T]."""
    b = config.baselines
    torch.manual_seed(key_to_seed(seed, "values"))
    net = IQLValues(
        data.observations.shape[-1], data.actions.shape[-1], config.policy.hidden_size, config.policy.layers
    )

    def loss(model: nn.Module, batch: _Arrays, lagging: Lagging | None) -> Tensor:
        assert lagging is not None
        bare, mask = unwrapped(model), batch.mask
        inputs = (batch.observations, batch.actions)
        v, both_q = model(*inputs)
        with torch.no_grad():
            _, lagging_q = functional_call(bare, as_parameters(bare, lagging.parameters), inputs)
            goes_on = torch.nn.functional.pad(mask[:, 1:], (0, 1))
            next_v = torch.nn.functional.pad(v[:, 1:].detach(), (0, 1)) * goes_on
            target = batch.rewards + b.discount * next_v
        value_loss = expectile_loss(lagging_q.amin(0) - v, b.expectile, mask)
        return value_loss + (both_q - target).square()[:, mask].mean()

    values = _fit_values(net, data, loss, config, seed, cell, decay=b.target_decay)
    whole = _Arrays(data, next(values.parameters()).device)
    with torch.no_grad():
        v, both_q = values(whole.observations, whole.actions)
    return (both_q.amin(0) - v) / whole.scale


def _fit_values(
    net: nn.Module,
    data: TrajectoryDataset,
    loss: Callable[[nn.Module, _Arrays, Lagging | None], Tensor],
    config: ControlConfig,
    seed: int,
    cell: Cell,
    *,
    decay: float | None = None,
) -> nn.Module:
    """Adam on ``loss(model, batch, lagging)``; with a decay, lagging parameters are carried along."""
    stage = config.fine_tuning

    def step_function(
        model: nn.Module, carry: Lagging | None, step: int, slots: range
    ) -> tuple[Tensor, Lagging | None, dict[str, Tensor]]:
        if carry is not None and decay is not None and step > 1:
            carry = lagged(carry, model, decay)
        rows = numpy_generator(seed, "values", step).integers(len(data), size=stage.batch_size)
        batch = _Arrays(data.take(rows[slots.start : slots.stop]), next(model.parameters()).device)
        return loss(model, batch, carry), carry, {}

    return train(
        net,
        lambda model: [torch.optim.Adam(model.parameters(), lr=config.baselines.value_rate)],
        step_function,
        LoopConfig(
            steps=config.baselines.value_steps,
            batch_size=stage.batch_size,
            log_every=stage.log_every,
            checkpoint_every=stage.checkpoint_every,
        ),
        cell,
        initial_carry=None if decay is None else lambda model, rows: Lagging(flat_parameters(model)),
    ).model
