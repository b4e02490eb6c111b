"""Small reasoners of every kind, rows for them, and counters; makes ``process_worker`` importable."""

import sys
import weakref
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tenfold.papers.hrm.config import ReasonerConfig
from tenfold.papers.hrm.halting import Rows
from tenfold.papers.hrm.method import Latents, RecursiveReasoner

sys.path.insert(0, str(Path(__file__).parent))

BASE = ReasonerConfig(
    vocab_size=6,
    sequence_length=16,
    hidden_size=16,
    num_heads=2,
    expansion=2.0,
    width_multiple=8,
    mixer_multiple=8,
    layers=1,
    puzzle_embedding_size=16,
    num_puzzles=5,
    halt_max_steps=4,
    halt_exploration=0.0,
)
KINDS = {
    "hrm": BASE,
    "trm": replace(BASE, kind="trm", L_cycles=3, gradient="last_cycle", q_continue=False),
    "urm": replace(BASE, kind="urm", L_cycles=3, gradient="last_cycle", q_continue=False, convolution=2),
    "plain": replace(BASE, kind="plain", gradient="all", q_continue=False, halt_max_steps=1),
}


@pytest.fixture
def make_config():
    return lambda kind="hrm", **changes: replace(KINDS[kind], **changes)


@pytest.fixture
def make_model(make_config):
    """A seeded reasoner whose Q-head and puzzle table are not at their constant start, unless ``fresh``."""

    def make(kind="hrm", *, fresh=False, dtype=torch.float32, seed=0, **changes):
        torch.manual_seed(seed)
        model = RecursiveReasoner(make_config(kind, **changes), dtype)
        if not fresh:
            torch.nn.init.normal_(model.q_head.weight, std=0.5)
            torch.nn.init.zeros_(model.q_head.bias)
            model.puzzle_embedding.weight.normal_(std=0.1)
        if dtype == torch.float64:
            model.double()
            model.q_head.float()  # Q values are float32 by design
        return model

    return make


@pytest.fixture
def make_rows():
    """Random puzzles, labels and puzzle numbers that fit a model."""

    def make(model, count, seed=0):
        c, generator = model.config, torch.Generator().manual_seed(seed)
        grids = [torch.randint(1, c.vocab_size, (count, c.sequence_length), generator=generator) for _ in range(2)]
        return Rows(*grids, torch.randint(0, c.num_puzzles, (count,), generator=generator))

    return make


@pytest.fixture
def random_latents():
    """States away from the start, equal for equal seeds."""

    def make(model, count, scale=1.0, seed=3):
        generator = torch.Generator().manual_seed(seed)
        shape = model.initial_latents(count).z_H.shape
        return Latents(*(scale * torch.randn(shape, generator=generator).to(model.forward_dtype) for _ in range(2)))

    return make


@pytest.fixture
def count_calls():
    """``with count_calls(model) as calls:`` counts ``("f_H" or "f_L", with gradient)``."""

    @contextmanager
    def count(model):
        calls = Counter()
        handles = [
            getattr(model, name).register_forward_pre_hook(
                lambda *_, name=name: calls.update([(name, torch.is_grad_enabled())])
            )
            for name in ("f_H", "f_L")
            if hasattr(model, name)
        ]
        try:
            yield calls
        finally:
            for handle in handles:
                handle.remove()

    return count


class SavedBytes:
    """Bytes that autograd holds for backward at present, and their peak; tensors of the model itself not counted."""

    def __init__(self, model):
        self.own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
        self.holders = Counter()
        self.now = self.peak = 0

    def pack(self, tensor):
        storage = tensor.untyped_storage()
        held = _Held(tensor.detach())  # a tensor with its history would keep its own graph alive
        if storage.data_ptr() not in self.own:
            self._take(storage.data_ptr(), storage.nbytes())
            weakref.finalize(held, self._release, storage.data_ptr(), storage.nbytes())
        return held

    def _take(self, pointer, size):
        self.holders[pointer] += 1
        if self.holders[pointer] == 1:
            self.now += size
            self.peak = max(self.peak, self.now)

    def _release(self, pointer, size):
        self.holders[pointer] -= 1
        if self.holders[pointer] == 0:
            self.now -= size


class _Held:
    def __init__(self, tensor):
        self.tensor = tensor


@pytest.fixture
def saved_bytes():
    """``with saved_bytes(model) as memory:`` follows what is saved for backward."""

    @contextmanager
    def follow(model):
        memory = SavedBytes(model)
        with torch.autograd.graph.saved_tensors_hooks(memory.pack, lambda held: held.tensor):
            yield memory

    return follow
