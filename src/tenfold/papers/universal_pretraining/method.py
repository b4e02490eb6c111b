"""Iterated random computation: noise passed again and again through LSTMs with random weights.

Paper: Universal pre-training by iterated random computation (Bloem, arXiv 2506.20057); the author's code decides where
the text is not known. One iteration of the buffer (its steps 1 to 5) is ``iterate`` and ``training_rows``:

    1. overwrite some rows with constant rows and some with uniform noise     restart depth at zero
    2. draw a new source                                                       c ~ p(C)
    3. pick rows for the seeds and, independently, rows for the conditions     u ~ m_C^(n)
    4. run the source, write what it says over the rows of the conditions      c(u) ~ m_C^(n+1)
    5. pick the training rows from the whole buffer                            mixture over n

Every draw is keyed, so the buffer's rows and the number of batches taken are its whole state. Different from the
author's code: the gain is applied once and raised to an explicit ``gain_power`` (the code's loop raises it to the
number of layers without saying so), and tokens are sampled by inverting the distribution function.

Letters: N rows of a source, K rows of the buffer, L tokens of a row, S tokens of a seed, V symbols, H width of a state.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from tenfold.core.errors import UserError
from tenfold.core.seeding import Key, torch_generator
from tenfold.papers.universal_pretraining.stepping import StepWeights, continue_rows

NUM_SYMBOLS = 256


class Source(Protocol):
    """A law of random computations."""

    def sample(self, seed_NS: Tensor, cond_NL: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """Draw computations and run them.

        Args:
            seed_NS: int64, what the rows begin with, where the computation has a beginning.
            cond_NL: int64, what the computation reads beside its own output; its device is where rows are made.
            length: L, tokens of a row.
            generator: of all random numbers, on the CPU.

        Returns:
            ``[N, L]`` int64.
        """


@dataclass(frozen=True)
class RandomLSTM:
    """The law of LSTM sources: default initialisation, all weights and biases of the LSTM times m ** gain_power.

    Args:
        hidden: width H of embedding and states.
        layers: LSTM layers.
        gain: the range of m, uniform.
        gain_power: the exponent; the author's code multiplies once per layer, that is ``gain_power = layers``.
        embed_scale: factor on the standard normal embedding.
        head_gain: the range of a uniform factor on weights and biases of the output layer.
        temperature: 0 for the most probable symbol, else symbols are drawn at this temperature.
        num_symbols: V, symbols of the alphabet.
        compiled: run through ``torch.compile``, for devices where the launch of a kernel costs more than its work.

    Raises:
        UserError: for a size below 1, a range whose ends are not in order, or a negative temperature.

    Example:
        >>> seed, cond = torch.zeros(2, 8, dtype=torch.long), torch.zeros(2, 32, dtype=torch.long)
        >>> RandomLSTM(hidden=16, gain=(0.1, 0.1)).sample(seed, cond, 32, torch_generator(0))[:, 8:].unique().numel()
        1
    """

    hidden: int = 128
    layers: int = 4
    gain: tuple[float, float] = (0.8, 6.0)
    gain_power: int = 1
    embed_scale: float = 1.0
    head_gain: tuple[float, float] = (1.0, 1.0)
    temperature: float = 0.0
    num_symbols: int = NUM_SYMBOLS
    compiled: bool = False

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "num_symbols"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: must be at least 1")
        for name in ("gain", "head_gain"):
            low, high = getattr(self, name)
            if not 0 <= low <= high < math.inf:
                raise UserError(f"{name} = {low}, {high}: must be two finite numbers of 0 or more, the smaller first")
        if self.temperature < 0:
            raise UserError(f"temperature = {self.temperature}: must be 0 (the most probable symbol) or more")

    def draw(self, generator: torch.Generator) -> "LSTMSource":
        """One source, on the CPU."""
        return LSTMSource(self, generator)

    def sample(self, seed_NS: Tensor, cond_NL: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """Draw one source for all rows and run it; see :class:`Source`."""
        source = self.draw(generator).to(cond_NL.device)
        return source.generate(seed_NS, cond_NL, length, generator)


class LSTMSource(nn.Module):
    """One LSTM with random weights that reads its own output and a condition: input [E(previous); E(condition)].

    Args:
        law: what it is drawn from.
        generator: of the weights.

    Attributes:
        gain: the factor on the weights and biases of the LSTM, m ** gain_power.
    """

    def __init__(self, law: RandomLSTM, generator: torch.Generator) -> None:
        super().__init__()
        H, V = law.hidden, law.num_symbols
        self.law = law
        with torch.device("meta"):  # the modules' own initialisation would draw from the global generator
            self.embedding = nn.Embedding(V, H)
            self.lstm = nn.LSTM(2 * H, H, law.layers, batch_first=True)
            self.head = nn.Linear(H, V)
        self.to_empty(device="cpu")
        self.gain = _uniform(law.gain, generator) ** law.gain_power
        head_gain = _uniform(law.head_gain, generator)
        with torch.no_grad():
            self.embedding.weight.normal_(generator=generator).mul_(law.embed_scale)
            for weight in self.lstm.parameters():
                weight.uniform_(-(H**-0.5), H**-0.5, generator=generator).mul_(self.gain)
            for weight in self.head.parameters():
                weight.uniform_(-(H**-0.5), H**-0.5, generator=generator).mul_(head_gain)
        self.requires_grad_(False)

    def forward(self, tokens_NL: Tensor, cond_NL: Tensor) -> Tensor:
        """Logits ``[N, L, V]`` for what follows each token of a given text, by the modules themselves.

        The step that reads token t reads the condition at t.
        """
        inputs = torch.cat((self.embedding(tokens_NL), self.embedding(cond_NL)), dim=-1)
        return self.head(self.lstm(inputs)[0])

    def generate(self, seed_NS: Tensor, cond_NL: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """Continue the seeds under the conditions; one update of the states per token.

        Args:
            seed_NS: int64, the first tokens of the rows; at least one.
            cond_NL: int64, symbols read beside the tokens of the same positions; the last is not read.
            length: L, seed included.
            generator: on the CPU, read only when the temperature is not 0.

        Returns:
            ``[N, L]`` int64.

        Raises:
            UserError: if the seed is empty or longer than the rows, or the condition is shorter than they are.
        """
        if not 1 <= seed_NS.shape[1] <= length <= cond_NL.shape[1] or len(seed_NS) != len(cond_NL):
            raise UserError(
                f"seed {tuple(seed_NS.shape)}, condition {tuple(cond_NL.shape)}, length {length}: as many seeds as "
                "conditions, and 1 <= tokens of a seed <= length <= tokens of a condition"
            )
        uniform_LN = torch.rand(length, len(seed_NS), generator=generator) if self.law.temperature else None
        weights = StepWeights.of(self.embedding.weight, self.lstm, self.head)
        law = self.law
        return continue_rows(weights, seed_NS, cond_NL, length, uniform_LN, law.temperature, law.compiled)


# ----------------------------------------------------------------------------------------------------- the buffer


@dataclass(frozen=True)
class BufferState:
    """All that changes while random computation is iterated.

    Args:
        rows: ``[K, L]`` uint8 symbols.
        step: int64 scalar, batches taken so far.
    """

    rows: Tensor
    step: Tensor


@dataclass(frozen=True)
class IterationBuffer:
    """The sizes of the buffer, and its pure functions.

    Args:
        size: K, rows.
        length: L, tokens of a row.
        written: rows that a source writes in an iteration.
        reset: rows overwritten in an iteration before: with a constant, with uniform noise.
        seed_length: S, tokens that a source is given.
        iterate: False takes seeds and conditions from fresh constant and noise rows instead of the buffer's rows.
        num_symbols: V, at most 256.

    Raises:
        UserError: for sizes that do not fit each other.

    Example:
        >>> buffer = IterationBuffer(size=20, length=16, written=4, reset=(2, 2))
        >>> state = buffer.initial(0, "pre-training")
        >>> state = buffer.iteration(state, RandomLSTM(hidden=8), 0, "pre-training")
        >>> buffer.training_rows(state, 3, 0, "pre-training").shape
        torch.Size([3, 16])
    """

    size: int
    length: int
    written: int
    reset: tuple[int, int] = (50, 50)
    seed_length: int = 8
    iterate: bool = True
    num_symbols: int = NUM_SYMBOLS

    def __post_init__(self) -> None:
        if not 1 <= self.written <= self.size:
            raise UserError(f"written = {self.written}: must be from 1 to the rows of the buffer, size = {self.size}")
        if min(self.reset) < 0 or sum(self.reset) > self.size:
            raise UserError(f"reset = {self.reset}: must not be negative, nor together exceed size = {self.size}")
        if not self.iterate and sum(self.reset) == 0:
            raise UserError("reset = (0, 0): without iteration, seeds and conditions are drawn from such rows")
        if not 1 <= self.seed_length < self.length:
            raise UserError(f"seed_length = {self.seed_length}: must be from 1 to length - 1 = {self.length - 1}")
        if not 1 <= self.num_symbols <= NUM_SYMBOLS:
            raise UserError(f"num_symbols = {self.num_symbols}: must be from 1 to {NUM_SYMBOLS}")

    def initial(self, *key: Key) -> BufferState:
        """Constant rows only."""
        rows_KL = constant_rows(self.size, self.length, self.num_symbols, torch_generator(*key, "initial"))
        return BufferState(rows_KL.to(torch.uint8), torch.zeros((), dtype=torch.int64))

    def iteration(self, state: BufferState, source: Source, *key: Key) -> BufferState:
        """Steps 1 to 4: reset rows, draw a source, run it, write its rows; ``step`` stays and is part of the key."""
        key = (*key, int(state.step))
        rows_KL = self.reset_rows(state.rows, torch_generator(*key, "reset"))
        seed_NS, cond_NL, targets_N = self.inputs(rows_KL, torch_generator(*key, "inputs"))
        rows_KL[targets_N] = source.sample(seed_NS, cond_NL, self.length, torch_generator(*key, "source")).to(
            torch.uint8
        )
        return replace(state, rows=rows_KL)

    def reset_rows(self, rows_KL: Tensor, generator: torch.Generator) -> Tensor:
        """Step 1: a copy in which ``sum(reset)`` distinct rows are new."""
        num_constant, num_noise = self.reset
        chosen = _distinct(self.size, num_constant + num_noise, generator)
        fresh = (
            constant_rows(num_constant, self.length, self.num_symbols, generator),
            noise_rows(num_noise, self.length, self.num_symbols, generator),
        )
        return rows_KL.index_copy(0, chosen.to(rows_KL.device), torch.cat(fresh).to(rows_KL))

    def inputs(self, rows_KL: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Step 3: seeds ``[N, S]``, conditions ``[N, L]``, both int64, and the rows ``[N]`` to be written."""
        targets_N, origins_N = (_distinct(self.size, self.written, generator).to(rows_KL.device) for _ in range(2))
        offset = int(torch.randint(self.length - self.seed_length, (), generator=generator))
        if self.iterate:
            seeds_NL, cond_NL = rows_KL[origins_N], rows_KL[targets_N]
        else:
            seeds_NL, cond_NL = (self._fresh_rows(generator).to(rows_KL.device) for _ in range(2))
        return seeds_NL[:, offset : offset + self.seed_length].long(), cond_NL.long(), targets_N

    def training_rows(self, state: BufferState, count: int, *key: Key) -> Tensor:
        """Step 5: ``count`` distinct rows ``[count, L]`` int64 of the whole buffer, whichever were written last."""
        if count > self.size:
            raise UserError(f"batch of {count} rows: must not exceed the rows of the buffer, size = {self.size}")
        chosen = _distinct(self.size, count, torch_generator(*key, int(state.step), "training rows"))
        return state.rows[chosen.to(state.rows.device)].long()

    def _fresh_rows(self, generator: torch.Generator) -> Tensor:
        """As many rows as are written, constant or noise as often as ``reset`` makes them."""
        is_constant_N1 = torch.rand(self.written, 1, generator=generator) < self.reset[0] / sum(self.reset)
        constant_NL = constant_rows(self.written, self.length, self.num_symbols, generator)
        return torch.where(
            is_constant_N1, constant_NL, noise_rows(self.written, self.length, self.num_symbols, generator)
        )


def constant_rows(count: int, length: int, num_symbols: int, generator: torch.Generator) -> Tensor:
    """``[count, length]`` int64; each row repeats one random symbol."""
    return torch.randint(num_symbols, (count, 1), generator=generator).repeat(1, length)


def noise_rows(count: int, length: int, num_symbols: int, generator: torch.Generator) -> Tensor:
    """``[count, length]`` int64, uniform."""
    return torch.randint(num_symbols, (count, length), generator=generator)


def _distinct(size: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(size, generator=generator)[:count]


def _uniform(bounds: tuple[float, float], generator: torch.Generator) -> float:
    low, high = bounds
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()
