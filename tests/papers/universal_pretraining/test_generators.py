"""Batches: their mixture, their schedule, their state as the carry of the training loop, and the named settings."""

import dataclasses
from dataclasses import dataclass, field, replace

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.papers.universal_pretraining.generators import Mixture, RandomComputation, preset
from tenfold.papers.universal_pretraining.method import BufferState, IterationBuffer, RandomLSTM

BUFFER = IterationBuffer(size=40, length=20, written=4, reset=(2, 2), num_symbols=100)
LSTM = RandomLSTM(hidden=8, layers=2, gain=(3.0, 3.0), num_symbols=100)


@dataclass
class Stamp:
    """A source that writes one symbol and counts how often it was asked."""

    symbol: int
    asked: list = field(default_factory=list)

    def sample(self, seed_NS, cond_NL, length, generator):
        self.asked.append((len(cond_NL), generator.initial_seed()))
        return torch.full((len(cond_NL), length), self.symbol)


def batches(data, count, *key, state=None, batch_size=8):
    state = data.initial(*key) if state is None else state
    rows = []
    for _ in range(count):
        state, rows_BL = data.next(state, batch_size, *key)
        rows.append(rows_BL)
    return torch.stack(rows), state


def test_a_batch_has_the_shares_of_the_mixture_in_random_order():
    pointwise, automaton = Stamp(201), Stamp(202)
    data = RandomComputation(BUFFER, LSTM, 1, Mixture(0.5, 0.25, 0.25), pointwise, automaton)
    rows, _ = batches(data, 6, 0)
    assert rows.dtype == torch.int64 and rows.shape == (6, 8, 20)
    for batch in rows:
        assert [(batch == symbol).all(dim=1).sum().item() for symbol in (201, 202)] == [2, 2]
        assert (batch < 100).all(dim=1).sum() == 4
    orders = {tuple(batch[:, 0].clamp(min=100).tolist()) for batch in rows}
    assert len(orders) > 1, "a process that takes part of a batch meets all sources"
    assert len({seed for _, seed in pointwise.asked + automaton.asked}) == 12, "every draw has a key of its own"


@pytest.mark.parametrize(
    ("shares", "batch_size", "counts"),
    [
        ((1, 0, 0), 7, (7, 0, 0)),
        ((0.5, 0.25, 0.25), 16, (8, 4, 4)),
        ((0.5, 0.25, 0.25), 7, (5, 1, 1)),
        ((2, 1, 1), 8, (4, 2, 2)),
        ((0, 1, 2), 9, (0, 3, 6)),
        ((0, 1, 2), 10, (0, 4, 6)),
        ((0.71, 0.29, 0), 100, (71, 29, 0)),  # 100 * 0.29 is a little less than 29 in floating point
    ],
)
def test_counts_add_up_to_the_batch(shares, batch_size, counts):
    assert Mixture(*shares).counts(batch_size) == counts


def test_a_new_source_every_so_many_batches():
    for every in (1, 2, 5):
        source = Stamp(7)
        batches(RandomComputation(BUFFER, source, source_every=every), 10, 0)
        assert len(source.asked) == 10 // every
        assert all(count == BUFFER.written for count, _ in source.asked)
        assert len({seed for _, seed in source.asked}) == 10 // every


def test_batches_from_one_buffer_differ_and_a_mixture_without_the_buffer_leaves_it_alone():
    rows, _ = batches(RandomComputation(BUFFER, LSTM, source_every=100), 2, 0)
    assert not torch.equal(rows[0], rows[1])
    source = Stamp(7)
    data = RandomComputation(BUFFER, source, mixture=Mixture(0, 1, 1))
    _, state = batches(data, 3, 0)
    assert not source.asked and torch.equal(state.rows, data.initial(0).rows)


