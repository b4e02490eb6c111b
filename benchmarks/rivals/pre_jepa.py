"""stable-worldmodel's own world model, PreJEPA (its DINO-WM), at a given size; ``None`` where it is not installed.

``import stable_worldmodel`` asks for torchvision and more than its models need, so the packages above them are stood in
for by empty ones with the right path.
"""

import importlib
import importlib.util
import sys
import types
from typing import Any

import torch
from torch import Tensor, nn


class PreJEPAPlanner:
    """PreJEPA with fresh weights, asked as its own solvers ask: all candidates of all starts in one call.

    Args:
        encoder: a vision model of transformers whose tokens are a class and the patches.
        dim: of its tokens.
        patches: of a frame.
        layers: of the predictor.
        mlp_width: of the predictor's feed-forward layers.
        action_dim: numbers of an action.
    """

    def __init__(
        self, encoder: nn.Module, dim: int, patches: int, layers: int, mlp_width: int, action_dim: int
    ) -> None:
        stable = importlib.import_module("stable_worldmodel.wm.prejepa.prejepa")
        modules = importlib.import_module("stable_worldmodel.wm.prejepa.module")
        embedding = 10
        predictor = modules.CausalPredictor(
            num_patches=patches,
            num_frames=3,
            dim=dim + embedding,
            depth=layers,
            heads=4,
            dim_head=24,
            mlp_dim=mlp_width,
        )
        actions = modules.Embedder(in_chans=action_dim, emb_dim=embedding)
        self.model: Any = stable.PreJEPA(
            encoder, predictor, extra_encoders=nn.ModuleDict({"action": actions}), history_size=3
        ).eval()
        self.predictor = predictor

    @torch.no_grad()
    def cost(self, frames_BT3hw: Tensor, goals_B3hw: Tensor, actions_BSTA: Tensor) -> Tensor:
        """[B, S]; T actions: those from each frame but the last, and those of the plan."""
        starts, candidates = actions_BSTA.shape[:2]

        def copies(x: Tensor) -> Tensor:
            return x[:, None].expand(-1, candidates, *x.shape[1:])

        numbers = torch.arange(starts)[:, None]
        info = {
            "pixels": copies(frames_BT3hw),
            "goal": copies(goals_B3hw[:, None]),
            "action": actions_BSTA[:, :, : frames_BT3hw.shape[1]],
            "id": copies(numbers),
            "step_idx": copies(torch.zeros_like(numbers)),
        }
        costs: Tensor = self.model.get_cost(info, actions_BSTA)
        return costs


def installed() -> bool:
    """Whether PreJEPA can be imported; prepares it to be."""
    found = importlib.util.find_spec("stable_worldmodel") if "stable_worldmodel" not in sys.modules else True
    if not found or importlib.util.find_spec("einops") is None:
        return False
    if found is not True:
        (root,) = found.submodule_search_locations or [""]
        for name, path in (
            ("stable_worldmodel", root),
            ("stable_worldmodel.wm", f"{root}/wm"),
            ("stable_worldmodel.wm.prejepa", f"{root}/wm/prejepa"),
        ):
            package = types.ModuleType(name)
            package.__path__ = [path]
            sys.modules[name] = package
    return True
