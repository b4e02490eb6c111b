"""Compiled steps: the same graphs at every step, and as few as the one break at the puzzle table makes of them."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from tenfold.papers.hrm.config import smoke
from tenfold.papers.hrm.halting import Rows, StepOptions, empty_carry, training_step
from tenfold.papers.hrm.reasoner import RecursiveReasoner

SLOTS = 2


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler looks, we don't
@pytest.mark.parametrize(
    "arm, graphs",
    [
        ("hrm", 4),  # before and after the table, each with gradient and without: the next segment's q is a target
        ("trm", 2),
    ],
)
def test_a_compiled_step_makes_its_graphs_once(arm, graphs):
    torch.compiler.reset()
    config = replace(getattr(smoke().arms, arm), num_puzzles=3, H_cycles=1, L_cycles=1)
    model, counter = RecursiveReasoner(config), CompileCounter()
    model.compile(backend=counter)
    grid = torch.ones(SLOTS, config.sequence_length, dtype=torch.long)
    rows, carry = Rows(grid, grid, torch.zeros(SLOTS, dtype=torch.long)), empty_carry(model, SLOTS)
    made = []
    for step in (1, 2, 3):
        loss, carry, _ = training_step(model, carry, rows, step, range(SLOTS), StepOptions(0, SLOTS))
        loss.backward()
        made.append(counter.frame_count)
    assert made == [graphs] * 3
