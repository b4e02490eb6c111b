"""The recursive reasoner: HRM, TRM, URM and the feed-forward baseline as configurations of one core.

Paper: Hierarchical Reasoning Model (Wang et al., arXiv 2506.21734), sections "Hierarchical Reasoning Model" and
"Approximate gradient"; the authors' code decides where text and code differ. TRM: Less is More (Jolicoeur-Martineau,
arXiv 2510.04871); URM: arXiv 2512.14693.

Letters: B batch, L grid tokens, P prefix tokens, S = P + L, D width, V vocabulary, N = H_cycles, T = L_cycles.
Halting, carry and loss are in ``halting.py``; this file is one segment.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tenfold.models import (
    Linear,
    RotaryEmbedding,
    SelfAttention,
    SparseEmbedding,
    SwiGLU,
    rms_norm,
    truncated_normal_,
)
from tenfold.papers.hrm.config import ReasonerConfig


class Latents(NamedTuple):
    """The two states that a segment hands to the next one, both ``[B, S, D]``, detached."""

    z_H: Tensor
    z_L: Tensor


class SegmentOutput(NamedTuple):
    """What one segment says.

    Attributes:
        latents: states for the next segment, without gradient history.
        logits: ``[B, L, V]`` in the forward dtype.
        q_halt: ``[B]`` float32, logit of "the answer is right".
        q_continue: ``[B]`` float32, logit of "going on pays".
    """

    latents: Latents
    logits: Tensor
    q_halt: Tensor
    q_continue: Tensor


class Block(nn.Module):
    """x = RMS(x + mix(x)); x = RMS(x + SwiGLU(x)): post-norm, so that every output has unit RMS per token.

    The mlp mixer is a SwiGLU over the positions, weights shared by all channels; the norm after it runs over the
    positions too, as in TRM's code.
    """

    def __init__(self, config: ReasonerConfig, rotary: RotaryEmbedding | None) -> None:
        super().__init__()
        length = config.prefix_tokens + config.sequence_length
        self.over_positions = config.mixer == "mlp"
        self.mixer: nn.Module = (
            SwiGLU(length, config.expansion, config.mixer_multiple)
            if self.over_positions
            else SelfAttention(config.hidden_size, config.num_heads, rotary)
        )
        self.feed_forward = SwiGLU(config.hidden_size, config.expansion, config.width_multiple, config.convolution)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Map ``[B, S, D]`` to ``[B, S, D]``."""
        if self.over_positions:
            x_BDS = x_BSD.transpose(1, 2).contiguous()
            x_BSD = rms_norm(x_BDS + self.mixer(x_BDS)).transpose(1, 2).contiguous()
        else:
            x_BSD = rms_norm(x_BSD + self.mixer(x_BSD))
        return rms_norm(x_BSD + self.feed_forward(x_BSD))


class ReasoningModule(nn.Module):
    """f(state, injection): a stack of blocks on ``state + injection``; the last block's norm is the output norm."""

    def __init__(self, config: ReasonerConfig, rotary: RotaryEmbedding | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config, rotary) for _ in range(config.layers))

    def forward(self, state_BSD: Tensor, injection_BSD: Tensor) -> Tensor:
        """Map two ``[B, S, D]`` to one."""
        x_BSD = state_BSD + injection_BSD
        for block in self.blocks:
            x_BSD = block(x_BSD)
        return x_BSD


