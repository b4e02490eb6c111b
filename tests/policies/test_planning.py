"""Planners on systems whose best plan is known: with the true model the goal is reached, whatever the seed."""

import dataclasses
from functools import partial

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.policies.planning import CEM, MPPI, GradientPlanner, colored_noise, iCEM, model_predictive_control

HORIZON, STARTS = 6, 4
A = torch.tensor([[1.0, 0.2, 0.0, 0.0], [0.0, 0.9, 0.0, 0.0], [0.0, 0.0, 1.0, 0.2], [0.0, 0.0, 0.0, 0.9]])
B = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.0], [0.0, 0.5]])
GOALS = torch.tensor([[0.5, 0.0, -0.4, 0.0], [-0.3, 0.0, 0.2, 0.0], [0.0, 0.0, 0.0, 0.0], [0.2, 0.0, 0.6, 0.0]])


def moved(state, actions):
    """The last state of a mass on a plane that is pushed, [..., 4], after actions [..., K, 2]."""
    for action in actions.unbind(-2):
        state = state @ A.T + action @ B.T
    return state


class TrueModel:
    """Knows the system: the squared distance to the goal."""

    def __init__(self, state=None):
        self.state = torch.zeros(STARTS, 4) if state is None else state

    def cost(self, actions):
        return (moved(self.state[:, None].expand(*actions.shape[:2], 4), actions) - GOALS[:, None]).square().sum(-1)


PLANNERS = {
    "cem": CEM(samples=200, elites=20, iterations=30),
    "icem": iCEM(samples=200, elites=20, iterations=30),
    "mppi": MPPI(samples=300, iterations=60),
    "gradient": GradientPlanner(candidates=2, iterations=80, rate=0.15),
}


def plan(planner, seed, model=None, horizon=HORIZON):
    model = TrueModel() if model is None else model
    return planner(model, torch.zeros(STARTS, horizon, 2), torch.Generator().manual_seed(seed))


@pytest.mark.spec("dino_world", "A10")
@pytest.mark.parametrize("name", ["cem", "gradient"])
def test_with_the_true_model_every_seed_reaches_the_goal(name):
    distances = [(moved(torch.zeros(STARTS, 4), plan(PLANNERS[name], seed)) - GOALS).norm(dim=-1) for seed in range(20)]
    assert torch.stack(distances).max() < 0.05


@pytest.mark.parametrize(("name", "near"), [("icem", 0.05), ("mppi", 0.15)])
def test_the_other_planners_reach_it_as_well(name, near):
    assert (moved(torch.zeros(STARTS, 4), plan(PLANNERS[name], 0)) - GOALS).norm(dim=-1).max() < near


@pytest.mark.parametrize("name", PLANNERS)
def test_plans_are_equal_for_equal_seeds_and_within_their_limits(name):
    bounded = dataclasses.replace(PLANNERS[name], low=-0.3, high=0.2, iterations=5)
    found = plan(bounded, 3)
    assert torch.equal(found, plan(bounded, 3))
    assert found.min() >= -0.3 and found.max() <= 0.2 + 1e-6
    assert not found.requires_grad


def test_the_first_candidate_is_the_idea_itself():
    seen = []

    class Watching(TrueModel):
        def cost(self, actions):
            seen.append(actions.clone())
            return super().cost(actions)

    idea = torch.full((STARTS, HORIZON, 2), 0.25)
    CEM(samples=8, elites=2, iterations=1)(Watching(), idea, torch.Generator().manual_seed(0))
    MPPI(samples=8, iterations=1)(Watching(), idea, torch.Generator().manual_seed(0))
    assert all(torch.equal(actions[:, 0], idea) for actions in seen)


def test_the_gradient_planner_leaves_the_model_without_gradients():
    weight = torch.nn.Parameter(torch.ones(()))

    class Weighted(TrueModel):
        def cost(self, actions):
            return weight * super().cost(actions)

    plan(GradientPlanner(candidates=2, iterations=2), 0, Weighted())
    assert weight.grad is None


def test_colored_noise_has_unit_variance_and_the_asked_spectrum():
    generator = torch.Generator().manual_seed(0)
    for color in (0.0, 1.0, 2.0):
        noise = colored_noise((20_000, 16, 1), color, generator)[..., 0]
        assert noise.var().item() == pytest.approx(1.0, abs=0.03)
        power = torch.fft.rfft(noise, dim=-1).abs().square().mean(0)
        assert (power[2] / power[8] * 2).item() / 2 == pytest.approx(4.0**color, rel=0.1)
    assert colored_noise((3, 1, 2), 2.0, generator).shape == (3, 1, 2)


# ----------------------------------------------------------------------------------------------------------- MPC


class Pushed:
    """The system itself, with a wind that no model knows."""

    def __init__(self):
        self.state, self.num_actions = torch.zeros(STARTS, 4), 0

    def act(self, actions):
        for action in actions.unbind(1):
            self.state = moved(self.state, action[:, None]) + torch.tensor([0.0, 0.05, 0.0, 0.0])
            self.num_actions += 1


def test_planning_again_corrects_what_the_model_did_not_know():
    ends = {}
    for executed, rounds in ((6, 2), (2, 6)):
        world = Pushed()
        plans = model_predictive_control(
            PLANNERS["cem"],
            lambda world=world: TrueModel(world.state),
            world,
            torch.zeros(STARTS, HORIZON, 2),
            executed=executed,
            rounds=rounds,
            generator=torch.Generator().manual_seed(0),
        )
        assert len(plans) == rounds and world.num_actions == executed * rounds
        ends[rounds] = (world.state - GOALS)[:, ::2].norm(dim=-1).mean()
    assert ends[6] < 0.7 * ends[2]


def test_a_new_plan_starts_from_what_is_left():
    ideas = []

    def planner(model, idea, generator):
        ideas.append(idea)
        return torch.arange(6.0).view(1, 6, 1).expand(STARTS, -1, 2)

    world = Pushed()
    start = torch.zeros(STARTS, 6, 2)
    model_predictive_control(planner, TrueModel, world, start, executed=4, rounds=2, generator=torch.Generator())
    assert ideas[1][0, :, 0].tolist() == [4, 5, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(CEM, samples=8), "elites = 30: allowed: from 2 to samples = 8"),
        (partial(CEM, iterations=0), "300 candidates in 0 iterations"),
        (partial(CEM, kept=1.0), "kept = 1"),
        (partial(MPPI, temperature=0.0), "temperature = 0"),
        (partial(MPPI, low=1.0, high=1.0), "actions from 1 to 1"),
        (partial(GradientPlanner, rate=0.0), "rate = 0"),
        (partial(GradientPlanner, deviation=-1.0), "deviation = -1"),
    ],
)
def test_searches_that_cannot_be_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_more_actions_than_a_plan_has_are_refused():
    with pytest.raises(UserError, match="executed = 7, rounds = 1: allowed: from 1 to the horizon 6"):
        model_predictive_control(
            PLANNERS["cem"],
            TrueModel,
            Pushed(),
            torch.zeros(STARTS, 6, 2),
            executed=7,
            rounds=1,
            generator=torch.Generator(),
        )
