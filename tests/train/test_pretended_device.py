"""Trainings on trl, stopped and resumed on a device that is pretended, end as unbroken ones do."""

from dataclasses import replace

import pytest
import torch
from language_training import KINDS, SETTINGS
from pretended import pretended_device
from stopping import StopAfter

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted

STEPS = 3
"""A request to stop after the first step is seen at the end of the second, which leaves one to be resumed."""


def train(kind, directory, steps):
    """Weights after three steps on the device, and the log."""
    steps.cell = cell = Cell(arm=kind, seed=0, directory=directory, device="auto", display=steps)
    short = replace(SETTINGS[kind], steps=STEPS, log_every=1, evaluate_every=0, checkpoint_every=0)
    if not kind.startswith("sft"):
        short = replace(short, updates_per_generation=1)
    model = KINDS[kind](cell, short).model
    assert all(weight.device.type == "cuda" for weight in model.parameters())
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    return weights, (directory / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("kind", ["sft", "sft_lora", "sft_muon", "grpo", "grpo_kl"])
def test_stopped_and_resumed_there_equals_training_without_a_break(tmp_path, kind):
    unbroken, broken, resumed = StopAfter(), StopAfter(1), StopAfter()
    with pretended_device() as on:
        expected, log = train(kind, tmp_path / "unbroken", unbroken)
        with pytest.raises(Interrupted) as stopped:
            train(kind, tmp_path / "broken", broken)
        weights, resumed_log = train(kind, tmp_path / "broken", resumed)
    assert stopped.value.step == STEPS - 1
    assert (unbroken.done, broken.done, resumed.done) == ([1, 2, 3], [1, 2], [3])
    assert on.operations and not on.products
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(weights[name], value), name
    assert resumed_log == log
