"""The loop against training written out by hand: averages, skipped steps, precision, rates, pieces, evaluation."""

import copy
import math
from dataclasses import dataclass, replace

import accelerate
import pytest
import torch
from torch import Tensor, nn

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted, UserError
from tenfold.core.seeding import torch_generator
from tenfold.train.loop import LoopConfig, train

WIDTH = 3
SHORT = LoopConfig(steps=6, batch_size=8, log_every=1, evaluate_every=0, checkpoint_every=0)


@dataclass(frozen=True)
class Memory:
    """What a slot keeps from step to step: a decaying sum of its rows."""

    seen: Tensor


def make_model(dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 4), nn.Tanh(), nn.Dropout(dropout), nn.Linear(4, 1))


def empty_memory(model, rows):
    return Memory(torch.zeros(rows, WIDTH))


def sgd(model):
    return [torch.optim.SGD(model.parameters(), lr=0.1)]


def adam(model):
    return [torch.optim.Adam(model.parameters(), lr=0.05)]


def rows_of(step, slots, batch_size=8):
    """Rows and targets of a step's slots, cut from the global batch."""
    generator = torch_generator("rows", step)
    x = torch.randn(batch_size, WIDTH, generator=generator)[slots.start : slots.stop]
    return x, x.sum(1, keepdim=True).sin()


def step_function(model, carry, step, slots):
    x, y = rows_of(step, slots)
    seen = 0.5 * carry.seen + x
    error = (model(seen) - y).square().mean()
    return error, Memory(seen), {"train/error": error.detach()}


def run(directory, config=SHORT, *, model=None, optimizers=adam, step=step_function, cell=None, **options):
    model = make_model() if model is None else model
    cell = Cell(arm="method", seed=0, directory=directory, device="cpu") if cell is None else cell
    return train(model, optimizers, step, config, cell, initial_carry=empty_memory, **options)


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Snapshots:
    """A step function that keeps a copy of the weights with which each step begins."""

    def __init__(self, inner=step_function):
        self.inner, self.weights = inner, {}

    def __call__(self, model, carry, step, slots):
        self.weights[step] = flat(model).clone()
        return self.inner(model, carry, step, slots)


def test_training_equals_a_loop_written_by_hand(tmp_path):
    trained = run(tmp_path, optimizers=sgd)
    by_hand, seen = make_model(), torch.zeros(8, WIDTH)
    for step in range(1, SHORT.steps + 1):
        x, y = rows_of(step, range(8))
        seen = 0.5 * seen + x
        gradients = torch.autograd.grad((by_hand(seen) - y).square().mean(), list(by_hand.parameters()))
        with torch.no_grad():
            for p, gradient in zip(by_hand.parameters(), gradients, strict=True):
                p -= 0.1 * gradient
    torch.testing.assert_close(flat(trained.last), flat(by_hand), rtol=0, atol=1e-7)
    assert trained.model is trained.last and not trained.model.training and trained.skipped == 0


def test_four_pieces_of_two_rows_equal_one_batch_of_eight(tmp_path):
    whole, pieces = Cell(arm="m", seed=0, directory=tmp_path / "a"), Cell(arm="m", seed=0, directory=tmp_path / "b")
    once = run(tmp_path, cell=whole)
    split = run(tmp_path, replace(SHORT, gradient_accumulation=4), cell=pieces)
    torch.testing.assert_close(flat(split.last), flat(once.last), rtol=0, atol=1e-6)
    for (_, loss), (_, same) in zip(whole.curves()["train/loss"], pieces.curves()["train/loss"], strict=True):
        assert loss == pytest.approx(same, abs=1e-6)
    assert not torch.equal(flat(once.last), flat(make_model()))


