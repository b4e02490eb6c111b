"""What the control studies share: networks against scipy, trainings against plain loops, baselines by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from tenfold.core.cell import Cell
from tenfold.data.trajectories import TrajectoryDataset
from tenfold.models import weighted_nll
from tenfold.papers.iw_sft.baselines import awr_advantages, expectile_loss, iql_advantages, returns_to_go
from tenfold.papers.iw_sft.config import IWSFTConfig, StageConfig
from tenfold.papers.iw_sft.method import importance_weights, normalize_weights, of_trajectory_means
from tenfold.papers.iw_sft.networks import GaussianPolicy, IQLValues, MixturePolicy
from tenfold.papers.iw_sft.tasks import acting
from tenfold.papers.iw_sft.training import Lagging, batch_weights, columns, drawn_rows, fit, flat_parameters
from tenfold.papers.iw_sft.two_route import task as two_route
from tenfold.papers.iw_sft.two_route.config import laptop


def cell_in(folder, name="cell"):
    return Cell(arm="test", seed=0, directory=folder / name, device="cpu")


# ------------------------------------------------------------------------------------------------------- networks


def test_the_mixture_is_the_density_that_scipy_computes():
    torch.manual_seed(0)
    policy = MixturePolicy(3, 2, num_components=2, hidden_size=8, layers=2)
    observation, action = torch.randn(3), torch.randn(2)
    shares, means, log_stds = (part.detach().numpy() for part in policy.components(observation))
    density = sum(
        np.exp(share) * multivariate_normal.pdf(action.numpy(), mean, np.diag(np.exp(2 * log_std)))
        for share, mean, log_std in zip(shares, means, log_stds, strict=True)
    )
    assert policy(observation, action).item() == pytest.approx(np.log(density), abs=1e-5)


def test_samples_of_the_mixture_have_its_shares_and_deviations():
    torch.manual_seed(0)
    policy = MixturePolicy(3, 1, num_components=2, hidden_size=8, layers=1)
    shares, means, log_stds = policy.components(torch.zeros(1, 3))
    drawn = policy.act(torch.zeros(20_000, 3), torch.Generator().manual_seed(0))
    mean = (shares.exp()[0] * means[0, :, 0]).sum().item()
    second = (shares.exp()[0] * (means[0, :, 0].square() + (2 * log_stds[0, :, 0]).exp())).sum().item()
    assert drawn.mean().item() == pytest.approx(mean, abs=0.03)
    assert drawn.square().mean().item() == pytest.approx(second, abs=0.06)
    assert policy.act(torch.zeros(1, 3)).item() == pytest.approx(means[0, shares[0].argmax(), 0].item())


def test_the_gaussian_policy_is_the_authors():
    torch.manual_seed(0)
    policy = GaussianPolicy(4, 2)
    assert [module.out_features for module in policy.mean if isinstance(module, torch.nn.Linear)] == [256, 256, 256, 2]
    observations, actions = torch.randn(5, 4), torch.randn(5, 2)
    normal = torch.distributions.Normal(torch.tanh(policy.mean(observations)), 1.0)
    torch.testing.assert_close(policy(observations, actions), normal.log_prob(actions).sum(-1))
    policy.log_std.data.fill_(9.0)  # clamped at 2
    wide = torch.distributions.Normal(torch.tanh(policy.mean(observations)), np.exp(2.0))
    torch.testing.assert_close(policy(observations, actions), wide.log_prob(actions).sum(-1))


def test_acting_is_the_same_for_equal_keys():
    torch.manual_seed(0)
    policy = MixturePolicy(3, 2, 2, 8, 1)
    observations = np.zeros((5, 3))
    one, same, other = (acting(policy, True, 0, split)(observations, 3) for split in ("test", "test", "validation"))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert np.array_equal(acting(policy, False, 0)(observations, 0), acting(policy, False, 1)(observations, 9))


# ------------------------------------------------------------------------------------------------------ trainings


@pytest.fixture
def small():
    torch.manual_seed(0)
    data = two_route.dataset(40, 0, "train")
    return MixturePolicy(3, 2, 2, 8, 1), data.take(np.flatnonzero(data.returns > 0))


def test_fine_tuning_equals_a_plain_loop(small, tmp_path):
    """Five steps with a lagging q, written out with copies of the model."""
    policy, data = small
    iw = IWSFTConfig(log_ratio="mean", temperature=20.0, q_ema=0.9)
    torch.manual_seed(1)
    start = {name: value.clone() for name, value in policy.state_dict().items()}
    table = columns(data, reference=policy)
    trained = fit(policy, table, iw, StageConfig(5, 8), 1e-2, (0, "x"), cell_in(tmp_path))

    plain, q = MixturePolicy(3, 2, 2, 8, 1), MixturePolicy(3, 2, 2, 8, 1)
    plain.load_state_dict(start), q.load_state_dict(start)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2)
    for step in range(1, 6):
        rows = torch.from_numpy(drawn_rows(table, iw, 8, 0, "x", step))
        inputs, mask = (table.observations_NTO[rows], table.actions_NTA[rows]), table.mask_NT[rows]
        with torch.no_grad():
            w = importance_weights(q(*inputs), table.reference_NT[rows], mask, log_ratio="mean", temperature=20.0)
        loss = weighted_nll(plain(*inputs), mask, normalize_weights(w, "batch_mean"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for lagging, current in zip(q.parameters(), plain.parameters(), strict=True):
                lagging.mul_(0.9).add_(0.1 * current)
    torch.testing.assert_close(flat_parameters(trained), flat_parameters(plain), atol=1e-5, rtol=1e-4)


def test_the_authors_loss_is_the_mean_over_trajectories_of_each_ones_mean():
    """Their ``loss`` of emmyqin/iw_sft_control, written out: one number for a trajectory, then ``.mean()``."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([1000, 10, 1, 37])
    mask_NT = torch.arange(1000) < lengths[:, None]
    log_probs_NT = torch.randn(4, 1000, generator=generator).requires_grad_()
    ratio_N = torch.rand(4, generator=generator)
    ratio_NT = torch.rand(4, 1000, generator=generator)
    theirs = {
        None: -(log_probs_NT * mask_NT).sum(-1) / lengths,
        ratio_N: -ratio_N * (log_probs_NT * mask_NT).sum(-1) / lengths,
        ratio_NT: -(ratio_NT * log_probs_NT * mask_NT).sum(-1) / lengths,
    }
    for weights, of_trajectories in theirs.items():
        ours = weighted_nll(log_probs_NT, mask_NT, of_trajectory_means(weights, mask_NT), normalizer=4)
        torch.testing.assert_close(ours, of_trajectories.mean())
        gradients = [
            torch.autograd.grad(loss, log_probs_NT, retain_graph=True)[0] for loss in (ours, theirs[weights].mean())
        ]
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("loss_over", "share"), [("steps", 10 / 1010), ("trajectories", 0.5)])
def test_a_short_trajectory_beside_a_long_one_has_half_of_the_gradient_only_over_trajectories(
    loss_over, share, tmp_path, monkeypatch
):
    """Of the first step's gradient, in what the training itself computes, on trajectories of 10 and of 1,000 steps."""
    from tenfold.papers.iw_sft import training

    class OfEachTrajectory(torch.nn.Module):
        """log p = the parameter of the trajectory, whose number is the observation."""

        def __init__(self):
            super().__init__()
            self.log_probs = torch.nn.Parameter(torch.zeros(2))

        def forward(self, observations_NTO, actions_NTA):
            return self.log_probs[observations_NTO[..., 0].long()]

    mask = np.arange(1000) < np.array([[10], [1000]])
    observations = np.broadcast_to(np.array([0.0, 1.0], dtype=np.float32)[:, None, None], (2, 1000, 1)).copy()
    data = TrajectoryDataset(observations, np.zeros((2, 1000, 1), np.float32), mask, np.ones(2, np.float32))
    monkeypatch.setattr(training, "drawn_rows", lambda *options: np.array([0, 1]))
    monkeypatch.setattr(torch.optim, "Adam", torch.optim.SGD)
    start = torch.zeros(2)
    trained = fit(
        OfEachTrajectory(),
        columns(data),
        IWSFTConfig(weight_fn="none"),
        StageConfig(1, 2),
        1.0,
        (0, "x"),
        cell_in(tmp_path),
        loss_over=loss_over,
    )
    moved = (trained.log_probs.detach().cpu() - start).tolist()
    assert moved[0] / sum(moved) == pytest.approx(share, rel=1e-4)
    assert sum(moved) == pytest.approx(1.0, rel=1e-4), "a mean in either case"


