"""Runs in a process of its own: four solvers of stable-worldmodel plan through the adapter, without torchvision.

``import stable_worldmodel`` needs torchvision and more; its solvers do not. An empty package with the right path lets
them be imported alone. Prints one line for each solver: its name, the cost of its plan, and that of doing nothing.
"""

import importlib.util
import sys
import types

import gymnasium
import numpy as np
import torch


def stand_in(name, path):
    """An empty package, so that modules below it are found without its own __init__."""
    package = types.ModuleType(name)
    package.__path__ = [path]
    sys.modules[name] = package


root = importlib.util.find_spec("stable_worldmodel").submodule_search_locations[0]
stand_in("stable_worldmodel", root)

from stable_worldmodel.solver import CEMSolver, GradientSolver, ICEMSolver, MPPISolver  # noqa: E402

from tenfold.models.frame_encoder import FrameEncoder, small_vision_transformer  # noqa: E402
from tenfold.papers.dino_world.config import PredictorConfig  # noqa: E402
from tenfold.papers.dino_world.method import Predictor  # noqa: E402
from tenfold.papers.dino_world.stable_worldmodel import StableWorldModel  # noqa: E402

torch.manual_seed(0)
encoder = FrameEncoder(small_vision_transformer(width=24, blocks=1, heads=2, patch=8, registers=1, size=16, seed=0))
predictor = Predictor(PredictorConfig(blocks=2, width=48, heads=2, layer_scale=0.0), dim=24, action_dim=2)
with torch.no_grad():
    for parameter in predictor.parameters():
        parameter.add_(0.15 * torch.randn_like(parameter))
adapter = StableWorldModel(predictor, encoder, seconds_per_step=0.2)

ENVIRONMENTS, HORIZON = 2, 3
generator = torch.Generator().manual_seed(1)
info = {name: torch.rand(ENVIRONMENTS, 1, 3, 16, 16, generator=generator) for name in ("pixels", "goal")}
config = types.SimpleNamespace(horizon=HORIZON, receding_horizon=HORIZON, history_len=1, action_block=1)
space = gymnasium.spaces.Box(-1, 1, (ENVIRONMENTS, 2), dtype=np.float32)


def cost_of(actions):
    copies = {name: value[:, None] for name, value in info.items()}
    return adapter.get_cost(copies, actions[:, None])[:, 0].mean().item()


solvers = {
    "CEM": CEMSolver(adapter, num_samples=64, topk=8, n_steps=5),
    "iCEM": ICEMSolver(adapter, num_samples=64, topk=8, n_steps=5),
    "MPPI": MPPISolver(adapter, num_samples=64, topk=8, n_steps=5),
    "gradient": GradientSolver(
        adapter, n_steps=20, num_samples=4, optimizer_cls=torch.optim.Adam, optimizer_kwargs={"lr": 0.1}
    ),
}
for name, solver in solvers.items():
    solver.configure(action_space=space, n_envs=ENVIRONMENTS, config=config)
    plan = torch.as_tensor(solver.solve(dict(info))["actions"])
    assert plan.shape == (ENVIRONMENTS, HORIZON, 2), plan.shape
    print("solved", name, cost_of(plan.float()), cost_of(torch.zeros_like(plan)))
