"""``tenfold train PAPER``: train a paper's method on data of one's own; the same command goes on after a stop.

The flags are the fields of the paper's own configuration, from its preset ``own``. Fields that do nothing in such a
training are refused, and so is a folder that was begun with other settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro

from tenfold.cli.memory import warn_of_memory
from tenfold.cli.run import ReportTo, require_tracker, shown, tracking, without_help
from tenfold.core import discovery
from tenfold.core.config import nearest, parse, to_yaml
from tenfold.core.discovery import Study
from tenfold.core.errors import UserError

Config = TypeVar("Config")


@dataclass(frozen=True)
class TrainOptions:
    """What the defaults of the other flags depend on; read before the rest."""

    data: Annotated[Path | None, shown("FILE", "required")] = None
    """The data to train on: a file, or what the paper's README says."""
    config_file: Annotated[Path | None, shown("FILE", "optional", name="config")] = None
    """A YAML file of fields to change; flags win over it."""


@dataclass(frozen=True)
class TrainCommand(TrainOptions, Generic[Config]):
    """Train a paper's method on data of your own. After an interruption, the same command goes on where it stopped."""

    out: Annotated[Path | None, shown("DIR", "required")] = None
    """The folder for checkpoints and, in ``model``, for the trained model."""
    arm: Annotated[str, shown("ARM", "default: the method")] = ""
    """The arm of the paper whose method is trained."""
    seed: int = 0
    """The seed of weights, order and samples."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward pass."""
    report_to: ReportTo = "none"
    """Where else metrics go while training; nowhere by default. Each needs the extra of its name."""
    dry_run: bool = False
    """Print the resolved configuration, and stop."""
    config: Annotated[Config, tyro.conf.arg(name="")] = tyro.MISSING
    """The paper's configuration."""


def main(arguments: Sequence[str]) -> int:
    """Train on one's own data; returns 0 when it is finished."""
    words = list(arguments)
    if not words or words[0].startswith("-"):
        raise UserError(f"usage: tenfold train PAPER --data FILE --out DIR [options]; papers: {_offered()}")
    study = find_offering(words.pop(0))
    prog = f"tenfold train {study.name}"
    options, _ = tyro.cli(TrainOptions, args=without_help(words), return_unknown_args=True, prog=prog)
    default = discovery.config_module(study.name).own(str(options.data or "FILE"))
    command = _parse(study, TrainCommand(config=default), options.config_file, words, prog)
    module = discovery.own_training_module(study.name)
    from tenfold.study.own_training import refuse_fields_of_others, refuse_unread

    arm = command.arm or module.ARMS[0]
    if arm not in module.ARMS:
        raise UserError(f"--arm is {arm!r}; {nearest(arm, module.ARMS)}")
    own: Any = module
    refuse_unread(own, default, command.config, study.name)
    refuse_fields_of_others(own, default, command.config, arm)
    if command.dry_run:
        print(to_yaml(command.config), end="")
        return 0
    _train(study, own, command, arm)
    return 0


def find_offering(target: str) -> Study:
    """The study that ``target`` names, or the only one of that paper that trains on a user's own data.

    Raises:
        UserError: there is no such study, or it does not offer it.
    """
    study = discovery.find_study(target)
    if study.own:
        return study
    others = [other for other in discovery.studies() if other.paper == study.paper and other.own]
    if len(others) != 1 or "/" in target:
        raise UserError(f"{target} does not train on data of your own; papers that do: {_offered()}")
    return others[0]


def _offered() -> str:
    return ", ".join(study.name for study in discovery.studies() if study.own)


def _parse(
    study: Study, default: TrainCommand[Any], config_file: Path | None, words: Sequence[str], prog: str
) -> TrainCommand[Any]:
    command_type: Any = TrainCommand[type(default.config)]  # type: ignore[misc]
    description = (
        f"{study.title}: {study.own}. After a stop, the same command continues; other settings need another --out."
    )
    return parse(
        command_type,
        default=default,
        config=default.config,
        yaml_path=config_file,
        arguments=words,
        prog=prog,
        description=description,
    )


def _train(study: Study, own: Any, command: TrainCommand[Any], arm: str) -> None:
    from tenfold.core.cell import Cell
    from tenfold.study.own_training import train_in

    for name in ("data", "out"):
        if getattr(command, name) is None:
            raise UserError(f"--{name} is missing; it is required")
    assert command.data is not None and command.out is not None
    warn_of_memory(discovery.recipe_module(study.name), command.config, command.device)
    require_tracker(command.report_to)
    with tracking(command.report_to, study.name, command.out, command.config, command.device) as tracker:
        where: Any = {"directory": command.out, "device": command.device, "dtype": command.dtype}
        cell = Cell(arm=arm, seed=command.seed, tracker=tracker, **where)
        train_in(study.name, own, command.config, command.data, cell)
