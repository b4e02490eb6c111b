"""Agreement between the processes of one launch, for code that does not know accelerate."""

import math
import os
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, reduce

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError

T = TypeVar("T")


def num_launched() -> int:
    """The processes that a launcher (``accelerate launch``, ``torchrun``) has started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def computes_on_cpu(device: str) -> bool:
    """Whether accelerate must be told to use the CPU: when asked to, for several processes without a GPU, and where the
    device is none of CUDA or ROCm.

    Without being told, it takes each of several processes on a machine without a GPU for a run of its own. Other
    devices, such as Apple's, have no float64, which sampling, logs and several losses need.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """
    if device == "cpu":
        return True
    if not torch.accelerator.is_available():
        return num_launched() > 1
    found = torch.accelerator.current_accelerator()
    return found is None or found.type != "cuda"


def require_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        UserError: for ``"cuda"`` where PyTorch sees no CUDA device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device = cuda: this PyTorch sees no CUDA device; allowed here: cpu, auto")


def compute_device(device: str) -> torch.device:
    """Where the loops of this package put the model of this process.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        UserError: for ``"cuda"`` where PyTorch sees no CUDA device.
    """
    require_device(device)
    accelerator = torch.accelerator.current_accelerator()
    if computes_on_cpu(device) or accelerator is None or not torch.accelerator.is_available():
        return torch.device("cpu")
    return torch.device(accelerator.type, int(os.environ.get("LOCAL_RANK", "0")))


def device_of(cell: Cell) -> torch.device:
    """Where a cell computes: what is built or loaded for it goes there at once, as it may be asked before a training.

    Args:
        cell: of the arm, stage or training.

    Raises:
        UserError: for ``"cuda"`` where PyTorch sees no CUDA device, before anything is computed.

    Example:
        >>> from pathlib import Path
        >>> device_of(Cell(arm="a", seed=0, directory=Path("run"), device="cpu"))
        device(type='cpu')
    """
    return compute_device(cell.device)


def memory_of(device: str) -> float:
    """Bytes of the device that :func:`compute_device` gives; infinite for the CPU, whose memory others share.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """
    place = compute_device(device)
    return float(torch.cuda.get_device_properties(place).total_memory) if place.type == "cuda" else math.inf


def broadcast(value: T, device: str = "auto") -> T:
    """The main process's ``value`` (anything that pickles), on every process.

    Args:
        value: what the main process has; the others' is ignored.
        device: where the processes will compute; all that follows in this launch must use the same.
    """
    PartialState(cpu=computes_on_cpu(device))
    return broadcast_object_list([value])[0]


def mean_over_processes(value: float, device: str = "auto") -> float:
    """The mean of what each process gives, on all of them; the value itself where nothing launched several.

    Args:
        value: of this process.
        device: where the processes compute, as for :func:`broadcast`.

    Example:
        >>> mean_over_processes(3.0)
        3.0
    """
    if num_launched() == 1:
        return value
    state = PartialState(cpu=computes_on_cpu(device))
    return float(reduce(torch.tensor(value, dtype=torch.float64, device=state.device), "mean").item())


def wait_for_everyone(device: str = "auto") -> None:
    """Return when all processes of the launch have called this; at once where nothing launched several.

    Args:
        device: where the processes compute, as for :func:`broadcast`.
    """
    if num_launched() > 1:
        PartialState(cpu=computes_on_cpu(device)).wait_for_everyone()
