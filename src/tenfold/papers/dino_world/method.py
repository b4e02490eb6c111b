"""DINO-world's predictor: patch features of a frame at a requested time, from those of earlier frames and their times.

Section "Predictor" of arXiv 2507.19468, as far as secondary sources and the published re-implementation in deltatok
tell it; the README says which fact is from where. A stack of pre-norm cross-attention blocks without self-attention:
one learned query vector stands for every place and time, and position enters through rotary embedding alone. Keys and
values come from the encoder's features in every block, so they are computed once and kept while a plan is searched.

Shapes: B clips, T context frames, Q asked frames, K future frames, P = H x W patches of a frame, D width of the
features, W width of the predictor, N heads, A numbers of an action, S = T x P tokens. Times are seconds, [B, T]; give
them in float64 where clips are long, because angles are computed in their type.

Not here: the encoder (``tenfold.models.frame_encoder``), and what acts (``actions``, ``tenfold.policies.planning``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from tenfold.core.errors import UserError
from tenfold.papers.dino_world.attention import (
    CrossAttention,
    Rotation,
    flexible_mask,
    frame_mask,
    rotation,
    triangular_mask,
)
from tenfold.papers.dino_world.settings import PredictorConfig


class Memory(Protocol):
    """What a predictor has read of the past: made once, asked often."""

    def repeated(self, times: int) -> Self:
        """The same past for ``times`` candidates of each clip, those of a clip next to each other."""
        ...


class VideoPredictor(Protocol):
    """What training, roll-out and planning need of a predictor; DINO-WM's is behind it as well."""

    def __call__(self, x_BTHWD: Tensor, tau_BT: Tensor, actions_BTA: Tensor | None = None) -> Tensor:
        """Frames 2 to T, each from all before it: [B, T-1, H, W, D]. Action t leads from frame t to t+1."""
        ...

    def read(self, x_BTHWD: Tensor, tau_BT: Tensor, actions_BTA: Tensor | None = None) -> Any:
        """The :class:`Memory` of observed frames; actions [B, T-1, A] lie between them."""
        ...

    def imagine(self, memory: Any, tau_BK: Tensor, actions_BKA: Tensor | None = None) -> Tensor:
        """K future frames, each from the memory and those imagined before it: [B, K, H, W, D]."""
        ...


class ActionBlock(nn.Module):
    """q <- q + MLP(LN([q, a])); its last layer starts at zero, so that a video model starts unchanged.

    Without ``joint``, q <- q + MLP([LN(q), a]): queries grow from block to block, and divided by their deviation an
    action of a few numbers all but disappears.
    """

    def __init__(self, width: int, action_dim: int, joint: bool) -> None:
        super().__init__()
        self.joint = joint
        self.norm = nn.LayerNorm(width + action_dim if joint else width)
        self.up_proj = nn.Linear(width + action_dim, width)
        self.down_proj = nn.Linear(width, width)

    def forward(self, q_BSW: Tensor, action_BSA: Tensor) -> Tensor:
        """[B, S, W] queries and the action of each to [B, S, W]."""
        if self.joint:
            both = self.norm(torch.cat([q_BSW, action_BSA], dim=-1))
        else:
            both = torch.cat([self.norm(q_BSW), action_BSA], dim=-1)
        return q_BSW + self.down_proj(gelu(self.up_proj(both)))


