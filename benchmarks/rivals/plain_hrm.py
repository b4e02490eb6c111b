"""HRM's segment and AdamATan2 as one would write them down from the paper: the rival of ``tenfold``'s own.

Separate matrices for query, key, value, gate and up; softmax attention, rotation and RMS norm spelled out; one
optimizer update per parameter. It has the interface of ``RecursiveReasoner``, so that data, halting and loss are the
very same code on both sides. Letters as in ``tenfold/papers/hrm/method.py``.
"""

import math

import torch
from torch import Tensor, nn

from tenfold.papers.hrm.config import ReasonerConfig
from tenfold.papers.hrm.method import Latents, RecursiveReasoner, SegmentOutput, update_sequence, updates_with_gradient


def linear(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight.to(x.dtype).T


def rms_norm(x: Tensor) -> Tensor:
    wide = x.float()
    return (wide / torch.sqrt((wide * wide).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)


class SwiGLU(nn.Module):
    def __init__(self, gate_up: Tensor, down: Tensor) -> None:
        super().__init__()
        gate, up = gate_up.chunk(2)
        self.gate, self.up, self.down = (nn.Parameter(weight.detach().clone()) for weight in (gate, up, down))

    def forward(self, x: Tensor) -> Tensor:
        gate = linear(x, self.gate)
        return linear(gate * torch.sigmoid(gate) * linear(x, self.up), self.down)

    def gradients(self) -> list[Tensor]:
        return [torch.cat((self.gate.grad, self.up.grad)), self.down.grad]


class Attention(nn.Module):
    def __init__(self, qkv: Tensor, output: Tensor, num_heads: int, length: int, rotates: bool) -> None:
        super().__init__()
        parts = (*qkv.chunk(3), output)
        self.query, self.key, self.value, self.output = (nn.Parameter(weight.detach().clone()) for weight in parts)
        self.num_heads, self.rotates = num_heads, rotates
        size = output.shape[0] // num_heads
        frequencies = 10_000.0 ** (-torch.arange(0, size, 2) / size)
        self.register_buffer("angles", torch.outer(torch.arange(length), frequencies).repeat(1, 2))

    def rotate(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
        return (x * self.angles.cos() + turned * self.angles.sin()).to(x.dtype)

    def forward(self, x_BSD: Tensor) -> Tensor:
        batch, length, width = x_BSD.shape
        heads = (batch, length, self.num_heads, width // self.num_heads)
        q, k, v = (linear(x_BSD, w).view(heads).transpose(1, 2) for w in (self.query, self.key, self.value))
        if self.rotates:
            q, k = self.rotate(q), self.rotate(k)
        scores = q @ k.transpose(-1, -2) / math.sqrt(heads[-1])
        mixed = torch.softmax(scores, dim=-1) @ v
        return linear(mixed.transpose(1, 2).reshape(batch, length, width), self.output)

    def gradients(self) -> list[Tensor]:
        return [torch.cat((self.query.grad, self.key.grad, self.value.grad)), self.output.grad]


class Block(nn.Module):
    def __init__(self, block: nn.Module, config: ReasonerConfig) -> None:
        super().__init__()
        length = config.prefix_tokens + config.sequence_length
        self.over_positions = config.mixer == "mlp"
        if self.over_positions:
            self.mixer: nn.Module = SwiGLU(block.mixer.gate_up.weight, block.mixer.down.weight)
        else:
            weights = block.mixer.qkv.weight, block.mixer.output.weight
            self.mixer = Attention(*weights, config.num_heads, length, config.positions == "rope")
        self.feed_forward = SwiGLU(block.feed_forward.gate_up.weight, block.feed_forward.down.weight)

    def forward(self, x_BSD: Tensor) -> Tensor:
        if self.over_positions:
            x_BDS = x_BSD.transpose(1, 2)
            x_BSD = rms_norm(x_BDS + self.mixer(x_BDS)).transpose(1, 2)
        else:
            x_BSD = rms_norm(x_BSD + self.mixer(x_BSD))
        return rms_norm(x_BSD + self.feed_forward(x_BSD))

    def gradients(self) -> list[Tensor]:
        return [*self.mixer.gradients(), *self.feed_forward.gradients()]


class PlainHRM(nn.Module):
    """A copy of a ``RecursiveReasoner`` of kind hrm without learned positions; :meth:`forward` is one segment."""

    def __init__(self, core: RecursiveReasoner) -> None:
        super().__init__()
        self.config, self.forward_dtype = core.config, core.forward_dtype
        self.tokens = nn.Parameter(core.token_embedding.weight.detach().clone())
        self.puzzle_table = nn.Parameter(core.puzzle_embedding.weight.clone())
        self.f_H = nn.ModuleList(Block(block, core.config) for block in core.f_H.blocks)
        self.f_L = nn.ModuleList(Block(block, core.config) for block in core.f_L.blocks)
        self.answer = nn.Parameter(core.answer_head.weight.detach().clone())
        self.q_weight = nn.Parameter(core.q_head.weight.detach().clone())
        self.q_bias = nn.Parameter(core.q_head.bias.detach().clone())
        self.register_buffer("initial_z_H", core.initial_z_H.clone())
        self.register_buffer("initial_z_L", core.initial_z_L.clone())

    def initial_latents(self, batch_size: int) -> Latents:
        shape = (batch_size, self.config.prefix_tokens + self.config.sequence_length, self.config.hidden_size)
        return Latents(*(z.to(self.forward_dtype).expand(shape) for z in (self.initial_z_H, self.initial_z_L)))

    def forward(self, latents: Latents, inputs: Tensor, puzzles: Tensor) -> SegmentOutput:
        D, P = self.config.hidden_size, self.config.prefix_tokens
        rows = self.puzzle_table[puzzles]
        prefix = nn.functional.pad(rows, (0, P * D - rows.shape[1])).view(-1, P, D)
        e = (math.sqrt(D) * torch.cat((prefix, self.tokens[inputs]), dim=1)).to(self.forward_dtype)
        z_H, z_L = latents.z_H.detach(), latents.z_L.detach()
        updates = update_sequence(self.config)
        without_gradient = len(updates) - updates_with_gradient(self.config)
        grad_was_on = torch.is_grad_enabled()
        for number, which in enumerate(updates):
            with torch.set_grad_enabled(grad_was_on and number >= without_gradient):
                if which == "L":
                    z_L = self.stack(self.f_L, z_L + z_H + e)
                else:
                    z_H = self.stack(self.f_H, z_H + z_L)
        logits = linear(z_H[:, P:], self.answer)
        q_halt, q_continue = (linear(z_H[:, 0].float(), self.q_weight) + self.q_bias).unbind(-1)
        return SegmentOutput(Latents(z_H.detach(), z_L.detach()), logits, q_halt, q_continue)

    @staticmethod
    def stack(blocks: nn.ModuleList, x: Tensor) -> Tensor:
        for block in blocks:
            x = block(x)
        return x

    def gradients(self) -> list[Tensor]:
        """Gradients in the order of ``RecursiveReasoner.parameters()``, matrices joined as they are there."""
        blocks = [gradient for block in (*self.f_H, *self.f_L) for gradient in block.gradients()]
        return [self.tokens.grad, *blocks, self.answer.grad, self.q_weight.grad, self.q_bias.grad]


class PlainAdamATan2:
    """p <- p (1 - lr wd) - lr / (1 - β1^t) · atan2(m, sqrt(v) / sqrt(1 - β2^t)), one parameter after the other."""

    def __init__(self, params: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        self.params, self.lr, self.weight_decay, self.t = params, lr, weight_decay, 0
        self.m = [torch.zeros_like(p) for p in params]
        self.v = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self) -> None:
        self.t += 1
        for p, m, v in zip(self.params, self.m, self.v, strict=True):
            m.mul_(0.9).add_(0.1 * p.grad)
            v.mul_(0.95).add_(0.05 * p.grad * p.grad)
            update = torch.atan2(m, torch.sqrt(v) / math.sqrt(1 - 0.95**self.t))
            p.mul_(1 - self.lr * self.weight_decay).sub_(self.lr / (1 - 0.9**self.t) * update)
            p.grad = None


@torch.no_grad()
def sign_step(table: nn.Parameter, lr: float, weight_decay: float) -> None:
    """Sign descent on a table of which every row is in the batch."""
    table.mul_(1 - lr * weight_decay).sub_(lr * table.grad.sign())
    table.grad = None
