"""Checkpoints that are whole or ignored, with everything that an exact continuation needs.

A checkpoint is a directory ``step-00000100``. It is written under a temporary name and synced to the disk; the marker
``COMPLETE`` goes in last and the directory is renamed. The marker holds the number of processes, and then each file
with its size. What lacks the marker is ignored and swept away. What has it and was damaged later is passed over for the
checkpoint before it, with a warning. accelerate stores model, optimizers and generator states; state that differs by
process (the carry) is stored here once per process, because accelerate saves custom state on the main process alone.
"""

import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from tenfold.core.cell import is_main_process
from tenfold.core.damage import fault_of, sync
from tenfold.core.errors import UserError

MARKER = "COMPLETE"


def newest_complete(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step under ``folder``, or ``None``; damage is not looked for."""
    return next(reversed(_complete(folder)), None)


def newest_whole(folder: Path) -> Path | None:
    """The checkpoint to go on from: the newest complete one whose files are whole; ``None`` where there is none at all.

    Every file is looked through. Training that goes on from an older one is warned about.

    Raises:
        UserError: there are checkpoints, and all of them are damaged.
    """
    faults: list[str] = []
    for checkpoint in reversed(_complete(folder)):
        fault = damage(checkpoint)
        if fault is None:
            if faults and is_main_process():
                warnings.warn(f"{'; '.join(faults)}; going on from {checkpoint.name}", stacklevel=2)
            return checkpoint
        faults.append(fault)
    if faults:
        raise UserError(f"{faults[0]}, and no older checkpoint is whole; delete {folder} to train from the start")
    return None


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a complete checkpoint, in words that name the file; ``None`` where nothing is seen."""
    marker = checkpoint / MARKER
    text = marker.read_text(errors="replace")
    processes, *files = text.splitlines() or [""]
    if not processes.isdecimal() or int(processes) < 1 or not text.endswith("\n"):
        return f"{marker} is damaged (it does not hold the number of processes and a line for each file)"
    sizes = {name: int(size) for size, _, name in (line.partition(" ") for line in files) if size.isdecimal()}
    for name in sizes:
        if not (checkpoint / name).is_file():
            return f"{checkpoint / name} is missing"
    for file in _files(checkpoint):
        size, expected = file.stat().st_size, sizes.get(file.relative_to(checkpoint).as_posix())
        if expected is not None and size != expected:
            return f"{file} is damaged (it has {size:,} bytes, and was written with {expected:,})"
        if expected != 0 and (fault := fault_of(file)) is not None:
            return f"{file} is damaged ({fault})"
    return None


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which ``checkpoint`` was taken."""
    return int(checkpoint.name.removeprefix("step-"))


def save(accelerator: Accelerator, folder: Path, step: int, rank_state: Mapping[str, Any], keep: int = 2) -> Path:
    """Write a complete checkpoint and prune all but the newest ``keep``; every process must call this.

    Args:
        accelerator: whose prepared model, optimizers and registered objects are saved.
        folder: of the checkpoints.
        step: optimizer steps done.
        rank_state: this process's own state: tensors, numbers, strings, lists and dictionaries of them.
        keep: complete checkpoints that stay, at least 1.
    """
    temporary = folder / f"step-{step:08d}.tmp"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    torch.save(dict(rank_state), temporary / f"rank-{accelerator.process_index}.pt")
    return seal(accelerator, temporary, folder, step, keep)


def seal(accelerator: Accelerator, written: Path, folder: Path, step: int, keep: int = 2) -> Path:
    """Make a complete checkpoint of what the processes have written; every process must call this.

    Args:
        accelerator: of the processes that wrote.
        written: directory in ``folder`` with all of it, under a name that is no checkpoint's.
        folder: of the checkpoints.
        step: optimizer steps done.
        keep: complete checkpoints that stay, at least 1.
    """
    final = folder / f"step-{step:08d}"
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        files = _files(written)
        _sync(written, files)
        listed = [f"{file.stat().st_size} {file.relative_to(written).as_posix()}" for file in files]
        (written / MARKER).write_text("\n".join([str(accelerator.num_processes), *listed]) + "\n")
        _sync(written, [written / MARKER])
        shutil.rmtree(final, ignore_errors=True)
        written.rename(final)
        sync(folder)
        _prune(folder, step, keep)
    accelerator.wait_for_everyone()
    return final


def restore(accelerator: Accelerator, checkpoint: Path) -> dict[str, Any]:
    """Load a checkpoint into the accelerator's objects and return this process's own state.

    Raises:
        UserError: if the checkpoint was written by another number of processes.
    """
    require_same_processes(accelerator, checkpoint)
    accelerator.load_state(str(checkpoint))
    return torch.load(checkpoint / f"rank-{accelerator.process_index}.pt", map_location="cpu", weights_only=True)


def require_same_processes(accelerator: Accelerator, checkpoint: Path) -> None:
    """Refuse a checkpoint that fits another launch.

    Raises:
        UserError: if it was written by another number of processes.
    """
    written_by = int((checkpoint / MARKER).read_text().splitlines()[0])
    if written_by != accelerator.num_processes:
        raise UserError(
            f"{checkpoint} was written by {written_by} process(es) and can only be resumed by as many, "
            f"not by {accelerator.num_processes}"
        )


def _complete(folder: Path) -> list[Path]:
    """The complete checkpoints under ``folder``, oldest first."""
    checkpoints = (path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdecimal())
    return sorted((path for path in checkpoints if (path / MARKER).is_file()), key=step_of)


def _files(checkpoint: Path) -> list[Path]:
    """The files of a checkpoint, but for the marker."""
    found = (Path(place) / name for place, _, names in os.walk(checkpoint) for name in names)
    return sorted(file for file in found if file != checkpoint / MARKER)


def _sync(folder: Path, files: list[Path]) -> None:
    """Files and their names are on the disk."""
    for path in [*files, *{file.parent for file in files}, folder]:
        sync(path)


def _prune(folder: Path, step: int, keep: int) -> None:
    """Keep the newest checkpoints up to ``step``; one beyond it was damaged, and is no part of this training."""
    kept = set([path for path in _complete(folder) if step_of(path) <= step][-keep:])
    for path in list(folder.glob("step-*")):
        if path not in kept:
            shutil.rmtree(path)
