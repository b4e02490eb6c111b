"""Checkpoints that are whole or ignored, with everything that an exact continuation needs.

A checkpoint is a directory ``step-00000100``. It is written under a temporary name; the marker ``COMPLETE`` goes in
last and the directory is renamed. What lacks the marker is ignored and swept away. accelerate stores model,
optimizers and generator states; state that differs by process (the carry) is stored here once per process, because
accelerate saves custom state on the main process alone.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from tenfold.core.errors import UserError

MARKER = "COMPLETE"


def newest_complete(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step under ``folder``, or ``None``."""
    return next(reversed(_complete(folder)), None)


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
        (written / MARKER).write_text(f"{accelerator.num_processes}\n")
        shutil.rmtree(final, ignore_errors=True)
        written.rename(final)
        _prune(folder, keep)
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
    written_by = int((checkpoint / MARKER).read_text())
    if written_by != accelerator.num_processes:
        raise UserError(
            f"{checkpoint} was written by {written_by} process(es) and can only be resumed by as many, "
            f"not by {accelerator.num_processes}"
        )


def _complete(folder: Path) -> list[Path]:
    """The complete checkpoints under ``folder``, oldest first."""
    return sorted((p for p in folder.glob("step-*") if (p / MARKER).is_file() and not p.suffix), key=step_of)


def _prune(folder: Path, keep: int) -> None:
    kept = set(_complete(folder)[-keep:])
    for path in list(folder.glob("step-*")):
        if path not in kept:
            shutil.rmtree(path)
