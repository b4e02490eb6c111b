"""A world model that learns to move a point, and a planner that acts through it.

A point in a plane moves by the action, but half as fast to the left of x = 0. Planners ask nothing of a model but
``cost(actions)``; this one is a small net, and docs/world-models.md has one in the features of a frozen encoder.
"""

import torch
from torch import Tensor, nn

from tenfold.policies import CEM

START, GOAL = torch.tensor([-1.5, -1.0]), torch.tensor([1.5, 1.0])


def world(place: Tensor, action: Tensor) -> Tensor:
    """The next place, ``[..., 2]``."""
    return place + torch.where(place[..., :1] < 0, 0.5, 1.0) * action


class PointModel(nn.Module):
    """Predicts places, and says how far sequences of actions end from the goal."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, place: Tensor, action: Tensor) -> Tensor:
        """The next place, ``[..., 2]``."""
        return place + self.net(torch.cat([place, action], -1))

    @torch.no_grad()
    def cost(self, actions: Tensor) -> Tensor:
        """``[..., 2]`` actions, their last axis but one in time, to the squared distance from the goal at the end."""
        place = START.expand(*actions.shape[:-2], 2)
        for action in actions.unbind(-2):
            place = self(place, action)
        return (place - GOAL).square().sum(-1)


def main(steps: int = 1000) -> float:
    """Learn from random actions, plan, act in the world, and return how far from the goal that ends."""
    torch.manual_seed(0)
    model = PointModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        place, action = torch.rand(256, 2) * 6 - 3, torch.rand(256, 2) * 2 - 1
        (model(place, action) - world(place, action)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    planner = CEM(samples=256, elites=32, iterations=20, low=-1, high=1)
    plan = planner(model, torch.zeros(1, 8, 2), torch.Generator().manual_seed(0))
    place = START
    for action in plan[0]:
        place = world(place, action)
    return float((place - GOAL).norm())


if __name__ == "__main__":
    print(f"from {(START - GOAL).norm():.2f} to {main():.2f} from the goal")
