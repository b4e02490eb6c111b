"""The iteration buffer: what an iteration may change, what it depends on, and that its state is all there is."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.core.seeding import torch_generator
from tenfold.papers.universal_pretraining.method import BufferState, IterationBuffer, RandomLSTM

BUFFER = IterationBuffer(size=60, length=24, written=6, reset=(7, 5))
LSTM = RandomLSTM(hidden=8, layers=2, gain=(3.0, 3.0))


@dataclass
class Watch:
    """A source that writes one symbol and keeps what it was given."""

    symbol: int = 255
    seen: list = field(default_factory=list)

    def sample(self, seed_NS, cond_NL, length, generator):
        self.seen.append((seed_NS, cond_NL))
        return torch.full((len(cond_NL), length), self.symbol)


def filled(buffer, first=0, step=0):
    """Row r holds ``first + r`` at even and 200 at odd positions: neither constant nor what a source writes."""
    rows = torch.full((buffer.size, buffer.length), 200)
    rows[:, ::2] = first + torch.arange(buffer.size)[:, None]
    return BufferState(rows.to(torch.uint8), torch.tensor(step))


def changed_rows(before, after):
    return (before != after).any(dim=1).nonzero().flatten().tolist()


def test_it_begins_with_constant_rows():
    state = BUFFER.initial(0)
    assert state.rows.shape == (60, 24) and state.rows.dtype == torch.uint8 and int(state.step) == 0
    assert (state.rows == state.rows[:, :1]).all()
    assert state.rows[:, 0].unique().numel() > 40, "each row has a symbol of its own"
    assert not torch.equal(state.rows, BUFFER.initial(1).rows)


@pytest.mark.spec("universal_pretraining", "2")
@pytest.mark.parametrize("reset", [(7, 5), (12, 0), (0, 12), (0, 0), (30, 30)])
def test_exactly_the_asked_number_of_rows_is_reset_before_the_source_runs(reset):
    buffer = replace(BUFFER, reset=reset)
    for step in range(5):
        state = filled(buffer, step=step)
        after = buffer.reset_rows(state.rows, torch_generator(step))
        changed = changed_rows(state.rows, after)
        assert len(changed) == sum(reset)
        constant = (after[changed] == after[changed][:, :1]).all(dim=1)
        assert int(constant.sum()) == reset[0]
        assert torch.equal(state.rows, filled(buffer).rows), "the rows before are left alone"


@pytest.mark.spec("universal_pretraining", "2")
def test_an_iteration_changes_the_reset_rows_and_the_rows_of_the_conditions_only():
    for step in range(20):
        state, source = filled(BUFFER, step=step), Watch()
        after = BUFFER.iteration(state, source, 0)
        written = (after.rows == source.symbol).all(dim=1)
        assert int(written.sum()) >= BUFFER.written and int(after.step) == step
        others = set(changed_rows(state.rows, after.rows)) - set(written.nonzero().flatten().tolist())
        assert sum(BUFFER.reset) - BUFFER.written <= len(others) <= sum(BUFFER.reset)


def test_results_replace_the_rows_that_were_the_conditions():
    buffer, source = replace(BUFFER, reset=(0, 0)), Watch()
    state = filled(buffer)
    after = buffer.iteration(state, source, 0)
    ((seed_NS, cond_NL),) = source.seen
    assert seed_NS.shape == (6, 8) and seed_NS.dtype == cond_NL.dtype == torch.int64
    assert sorted(cond_NL[:, 0].tolist()) == changed_rows(state.rows, after.rows)
    assert torch.equal(cond_NL, state.rows[cond_NL[:, 0]].long()), "conditions are whole rows"


def test_seeds_are_pieces_of_rows_from_one_common_place_chosen_independently_of_the_conditions():
    buffer = replace(BUFFER, reset=(0, 0))
    rows = torch.arange(60)[:, None].repeat(1, 24)
    rows[:, 1:] = torch.arange(100, 123)  # a row's number, then its positions
    places, shared = [], 0
    for step in range(200):
        source = Watch()
        buffer.iteration(BufferState(rows.to(torch.uint8), torch.tensor(step)), source, 0)
        ((seed_NS, cond_NL),) = source.seen
        assert (seed_NS[:, 1:] == seed_NS[:1, 1:]).all()
        places.append(int(seed_NS[0, 1]) - 100)
        if places[-1] == 0:
            assert seed_NS[:, 0].unique().numel() == 6, "without replacement"
            shared += len(set(seed_NS[:, 0].tolist()) & set(cond_NL[:, 0].tolist()))
    assert set(places) == set(range(16)), "offsets 0 to L - 9"
    assert 0 < shared < 6 * places.count(0), "some rows are both seed and condition, as chance wants"


@pytest.mark.spec("universal_pretraining", "2")
def test_training_rows_are_drawn_from_the_whole_buffer_whatever_was_written():
    """Which rows are drawn is the same for two histories, and over many steps each row is as likely as any other."""
    one, other = filled(BUFFER), filled(BUFFER, first=100)
    counts = torch.zeros(60)
    for step in range(300):
        before = replace(one, step=torch.tensor(step))
        drawn = BUFFER.training_rows(before, 10, 0)[:, 0]
        assert drawn.unique().numel() == 10, "distinct"
        assert torch.equal(BUFFER.training_rows(replace(other, step=before.step), 10, 0)[:, 0] - 100, drawn)
        counts += drawn.bincount(minlength=60)
    assert counts.min() > 20 and counts.max() < 85, "50 expected, standard deviation 6.5"


def test_written_rows_are_among_the_training_rows_as_often_as_chance_wants():
    drawn = 0
    for step in range(300):
        state = BUFFER.iteration(filled(BUFFER, step=step), Watch(), 0)
        drawn += int((BUFFER.training_rows(state, 10, 0) == 255).all(dim=1).sum())
    expected = 300 * 10 * BUFFER.written / BUFFER.size
    assert abs(drawn - expected) < 4 * expected**0.5


@pytest.mark.spec("universal_pretraining", "2")
def test_without_iteration_the_output_does_not_depend_on_the_history():
    buffer = replace(BUFFER, iterate=False)
    sources = Watch(), Watch()
    one, other = (
        buffer.iteration(filled(buffer, first, step=3), source, 0)
        for first, source in zip((0, 100), sources, strict=True)
    )
    for mine, theirs in zip(sources[0].seen[0], sources[1].seen[0], strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(one.rows == 255, other.rows == 255)
    with_lstm = [buffer.iteration(filled(buffer, first, step=3), LSTM, 0).rows for first in (0, 100)]
    targets = (one.rows == 255).all(dim=1)
    assert torch.equal(with_lstm[0][targets], with_lstm[1][targets])
    iterated = [BUFFER.iteration(filled(BUFFER, first, step=3), LSTM, 0).rows for first in (0, 100)]
    assert not torch.equal(iterated[0][targets], iterated[1][targets]), "with iteration it does"


@pytest.mark.parametrize(("reset", "constant"), [((1, 0), 1.0), ((0, 1), 0.0), ((3, 1), 0.75)])
def test_without_iteration_inputs_are_constant_or_noise_as_often_as_resets_are(reset, constant):
    buffer = IterationBuffer(size=60, length=24, written=60, reset=reset, iterate=False)
    source = Watch()
    for step in range(10):
        buffer.iteration(filled(buffer, step=step), source, 0)
    cond = torch.cat([cond for _, cond in source.seen])
    share = (cond == cond[:, :1]).all(dim=1).double().mean().item()
    assert share == pytest.approx(constant, abs=4 * (constant * (1 - constant) / 600) ** 0.5)
    assert not (source.seen[0][0][:, :1] == source.seen[0][1][:, :1]).all(), "seeds are rows of their own"


@pytest.mark.spec("universal_pretraining", "1")
def test_rows_and_step_are_all_there_is_to_save():
    """Three iterations in one go are one, a copy of the state, and two more."""

    def after(state, count):
        for _ in range(count):
            state = BUFFER.iteration(state, LSTM, 4)
            state = replace(state, step=state.step + 1)
        return state

    whole = after(BUFFER.initial(4), 3)
    saved = after(BUFFER.initial(4), 1)
    restored = BufferState(rows=saved.rows.clone(), step=saved.step.clone())
    assert torch.equal(after(restored, 2).rows, whole.rows)
    assert torch.equal(after(BUFFER.initial(4), 3).rows, whole.rows)
    assert not torch.equal(after(BUFFER.initial(5), 3).rows, whole.rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"written": 61}, "written = 61: must be from 1 to the rows of the buffer, size = 60"),
        ({"written": 0}, "written = 0"),
        ({"reset": (50, 11)}, "reset = \\(50, 11\\): must not be negative, nor together exceed size = 60"),
        ({"reset": (-1, 1)}, "reset"),
        ({"reset": (0, 0), "iterate": False}, "without iteration, seeds and conditions are drawn from such rows"),
        ({"seed_length": 24}, "seed_length = 24: must be from 1 to length - 1 = 23"),
        ({"seed_length": 0}, "seed_length = 0"),
        ({"num_symbols": 257}, "num_symbols = 257: must be from 1 to 256"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        replace(BUFFER, **changes)


def test_more_training_rows_than_the_buffer_has_are_refused():
    with pytest.raises(UserError, match="batch of 61 rows: must not exceed the rows of the buffer, size = 60"):
        BUFFER.training_rows(filled(BUFFER), 61, 0)