class RecursiveReasoner(nn.Module):
    """A network over a grid of tokens that refines its answer segment by segment.

    Args:
        config: see :class:`tenfold.papers.hrm.config.ReasonerConfig`.
        forward_dtype: dtype of states and activations; the weights stay float32 and are cast at use.

    Attributes:
        f_H, f_L: the networks; ``trm`` and ``urm`` have only ``f_H``, which serves both updates.

    Example:
        >>> sizes = dict(hidden_size=64, num_heads=1, puzzle_embedding_size=64, sequence_length=16, vocab_size=6)
        >>> model = RecursiveReasoner(ReasonerConfig(**sizes))
        >>> puzzles, rows = torch.ones(3, 16, dtype=torch.long), torch.zeros(3, dtype=torch.long)
        >>> output = model(model.initial_latents(3), puzzles, rows)
        >>> output.logits.shape, output.q_halt.tolist()
        (torch.Size([3, 16, 6]), [-5.0, -5.0, -5.0])
    """

    initial_z_H: Tensor
    initial_z_L: Tensor

    def __init__(self, config: ReasonerConfig, forward_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.forward_dtype = forward_dtype
        D, length = config.hidden_size, config.prefix_tokens + config.sequence_length

        self.token_embedding = nn.Embedding(config.vocab_size, D)
        truncated_normal_(self.token_embedding.weight.data, D**-0.5)
        self.puzzle_embedding = SparseEmbedding(config.num_puzzles, config.puzzle_embedding_size, std=0.0)
        self.position_embedding = nn.Parameter(torch.empty(length, D)) if config.positions == "learned" else None
        if self.position_embedding is not None:
            truncated_normal_(self.position_embedding.data, D**-0.5)

        rotates = config.mixer == "attention" and config.positions == "rope"
        rotary = RotaryEmbedding(D // config.num_heads, length) if rotates else None
        self.f_H = ReasoningModule(config, rotary)
        if config.kind in ("hrm", "plain"):
            self.f_L = ReasoningModule(config, rotary)

        self.answer_head = Linear(D, config.vocab_size)
        self.q_head = nn.Linear(D, 2)
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)
        self.register_buffer("initial_z_H", truncated_normal_(torch.empty(D), 1.0))
        self.register_buffer("initial_z_L", truncated_normal_(torch.empty(D), 1.0))

    def initial_latents(self, batch_size: int) -> Latents:
        """The states before the first segment: two fixed random vectors at every position."""
        shape = (batch_size, self.config.prefix_tokens + self.config.sequence_length, self.config.hidden_size)
        z_H, z_L = (z.to(self.forward_dtype).expand(shape) for z in (self.initial_z_H, self.initial_z_L))
        return Latents(z_H, z_L)

    def embed(self, inputs: Tensor, puzzles: Tensor) -> Tensor:
        """e = sqrt(D) · concat(prefix, tokens), ``[B, S, D]``; with learned positions the sum is scaled by 1/sqrt(2).

        Args:
            inputs: ``[B, L]`` token ids.
            puzzles: ``[B]`` rows of the puzzle table.
        """
        batch, D, P = len(inputs), self.config.hidden_size, self.config.prefix_tokens
        rows = self.puzzle_embedding(puzzles)
        prefix = nn.functional.pad(rows, (0, P * D - rows.shape[1])).view(batch, P, D)
        e = torch.cat((prefix, self.token_embedding(inputs)), dim=1)
        if self.position_embedding is not None:
            e = math.sqrt(0.5) * (e + self.position_embedding)
        return (math.sqrt(D) * e).to(self.forward_dtype)

    def update(self, which: str, latents: Latents, e: Tensor) -> Latents:
        """One update of one state.

        hrm, trm:  L: z_L <- f_L(z_L, z_H + e)      H: z_H <- f_H(z_H, z_L)      (trm: f_L is f_H)
        urm:       H: z_H <- f_H(z_H, e)            plain: H: z_H <- f_H(f_L(e)); the states do not enter
        """
        z_H, z_L = latents
        if which == "L":
            f_L = self.f_H if self.config.kind == "trm" else self.f_L
            return Latents(z_H, f_L(z_L, z_H + e))
        if self.config.kind == "urm":
            return Latents(self.f_H(z_H, e), z_L)
        if self.config.kind == "plain":
            nothing = torch.zeros_like(e)
            return Latents(self.f_H(self.f_L(e, nothing), nothing), z_L)
        return Latents(self.f_H(z_H, z_L), z_L)

    def forward(self, latents: Latents, inputs: Tensor, puzzles: Tensor) -> SegmentOutput:
        """One segment: all updates, of which only the last few carry gradient ("1-step gradient" in HRM).

        Args:
            latents: states of the segment before; they never receive gradient.
            inputs: ``[B, L]`` token ids.
            puzzles: ``[B]`` rows of the puzzle table.
        """
        e = self.embed(inputs, puzzles)
        latents = Latents(latents.z_H.detach(), latents.z_L.detach())
        updates = update_sequence(self.config)
        first_with_gradient = len(updates) - updates_with_gradient(self.config)
        with torch.no_grad():
            for which in updates[:first_with_gradient]:
                latents = self.update(which, latents, e)
        for which in updates[first_with_gradient:]:
            latents = self.update(which, latents, e)
        return self.read_out(latents)

    def read_out(self, latents: Latents) -> SegmentOutput:
        """Decode ``z_H``: an answer at each grid position, and the Q values at the first prefix position."""
        z_H, z_L = latents
        logits = self.answer_head(z_H[:, self.config.prefix_tokens :])
        q_halt, q_continue = self.q_head(z_H[:, 0].to(self.q_head.weight.dtype)).unbind(-1)
        return SegmentOutput(Latents(z_H.detach(), z_L.detach()), logits, q_halt, q_continue)


def update_sequence(config: ReasonerConfig) -> tuple[str, ...]:
    """The updates of a segment in order: N cycles of T "L" and one "H" (urm: of T "H"; plain: one "H")."""
    if config.kind == "plain":
        return ("H",)
    cycle = ("H",) * config.L_cycles if config.kind == "urm" else ("L",) * config.L_cycles + ("H",)
    return cycle * config.H_cycles


def updates_with_gradient(config: ReasonerConfig) -> int:
    """How many updates at the end of a segment carry gradient.

    one_step: the last of each state (HRM's approximation of the implicit function theorem's inverse by the identity);
    last_cycle: the last whole cycle (TRM); all: every update.
    """
    updates = update_sequence(config)
    per_cycle = len(updates) if config.kind == "plain" else len(updates) // config.H_cycles
    return {"one_step": len(set(updates)), "last_cycle": per_cycle, "all": len(updates)}[config.gradient]


def num_parameters(model: nn.Module) -> int:
    """Trained parameters without the puzzle table (a buffer), which is how the papers count 27 M and 7 M."""
    return sum(parameter.numel() for parameter in model.parameters())
