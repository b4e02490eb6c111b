"""The carry from step to step: who halts when, who takes which puzzle, and the target of going on."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from tenfold.data.puzzles import GroupSampler, PuzzleDataset
from tenfold.papers.hrm.halting import (
    Carry,
    Rows,
    StepOptions,
    continue_target,
    empty_carry,
    least_steps,
    next_halted,
    refill,
    training_step,
)
from tenfold.papers.hrm.method import Latents, SegmentOutput
from tenfold.papers.hrm.training import free_rows, offered_rows


def forced(model, q_halt, q_continue=0.0):
    """The model with Q values that its input does not change."""
    torch.nn.init.zeros_(model.q_head.weight)
    model.q_head.bias.data = torch.tensor([q_halt, q_continue])
    return model


def busy_carry(model, rows, halted, steps=2, seed=7):
    """A carry in the middle of training: random states and puzzles, some slots waiting for a new one."""
    generator = torch.Generator().manual_seed(seed)
    states = [torch.randn(model.initial_latents(len(halted)).z_H.shape, generator=generator) for _ in range(2)]
    count = torch.full((len(halted),), steps)
    return Carry(*states, count, torch.tensor(halted), count.clone(), rows.inputs, rows.labels, rows.puzzles)


def one_step(model, carry, rows, step=1, **options):
    count = len(carry.halted)
    return training_step(model, carry, rows, step, range(count), StepOptions(seed=0, num_slots=count, **options))


def differing(one, other, slots):
    """Names of the fields in which two carries are not bit for bit equal in these slots."""
    return [f.name for f in fields(one) if not torch.equal(getattr(one, f.name)[slots], getattr(other, f.name)[slots])]


# ----------------------------------------------------------------------------------------------------- the refill


@pytest.mark.spec("hrm", "12")
@pytest.mark.parametrize("kind", ["hrm", "trm", "urm", "plain"])
def test_first_step_ignores_what_is_in_the_states(kind, make_model, make_rows):
    model = make_model(kind)
    rows, results = make_rows(model, 3), []
    for filling in (torch.nan, 0.0):
        carry = empty_carry(model, 3)
        carry = replace(carry, **{z: torch.full_like(getattr(carry, z), filling) for z in ("z_H", "z_L")})
        loss, carry, _ = one_step(model, carry, rows)
        results.append((loss, carry.z_H, carry.z_L))
    assert all(part.isfinite().all() for part in results[0])
    assert all(torch.equal(*parts) for parts in zip(*results, strict=True))


@pytest.mark.spec("hrm", "13")
def test_halted_slots_start_the_new_row_and_the_others_keep_everything(make_model, make_rows):
    model = make_model("hrm")
    old, new = make_rows(model, 4, seed=0), make_rows(model, 4, seed=1)
    carry = busy_carry(model, old, [True, False, True, False], steps=3)
    filled = refill(carry, new, model.initial_latents(4))
    fresh, kept = torch.tensor([0, 2]), torch.tensor([1, 3])
    initial = model.initial_latents(2)
    assert torch.equal(filled.z_H[fresh], initial.z_H) and torch.equal(filled.z_L[fresh], initial.z_L)
    assert torch.equal(filled.inputs[fresh], new.inputs[fresh])
    assert torch.equal(filled.labels[fresh], new.labels[fresh])
    assert torch.equal(filled.puzzles[fresh], new.puzzles[fresh])
    assert filled.steps.tolist() == [0, 3, 0, 3] and filled.loads.tolist() == [4, 3, 4, 3]
    assert not filled.halted.any()
    assert differing(filled, carry, kept) == []


@pytest.mark.spec("hrm", "13")
def test_a_step_of_a_busy_slot_does_not_depend_on_the_incoming_batch(make_model, make_rows):
    model = make_model("hrm")
    carry = busy_carry(model, make_rows(model, 4), [True, False, True, False], steps=2)
    one, other = (one_step(model, carry, make_rows(model, 4, seed=seed))[1] for seed in (1, 2))
    assert differing(one, other, torch.tensor([1, 3])) == []
    assert {"z_H", "z_L", "inputs", "labels"} <= set(differing(one, other, torch.tensor([0, 2])))
    assert one.steps.tolist() == [1, 3, 1, 3]


def test_a_new_puzzle_is_answered_as_if_it_were_the_first(make_model, make_rows):
    model = make_model("hrm")
    rows = make_rows(model, 3, seed=1)
    first = one_step(model, empty_carry(model, 3), rows)[1]
    later = one_step(model, busy_carry(model, make_rows(model, 3), [True] * 3), rows)[1]
    assert differing(first, replace(later, loads=first.loads), torch.arange(3)) == []


@pytest.mark.spec("hrm", "17")
def test_permuted_slots_give_permuted_carries_and_the_same_loss(make_model, make_rows):
    model = make_model("hrm")
    old, new, order = make_rows(model, 4), make_rows(model, 4, seed=1), torch.tensor([3, 1, 0, 2])
    carry = busy_carry(model, old, [True, False, False, True])
    permuted = Carry(*(getattr(carry, f.name)[order] for f in fields(carry)))
    loss, after, _ = one_step(model, carry, new)
    permuted_loss, permuted_after, _ = one_step(model, permuted, Rows(*(tensor[order] for tensor in new)))
    torch.testing.assert_close(permuted_loss, loss)
    for f in fields(after):
        torch.testing.assert_close(getattr(permuted_after, f.name), getattr(after, f.name)[order])


# ------------------------------------------------------------------------------------------------------ who halts


def halting_history(model, make_rows, steps):
    """``[steps, slots]`` who had halted after each step, from the empty carry; nothing is learned in between."""
    rows, carry, history = make_rows(model, 64), empty_carry(model, 64), []
    for step in range(1, steps + 1):
        _, carry, _ = one_step(model, carry, rows, step)
        history.append(carry.halted)
    return torch.stack(history)


@pytest.mark.spec("hrm", "14")
@pytest.mark.parametrize(("kind", "q"), [("hrm", (1.0, 0.9)), ("hrm", (-1.0, -1.1)), ("trm", (0.1, 9.0))])
def test_without_exploration_all_halt_at_once_when_halting_is_worth_more(kind, q, make_model, make_rows):
    model = forced(make_model(kind, halt_max_steps=5), *q)
    assert halting_history(model, make_rows, 3).all()


@pytest.mark.spec("hrm", "14", "5")
@pytest.mark.parametrize(
    ("kind", "q"), [("hrm", (0.9, 1.0)), ("hrm", (-5.0, -5.0)), ("trm", (-0.1, -9.0)), ("trm", (0.0, -9.0))]
)
def test_without_exploration_all_halt_exactly_at_the_last_segment_otherwise(kind, q, make_model, make_rows):
    model = forced(make_model(kind, halt_max_steps=5), *q)
    history = halting_history(model, make_rows, 10)
    assert history.all(1).tolist() == history.any(1).tolist() == ([False] * 4 + [True]) * 2


@pytest.mark.spec("hrm", "5")
@pytest.mark.parametrize("kind", ["hrm", "trm"])
def test_a_fresh_model_never_halts_in_its_first_step(kind, make_model, make_rows):
    model = make_model(kind, fresh=True)
    _, carry, _ = one_step(model, empty_carry(model, 8), make_rows(model, 8))
    assert not carry.halted.any()


@pytest.mark.spec("hrm", "14")
def test_with_certain_exploration_no_slot_halts_at_its_first_segment_and_all_by_the_last(make_model, make_rows):
    M = 5
    model = forced(make_model("hrm", halt_max_steps=M, halt_exploration=1.0), 1.0, 0.0)
    history = halting_history(model, make_rows, M)
    assert not history[0].any()
    assert history.any(0).all()
    assert 0 < history[1].float().mean() < 1, "the draws differ"


def test_exploration_delays_even_the_forced_stop_but_never_beyond_the_last_segment(make_config):
    config = make_config(halt_max_steps=4)
    q = torch.tensor([5.0, 5.0, 5.0, -5.0])
    nothing = torch.zeros(4, 1, 1)
    output = SegmentOutput(Latents(nothing, nothing), nothing, q, torch.zeros(4))
    halted = next_halted(config, torch.tensor([2, 2, 4, 4]), output, torch.tensor([3, 2, 4, 0]))
    assert halted.tolist() == [False, True, True, True]


def test_a_model_of_one_segment_always_halts_and_looks_no_segment_ahead(make_model, make_rows, count_calls):
    model = forced(make_model("hrm", halt_max_steps=1, halt_exploration=1.0), -9.0, 9.0)
    with count_calls(model) as calls:
        _, carry, metrics = one_step(model, empty_carry(model, 3), make_rows(model, 3))
    assert carry.halted.all() and metrics["train/q_continue_loss"] == 0
    assert calls["f_H", True] + calls["f_H", False] == model.config.H_cycles


def test_least_segments_are_drawn_with_the_given_probability_from_two_to_the_last(make_config):
    config = make_config(halt_max_steps=5, halt_exploration=0.3)
    draws = least_steps(config, 0, 1, range(40_000), 40_000)
    counts = torch.bincount(draws, minlength=7) / 40_000
    expected = torch.tensor([0.7, 0, 0.075, 0.075, 0.075, 0.075, 0])
    torch.testing.assert_close(counts, expected, atol=0.008, rtol=0)  # six standard deviations


def test_least_segments_are_keyed_by_seed_step_and_global_slot(make_config):
    config = make_config(halt_max_steps=5, halt_exploration=0.5)
    whole = least_steps(config, 3, 7, range(64), 64)
    pieces = [least_steps(config, 3, 7, range(start, start + 16), 64) for start in range(0, 64, 16)]
    assert torch.equal(torch.cat(pieces), whole)
    assert torch.equal(least_steps(config, 3, 7, range(64), 64), whole)
    assert not torch.equal(least_steps(config, 3, 8, range(64), 64), whole)
    assert not torch.equal(least_steps(config, 4, 7, range(64), 64), whole)
    assert not least_steps(make_config(halt_exploration=0.0), 3, 7, range(64), 64).any()


def test_a_slot_whose_state_overflowed_starts_afresh(make_model, make_rows):
    model = forced(make_model("hrm", halt_max_steps=9), -1.0, 1.0)
    rows = make_rows(model, 3)
    carry = busy_carry(model, rows, [False] * 3)
    carry.z_H[1] = torch.inf
    loss, carry, _ = one_step(model, carry, rows)
    assert not loss.isfinite() and carry.halted.tolist() == [False, True, False]
    loss, carry, _ = one_step(model, carry, rows, step=2)
    assert loss.isfinite() and not carry.halted.any() and carry.steps.tolist() == [4, 1, 4]


# -------------------------------------------------------------------------------------------- the value of going on


@pytest.mark.spec("hrm", "16")
def test_target_of_going_on_looks_one_segment_ahead(make_model, make_rows):
    model = make_model("hrm", halt_max_steps=4)
    rows = make_rows(model, 16)
    carry = busy_carry(model, rows, [False] * 16)
    carry = replace(carry, steps=torch.tensor([3, 4] * 8))
    before = Carry(*(getattr(carry, f.name).clone() for f in fields(carry)))
    target = continue_target(model, carry, Latents(carry.z_H, carry.z_L))
    ahead = model(Latents(carry.z_H, carry.z_L), rows.inputs, rows.puzzles)
    going_on_is_better = ahead.q_continue > ahead.q_halt
    assert going_on_is_better[1::2].any() and going_on_is_better[::2].any() and not going_on_is_better[::2].all()
    expected = torch.where(carry.steps == 4, ahead.q_halt, torch.maximum(ahead.q_halt, ahead.q_continue)).sigmoid()
    torch.testing.assert_close(target, expected.detach())
    assert (target >= 0).all() and (target <= 1).all() and not target.requires_grad
    assert differing(carry, before, torch.arange(16)) == []


@pytest.mark.spec("hrm", "16")
def test_second_forward_has_no_gradient_and_leaves_the_returned_carry_as_the_first_made_it(
    make_model, make_rows, count_calls
):
    model, rows = make_model("hrm", H_cycles=2, L_cycles=3), make_rows(make_model("hrm"), 3)
    with count_calls(model) as calls:
        _, carry, _ = one_step(model, empty_carry(model, 3), rows)
    assert calls == {("f_L", False): 11, ("f_L", True): 1, ("f_H", False): 3, ("f_H", True): 1}
    assert len(model.puzzle_embedding.pending) == 1
    first = model(model.initial_latents(3), rows.inputs, rows.puzzles).latents
    assert torch.equal(carry.z_H, first.z_H) and torch.equal(carry.z_L, first.z_L)


def test_trm_looks_no_segment_ahead(make_model, make_rows, count_calls):
    model = make_model("trm", H_cycles=2, L_cycles=3)
    with count_calls(model) as calls:
        _, _, metrics = one_step(model, empty_carry(model, 3), make_rows(model, 3))
    assert calls == {("f_H", False): 4, ("f_H", True): 4}
    assert metrics["train/q_continue_loss"] == 0


def test_metrics_are_taken_over_the_slots_that_halted(make_model, make_rows):
    model = forced(make_model("hrm", halt_max_steps=3), -1.0, 1.0)
    rows = make_rows(model, 4)
    carry = busy_carry(model, rows, [False] * 4)
    carry = replace(carry, steps=torch.tensor([0, 2, 1, 2]))
    said = model(Latents(carry.z_H, carry.z_L), rows.inputs, rows.puzzles).logits.argmax(-1)
    labels = rows.labels.clone()
    labels[:2] = said[:2]  # slots 0 and 1 are right, 1 and 3 halt
    labels[3, :4], labels[3, 4:] = said[3, :4], (said[3, 4:] + 1) % 6
    _, after, metrics = one_step(model, replace(carry, labels=labels), rows)
    assert after.halted.tolist() == [False, True, False, True]
    expected = {
        "train/exact_accuracy": 0.5,
        "train/cell_accuracy": (1 + 4 / 16) / 2,
        "train/q_halt_accuracy": 0.5,
        "train/segments": 3.0,
        "train/halted": 0.5,
        "train/q_halt_max": -1.0,
        "train/q_halt_min": -1.0,
    }
    assert {name: metrics[name].item() for name in expected} == pytest.approx(expected)
    _, _, metrics = one_step(model, replace(carry, steps=torch.zeros(4, dtype=torch.long)), rows)
    assert metrics["train/exact_accuracy"].isnan() and metrics["train/halted"] == 0


# ----------------------------------------------------------------------------------------- which rows are handed out


@pytest.fixture
def sampler():
    """Batches of 6 of 24 numbered puzzles: the first two tokens of a row tell which it is."""
    grids = np.arange(24, dtype=np.uint8)[:, None, None] + np.zeros((1, 1, 16), dtype=np.uint8)
    return GroupSampler(PuzzleDataset.from_groups(grids, grids, vocab_size=24), batch_size=6, seed=0)


@pytest.mark.parametrize("slots", [range(6), range(2, 5)])
def test_free_slots_get_the_row_that_their_own_count_is_due(slots, sampler, make_model):
    """The k-th load of slot s is row s of batch k, however long each puzzle kept it busy."""
    model = make_model("hrm", vocab_size=24)
    carry, generator = empty_carry(model, len(slots)), np.random.default_rng(1)
    taken: list[list[int]] = [[] for _ in slots]
    for _ in range(25):
        was_free = carry.halted
        carry = refill(carry, free_rows(sampler, carry, slots), model.initial_latents(len(slots)))
        for position in was_free.nonzero().flatten().tolist():
            taken[position].append(int(carry.inputs[position, 0]))
        carry = replace(carry, halted=torch.from_numpy(generator.random(len(slots)) < 0.4))
    assert len({len(rows) for rows in taken}) > 1, "slots fell apart"
    for slot, rows in zip(slots, taken, strict=True):
        assert rows == [int(sampler.batch(k).inputs[slot, 0]) for k in range(len(rows))]


def test_free_rows_cope_with_no_free_slot(sampler, make_model):
    carry = empty_carry(make_model("hrm", vocab_size=24), 6)
    rows = free_rows(sampler, replace(carry, halted=torch.zeros(6, dtype=torch.bool)), range(6))
    assert rows.inputs.shape == (6, 16) and rows.puzzles.shape == (6,)


def test_offered_rows_are_the_batch_of_the_step_whoever_is_free(sampler):
    for step in (1, 2, 9):
        batch = sampler.batch(step - 1)
        rows = offered_rows(sampler, step, range(2, 5))
        np.testing.assert_array_equal(rows.inputs, batch.inputs[2:5])
        np.testing.assert_array_equal(rows.labels, batch.labels[2:5])
        np.testing.assert_array_equal(rows.puzzles, batch.puzzle_identifiers[2:5])
