"""``tenfold tune PAPER``: give every arm the same grid of learning rates, measured on validation data.

The default seed is one that no published run uses, so that its data are others too. The same command goes on after a
stop, and rates may be added; after a change of the preset another folder is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tenfold.cli.memory import warn_of_memory
from tenfold.core import discovery
from tenfold.core.errors import UserError

FILE, ABOUT = "tuning.json", "tuning.yaml"


@dataclass(frozen=True)
class TuneCommand:
    """Try a grid of learning rates on every arm of a paper; the best ones are for its presets, by hand."""

    paper: Annotated[str, tyro.conf.Positional]
    """Name of the paper, as in `tenfold list`."""
    out: Path
    """The folder for checkpoints and ``tuning.json``."""
    preset: Literal["smoke", "laptop"] = "laptop"
    """The preset whose learning rates are tried."""
    fields: tuple[str, ...] = ()
    """The learning rates to try, by their names in the configuration, such as rates.sem or sem; by default all of the
    paper's grid."""
    rates: tuple[float, ...] = ()
    """The values to try for each learning rate; by default the paper's own grid."""
    seed: int = 1000
    """The seed of data, samples and weights; take none that a run uses."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""


def main(arguments: Sequence[str]) -> int:
    """Try the rates; returns 0 when all are measured."""
    command = tyro.cli(TuneCommand, args=arguments, prog="tenfold tune")
    from tenfold.core.cell import Cell
    from tenfold.core.directory import claim_folder
    from tenfold.core.writing import writing_to
    from tenfold.study.tuning import chosen_fields, try_rates, with_value
    from tenfold.train.distributed import require_device

    require_device(command.device)
    study = discovery.find_study(command.paper)
    recipe: Any = discovery.recipe_module(study.name)
    if not hasattr(recipe, "GRID"):
        raise UserError(f"{study.name} names no rates to try; its recipe has no GRID")
    config = discovery.preset_config(study.name, command.preset)
    fields = chosen_fields(command.fields, recipe.GRID)
    warn_of_memory(recipe, config, command.device)
    facts = {"paper": study.name, "preset": command.preset, "seed": command.seed}

    def score(field: str, rate: float) -> Any:
        cell = Cell(
            arm=field,
            seed=command.seed,
            directory=command.out / "cells" / f"{field}-{rate:g}",
            shared_directory=command.out / "shared",
            device=command.device,
        )
        return recipe.validation_score(with_value(config, field, rate), field, cell)

    trials = [(field, rate) for field in fields for rate in command.rates or recipe.GRID[field]]
    with writing_to(command.out, "once it can be written to, the same command goes on"):
        claim_folder(command.out, ABOUT, facts, config)  # what arms share may depend on a rate of the preset
        try_rates(trials, score, command.out / FILE)
    print(f"all trials: {command.out / FILE}")
    return 0
