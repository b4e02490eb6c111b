"""The small decoder of the laptop experiment: reads what it is given at once, and looks things up by their neighbours.

    k_t = W_k x_t + W_p x_{t−1} + W_n x_{t+1},    v_t = V_k x_t + V_p x_{t−1} + V_n x_{t+1}

What is given together (the background, a sentence, a question) sees itself in both directions, so that a name is known
as that of a winner or a loser although its verb stands behind it; what the network writes sees only what is before it,
and has no x_{t+1}. A :class:`Sight` says which is which. All three terms of the keys begin as the queries are, so that
a word looks for itself, and for what stands beside it, from the first step on; otherwise names are bound much later.
The rest: RMS norms without gain, rotary positions, SwiGLU, tied embeddings. Shapes: B rows, S positions, T positions
that are seen, D width, N heads, H = D / N, V words.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tenfold.core.errors import UserError
from tenfold.models.feed_forward import SwiGLU
from tenfold.models.initialisation import Linear, truncated_normal_
from tenfold.models.norms import rms_norm
from tenfold.models.rotary import RotaryEmbedding


class Sight(NamedTuple):
    """What each word of a call sees.

    Args:
        mask: [B, S, T] bool, true where it attends; T counts the positions of the cache first.
        positions: [B, S] int64, how many words stand before it.
        before: [B, S] int64, where in this call the word before it stands; -1 for the cache's last word.
        after: [B, S] int64, likewise the word behind it; -1 where there is none that it may see.
    """

    mask: Tensor
    positions: Tensor
    before: Tensor
    after: Tensor


@dataclass
class LayerCache:
    """What a layer keeps of the positions before.

    Args:
        keys: [B, N, T, H], turned by their positions.
        values: [B, N, T, H].
        last: [B, 1, D], the normed input at the last word of each row.
    """

    keys: Tensor | None = None
    values: Tensor | None = None
    last: Tensor | None = None

    def grow(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions, with new ones at the end."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat((self.keys, keys), 2), torch.cat((self.values, values), 2)
        self.keys, self.values = keys, values
        return keys, values


@dataclass
class Cache:
    """What the network keeps between two calls.

    Args:
        ends: [B] int64, where in the call that comes next the last word of each row stands; later ones are padding.
    """

    ends: Tensor
    layers: list[LayerCache] = field(default_factory=list)


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind a norm and added to its input."""

    def __init__(self, width: int, heads: int, rotary: RotaryEmbedding) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (Linear(width, width) for _ in range(4))
        self.k_before, self.v_before, self.k_after, self.v_after = (Linear(width, width) for _ in range(4))
        self.feed_forward = SwiGLU(width, 4, multiple=8)
        self.rotary = rotary

    def forward(self, x_BSD: Tensor, sight: Sight, cache: LayerCache | None, ends_B: Tensor | None) -> Tensor:
        """Map [B, S, D] to [B, S, D]."""
        normed = rms_norm(x_BSD)
        nothing = torch.zeros_like(normed[:, :1])
        before = _at(normed, sight.before, nothing if cache is None or cache.last is None else cache.last)
        after = _at(normed, sight.after, nothing)
        q = self.q_proj(normed)
        k = self.k_proj(normed) + self.k_before(before) + self.k_after(after)
        v = self.v_proj(normed) + self.v_before(before) + self.v_after(after)
        q, k, v = (self._heads(part) for part in (q, k, v))
        q, k = self._turned(q, sight.positions), self._turned(k, sight.positions)
        if cache is not None and ends_B is not None:
            cache.last = _at(normed, ends_B[:, None], nothing)
            k, v = cache.grow(k, v)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=sight.mask[:, None])
        x_BSD = x_BSD + self.o_proj(mixed.transpose(1, 2).flatten(2))
        return x_BSD + self.feed_forward(rms_norm(x_BSD))

    def _heads(self, x_BSD: Tensor) -> Tensor:
        batch, length, width = x_BSD.shape
        return x_BSD.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def _turned(self, x_BNSH: Tensor, positions_BS: Tensor) -> Tensor:
        cos, sin = self.rotary.cos[positions_BS][:, None], self.rotary.sin[positions_BS][:, None]
        first, second = x_BNSH.chunk(2, dim=-1)
        return x_BNSH * cos + torch.cat((-second, first), dim=-1) * sin


def _at(x_BSD: Tensor, places_BS: Tensor, otherwise_B1D: Tensor) -> Tensor:
    """What stands at the places; ``otherwise`` where a place is -1."""
    padded = torch.cat((otherwise_B1D, x_BSD), 1)
    return padded.gather(1, (places_BS + 1)[:, :, None].expand(-1, -1, x_BSD.shape[2]))


class Network(nn.Module):
    """The decoder.

    Args:
        vocab_size: V.
        width: D, a multiple of twice the heads.
        layers: number of blocks.
        heads: N.
        context: most positions.

    Raises:
        UserError: if the width cannot be divided among the heads.

    Example:
        >>> network = Network(vocab_size=50, width=32, layers=2, heads=2, context=16)
        >>> positions = torch.arange(5).expand(3, 5)
        >>> nothing = torch.full((3, 5), -1)
        >>> causal = Sight(torch.ones(3, 5, 5, dtype=torch.bool).tril(), positions, positions - 1, nothing)
        >>> network(torch.zeros(3, 5, dtype=torch.int64), causal).shape
        torch.Size([3, 5, 50])
    """

    def __init__(self, vocab_size: int, width: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        if width % (2 * heads):
            raise UserError(f"network.width = {width}: must be a multiple of twice the {heads} heads")
        rotary = RotaryEmbedding(width // heads, context)
        self.embedding = nn.Embedding(vocab_size, width)
        truncated_normal_(self.embedding.weight.data, width**-0.5)
        self.blocks = nn.ModuleList(Block(width, heads, rotary) for _ in range(layers))
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.zeros_(block.o_proj.weight)
            for keys in (block.k_proj, block.k_before, block.k_after):
                keys.weight.data.copy_(block.q_proj.weight.data)

    def forward(self, words_BS: Tensor, sight: Sight, cache: Cache | None = None) -> Tensor:
        """Logits [B, S, V] of the next word at each position.

        Args:
            words_BS: int64. Padding stands at the end of a row.
            sight: what each word sees.
            cache: of the positions before, which grows.
        """
        if cache is not None and not cache.layers:
            cache.layers = [LayerCache() for _ in self.blocks]
        x_BSD = rms_norm(self.embedding(words_BS))
        for number, block in enumerate(self.blocks):
            kept = (None, None) if cache is None else (cache.layers[number], cache.ends)
            x_BSD = block(x_BSD, sight, *kept)
        return nn.functional.linear(rms_norm(x_BSD), self.embedding.weight)
