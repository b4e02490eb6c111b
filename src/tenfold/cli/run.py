"""``tenfold run PAPER``: resolves configuration, seeds, arms and run directory, and hands them to the runner.

The configuration is read in one parse: preset < YAML file < flags. With ``--resume`` the stored configuration
takes the preset's place and must come out unchanged; more seeds and arms may be added.
"""

import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro

from tenfold.core import discovery
from tenfold.core.config import differences, from_yaml, nearest, parse, to_yaml
from tenfold.core.errors import UserError

Config = TypeVar("Config")
PRESET_DTYPES = {"smoke": "float32", "laptop": "float32", "gpu": "bfloat16", "paper": "bfloat16"}


@dataclass(frozen=True)
class RunOptions:
    """Where a run's configuration starts; read before the rest, because the flags depend on it."""

    preset: Literal["smoke", "laptop", "gpu", "paper"] | None = None
    """Where the configuration starts; laptop unless told otherwise."""
    task: str | None = None
    """Which of the published settings, with --preset paper."""
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """A YAML file of fields to change; flags win over it."""
    resume: Path | None = None
    """A run directory to go on with, as configured there; --seeds and --arms may add to it."""


@dataclass(frozen=True)
class RunCommand(RunOptions, Generic[Config]):
    """Train a paper's arms over several seeds, judge its claims, and write a report."""

    seeds: str | None = None
    """How many seeds (3 means 0, 1 and 2), or which ones, with commas (0,4,7; a single one: 4,). Default: 1."""
    arms: tuple[str, ...] = ()
    """The arms to run; all of them when none is named."""
    out: Path | None = None
    """The run directory; by default a new one in ./runs or in the directory that TENFOLD_RUNS names."""
    device: Literal["auto", "cpu", "cuda"] | None = None
    """Where to compute; auto takes a GPU when there is one. Default: auto."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Precision of the forward pass. Default: float32, or bfloat16 with the presets gpu and paper."""
    dry_run: bool = False
    """Print the resolved configuration and an estimate of memory and time, and stop."""
    config: Annotated[Config, tyro.conf.arg(name="")] = tyro.MISSING
    """The paper's configuration."""


@dataclass(frozen=True)
class Start:
    """What a run starts from: a preset, or what an earlier run stored."""

    preset: str
    config: Any
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    device: str
    dtype: str


def main(arguments: Sequence[str]) -> int:
    """Run one paper; returns 0 when every cell is finished."""
    words = list(arguments)
    if not words or words[0].startswith("-"):
        raise UserError("usage: tenfold run PAPER [options]; `tenfold list` names the papers, "
                        "`tenfold run PAPER --help` its options")  # fmt: skip
    paper = discovery.find_available(words.pop(0)).name
    options, _ = tyro.cli(RunOptions, args=_without_help(words), return_unknown_args=True, prog=f"tenfold run {paper}")
    start = _start(paper, options)
    command = _parse(paper, start, options, words)
    _refuse_changes(options, start, command)
    recipe = discovery.recipe_module(paper)
    seeds = parse_seeds(command.seeds) if command.seeds is not None else start.seeds
    arms = _arms(command.arms, recipe) or start.arms or tuple(recipe.ARMS)
    if command.dry_run:
        _print_plan(recipe, command.config, seeds, arms)
        return 0
    return _execute(paper, recipe, start, command, seeds, arms, shlex.join(["tenfold", "run", *arguments]))


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds that ``--seeds`` names: a count, or a list with commas.

    Raises:
        UserError: it is neither, a seed is negative or named twice, or the count is 0.

    Example:
        >>> parse_seeds("3"), parse_seeds("0,4,7"), parse_seeds("4,")
        ((0, 1, 2), (0, 4, 7), (4,))
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() for word in words) or text.strip() == "0":
        raise UserError(f"--seeds is {text!r}; allowed: a count such as 3, or seeds with commas such as 0,4,7")
    if "," not in text:
        return tuple(range(int(text)))
    seeds = tuple(int(word) for word in words)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds is {text!r}; each seed may be named once")
    return seeds


def _without_help(words: Sequence[str]) -> list[str]:
    """The words without requests for help, which the second parse answers with all flags."""
    return [word for word in words if word not in ("-h", "--help", "--help-verbose")]


