"""What arms start from, each made once for a seed: the form, the weak start, the start for a new domain, dialogues.

A study splits all programs of the chart language by seed: those that are held out are in every test, in no training.
"""

import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted
from tenfold.core.files import write_atomically
from tenfold.core.seeding import numpy_generator
from tenfold.envs.render.chart_language import Look
from tenfold.papers.rrvf.config import PROGRAMS, Config
from tenfold.papers.rrvf.dialogues import Comparator
from tenfold.papers.rrvf.training import DemonstrationsOf, dialogues_about, fresh, labelled, supervise, unrelated
from tenfold.policies.small_vision import SmallVisionForCausalLM
from tenfold.study.stages import agreed, made_once
from tenfold.train.distributed import compute_device


@dataclass(frozen=True, eq=False)
class Study:
    """An arm with a seed: configuration, cell, and the split of the programs."""

    config: Config
    cell: Cell

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return self.cell.seed

    @property
    def device(self) -> torch.device:
        """Where the policy is."""
        return compute_device(self.cell.device)

    @cached_property
    def _order(self) -> np.ndarray:
        return numpy_generator(self.seed, "split").permutation(PROGRAMS)

    @property
    def held_out(self) -> np.ndarray:
        """Numbers of the programs that tests are on."""
        return self._order[: self.config.world.held_out]

    @property
    def training(self) -> np.ndarray:
        """Numbers of the others; the first of them are the labelled ones."""
        return self._order[self.config.world.held_out :]

    @property
    def new_domain(self) -> Look:
        """The look of the domain that has no labels."""
        w = self.config.world
        return Look(w.tint, w.shade, w.noise)

    def in_cell(self, cell: Cell) -> "Study":
        """The same in the cell of a stage."""
        return Study(self.config, cell)


def form(study: Study) -> SmallVisionForCausalLM:
    """Knows how programs are written, and has seen nothing that belongs to them."""

    def make(stage: Cell) -> SmallVisionForCausalLM:
        model = fresh(study.config, study.seed)
        return supervise(model, unrelated, "form", study.config.labels.form_steps, study.config, stage)

    return _made_once(study, "form", make)


def weak_start(study: Study) -> SmallVisionForCausalLM:
    """The form, and a few labelled programs."""
    few = study.training[: study.config.labels.few]
    return _learned_once(study, "weak-start", few, study.config.labels.weak_steps)


def start_for_new_domain(study: Study) -> SmallVisionForCausalLM:
    """The form, and some labelled programs of the old domain."""
    some = study.training[: study.config.labels.some]
    return _learned_once(study, "old-domain", some, study.config.labels.start_steps)


def dialogue_start(study: Study, comparator: Comparator, name: str) -> SmallVisionForCausalLM:
    """The weak start, and made-up dialogues about the same programs, without which a second turn never runs.

    Args:
        study: in the cell of who asks.
        comparator: says what stands between the turns.
        name: tells the stages of different comparators apart.
    """
    few = study.training[: study.config.labels.few]

    def make(stage: Cell) -> SmallVisionForCausalLM:
        model = weak_start(study.in_cell(stage))
        shown = dialogues_about(few, comparator)
        return supervise(model, shown, "dialogues", study.config.labels.dialogue_steps, study.config, stage)

    return _made_once(study, f"dialogues-{name}", make)


def from_labels(study: Study, count: int) -> SmallVisionForCausalLM:
    """The form, and so many labelled programs, in the cell of the arm: a supervised rival."""
    numbers = study.training[:count]
    return _supervised(study, form(study), numbers, study.config.labels.rival_steps, study.cell)


def stop_here(cell: Cell) -> None:
    """Where an arm that trains nothing can be stopped: before it is measured."""
    cell.progress(1, 2, {}, (0.0, "images/s"))
    if agreed(cell.stop_requested(), cell):
        raise Interrupted(0, cell.directory)


def _learned_once(study: Study, name: str, numbers: np.ndarray, steps: int) -> SmallVisionForCausalLM:
    def make(stage: Cell) -> SmallVisionForCausalLM:
        return _supervised(study, form(study.in_cell(stage)), numbers, steps, stage)

    return _made_once(study, name, make)


def _supervised(
    study: Study, start: SmallVisionForCausalLM, numbers: np.ndarray, steps: int, cell: Cell
) -> SmallVisionForCausalLM:
    shown: DemonstrationsOf = labelled(numbers)
    return supervise(copy.deepcopy(start), shown, "labelled", steps, study.config, cell)


def _made_once(study: Study, name: str, make: object) -> SmallVisionForCausalLM:
    model: SmallVisionForCausalLM = made_once(
        study.cell,
        name,
        make,  # type: ignore[arg-type]
        save=save_policy,
        load=lambda folder: load_saved(study.config, folder, study.device),
    )
    return model


def save_policy(model: SmallVisionForCausalLM, folder: Path) -> None:
    """Write the weights of a policy into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    write_atomically(folder / "policy.safetensors", save(state))


def load_saved(config: Config, folder: Path, device: torch.device) -> SmallVisionForCausalLM:
    """Read what :func:`save_policy` wrote, for the configuration it was trained with."""
    model = fresh(config, 0)
    model.load_state_dict(load_file(folder / "policy.safetensors"))
    moved: SmallVisionForCausalLM = cast(Any, model).to(device).eval()
    return moved
