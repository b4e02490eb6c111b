"""Sources beside the LSTM: uniform noise, independent draws, random automata, a random transformer.

Paper: the sources that the author's code has for ablations. Left out: the echo-state network and the universal Turing
machine. Ours: the ranges of the small automata and distributions, and what the specification does not state of the
transformer (sizes, scale of the weights).

All have the signature of :class:`tenfold.papers.universal_pretraining.method.Source`. Where each row has a source of
its own, the rows are drawn and run together. Letters as in ``method.py``; Q states, A symbols in use, D width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.core.errors import UserError
from tenfold.papers.universal_pretraining.method import NUM_SYMBOLS, noise_rows
from tenfold.papers.universal_pretraining.stepping import choose


@dataclass(frozen=True)
class Uniform:
    """Every token is an independent uniform symbol; seed and condition are not read.

    Args:
        num_symbols: V.
    """

    num_symbols: int = NUM_SYMBOLS

    def sample(self, seed_NS: Tensor, cond_NL: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """``[N, L]`` int64 of noise."""
        return noise_rows(len(cond_NL), length, self.num_symbols, generator).to(cond_NL.device)


@dataclass(frozen=True)
class PointwiseDirichlet:
    """Each row has a distribution of its own, and its tokens are independent draws; seed and condition are not read.

    Args:
        active: least and largest number of symbols of a row, uniform; which ones is random.
        concentration: range of the Dirichlet's parameter of every symbol, log-uniform.
        num_symbols: V.

    Raises:
        UserError: if a range is out of order or out of bounds.

    Example:
        >>> cond = torch.zeros(3, 100, dtype=torch.long)
        >>> rows = PointwiseDirichlet(active=(2, 2)).sample(cond[:, :8], cond, 100, torch.Generator())
        >>> all(row.unique().numel() <= 2 for row in rows)
        True
    """

    active: tuple[int, int] = (2, 96)
    concentration: tuple[float, float] = (0.05, 2.0)
    num_symbols: int = NUM_SYMBOLS

    def __post_init__(self) -> None:
        _check_range("active", self.active, 1, self.num_symbols)
        _check_range("concentration", self.concentration, 1e-3, 1e3)  # below, all probability falls on one symbol

    def sample(self, seed_NS: Tensor, cond_NL: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """``[N, L]`` int64, a new distribution for each row."""
        count = len(cond_NL)
        probability_NA = self.draw(count, generator)
        total_NA = probability_NA.cumsum(dim=1)
        uniform_NL = torch.rand(count, length, generator=generator, dtype=torch.float64) * total_NA[:, -1:]
        chosen_NL = torch.searchsorted(total_NA, uniform_NL, right=True)
        subset_NA = _subsets(count, total_NA.shape[1], self.num_symbols, generator)
        return subset_NA.gather(1, chosen_NL).to(cond_NL.device)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """``[count, A]`` float64 probabilities of the first A = largest ``active`` symbols; 0 beyond a row's number."""
        active_N1 = _integers(self.active, (count, 1), generator)
        low, high = np.log(self.concentration)
        concentration_N1 = torch.exp(
            low + (high - low) * torch.rand(count, 1, generator=generator, dtype=torch.float64)
        )
        shape_NA = concentration_N1.expand(count, self.active[1])
        gamma_NA = torch.from_numpy(_numpy(generator).standard_gamma(shape_NA.numpy()))
        gamma_NA[torch.arange(self.active[1]) >= active_N1] = 0
        return gamma_NA / gamma_NA.sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class RandomAutomaton:
    """Each row is the walk of a non-deterministic automaton of its own; seed and condition are not read.

    Between any two states, in each direction, there is an edge with the probability of the row, U(0, 1), and it bears
    one random symbol of the row. A token is the symbol of an edge that is chosen uniformly among those that leave the
    present state; a state that none leaves says the first symbol and goes back to the first state, where rows begin.

    Args:
        states: least and largest number of states, uniform.
        symbols: least and largest number of symbols, uniform; which ones is random.
        go_on: in place of both ranges, the chance to go on counting from 1 (the paper: 0.9, a mean of 10 each).
        num_symbols: V; more symbols are cut to it.

    Raises:
        UserError: if a range is out of order or out of bounds, or ``go_on`` is not in [0, 1).

    Example:
        >>> cond = torch.zeros(1, 50, dtype=torch.long)
        >>> row = RandomAutomaton(symbols=(3, 3)).sample(cond[:, :8], cond, 50, torch.Generator())
        >>> row.shape, row.unique().numel() <= 3
        (torch.Size([1, 50]), True)
    """

    states: tuple[int, int] = (2, 12)
    symbols: tuple[int, int] = (2, 24)
    go_on: float | None = None
    num_symbols: int = NUM_SYMBOLS

    def __post_init__(self) -> None:
        _check_range("states", self.states, 1, 4096)
        _check_range("symbols", self.symbols, 1, self.num_symbols)
        if self.go_on is not None and not 0 <= self.go_on < 1:
            raise UserError(f"go_on = {self.go_on}: must be at least 0 and less than 1")

    def sample(self, seed_NS: Tensor, cond_NL: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """``[N, L]`` int64, a new automaton for each row."""
        automata = self.draw(len(cond_NL), generator)
        uniform_LN = torch.rand(length, len(cond_NL), generator=generator)
        return automata.walk(uniform_LN).to(cond_NL.device)

    def draw(self, count: int, generator: torch.Generator) -> "Automata":
        """``count`` automata."""
        states_N, symbols_N = self._count(self.states, count, generator), self._count(self.symbols, count, generator)
        symbols_N.clamp_(max=self.num_symbols)
        largest = int(states_N.max())
        shape_NQQ = (count, largest, largest)
        exists_NQ = torch.arange(largest) < states_N[:, None]
        probability_N11 = torch.rand(count, 1, 1, generator=generator)
        edge_NQQ = torch.rand(shape_NQQ, generator=generator) < probability_N11
        edge_NQQ &= exists_NQ[:, :, None] & exists_NQ[:, None, :]

        subset_NA = _subsets(count, int(symbols_N.max()), self.num_symbols, generator)
        borne = (torch.rand(shape_NQQ, generator=generator) * symbols_N[:, None, None]).long()
        symbol_NQQ = subset_NA.gather(1, borne.flatten(1)).view(shape_NQQ)

        is_end_NQ = ~edge_NQQ.any(dim=2)
        edge_NQQ[:, :, 0] |= is_end_NQ
        symbol_NQQ[:, :, 0] = torch.where(is_end_NQ, subset_NA[:, :1], symbol_NQQ[:, :, 0])
        return Automata(edge_NQQ, symbol_NQQ)

    def _count(self, bounds: tuple[int, int], count: int, generator: torch.Generator) -> Tensor:
        if self.go_on is None:
            return _integers(bounds, (count,), generator)
        if self.go_on == 0:
            return torch.ones(count, dtype=torch.int64)
        return torch.empty(count).geometric_(1 - self.go_on, generator=generator).long()


@dataclass(frozen=True)
class Automata:
    """One automaton per row; every state has an edge.

    Args:
        edges: ``[N, Q, Q]`` bool, from state to state.
        symbols: ``[N, Q, Q]`` int64, what an edge says.
    """

    edges: Tensor
    symbols: Tensor

    def walk(self, uniform_LN: Tensor) -> Tensor:
        """Walks ``[N, L]`` from the first state; each uniform number in [0, 1) chooses an edge."""
        N, Q, _ = self.edges.shape
        num_edges = self.edges.sum(dim=2).flatten()
        targets = self.edges.to(torch.uint8).argsort(dim=2, descending=True, stable=True).flatten()  # edges first
        symbols = self.symbols.flatten()
        first_N = torch.arange(N) * Q
        state_N = first_N.clone()
        said = []
        for uniform_N in uniform_LN:
            edge_N = (uniform_N * num_edges[state_N]).long()  # a product below 2 ** 24 never rounds up to the number
            target_N = targets[state_N * Q + edge_N]
            said.append(symbols[state_N * Q + target_N])
            state_N = first_N + target_N
        return torch.stack(said, dim=1)


@dataclass(frozen=True)
class RandomTransformer:
    """A causal transformer with random weights maps the condition to a row in one pass; the seed is not read.

    Each position has a logit more than symbols, the mask: where it is positive the most probable symbol is said, else
    the symbol of the condition is kept. Weights are normal with standard deviation gain / sqrt(fan-in), biases 0.

    Args:
        width: D.
        layers: blocks, with the norm before each part.
        heads: of attention; divides the width.
        gain: range of the factor on all matrices of the blocks, uniform.
        temperature: 0 for the most probable symbol, else symbols are drawn at this temperature.
        num_symbols: V.

    Raises:
        UserError: if the heads do not divide the width, or the range is out of order or out of bounds.

    Example:
        >>> cond = torch.randint(256, (2, 16), generator=torch.Generator())
        >>> RandomTransformer(width=16, heads=2).sample(cond[:, :8], cond, 16, torch.Generator()).shape
        torch.Size([2, 16])
    """

    width: int = 128
    layers: int = 3
    heads: int = 4
    gain: tuple[float, float] = (0.5, 4.0)
    temperature: float = 0.0
    num_symbols: int = NUM_SYMBOLS

    def __post_init__(self) -> None:
        if self.width < 1 or self.heads < 1 or self.width % self.heads:
            raise UserError(f"heads = {self.heads}: must divide width = {self.width}")
        _check_range("gain", self.gain, 0.0, 1e6)

    def sample(self, seed_NS: Tensor, cond_NL: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """``[N, L]`` int64, all rows through one new transformer."""
        logits_NLV = self.draw(length, generator).to(cond_NL.device)(cond_NL[:, :length])
        *shape, V = logits_NLV[..., 1:].shape
        if self.temperature:
            uniform = torch.rand(shape, generator=generator).to(cond_NL.device)
            said_NL = choose(logits_NLV[..., 1:].reshape(-1, V) / self.temperature, uniform.flatten()).view(shape)
        else:
            said_NL = logits_NLV[..., 1:].argmax(dim=2)
        return torch.where(logits_NLV[..., 0] > 0, said_NL, cond_NL[:, :length])

    def draw(self, length: int, generator: torch.Generator) -> "TransformerSource":
        """One transformer for rows of ``length``, on the CPU."""
        return TransformerSource(self, length, generator)


class TransformerSource(nn.Module):
    """One random transformer; maps ``[N, L]`` symbols to ``[N, L, 1 + V]`` logits, the mask first."""

    def __init__(self, law: RandomTransformer, length: int, generator: torch.Generator) -> None:
        super().__init__()
        D = law.width
        low, high = law.gain
        gain = low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()
        with torch.device("meta"):  # the modules' own initialisation would draw from the global generator
            self.embedding, self.positions = nn.Embedding(law.num_symbols, D), nn.Embedding(length, D)
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(D, law.heads, 4 * D, dropout=0.0, batch_first=True, norm_first=True)
                for _ in range(law.layers)
            )
            self.head = nn.Linear(D, 1 + law.num_symbols)
        self.to_empty(device="cpu").requires_grad_(False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                scale = gain * weight.shape[1] ** -0.5 if name.startswith("blocks") else 1.0
                weight.normal_(std=scale, generator=generator)
            else:
                weight.fill_(float("norm" in name and name.endswith("weight")))

    def forward(self, tokens_NL: Tensor) -> Tensor:
        """Logits; position t sees the tokens up to t."""
        L = tokens_NL.shape[1]
        x_NLD = self.embedding(tokens_NL) + self.positions.weight[:L]
        mask = nn.Transformer.generate_square_subsequent_mask(L, device=x_NLD.device)
        for block in self.blocks:
            x_NLD = block(x_NLD, src_mask=mask, is_causal=True)
        return self.head(x_NLD)


def _check_range(name: str, bounds: tuple[float, float], least: float, most: float) -> None:
    low, high = bounds
    if not least <= low <= high <= most:
        raise UserError(f"{name} = {low}, {high}: must be two numbers from {least} to {most}, the smaller first")


def _integers(bounds: tuple[int, int], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(bounds[0], bounds[1] + 1, shape, generator=generator)


def _subsets(count: int, size: int, num_symbols: int, generator: torch.Generator) -> Tensor:
    """``[count, size]`` distinct symbols in random order."""
    return torch.rand(count, num_symbols, generator=generator).argsort(dim=1)[:, :size]


def _numpy(generator: torch.Generator) -> np.random.Generator:
    """A numpy generator that continues a torch generator: torch draws gamma numbers from its global one only."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