def test_a_loader_of_another_training_does_not_end_accumulation(tmp_path):
    loader = accelerate.Accelerator(cpu=True).prepare(torch.utils.data.DataLoader([0.0]))
    unfinished = iter(loader)
    next(unfinished)  # accelerate now takes every piece for the last of an epoch
    pieces = run(tmp_path / "pieces", replace(SHORT, gradient_accumulation=4), optimizers=sgd)
    whole = run(tmp_path / "whole", SHORT, optimizers=sgd)
    torch.testing.assert_close(flat(pieces.last), flat(whole.last))


def test_each_piece_keeps_its_own_carry_and_slots(tmp_path):
    pieces = []

    def watching(model, carry, step, slots):
        pieces.append((step, slots, carry.seen.clone()))
        return step_function(model, carry, step, slots)

    run(tmp_path, replace(SHORT, steps=2, gradient_accumulation=4), step=watching)
    assert [slots for step, slots, _ in pieces if step == 1] == [range(0, 2), range(2, 4), range(4, 6), range(6, 8)]
    for step, slots, seen in pieces:
        expected = rows_of(1, slots)[0] if step == 2 else torch.zeros(2, WIDTH)
        assert torch.equal(seen, expected)


def test_the_average_starts_from_the_initial_weights_and_is_not_corrected(tmp_path):
    decay, watch = 0.9, Snapshots()
    trained = run(tmp_path, replace(SHORT, ema_decay=decay), step=watch)
    shadow = flat(make_model())
    for weights in [*(watch.weights[step] for step in range(2, 7)), flat(trained.last)]:
        shadow = decay * shadow + (1 - decay) * weights
    torch.testing.assert_close(flat(trained.model), shadow, rtol=0, atol=1e-6)
    assert not torch.equal(flat(trained.model), flat(trained.last))


def spoiled_at(steps, inner=step_function):
    """A step function whose gradient is not finite at some steps."""

    def spoiled(model, carry, step, slots):
        loss, carry, metrics = inner(model, carry, step, slots)
        return loss * (math.nan if step in steps else 1.0), carry, metrics

    return spoiled