@pytest.mark.spec("iw_sft", "7")
@pytest.mark.parametrize("loss_over", ["steps", "trajectories"])
def test_accumulation_changes_nothing(small, tmp_path, monkeypatch, loss_over):
    from tenfold.papers.iw_sft import training

    policy, data = small
    start = {name: value.clone() for name, value in policy.state_dict().items()}
    iw = IWSFTConfig(log_ratio="mean", temperature=20.0, q_ema=0.9)
    ends = []
    for pieces in (1, 4):
        policy.load_state_dict(start)
        table = columns(data, reference=policy)
        whole = training.LoopConfig
        monkeypatch.setattr(
            training, "LoopConfig", lambda _make=whole, _n=pieces, **o: _make(gradient_accumulation=_n, **o)
        )
        trained = fit(
            policy, table, iw, StageConfig(6, 8), 1e-2, (0, "x"), cell_in(tmp_path, f"{pieces}"), None, loss_over
        )
        monkeypatch.undo()
        ends.append(flat_parameters(trained))
    torch.testing.assert_close(*ends, atol=1e-5, rtol=1e-4)


def test_sft_is_the_maximum_likelihood_gradient(small):
    policy, data = small
    table = columns(data)
    weights, raw = batch_weights(policy, Lagging(flat_parameters(policy)), table, IWSFTConfig(weight_fn="none"))
    assert weights is None and (raw == 1).all()


