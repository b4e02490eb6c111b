"""What a training run draws its batches from: the iterated buffer, and rows of other sources mixed in.

Paper: the buffer alone, a new source for every batch. Ours, for small machines: a source serves several batches, and
part of each batch are rows of random distributions and automata (specification, section 6). Named settings: ``preset``.

Letters as in ``method.py``; B rows of a batch.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from tenfold.core.errors import UserError
from tenfold.core.seeding import Key, torch_generator
from tenfold.papers.universal_pretraining.method import BufferState, IterationBuffer, RandomLSTM, Source, noise_rows
from tenfold.papers.universal_pretraining.other_sources import PointwiseDirichlet, RandomAutomaton

Preset = Literal["paper", "small", "xt"]


@dataclass(frozen=True)
class Mixture:
    """How many rows of a batch come from where, in proportion.

    Args:
        buffer: rows of the iterated buffer.
        dirichlet: rows with a distribution of their own, made for the batch.
        automata: rows with an automaton of their own, made for the batch.

    Raises:
        UserError: if a share is negative or all are 0.

    Example:
        >>> Mixture(0.5, 0.25, 0.25).counts(18)
        (10, 4, 4)
    """

    buffer: float = 1.0
    dirichlet: float = 0.0
    automata: float = 0.0

    def __post_init__(self) -> None:
        if min(self.buffer, self.dirichlet, self.automata) < 0 or self.buffer + self.dirichlet + self.automata <= 0:
            raise UserError(
                f"buffer, dirichlet, automata = {self.buffer}, {self.dirichlet}, {self.automata}: shares must not be "
                "negative, nor all 0"
            )

    def counts(self, batch_size: int) -> tuple[int, int, int]:
        """Rows from (buffer, distributions, automata); what rounding leaves over goes to the first that has a share."""
        shares = (self.buffer, self.dirichlet, self.automata)
        counts = [int(batch_size * share / sum(shares) + 1e-9) for share in shares]
        counts[next(index for index, share in enumerate(shares) if share)] += batch_size - sum(counts)
        return counts[0], counts[1], counts[2]


@dataclass(frozen=True)
class RandomComputation:
    """What training draws its batches from; its state can be the carry of :func:`tenfold.train.loop.train`.

    Args:
        buffer: sizes of the buffer.
        source: what is iterated in it.
        source_every: batches from one iteration of the buffer, with its new source, to the next.
        mixture: shares of a batch.
        pointwise: law of the rows with distributions of their own.
        automaton: law of the rows with automata of their own.

    Raises:
        UserError: if ``source_every`` is below 1.

    Example:
        >>> data = preset("small", batch_size=4, length=16)
        >>> state = data.initial(0, "pre-training")
        >>> state, rows = data.next(state, 4, 0, "pre-training")
        >>> rows.shape, rows.dtype, int(state.step)
        (torch.Size([4, 16]), torch.int64, 1)
    """

    buffer: IterationBuffer
    source: Source
    source_every: int = 1
    mixture: Mixture = Mixture()
    pointwise: Source = field(default_factory=PointwiseDirichlet)
    automaton: Source = field(default_factory=RandomAutomaton)

    def __post_init__(self) -> None:
        if self.source_every < 1:
            raise UserError(f"source_every = {self.source_every}: must be at least 1")

    def initial(self, *key: Key, device: torch.device | str = "cpu") -> BufferState:
        """The state before the first batch; ``device`` is where the buffer is kept and sources run."""
        state = self.buffer.initial(*key)
        return replace(state, rows=state.rows.to(device))

    def next(self, state: BufferState, batch_size: int, *key: Key) -> tuple[BufferState, Tensor]:
        """The state after a batch, and the batch ``[B, L]`` int64 on the device of the buffer.

        Args:
            state: is not changed.
            batch_size: B, rows of the batch.
            key: of all draws, together with the number of batches taken; different for each process.

        Raises:
            UserError: if the buffer has fewer rows than the batch takes from it.
        """
        step, length = int(state.step), self.buffer.length
        from_buffer, pointwise, automata = self.mixture.counts(batch_size)
        if from_buffer and step % self.source_every == 0:
            state = self.buffer.iteration(state, self.source, *key)
        parts = [self.buffer.training_rows(state, from_buffer, *key)]
        for name, law, count in (("pointwise", self.pointwise, pointwise), ("automata", self.automaton, automata)):
            if count:
                generator = torch_generator(*key, step, name)
                cond_NL = noise_rows(count, length, self.buffer.num_symbols, generator).to(state.rows.device)
                parts.append(law.sample(cond_NL[:, : self.buffer.seed_length], cond_NL, length, generator))
        order = torch.randperm(batch_size, generator=torch_generator(*key, step, "order"))
        return replace(state, step=state.step + 1), torch.cat(parts)[order.to(state.rows.device)]


def preset(name: Preset, *, batch_size: int, length: int, iterate: bool = True) -> RandomComputation:
    """A named setting.

    ``paper``: the author's code: gain U(1, 3.5) to the power of its 4 layers, embedding at 1e-8, a buffer of 20 n rows,
    n = 2 ``batch_size``. ``small``: for one machine: gain U(0.8, 6) once, unit embedding, width 96, a new source every
    4 batches, half of a batch from the buffer, a quarter pointwise, a quarter automata. ``xt``: the ranges of the
    independent version: one layer, a factor U(0, 1.1) on the output layer only, temperature 1e-4; the rest as in paper.

    Args:
        name: of the setting.
        batch_size: rows of a batch; the buffer's size follows.
        length: L, tokens of a row.
        iterate: see :class:`IterationBuffer`.

    Raises:
        UserError: for an unknown name.
    """
    n = 2 * batch_size

    def buffer(reset: int) -> IterationBuffer:
        return IterationBuffer(20 * n, length, n, reset=(reset, reset), iterate=iterate)

    if name == "paper":
        lstm = RandomLSTM(gain=(1.0, 3.5), gain_power=4, embed_scale=1e-8)
        pointwise = PointwiseDirichlet(active=(1, 19), concentration=(1.0, 1.0))
        return RandomComputation(buffer(50), lstm, pointwise=pointwise, automaton=RandomAutomaton(go_on=0.9))
    if name == "small":
        lstm = RandomLSTM(hidden=96, gain=(0.8, 6.0))
        return RandomComputation(buffer(10), lstm, source_every=4, mixture=Mixture(0.5, 0.25, 0.25))
    if name == "xt":
        lstm = RandomLSTM(layers=1, gain=(1.0, 1.0), head_gain=(0.0, 1.1), temperature=1e-4)
        return RandomComputation(buffer(50), lstm)
    raise UserError(f"preset = {name!r}: must be paper, small or xt")