class Block(nn.Module):
    """q <- q + CrossAttn(LN(q), context); q <- q + MLP(LN(q)); with actions, an :class:`ActionBlock` after it."""

    def __init__(self, config: PredictorConfig, context_width: int, action_dim: int) -> None:
        super().__init__()
        width, inner = config.width, round(config.mlp_ratio * config.width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CrossAttention(width, config.heads, context_width)
        self.up_proj, self.down_proj = nn.Linear(width, inner), nn.Linear(inner, width)
        self.scale1, self.scale2 = _layer_scale(config), _layer_scale(config)
        joint = config.action_norm == "joint"
        self.action = ActionBlock(width, action_dim, joint) if action_dim else None

    def forward(
        self, q_BSW: Tensor, by: Rotation, keys: Tensor, values: Tensor, mask: Any, action_BSA: Tensor | None
    ) -> Tensor:
        """One step of refinement of the queries, [B, S, W]."""
        found = self.attention(self.norm1(q_BSW), by, keys, values, mask)
        q_BSW = q_BSW + _scaled(found, self.scale1)
        q_BSW = q_BSW + _scaled(self.down_proj(gelu(self.up_proj(self.norm2(q_BSW)))), self.scale2)
        return q_BSW if self.action is None else self.action(q_BSW, action_BSA)


def _layer_scale(config: PredictorConfig) -> nn.Parameter | None:
    return nn.Parameter(torch.full((config.width,), config.layer_scale)) if config.layer_scale else None


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else x * scale


@dataclass(frozen=True)
class Context:
    """Keys and values of what was observed or imagined, for each block, [B, N, S, H]; its last frame; their grid."""

    keys: Sequence[Tensor]
    values: Sequence[Tensor]
    last_BHWD: Tensor

    def repeated(self, times: int) -> "Context":
        """The same past for ``times`` candidates of each clip."""
        return Context(
            [keys.repeat_interleave(times, 0) for keys in self.keys],
            [values.repeat_interleave(times, 0) for values in self.values],
            self.last_BHWD.repeat_interleave(times, 0),
        )

    def followed_by(self, later: "Context") -> "Context":
        """Both, one after the other; the last frame is the later one's."""
        pairs = zip(self.keys, later.keys, strict=True), zip(self.values, later.values, strict=True)
        keys, values = ([torch.cat(pair, dim=2) for pair in of_blocks] for of_blocks in pairs)
        return Context(keys, values, later.last_BHWD)


class Predictor(nn.Module):
    """DINO-world: features of the past, and a time, to features at that time.

    Args:
        config: size and options.
        dim: D, width of the encoder's features.
        action_dim: A; 0 for a model of video alone.

    Example:
        >>> model = Predictor(PredictorConfig(blocks=1, width=24, heads=2), dim=8)
        >>> x, tau = torch.zeros(2, 3, 4, 4, 8), torch.tensor([[0.0, 0.1, 0.2]] * 2)
        >>> model(x, tau).shape, model.predict(x, tau, torch.full((2, 1), 0.5)).shape
        (torch.Size([2, 2, 4, 4, 8]), torch.Size([2, 1, 4, 4, 8]))
    """

    def __init__(self, config: PredictorConfig, dim: int, action_dim: int = 0) -> None:
        super().__init__()
        self.config, self.dim, self.action_dim = config, dim, action_dim
        projects = config.context_proj and dim != config.width
        self.context_proj = nn.Linear(dim, config.width) if projects else nn.Identity()
        context_width = config.width if projects else dim
        self.query = nn.Parameter(torch.empty(1, 1, config.width))
        self.blocks = nn.ModuleList(Block(config, context_width, action_dim) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal weights of one deviation, no biases; zeros where the model is to start as another one."""
        std = self.config.init_std
        nn.init.trunc_normal_(self.query, std=std)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=std)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, ActionBlock):
                nn.init.zeros_(module.down_proj.weight)
        if self.config.residual_output:
            nn.init.zeros_(self.head.weight)

    def forward(self, x_BTHWD: Tensor, tau_BT: Tensor, actions_BTA: Tensor | None = None) -> Tensor:
        """Teacher forcing in one pass: frames 2 to T, each from all before it.

        Args:
            x_BTHWD: features of T frames in the order of their times, which must rise strictly.
            tau_BT: seconds.
            actions_BTA: [B, T-1, A]; action t leads from frame t to t+1.

        Returns:
            [B, T-1, H, W, D].
        """
        past, frames = x_BTHWD[:, :-1], x_BTHWD.shape[1] - 1
        patches = x_BTHWD.shape[2] * x_BTHWD.shape[3]
        make_mask = flexible_mask if self.config.attention == "flex" else triangular_mask
        answer = self._answer(
            self._read(past, tau_BT[:, :-1]), tau_BT[:, 1:], actions_BTA, make_mask(frames, patches, x_BTHWD.device)
        )
        return past + answer if self.config.residual_output else answer

    def predict(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BQ: Tensor, actions_BQA: Tensor | None = None) -> Tensor:
        """Frames at asked times, each from the frames before that time; one call, whatever the distance.

        Args:
            x_BTHWD: features of the context, in any order.
            tau_BT: their seconds.
            tau_BQ: the asked seconds.
            actions_BQA: what was done between the last frame of the context and each asked one.

        Returns:
            [B, Q, H, W, D].

        Raises:
            UserError: a time has no frame before it; features or actions of another width; actions that are not finite.
        """
        self._check(x_BTHWD, tau_BT, actions_BQA)
        seen_BQT = tau_BT[:, None, :] < tau_BQ[:, :, None]
        if not bool(seen_BQT.any(-1).all()):
            raise UserError(
                f"tau_q = {float(tau_BQ.min()):g} s: must lie after a frame of the context, whose first is at "
                f"{float(tau_BT.min()):g} s"
            )
        patches = x_BTHWD.shape[2] * x_BTHWD.shape[3]
        mask = None if bool(seen_BQT.all()) else frame_mask(seen_BQT, patches)[:, None]
        answer = self._answer(self._read(x_BTHWD, tau_BT), tau_BQ, actions_BQA, mask)
        if not self.config.residual_output:
            return answer
        newest_BQ = tau_BT[:, None, :].expand(seen_BQT.shape).masked_fill(~seen_BQT, -math.inf).argmax(-1)
        return x_BTHWD[torch.arange(len(x_BTHWD), device=x_BTHWD.device)[:, None], newest_BQ] + answer

    def rollout(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BK: Tensor, actions_BTA: Tensor | None = None) -> Tensor:
        """K future frames, each prediction taken as observed by the next: [B, K, H, W, D].

        Args:
            x_BTHWD: features of the context.
            tau_BT: their seconds.
            tau_BK: the future's seconds, rising, after those of the context.
            actions_BTA: [B, T-1+K, A]: those between the frames of the context, then those of the future.

        Raises:
            UserError: as for :meth:`predict`, or where a future time lies before the context's end.
        """
        self._check(x_BTHWD, tau_BT, actions_BTA)
        if bool((tau_BK[:, :1] <= tau_BT.max(1, keepdim=True).values).any()) or bool((tau_BK.diff(dim=1) <= 0).any()):
            raise UserError("tau_future: must rise, and lie after all frames of the context")
        future = None if actions_BTA is None else actions_BTA[:, -tau_BK.shape[1] :]
        return self.imagine(self.read(x_BTHWD, tau_BT), tau_BK, future)

    def read(self, x_BTHWD: Tensor, tau_BT: Tensor, actions_BTA: Tensor | None = None) -> Context:
        """Keys and values of observed frames; what was done between them can be seen in them, and is not used."""
        return self._read(x_BTHWD, tau_BT)

    def imagine(self, memory: Context, tau_BK: Tensor, actions_BKA: Tensor | None = None) -> Tensor:
        """K future frames from what was read; see :meth:`rollout`."""
        frames: list[Tensor] = []
        for step in range(tau_BK.shape[1]):
            now, action = slice(step, step + 1), None
            if actions_BKA is not None:
                action = actions_BKA[:, now]
            if frames:  # the keys of the last imagined frame are needed only if another one follows
                memory = memory.followed_by(self._read(frames[-1], tau_BK[:, step - 1 : step]))
            answer = self._answer(memory, tau_BK[:, now], action, None)
            frames.append(memory.last_BHWD[:, None] + answer if self.config.residual_output else answer)
        return torch.cat(frames, dim=1)

    def _read(self, x_BTHWD: Tensor, tau_BT: Tensor) -> Context:
        if x_BTHWD.shape[-1] != self.dim:
            raise UserError(f"features of width {x_BTHWD.shape[-1]}: this model was made for {self.dim}")
        height, width = x_BTHWD.shape[2:4]
        by = rotation(tau_BT, height, width, self.config.width // self.config.heads)
        context = self.context_proj(x_BTHWD.flatten(1, 3))
        keys, values = [], []
        for block in self.blocks:
            assert isinstance(block, Block)
            keys_of_block, values_of_block = block.attention.read(context, by)
            keys.append(keys_of_block)
            values.append(values_of_block)
        return Context(keys, values, x_BTHWD[:, -1])

    def _answer(self, context: Context, tau_BQ: Tensor, actions_BQA: Tensor | None, mask: Any) -> Tensor:
        """The head's output for all patches at the asked times, [B, Q, H, W, D]."""
        height, width = context.last_BHWD.shape[1:3]
        by = rotation(tau_BQ, height, width, self.config.width // self.config.heads)
        action_BSA = self._action_of_each_token(actions_BQA, tau_BQ.shape[1], height * width)
        q_BSW = self.query.expand(len(tau_BQ), tau_BQ.shape[1] * height * width, -1)
        for block, keys, values in zip(self.blocks, context.keys, context.values, strict=True):
            q_BSW = block(q_BSW, by, keys, values, mask, action_BSA)
        answer: Tensor = self.head(self.norm(q_BSW))
        return answer.unflatten(1, (tau_BQ.shape[1], height, width))

    def _action_of_each_token(self, actions_BQA: Tensor | None, asked: int, patches: int) -> Tensor | None:
        if (actions_BQA is None) != (self.action_dim == 0):
            given = "no actions" if actions_BQA is None else "actions"
            raise UserError(f"{given} for a model with action_dim = {self.action_dim}")
        if actions_BQA is None:
            return None
        if actions_BQA.shape[-1] != self.action_dim or actions_BQA.shape[1] != asked:
            raise UserError(
                f"actions of shape {list(actions_BQA.shape)}: allowed: [clips, {asked}, {self.action_dim}], an action "
                "for each frame that is predicted"
            )
        return actions_BQA.repeat_interleave(patches, dim=1)

    def _check(self, x_BTHWD: Tensor, tau_BT: Tensor, actions: Tensor | None) -> None:
        if x_BTHWD.shape[:2] != tau_BT.shape:
            raise UserError(f"tau of shape {list(tau_BT.shape)}: the features have {list(x_BTHWD.shape[:2])} frames")
        if actions is not None and not bool(actions.isfinite().all()):
            raise UserError("actions: hold numbers that are not finite; allowed: finite numbers")


def direct(model: Predictor, x_BTHWD: Tensor, tau_BT: Tensor, tau_target_B: Tensor) -> Tensor:
    """The frame at a far time by one call, [B, H, W, D]; :meth:`Predictor.rollout` is the other way."""
    return model.predict(x_BTHWD, tau_BT, tau_target_B[:, None])[:, 0]


def num_parameters(model: nn.Module) -> int:
    """How many numbers are trained or could be."""
    return sum(parameter.numel() for parameter in model.parameters())
