"""The small decoder of the laptop experiment: a transformer whose keys and values also see the word before.

    k_t = W_k x_t + W_p x_{t−1},    v_t = W_v x_t + W_u x_{t−1}

so that "what stood behind this word", and before it, can be looked up in the first layer already. Without the second
terms all ways of being asked bind names much later, or not at all. Otherwise: RMS norms without gain, rotary positions,
SwiGLU, tied embeddings. Shapes: B rows, S positions, D width, N heads, H = D / N, V words.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tenfold.core.errors import UserError
from tenfold.models.feed_forward import SwiGLU
from tenfold.models.initialisation import Linear, truncated_normal_
from tenfold.models.norms import rms_norm
from tenfold.models.rotary import RotaryEmbedding


@dataclass
class LayerCache:
    """What a layer keeps of the positions before.

    Args:
        keys: [B, N, S, H], turned by their positions.
        values: [B, N, S, H].
        before: [B, 1, D], the normed input at the last position.
    """

    keys: Tensor | None = None
    values: Tensor | None = None
    before: Tensor | None = None

    def grow(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions, with new ones at the end."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat((self.keys, keys), 2), torch.cat((self.values, values), 2)
        self.keys, self.values = keys, values
        return keys, values


@dataclass
class Cache:
    """What the network keeps between two calls."""

    layers: list[LayerCache] = field(default_factory=list)
    length: int = 0


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind a norm and added to its input."""

    def __init__(self, width: int, heads: int, rotary: RotaryEmbedding) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (Linear(width, width) for _ in range(4))
        self.k_before, self.v_before = Linear(width, width), Linear(width, width)
        self.feed_forward = SwiGLU(width, 4, multiple=8)
        self.rotary = rotary

    def forward(self, x_BSD: Tensor, cache: LayerCache | None, start: int) -> Tensor:
        """Map [B, S, D] to [B, S, D]; ``start`` is the position of the first of the S."""
        normed = rms_norm(x_BSD)
        first = torch.zeros_like(normed[:, :1]) if cache is None or cache.before is None else cache.before
        before = torch.cat((first, normed[:, :-1]), 1)
        q = self.q_proj(normed)
        k = self.k_proj(normed) + self.k_before(before)
        v = self.v_proj(normed) + self.v_before(before)
        q, k, v = (self._heads(part) for part in (q, k, v))
        q, k = self._turned(q, start), self._turned(k, start)
        if cache is not None:
            cache.before = normed[:, -1:]
            k, v = cache.grow(k, v)
        is_causal = q.shape[2] > 1
        assert not is_causal or k.shape[2] == q.shape[2], "several positions are fed at the start only"
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
        x_BSD = x_BSD + self.o_proj(mixed.transpose(1, 2).flatten(2))
        return x_BSD + self.feed_forward(rms_norm(x_BSD))

    def _heads(self, x_BSD: Tensor) -> Tensor:
        batch, length, width = x_BSD.shape
        return x_BSD.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def _turned(self, x_BNSH: Tensor, start: int) -> Tensor:
        if not start:
            return self.rotary(x_BNSH)
        cos, sin = (table[start : start + x_BNSH.shape[2]] for table in (self.rotary.cos, self.rotary.sin))
        first, second = x_BNSH.chunk(2, dim=-1)
        return x_BNSH * cos + torch.cat((-second, first), dim=-1) * sin


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
        >>> network(torch.zeros(3, 5, dtype=torch.int64)).shape
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
            nn.init.zeros_(block.o_proj.weight)  # type: ignore[union-attr, arg-type]

    def forward(self, words_BS: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits [B, S, V] of the next word at each position.

        Args:
            words_BS: int64. Padding stands at the end of a row, where nothing that counts sees it.
            cache: of the positions before, which grows; several positions at once only where it is empty.
        """
        if cache is not None and not cache.layers:
            cache.layers = [LayerCache() for _ in self.blocks]
        start = 0 if cache is None else cache.length
        x_BSD = rms_norm(self.embedding(words_BS))
        for number, block in enumerate(self.blocks):
            x_BSD = block(x_BSD, None if cache is None else cache.layers[number], start)
        if cache is not None:
            cache.length += words_BS.shape[1]
        return nn.functional.linear(rms_norm(x_BSD), self.embedding.weight)