def _start(paper: str, options: RunOptions) -> Start:
    if options.resume is None:
        preset = options.preset or "laptop"
        config = discovery.preset_config(paper, preset, options.task)
        name = f"paper-{options.task or discovery.default_task(paper)}" if preset == "paper" else preset
        return Start(name, config, (0,), (), "auto", PRESET_DTYPES[preset])
    from tenfold.core.directory import RunDirectory

    run = RunDirectory.open(options.resume)
    facts = run.facts()
    if facts["paper"] != paper:
        raise UserError(f"{options.resume} is a run of {facts['paper']}, not of {paper}")
    config = from_yaml(discovery.config_module(paper).Config, run.path / "config.yaml")
    return Start(facts["preset"], config, tuple(facts["seeds"]), tuple(facts["arms"]), facts["device"], facts["dtype"])


def _parse(paper: str, start: Start, options: RunOptions, words: Sequence[str]) -> RunCommand[Any]:
    default = RunCommand(config=start.config)
    title = discovery.find(paper).title
    command_type: Any = RunCommand[type(start.config)]  # type: ignore[misc]
    return parse(
        command_type,
        default=default,
        config=start.config,
        yaml_path=options.config_file,
        arguments=words,
        prog=f"tenfold run {paper}",
        description=f"Run {title}. Flags below `config` change the preset {start.preset}.",
    )


def _refuse_changes(options: RunOptions, start: Start, command: RunCommand[Any]) -> None:
    """With --resume, nothing that decides the numbers may differ from what is stored."""
    if options.resume is None:
        return
    fixed: dict[str, tuple[object, object]] = {
        "--preset": (start.preset, command.preset),
        "--dtype": (start.dtype, command.dtype),
    }
    changed = {name: pair for name, pair in fixed.items() if pair[1] is not None and pair[0] != pair[1]}
    changed |= {f"--{name}": pair for name, pair in differences(start.config, command.config).items()}
    for name, (stored, asked) in changed.items():
        raise UserError(f"{name} is {asked}, but the run {options.resume} has {stored}; start a new run to change it")
    if command.out is not None:
        raise UserError(f"--out is {command.out}, but --resume goes on in {options.resume}; give one of them")


def _arms(names: Sequence[str], recipe: ModuleType) -> tuple[str, ...]:
    for name in names:
        if name not in recipe.ARMS:
            raise UserError(f"--arms names {name!r}; {nearest(name, recipe.ARMS)}")
    return tuple(arm for arm in recipe.ARMS if arm in names)


def _execute(
    paper: str,
    recipe: ModuleType,
    start: Start,
    command: RunCommand[Any],
    seeds: Sequence[int],
    arms: Sequence[str],
    typed: str,
) -> int:
    from rich.console import Console

    from tenfold.cli.published import print_published
    from tenfold.core.cell import is_main_process
    from tenfold.core.report import print_report
    from tenfold.core.runner import execute

    directory = command.resume or command.out or _new_directory(paper, start.preset)
    report = execute(
        paper=paper,
        recipe=recipe,
        config=command.config,
        preset=start.preset,
        seeds=seeds,
        arms=arms,
        directory=directory,
        command=typed,
        device=command.device or start.device,
        dtype=command.dtype or start.dtype,
    )
    if is_main_process():
        console = Console()
        print_report(report, console)
        print_published(report, console)
        console.print(f"\nReport: {directory / 'report.html'}", soft_wrap=True, highlight=False)
    return 0


def _new_directory(paper: str, preset: str) -> Path:
    """A fresh run directory; every process of a distributed run gets the main one's choice."""
    from tenfold.core.directory import new_run_path

    path = new_run_path(paper, preset)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return path
    from tenfold.train.distributed import broadcast

    return Path(broadcast(str(path)))


def _print_plan(recipe: ModuleType, config: Any, seeds: Sequence[int], arms: Sequence[str]) -> None:
    """The resolved configuration as YAML, then the estimate as comments, so that the output is a valid file."""
    print(to_yaml(config), end="")
    print(f"# arms: {', '.join(arms)}; seeds: {', '.join(map(str, seeds))}")
    for name, value in recipe.estimate(config).items():
        print(f"# {name}: {_readable(name, value)}")


def _readable(name: str, value: float) -> str:
    """An estimate in words; bytes and seconds are given in their larger units.

    Example:
        >>> _readable("memory_bytes", 2.5e9), _readable("parameters", 27275266)
        ('2.5 GB', '27,275,266')
    """
    if not math.isfinite(value):
        return "unknown"
    if name.endswith("bytes"):
        return f"{value / 1e9:.3g} GB"
    if name.endswith("seconds"):
        return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"
    return f"{value:,.0f}"
