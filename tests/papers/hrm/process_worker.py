"""What each process of a launch does in ``test_processes.py``: trains the smoke model, with and without a break.

Each rank leaves ``rank-K.pt`` in the directory: the puzzle table and the weights after each run.
"""

import os
from dataclasses import replace

import numpy as np
import torch

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted
from tenfold.papers.hrm.config import smoke
from tenfold.papers.hrm.data import load_puzzles
from tenfold.papers.hrm.recipe import ARMS
from tenfold.papers.hrm.training import Study, build, train_reasoner

STOP = 7
SETTINGS = {
    "offered": {},
    "free": {"refill": "free", "gradient_accumulation": 2},
}


def config_of(**training):
    """Smoke with several puzzle rows and a lot of exploration, logged at every step."""
    config = smoke()
    hrm = replace(config.arms.hrm, halt_exploration=0.5)
    schedule = replace(
        config.training, steps=12, log_every=1, evaluate_every=6, checkpoint_every=5, puzzle_learning_rate=1e-3
    )
    return replace(config, arms=replace(config.arms, hrm=hrm), training=replace(schedule, **training))


def run(directory, *, stop=None, rank=0, **training):
    """Train from the newest checkpoint in ``directory``; after step ``stop`` rank 1 (alone) is asked to stop."""

    def progress(step, *_):
        if step == stop and rank == 1:
            cell.request_stop()

    config = config_of(**training)
    cell = Cell(arm="hrm", seed=0, directory=directory, device="cpu")
    cell.progress = progress
    puzzles = load_puzzles(config.data, 0)
    identified = np.arange(len(puzzles.train.puzzle_identifiers), dtype=np.int32) % 7
    train = replace(puzzles.train, puzzle_identifiers=identified, num_puzzle_identifiers=7)
    study = Study(config, ARMS["hrm"], 0, cell, replace(puzzles, train=train))
    model = build(study)
    with torch.no_grad():
        model.q_head.bias.copy_(torch.tensor([0.5, -0.5]))  # halts at once wherever exploration allows it
    return train_reasoner(model, study)


def main(directory):
    rank = int(os.environ["RANK"])
    kept = {}
    for name, training in SETTINGS.items():
        kept[name] = run(directory / name, **training).last.state_dict()
        for times in range(2):
            torch.manual_seed(100 * times + rank)
            try:
                kept[f"{name} resumed"] = run(
                    directory / f"{name} resumed", stop=None if times else STOP, rank=rank, **training
                ).last.state_dict()
            except Interrupted as stopped:
                assert stopped.step == STOP and not times
    try:
        run(directory / "left", stop=STOP, rank=rank)
    except Interrupted:
        torch.save(kept, directory / f"rank-{rank}.pt")
