"""The pretended device itself: it forgives nothing that a GPU would not, and counts what crosses."""

import numpy as np
import pytest
import torch
from pretended import PretendedFault, pretended_device

from tenfold.eval.bits_per_byte import bits_per_byte
from tenfold.eval.calibration import calibration_report
from tenfold.papers.rlcr.baselines import Probe
from tenfold.train.distributed import compute_device, computes_on_cpu


def on_device(*shape):
    return torch.ones(*shape).to("cuda")


FAULTS = {
    "a tensor of the host": lambda: on_device(3) + torch.ones(3),
    "a tensor of the host in a reduction of the device": lambda: on_device(3).sum() * torch.ones(3),
    "a generator of the host": lambda: torch.rand(3, generator=torch.Generator(), device="cuda"),
    "the same in place": lambda: on_device(3).normal_(generator=torch.Generator()),
    "a mask of the device": lambda: torch.ones(3)[on_device(3) > 0],
    "numpy": lambda: on_device(3).numpy(),
    "numpy by another name": lambda: np.asarray(on_device(3)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_gpu_would_not_forgive_is_an_error(fault):
    with pretended_device(), pytest.raises(PretendedFault):
        FAULTS[fault]()


def test_64_bits_are_a_fault_where_asked():
    with pretended_device():
        assert on_device(3).double().device.type == "cuda"
    with pretended_device(refuses_float64=True):
        assert on_device(3).cpu().double().sum() == 3
        with pytest.raises(PretendedFault, match="float64"):
            on_device(3).double()


def test_what_is_made_of_tensors_of_the_device_is_there():
    with pretended_device() as on:
        x = on_device(3)
        made = [
            x + 1,
            x[:2],
            x.new_zeros(2),
            torch.zeros_like(x),
            torch.arange(3, device=x.device),
            x * torch.tensor(2.0),
        ]
        assert all(each.device == compute_device("auto") == torch.device("cuda", 0) for each in made)
        assert all(
            each.device.type == "cpu" for each in (torch.zeros(2), x.cpu(), x.to("cpu"), torch.ones(2, device="cpu"))
        )
        assert on.operations


def test_a_model_learns_there_as_it_does_on_the_host():
    def weights_after_two_steps(device):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.GELU(), torch.nn.Linear(4, 1)).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, foreach=False)
        for step in range(2):
            inputs = torch.full((2, 4), float(step)).to(device)
            model(inputs).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert all(weight.device.type == torch.device(device).type for weight in model.parameters())
        return torch.cat([weight.detach().cpu().flatten() for weight in model.parameters()])

    with pretended_device():
        there = weights_after_two_steps("cuda")
    assert torch.equal(there, weights_after_two_steps("cpu"))


def test_gradients_cross_back():
    with pretended_device():
        leaf = torch.ones(3, requires_grad=True)
        (leaf.to("cuda") * on_device(3)).sum().backward()
        assert leaf.grad.device.type == "cpu" and leaf.grad.tolist() == [1.0] * 3


def test_crossings_are_counted_with_what_crossed():
    with pretended_device() as on:
        x = on_device(3)
        on.forget_crossings()
        for crossing in (x.sum().item, x.tolist, x.cpu, lambda: x[x > 0], lambda: bool(x.all())):
            before = on.num_crossings
            crossing()
            assert on.num_crossings == before + 1, on.crossings
        torch.zeros(3, device="cuda")
        x.to("cuda")
        assert on.num_crossings == 5
        torch.tensor([1.0], device="cuda")
        assert on.num_crossings == 6


def test_nothing_is_left_behind():
    with pretended_device() as on:
        on_device(3)
    assert not torch.accelerator.is_available() and compute_device("auto").type == "cpu"
    assert not on.holds(torch.ones(3))


def test_measures_take_what_is_on_the_device():
    with pretended_device():
        confidences = torch.tensor([0.1, 0.9, 0.6], dtype=torch.float64).to("cuda")
        right = torch.tensor([0.0, 1.0, 1.0]).to("cuda")
        assert calibration_report(confidences, right) == calibration_report([0.1, 0.9, 0.6], [0.0, 1.0, 1.0])
        assert bits_per_byte(on_device(2, 4)) == (1.0, 0.0)
        states = torch.tensor([[0.0], [1.0]]).repeat(20, 1).to("cuda")
        probe = Probe().fit(states, np.array([0.0, 1.0] * 20))
        assert probe.predict(states[:2]).round(1).tolist() == [0.0, 1.0]


def test_a_device_without_64_bits_is_not_taken_by_auto(monkeypatch):
    """Apple's: sampling, logs and several losses compute in float64."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("mps"))
    assert computes_on_cpu("auto") and compute_device("auto").type == "cpu"