@pytest.mark.spec("universal_pretraining", "1")
@pytest.mark.parametrize("mixture", [Mixture(), Mixture(0.5, 0.25, 0.25)])
def test_equal_keys_equal_batches_and_a_saved_state_goes_on_identically(mixture):
    data = RandomComputation(BUFFER, LSTM, 2, mixture)
    whole, _ = batches(data, 7, 3, "training", 0)
    assert torch.equal(whole, batches(data, 7, 3, "training", 0)[0])
    assert not torch.equal(whole, batches(data, 7, 4, "training", 0)[0])
    assert not torch.equal(whole, batches(data, 7, 3, "training", 8)[0]), "another process"
    first, saved = batches(data, 3, 3, "training", 0)
    torch.rand(5)
    restored = BufferState(**{f.name: getattr(saved, f.name).clone() for f in dataclasses.fields(saved)})
    rest, _ = batches(data, 4, 3, "training", 0, state=restored)
    assert torch.equal(torch.cat((first, rest)), whole)


def test_the_state_before_a_batch_is_left_alone():
    data = RandomComputation(BUFFER, LSTM)
    state = data.initial(0)
    rows = state.rows.clone()
    data.next(state, 4, 0)
    assert torch.equal(state.rows, rows) and int(state.step) == 0


def test_every_field_of_the_state_is_a_tensor():
    """What the training loop saves with a checkpoint."""
    state = RandomComputation(BUFFER, LSTM).initial(0)
    assert all(isinstance(getattr(state, f.name), torch.Tensor) for f in dataclasses.fields(state))


def test_iteration_deepens_the_buffer():
    """After many iterations there are rows of sources that read rows of sources."""
    data = RandomComputation(replace(BUFFER, reset=(1, 1)), LSTM)
    _, state = batches(data, 40, 0)
    constant = (state.rows == state.rows[:, :1]).all(dim=1).double().mean()
    assert constant < 0.6 and data.initial(0).rows.unique(dim=1).shape[1] == 1


# ---------------------------------------------------------------------------------------------------- named settings


def test_the_papers_setting():
    data = preset("paper", batch_size=16, length=512)
    assert data.source == RandomLSTM(
        hidden=128, layers=4, gain=(1.0, 3.5), gain_power=4, embed_scale=1e-8, temperature=0.0
    )
    assert data.buffer == IterationBuffer(
        size=20 * 32, length=512, written=32, reset=(50, 50), seed_length=8, iterate=True
    )
    assert data.source_every == 1 and data.mixture.counts(16) == (16, 0, 0)
    assert data.pointwise.active == (1, 19) and data.automaton.go_on == 0.9
    assert preset("paper", batch_size=16, length=512, iterate=False).buffer == replace(data.buffer, iterate=False)


def test_the_small_setting():
    data = preset("small", batch_size=16, length=128)
    assert data.source == RandomLSTM(hidden=96, layers=4, gain=(0.8, 6.0), gain_power=1, embed_scale=1.0)
    assert (data.buffer.size, data.buffer.written, data.buffer.length, data.source_every) == (640, 32, 128, 4)
    assert data.mixture.counts(16) == (8, 4, 4)
    assert (data.pointwise.active, data.pointwise.concentration) == ((2, 96), (0.05, 2.0))
    assert (data.automaton.states, data.automaton.symbols, data.automaton.go_on) == ((2, 12), (2, 24), None)


def test_the_independent_setting():
    source = preset("xt", batch_size=16, length=512).source
    assert (source.layers, source.gain, source.head_gain, source.temperature) == (1, (1.0, 1.0), (0.0, 1.1), 1e-4)


@pytest.mark.parametrize("name", ["paper", "small", "xt"])
def test_every_setting_makes_batches(name):
    rows, _ = batches(preset(name, batch_size=4, length=24), 2, 0, batch_size=4)
    assert rows.shape == (2, 4, 24) and 0 <= int(rows.min()) <= int(rows.max()) < 256


# --------------------------------------------------------------------------------------------------------- bad input


def test_impossible_settings_are_refused():
    with pytest.raises(UserError, match="source_every = 0: must be at least 1"):
        RandomComputation(BUFFER, LSTM, source_every=0)
    with pytest.raises(UserError, match="shares must not be negative, nor all 0"):
        Mixture(0, 0, 0)
    with pytest.raises(UserError, match="shares must not be negative"):
        Mixture(1, -0.5, 0)
    with pytest.raises(UserError, match="preset = 'tiny': must be paper, small or xt"):
        preset("tiny", batch_size=4, length=24)
    with pytest.raises(UserError, match="batch of 41 rows"):
        batches(RandomComputation(BUFFER, LSTM), 1, 0, batch_size=41)
