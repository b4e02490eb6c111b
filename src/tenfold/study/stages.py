"""What all arms of a seed share, made once: by whichever arm comes first, in a folder that all of them see.

A stage is finished when the mark in its folder is there, which is written last. Of several processes the main one
looks for it and writes it, and the others wait: all of them make a stage, or none does. Its seconds are its own
(:meth:`tenfold.core.cell.Cell.shared`), and it is the same whoever makes it, so a stage must depend on the
configuration and the seed alone.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tenfold.core.cell import FINISHED, Cell
from tenfold.core.damage import damaged, fault_of
from tenfold.core.files import to_json, write_atomically
from tenfold.policies import Policy, load_policy
from tenfold.train.distributed import broadcast, device_of, num_launched, wait_for_everyone
from tenfold.train.trl_run import quiet

T = TypeVar("T")


def made_once(
    cell: Cell, name: str, make: Callable[[Cell], T], *, save: Callable[[T, Path], None], load: Callable[[Path], T]
) -> T:
    """What a stage leaves: loaded if the stage is finished, else made in its own cell and stored.

    Args:
        cell: of the arm, or of the stage, that needs it.
        name: of the stage; its folder.
        make: trains or samples in the cell that it is given.
        save: writes what was made into the folder; called on the main process.
        load: reads it from there; whoever makes the stage, too, gets what this gives.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> read = lambda folder: int((folder / "number").read_text())
        >>> def write(number, folder):
        ...     write_atomically(folder / "number", str(number))
        >>> with TemporaryDirectory() as folder:
        ...     cell = Cell(arm="a", seed=0, directory=Path(folder))
        ...     made_once(cell, "draw", lambda stage: 7, save=write, load=read)
        ...     made_once(cell, "draw", lambda stage: 8, save=write, load=read)
        7
        7
    """
    with cell.shared(name) as stage:
        if agreed(stage.is_finished(), stage):
            _refuse_damaged(stage.directory)
            return load(stage.directory)
        made = make(stage)
        if stage.is_main:
            save(made, stage.directory)
        stage.finish()
        wait_for_everyone(stage.device)
        return load(stage.directory)  # as all who find it will: what it is may not depend on who makes it


def _refuse_damaged(folder: Path) -> None:
    """Look through what a stage has left, but for the checkpoints that it needs no more."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "checkpoints"]
        for file in (Path(place) / name for name in names):
            if (fault := fault_of(file)) is not None and file.name != FINISHED:
                raise damaged(file, fault, f"delete {folder}, and this stage is made again")


def policy_made_once(cell: Cell, name: str, make: Callable[[Cell], Policy]) -> Policy:
    """A policy that several arms start from, such as a warm start; see :func:`made_once`.

    Adapters are folded into the weights, which keep their type, and the policy is where the arm computes.
    """
    with quiet():
        return made_once(
            cell,
            name,
            make,
            save=lambda policy, folder: policy.merged().save(folder / "model"),
            load=lambda folder: load_policy(folder / "model", dtype="auto", device=device_of(cell)),
        )


def json_made_once(cell: Cell, name: str, make: Callable[[Cell], Any]) -> Any:
    """Plain data that several arms need, such as what a policy knows before any training; see :func:`made_once`."""
    return made_once(
        cell,
        name,
        make,
        save=lambda made, folder: write_atomically(folder / "made.json", to_json(made) + "\n"),
        load=lambda folder: json.loads((folder / "made.json").read_text(encoding="utf-8")),
    )


def agreed(is_there: bool, cell: Cell) -> bool:
    """What the main process sees: one answer for all processes, so that what follows is done by all of them."""
    return is_there if num_launched() == 1 else broadcast(is_there, cell.device)
