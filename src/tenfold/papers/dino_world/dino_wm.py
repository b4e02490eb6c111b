"""DINO-WM's predictor behind the interface of DINO-world's, because users compare the two.

As the code of gaoyuezhou/dino_wm has it: patch tokens of a few frames, each joined with the embedded action that was
taken after its frame, pass through a transformer with self-attention within frames and to earlier ones; the token of
a place is the prediction for that place in the next frame. It knows the order of frames and not their times: a
prediction is always for the next frame at the spacing of the training data. Proprioception is left out.

Shapes: B clips, T frames, K future frames, D width of the features, P = H x W patches, A numbers of an action, W = D
and the action's embedding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from tenfold.core.errors import UserError
from tenfold.papers.dino_world.attention import triangular_mask
from tenfold.papers.dino_world.settings import DinoWMConfig


@dataclass(frozen=True)
class Frames:
    """Frames that were observed or imagined, [B, T, H, W, D], with their times and the actions between them."""

    x_BTHWD: Tensor
    actions_BTA: Tensor | None

    def repeated(self, times: int) -> "Frames":
        """The same past for ``times`` candidates of each clip."""
        actions = None if self.actions_BTA is None else self.actions_BTA.repeat_interleave(times, 0)
        return Frames(self.x_BTHWD.repeat_interleave(times, 0), actions)


class Layer(nn.Module):
    """Pre-norm self-attention, then a feed-forward layer."""

    def __init__(self, config: DinoWMConfig, width: int) -> None:
        super().__init__()
        inner = config.heads * config.head_dim
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.output = nn.Linear(inner, width)
        self.up_proj, self.down_proj = nn.Linear(width, config.mlp_width), nn.Linear(config.mlp_width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BSW: Tensor, mask: Tensor) -> Tensor:
        """[B, S, W] to [B, S, W]."""
        q, k, v = self.qkv(self.norm1(x_BSW)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x_BSW = x_BSW + self.dropout(self.output(mixed))
        inner = self.dropout(gelu(self.up_proj(self.norm2(x_BSW))))
        return x_BSW + self.dropout(self.down_proj(inner))


class DinoWMPredictor(nn.Module):
    """The next frame's features from those of the last few and the actions after them.

    Args:
        config: size.
        dim: D, width of the encoder's features.
        patches: P, patches of a frame; positions are learned, one for each.
        action_dim: A; 0 for a model of video alone.

    Example:
        >>> config = DinoWMConfig(depth=1, heads=2, head_dim=8, mlp_width=32)
        >>> model = DinoWMPredictor(config, dim=8, patches=16)
        >>> model(torch.zeros(2, 5, 4, 4, 8), torch.arange(5.0).expand(2, 5)).shape
        torch.Size([2, 4, 4, 4, 8])
    """

    def __init__(self, config: DinoWMConfig, dim: int, patches: int, action_dim: int = 0) -> None:
        super().__init__()
        self.config, self.dim, self.action_dim = config, dim, action_dim
        width = dim + (config.action_embedding if action_dim else 0)
        self.embed_action = nn.Linear(action_dim, config.action_embedding) if action_dim else None
        self.positions = nn.Parameter(torch.randn(config.history, patches, width))
        self.layers = nn.ModuleList(Layer(config, width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BTHWD: Tensor, tau_BT: Tensor, actions_BTA: Tensor | None = None) -> Tensor:
        """Frames 2 to T, each from the ``history`` frames before it; times are not read. [B, T-1, H, W, D]."""
        history, frames = self.config.history, x_BTHWD.shape[1] - 1
        predicted = [self._next(x_BTHWD[:, :-1][:, :history], _part(actions_BTA, 0, min(history, frames)))]
        for first in range(1, frames - history + 1):  # later windows slide, and add their last frame alone
            window = slice(first, first + history)
            predicted.append(self._next(x_BTHWD[:, window], _part(actions_BTA, first, history))[:, -1:])
        return torch.cat(predicted, dim=1)

    def read(self, x_BTHWD: Tensor, tau_BT: Tensor, actions_BTA: Tensor | None = None) -> Frames:
        """The frames themselves, and the actions between them, [B, T-1, A]; nothing can be computed ahead."""
        if self.action_dim and actions_BTA is None:
            actions_BTA = x_BTHWD.new_zeros(len(x_BTHWD), x_BTHWD.shape[1] - 1, self.action_dim)
        return Frames(x_BTHWD, actions_BTA)

    def imagine(self, memory: Frames, tau_BK: Tensor, actions_BKA: Tensor | None = None) -> Tensor:
        """K next frames, one after the other, [B, K, H, W, D]; of the times only their number is read."""
        history, x_BTHWD, actions = self.config.history, memory.x_BTHWD, memory.actions_BTA
        steps = tau_BK.shape[1]
        if actions_BKA is not None and actions is not None:
            actions = torch.cat([actions, actions_BKA], dim=1)
        for _ in range(steps):
            first = max(0, x_BTHWD.shape[1] - history)
            window = _part(actions, first, x_BTHWD.shape[1] - first)
            x_BTHWD = torch.cat([x_BTHWD, self._next(x_BTHWD[:, first:], window)[:, -1:]], dim=1)
        return x_BTHWD[:, -steps:]

    def rollout(self, x_BTHWD: Tensor, tau_BT: Tensor, tau_BK: Tensor, actions_BTA: Tensor | None = None) -> Tensor:
        """K next frames, [B, K, H, W, D]; actions [B, T-1+K, A], past ones first."""
        if actions_BTA is None:
            return self.imagine(self.read(x_BTHWD, tau_BT), tau_BK)
        past = x_BTHWD.shape[1] - 1
        return self.imagine(self.read(x_BTHWD, tau_BT, actions_BTA[:, :past]), tau_BK, actions_BTA[:, past:])

    def _next(self, x_BTHWD: Tensor, actions_BTA: Tensor | None) -> Tensor:
        """For each frame of the window the frame after it."""
        if x_BTHWD.shape[-1] != self.dim:
            raise UserError(f"features of width {x_BTHWD.shape[-1]}: this model was made for {self.dim}")
        if (actions_BTA is None) != (self.action_dim == 0):
            given = "no actions" if actions_BTA is None else "actions"
            raise UserError(f"{given} for a model with action_dim = {self.action_dim}")
        frames, height, width = x_BTHWD.shape[1:4]
        tokens = x_BTHWD.flatten(2, 3)
        if self.embed_action is not None and actions_BTA is not None:
            embedded = self.embed_action(actions_BTA)[:, :, None].expand(-1, -1, tokens.shape[2], -1)
            tokens = torch.cat([tokens, embedded], dim=-1)
        tokens = (tokens + self.positions[:frames]).flatten(1, 2)
        mask = triangular_mask(frames, height * width, tokens.device)
        for layer in self.layers:
            tokens = layer(tokens, mask)
        features: Tensor = self.norm(tokens)[..., : self.dim]
        return features.unflatten(1, (frames, height, width))


def _part(actions: Tensor | None, first: int, count: int) -> Tensor | None:
    return None if actions is None else actions[:, first : first + count]