@pytest.mark.spec("iw_sft", "1")
def test_the_first_weights_are_one(small):
    policy, data = small
    table = columns(data, reference=policy)
    weights, _ = batch_weights(
        policy, Lagging(flat_parameters(policy)), table, IWSFTConfig(log_ratio="mean", temperature=20.0)
    )
    torch.testing.assert_close(weights, torch.ones(len(data)), atol=1e-5, rtol=0)


@pytest.mark.spec("iw_sft", "7")
def test_drawing_rows_by_quality_is_weighting_them_in_the_mean(small):
    """The mean gradient over many batches drawn by quality against the gradient of all rows with R / mean R."""
    policy, data = small
    quality = np.linspace(0.0, 3.0, len(data))
    table = columns(data, reference=policy, quality=quality)
    by_sampling = IWSFTConfig(weight_fn="none", quality_column="quality")
    by_weight = replace(by_sampling, quality="weight")
    counts = np.zeros(len(data))
    for step in range(400):
        np.add.at(counts, drawn_rows(table, by_sampling, 64, 0, step), 1)
    q = Lagging(flat_parameters(policy))
    weights, _ = batch_weights(policy, q, table, by_weight)
    assert (np.bincount(drawn_rows(table, by_weight, 4000, 0), minlength=len(data)) > 0).all()  # uniform

    def gradient(row_weights):
        log_probs = policy(table.observations_NTO, table.actions_NTA)
        loss = weighted_nll(log_probs, table.mask_NT, row_weights)
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, policy.parameters())])

    sampled, weighted = gradient(torch.tensor(counts / counts.mean(), dtype=torch.float32)), gradient(weights)
    assert (sampled - weighted).norm() < 0.02 * weighted.norm()


def test_q_lags_and_is_in_the_checkpoint(small, tmp_path):
    """Stopped after 4 of 8 steps and resumed: the same end, which needs q as it was."""
    from tenfold.core.errors import Interrupted

    policy, data = small
    start = {name: value.clone() for name, value in policy.state_dict().items()}
    table = columns(data, reference=policy)
    iw, stage = IWSFTConfig(log_ratio="mean", temperature=20.0, q_ema=0.9), StageConfig(8, 8, evaluate_every=4)
    whole = flat_parameters(fit(policy, table, iw, stage, 1e-2, (0, "x"), cell_in(tmp_path, "whole")))
    cell = cell_in(tmp_path, "stopped")
    policy.load_state_dict(start)
    with pytest.raises(Interrupted):
        fit(policy, table, iw, stage, 1e-2, (0, "x"), cell, lambda model, step: cell.request_stop() or {"a/b": 0.0})
    policy.load_state_dict(start)
    resumed = fit(policy, table, iw, stage, 1e-2, (0, "x"), cell_in(tmp_path, "stopped"))
    assert torch.equal(flat_parameters(resumed), whole)


def test_reward_weighted_regression_is_that_of_the_formula_for_large_returns(small):
    """Returns of hundreds at temperature 1: exp(R - max R), where exp(R) itself would be one number for all."""
    policy, data = small
    returns = np.linspace(500.0, 503.0, len(data)).astype(np.float32)
    table = columns(replace(data, returns=returns, rewards=None))
    iw = IWSFTConfig(weight_fn="rwr", normalize="batch_mean")
    weights, _ = batch_weights(policy, Lagging(flat_parameters(policy)), table, iw)
    expected = np.exp(returns - returns.max())
    assert weights.numpy() == pytest.approx(expected / expected.mean(), rel=1e-4)


# ------------------------------------------------------------------------------------------------------ baselines


def test_returns_to_go_and_expectiles_by_hand():
    assert returns_to_go(np.array([[1.0, 2.0, 4.0]]), discount=0.5).tolist() == [[3.0, 4.0, 4.0]]
    difference, mask = torch.tensor([[2.0, -2.0, 100.0]]), torch.tensor([[True, True, False]])
    assert expectile_loss(difference, 0.9, mask).item() == pytest.approx((0.9 * 4 + 0.1 * 4) / 2)


def test_values_prefer_the_safe_route(tmp_path):
    """Crossing on the right is worth 1, on the left 1/2: both methods must see it just before the gap."""
    config = laptop()
    config = replace(config, baselines=replace(config.baselines, value_steps=300))
    data = two_route.dataset(400, 0, "train")
    right = torch.from_numpy(data.observations[:, 5, 0] > 0)
    for name, function in (("awr", awr_advantages), ("iql", iql_advantages)):
        advantages = function(data, config, 0, cell_in(tmp_path, name))
        assert advantages.shape == data.mask.shape and torch.isfinite(advantages).all()
        first = advantages[:, 0]
        assert first[right].mean() > first[~right].mean() + 0.2, name


def test_iql_has_two_critics():
    v, q = IQLValues(3, 2, 8, 1)(torch.zeros(4, 5, 3), torch.zeros(4, 5, 2))
    assert v.shape == (4, 5) and q.shape == (2, 4, 5)