def test_the_average_is_compiled_as_the_trained_model_is(tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    model = make_model()
    trained = run(tmp_path / "averaged", replace(SHORT, ema_decay=0.5, compile=True), model=model)
    assert compiled == [model, trained.model] and trained.model is not model
    run(tmp_path / "last", replace(SHORT, compile=True), model=model)
    assert compiled[2:] == [model]
    run(tmp_path / "plain", replace(SHORT, ema_decay=0.5), model=model)
    assert len(compiled) == 3


def test_a_step_without_finite_gradients_touches_nothing_and_is_counted(tmp_path):
    watch, made = Snapshots(), []
    states = {}

    def optimizers(model):
        made.extend(adam(model))
        return made

    def watching(model, carry, step, slots):
        states[step] = copy.deepcopy(made[0].state_dict()["state"])
        return watch(model, carry, step, slots)

    config = replace(SHORT, ema_decay=0.9)
    cell = Cell(arm="m", seed=0, directory=tmp_path)
    trained = run(tmp_path, config, optimizers=optimizers, step=spoiled_at({3}, watching), cell=cell)
    assert trained.skipped == 1
    assert [value for _, value in cell.curves()["train/skipped"]] == [0, 0, 1, 1, 1, 1]
    assert torch.equal(watch.weights[4], watch.weights[3]) and not torch.equal(watch.weights[5], watch.weights[4])
    for index, before in states[3].items():
        for name, value in before.items():
            assert torch.equal(states[4][index][name], value), name
    shadow = flat(make_model())
    for weights in [*(watch.weights[step] for step in (2, 3, 5, 6)), flat(trained.last)]:
        shadow = 0.9 * shadow + 0.1 * weights
    torch.testing.assert_close(flat(trained.model), shadow, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bad_piece", [0, 3])
def test_one_bad_piece_spoils_the_whole_step(tmp_path, bad_piece):
    watch = Snapshots()

    def spoiled(model, carry, step, slots):
        loss, carry, metrics = watch(model, carry, step, slots)
        return loss * (math.inf if step == 2 and slots.start == 2 * bad_piece else 1.0), carry, metrics

    trained = run(tmp_path, replace(SHORT, steps=3, gradient_accumulation=4), step=spoiled)
    assert trained.skipped == 1
    assert torch.equal(watch.weights[3], watch.weights[2])
    assert flat(trained.last).isfinite().all() and not torch.equal(flat(trained.last), watch.weights[3])


def test_training_gives_up_after_too_many_bad_steps_in_a_row_only(tmp_path):
    config = replace(SHORT, max_skipped=2)
    assert run(tmp_path / "a", config, step=spoiled_at({1, 2, 4, 5})).skipped == 4
    with pytest.raises(FloatingPointError, match="3 steps in a row, up to step 5"):
        run(tmp_path / "b", config, step=spoiled_at({3, 4, 5}))


def first_without_gradient(model, carry, step, slots):
    """A weight is used without gradient first, as in every recursive reasoner."""
    x, y = rows_of(step, slots)
    with torch.no_grad():
        before = model(x)
    loss = (model(x) + 0 * before - y).square().mean()
    return loss, carry, {}


def test_bf16_leaves_the_gradient_of_a_weight_that_was_first_used_without(tmp_path, forget_precision):
    """Older torch caches the cast weight, and the cast made without gradient has none: the cache must be off."""
    found, cached = {}, []

    def optimizers(model):
        model[0].register_forward_hook(lambda *_: cached.append(torch.is_autocast_cache_enabled()))
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        optimizer.register_step_pre_hook(lambda *_: found.update({n: p.grad for n, p in model.named_parameters()}))
        return [optimizer]

    one = replace(SHORT, steps=1)
    run(tmp_path / "exact", one, optimizers=optimizers, step=first_without_gradient)
    exact = {name: gradient.clone() for name, gradient in found.items()}
    forget_precision()
    cached.clear()
    run(tmp_path / "bf16", replace(one, mixed_precision="bf16"), optimizers=optimizers, step=first_without_gradient)
    assert cached == [False, False]
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, exact[name], rtol=0.05, atol=0.02)
    assert any(not torch.equal(gradient, exact[name]) for name, gradient in found.items()), "not in bf16"


def test_the_schedule_multiplies_the_rate_of_every_group(tmp_path):
    made, seen = [], []

    def optimizers(model):
        first, last = model[0], model[3]
        groups = [{"params": first.parameters(), "lr": 0.1}, {"params": last.parameters(), "lr": 0.02}]
        made.append(torch.optim.SGD(groups))
        return made

    def watching(model, carry, step, slots):
        seen.append([group["lr"] for group in made[0].param_groups])
        return step_function(model, carry, step, slots)

    run(tmp_path, replace(SHORT, steps=4), optimizers=optimizers, step=watching, schedule=lambda step: 1 / step)
    expected = [[0.1 / step, 0.02 / step] for step in range(1, 5)]
    assert torch.allclose(torch.tensor(seen), torch.tensor(expected))


def test_evaluation_sees_the_averaged_weights_when_due_and_at_the_end(tmp_path):
    decay, watch, shown = 0.5, Snapshots(), {}

    def evaluate(model, step):
        assert not model.training
        shown[step] = flat(model).clone()
        return {"validation/score": float(step)}

    cell = Cell(arm="m", seed=0, directory=tmp_path)
    config = replace(SHORT, steps=5, ema_decay=decay, evaluate_every=2)
    trained = run(tmp_path, config, step=watch, evaluate=evaluate, cell=cell)
    assert list(shown) == [2, 4, 5] and cell.curves()["validation/score"] == [(2, 2), (4, 4), (5, 5)]
    after_two = decay**2 * watch.weights[1] + decay * (1 - decay) * watch.weights[2] + (1 - decay) * watch.weights[3]
    torch.testing.assert_close(shown[2], after_two, rtol=0, atol=1e-6)
    assert torch.equal(shown[5], flat(trained.model))


def test_training_goes_on_in_training_mode_after_an_evaluation(tmp_path):
    modes = []

    def watching(model, carry, step, slots):
        modes.append(model.training)
        return step_function(model, carry, step, slots)

    config = replace(SHORT, steps=3, evaluate_every=1)
    run(tmp_path, config, step=watching, evaluate=lambda model, step: {"validation/mode": float(model.training)})
    assert modes == [True] * 3


def test_logged_metrics_are_means_since_the_last_log_that_leave_nan_out(tmp_path):
    def numbered(model, carry, step, slots):
        loss, carry, _ = step_function(model, carry, step, slots)
        odd = float(step) if step % 2 else math.nan
        return loss, carry, {"train/step": torch.tensor(float(step)), "train/odd": torch.tensor(odd)}

    cell = Cell(arm="m", seed=0, directory=tmp_path)
    run(tmp_path, replace(SHORT, steps=5, log_every=2), step=numbered, cell=cell)
    assert cell.curves()["train/step"] == [(2, 1.5), (4, 3.5), (5, 5.0)]
    assert cell.curves()["train/odd"] == [(2, 1.0), (4, 3.0), (5, 5.0)]


def test_meters_are_read_after_the_steps_that_are_logged(tmp_path):
    model = make_model()
    read = []

    def meters():
        read.append(flat(model))
        return {"meter/norm": float(read[-1].norm())}

    cell = Cell(arm="m", seed=0, directory=tmp_path)
    trained = run(tmp_path, replace(SHORT, steps=5, log_every=2), model=model, cell=cell, meters=meters)
    curve = cell.curves()["meter/norm"]
    assert [step for step, _ in curve] == [2, 4, 5] and len(read) == 3
    assert curve[-1][1] == float(flat(trained.last).norm())


def test_progress_is_told_at_every_step(tmp_path):
    told = []

    class Recorder:
        def update(self, step, total, metrics, rate):
            told.append((step, total, sorted(metrics), rate[1]))

    cell = Cell(arm="m", seed=0, directory=tmp_path, display=Recorder())
    run(tmp_path, replace(SHORT, steps=2), cell=cell)
    assert told == [(1, 2, ["train/loss"], "samples/s"), (2, 2, ["train/loss"], "samples/s")]


def test_progress_shows_the_first_metric_of_the_last_evaluation(tmp_path):
    told = []

    class Recorder:
        def update(self, step, total, metrics, rate):
            told.append(dict(metrics).get("validation/score"))

    cell = Cell(arm="m", seed=0, directory=tmp_path, display=Recorder())
    scores = {2: {"validation/score": 0.5, "validation/other": 1.0}, 3: {"validation/score": 0.75}}
    run(tmp_path, replace(SHORT, steps=3, evaluate_every=2), cell=cell, evaluate=lambda model, step: scores[step])
    assert told == [None, None, 0.5]  # shown from the step after the evaluation on


def test_a_stop_request_saves_and_raises_but_not_after_the_last_step(tmp_path):
    cell = Cell(arm="m", seed=0, directory=tmp_path / "a")
    cell.request_stop()
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, cell=cell)
    assert stopped.value.step == 1 and stopped.value.checkpoint.name == "step-00000001"
    done = Cell(arm="m", seed=0, directory=tmp_path / "b")
    done.request_stop()
    assert run(tmp_path, replace(SHORT, steps=1), cell=done).skipped == 0


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"batch_size = 8: must be a multiple of 1 process.* gradient_accumulation = 3"):
        run(tmp_path, replace(SHORT, gradient_accumulation=3))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device whose absence is tested")
def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"device = cuda.*allowed here: cpu, auto"):
        run(tmp_path, cell=Cell(arm="m", seed=0, directory=tmp_path, device="cuda"))
