"""DINO-world for the solvers of stable-worldmodel: one adapter for the wheel and for the repository, both called 0.1.1.

The wheel's solvers call ``get_cost(info, actions)``; the repository's combine ``encode`` and ``rollout`` with an
objective. Here are all three, over dictionaries as those solvers make them; stable-worldmodel itself is not imported.
Give the adapter as the first argument, ``CEMSolver(adapter, ...)``, for the argument's name differs between the two::

    from stable_worldmodel.solver import CEMSolver

    adapter = StableWorldModel(predictor, encoder, seconds_per_step=0.2)
    solver = CEMSolver(adapter, num_samples=300, topk=30, n_steps=10)
    solver.configure(action_space=space, n_envs=4, config=PlanConfig(horizon=5, receding_horizon=5))
    plan = solver.solve({"pixels": now, "goal": goal})["actions"]

Shapes: B environments, S candidates, H frames of history, T actions, N patches, D width of the features, a numbers of
an action; pixels [..., 3, h, w] are uint8 or floating in [0, 1].
"""

from typing import Any

import torch
from torch import Tensor, nn

from tenfold.core.errors import UserError
from tenfold.models.frame_encoder import FrameEncoder
from tenfold.papers.dino_world.method import Predictor

Info = dict[str, Any]


class StableWorldModel(nn.Module):
    """A predictor with actions as a model that stable-worldmodel's solvers can plan with.

    Args:
        predictor: with actions.
        encoder: whose features it knows.
        seconds_per_step: from one frame to the next, an action in between.

    Raises:
        UserError: the predictor has no actions, or was made for features of another width.
    """

    def __init__(self, predictor: Predictor, encoder: FrameEncoder, seconds_per_step: float) -> None:
        super().__init__()
        if not predictor.action_dim:
            raise UserError("predictor: a model of video alone cannot plan; allowed: one with actions (with_actions)")
        if predictor.dim != encoder.dim:
            raise UserError(f"encoder with features of width {encoder.dim}: the predictor was made for {predictor.dim}")
        if not seconds_per_step > 0:
            raise UserError(f"seconds_per_step = {seconds_per_step}: allowed: above 0")
        self.predictor, self.encoder, self.seconds_per_step = predictor, encoder, seconds_per_step

    def encode(self, info: Info) -> Info:
        """``pixels`` [B, T, 3, h, w] to ``emb`` [B, T, N, D]."""
        info["emb"] = self.encoder(info["pixels"]).flatten(2, 3)
        return info

    def rollout(self, info: Info, actions_BSTa: Tensor) -> Info:
        """``pixels`` [B, S, H, 3, h, w], S equal copies, and actions to ``predicted_emb`` [B, S, H+T, N, D].

        With more than one frame of history, the wheel's candidates begin with the H - 1 past actions, the repository's
        hold future ones alone and come with ``action_history``; past actions can be seen in the frames and are skipped.
        """
        pixels = info["pixels"]
        starts, candidates, history = actions_BSTa.shape[0], actions_BSTa.shape[1], pixels.shape[2]
        if actions_BSTa.shape[-1] != self.predictor.action_dim:
            raise UserError(
                f"actions of {actions_BSTa.shape[-1]} numbers: the predictor was made for {self.predictor.action_dim}"
            )
        past_actions = 0 if "action_history" in info else history - 1
        future = actions_BSTa[:, :, past_actions:].flatten(0, 1)
        if "emb" not in info:
            info["emb"] = self.encoder(pixels[:, 0]).flatten(2, 3)[:, None].expand(-1, candidates, -1, -1, -1)
        height, width = self.encoder.grid(pixels[:, 0])
        seen = info["emb"][:, 0].unflatten(2, (height, width))
        times = self.seconds_per_step * torch.arange(
            history + future.shape[1], dtype=torch.float64, device=actions_BSTa.device
        )
        memory = self.predictor.read(seen, times[:history].expand(starts, -1)).repeated(candidates)
        imagined = self.predictor.imagine(memory, times[history:].expand(starts * candidates, -1), future)
        imagined = imagined.flatten(2, 3).unflatten(0, (starts, candidates))
        info["predicted_emb"] = torch.cat([info["emb"], imagined], dim=2)
        return info

    def criterion(self, info: Info, actions_BSTa: Tensor | None = None) -> Tensor:
        """Mean square between the last predicted frame's features and the goal's, [B, S]."""
        difference = info["predicted_emb"][:, :, -1] - info["goal_emb"][:, None, -1]
        return difference.square().mean((-1, -2))

    def get_cost(self, info: Info, actions_BSTa: Tensor) -> Tensor:
        """What each candidate costs, [B, S]; ``goal`` is [B, S, 1, 3, h, w], and its features are kept in ``info``.

        Raises:
            UserError: the goal's picture has another size than the frames.
        """
        if "goal_emb" not in info:
            goal, pixels = info["goal"], info["pixels"]
            if goal.shape[-2:] != pixels.shape[-2:]:
                raise UserError(
                    f"goal of {goal.shape[-1]}x{goal.shape[-2]} pixels: the frames have "
                    f"{pixels.shape[-1]}x{pixels.shape[-2]}"
                )
            info["goal_emb"] = self.encoder(goal[:, 0]).flatten(2, 3)
        return self.criterion(self.rollout(info, actions_BSTa))
