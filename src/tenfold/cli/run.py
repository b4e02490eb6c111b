"""``tenfold run PAPER`` (or ``PAPER/STUDY``): resolves configuration, seeds, arms and run directory; runs them.

The configuration is read in one parse: preset < YAML file < flags. With ``--resume`` the stored configuration
takes the preset's place and must come out unchanged; more seeds and arms may be added.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

import tyro

from tenfold.cli.dry_run import print_plan
from tenfold.cli.memory import warn_of_memory
from tenfold.core import discovery
from tenfold.core.config import differences, from_yaml, nearest, parse, to_plain, to_yaml
from tenfold.core.discovery import Study
from tenfold.core.errors import UserError
from tenfold.core.extras import require_extras
from tenfold.core.stated import Stated, stated_by
from tenfold.core.timing import time_of
from tenfold.core.types import Plan

if TYPE_CHECKING:
    from tenfold.core.cell import Tracker
    from tenfold.core.types import Report

Config = TypeVar("Config")
MOST_SEEDS, MOST_DIGITS = 10_000, 18
"""How many seeds a number may stand for, and how long the number of one may be."""
PRESET_DTYPES = {"smoke": "float32", "laptop": "float32", "gpu": "bfloat16", "paper": "bfloat16"}

Preset = Literal["smoke", "laptop", "gpu", "paper"]
Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["float32", "bfloat16"]
ReportTo = Literal["none", "trackio", "wandb", "tensorboard"]


def shown(metavar: str, hint: str, name: str | None = None) -> Any:
    """How the help text shows a flag that may be left out: what it takes, and what happens without it."""
    return tyro.conf.arg(name=name, metavar=metavar, help_behavior_hint=f"({hint})")


@dataclass(frozen=True)
class RunOptions:
    """Where a run's configuration starts; read before the rest, because the flags depend on it."""

    preset: Preset = "laptop"
    """The preset that the configuration starts from."""
    task: Annotated[str | None, shown("TASK", "default: the paper's first")] = None
    """The published setting that the configuration starts from, with --preset paper."""
    config_file: Annotated[Path | None, shown("FILE", "optional", name="config")] = None
    """A YAML file of fields to change; flags win over it."""
    resume: Annotated[Path | None, shown("DIR", "optional")] = None
    """The run directory to go on with, as it is configured there; --seeds and --arms may add to it."""


@dataclass(frozen=True)
class RunCommand(RunOptions, Generic[Config]):
    """Train a paper's arms over several seeds, judge its claims, and write a report."""

    seeds: Annotated[tuple[str, ...], shown("plan | N | K,K,…", "default: 1")] = ("1",)
    """The seeds: "plan" for all that the verdict is planned on, a number for the first so many of the plan, or a list
    such as 0,4,7 (and "4," for the seed 4 alone)."""
    arms: Annotated[tuple[str, ...], shown("ARM …", "default: all")] = ()
    """The arms to run, with blanks or commas between them."""
    out: Annotated[Path | None, shown("DIR", "default: a new one in ./runs, or in $TENFOLD_RUNS")] = None
    """The run directory to write to."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    dtype: Dtype = "float32"
    """Precision of the forward pass."""
    report_to: ReportTo = "none"
    """Where else metrics go while training; nowhere by default. Each needs the extra of its name."""
    dry_run: bool = False
    """Print the resolved configuration and an estimate of memory and time, and stop."""
    config: Annotated[Config, tyro.conf.arg(name="")] = tyro.MISSING
    """The paper's configuration."""


def main(arguments: Sequence[str]) -> int:
    """Run one paper; returns 0 when every cell is finished."""
    if not arguments or arguments[0].startswith("-"):
        raise UserError(
            "usage: tenfold run PAPER [options]; `tenfold list` has the papers, `tenfold run PAPER --help` the options"
        )
    asked = Asked.read(arguments)
    if asked.command.dry_run:
        print_plan(asked.study, asked.recipe, asked.command.config, asked.preset, asked.seeds, asked.arms)
    else:
        _show(*asked.execute())
    return 0


@dataclass(frozen=True)
class Asked:
    """What was typed, understood.

    Args:
        study: which.
        recipe: its module.
        command: its options and configuration.
        seeds: to run.
        arms: to run.
        typed: the words, as they repeat the run.
    """

    study: Study
    recipe: Any
    command: RunCommand[Any]
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    typed: str

    @classmethod
    def read(cls, arguments: Sequence[str]) -> "Asked":
        """Understand the words after ``tenfold run``, and say at once what is about to run.

        Raises:
            UserError: a word is not understood, or what it asks for cannot run here.
            SystemExit: a flag is wrong (status 2), or help was asked for (0).
        """
        name, *words = arguments
        study = discovery.find_study(name)
        options, _ = tyro.cli(
            RunOptions, args=without_help(words), return_unknown_args=True, prog=f"tenfold run {study.name}"
        )
        default = _fresh(study, options) if options.resume is None else _stored(study, options.resume)
        command = _parse(study, default, options.config_file, words)
        if command.resume is not None:
            _refuse_changes(default, command)
        stated = stated_by(study)  # read as text, so that a mistake is told before torch is imported
        _arms(command.arms, stated.arms)
        seeds = _seeds(study, stated, command)
        if not command.dry_run:
            _refuse_unfit(study, command)
            _announce(study, command, seeds)
        recipe = discovery.recipe_module(study.name)
        arms = _arms(command.arms, tuple(recipe.ARMS))
        return cls(study, recipe, command, seeds, arms, shlex.join(["tenfold", "run", *arguments]))

    @property
    def preset(self) -> str:
        """The preset, with its task."""
        return preset_and_task(self.study, self.command)

    def execute(self) -> tuple["Report", Path]:
        """Run what is not finished yet.

        Returns:
            The report, and the run directory that holds it.
        """
        from tenfold.core.runner import execute

        command = self.command
        require_extras(_extras_of(self.recipe, command.config), self.study.name)
        if hasattr(self.recipe, "refuse_unfit"):
            self.recipe.refuse_unfit(command.config, self.arms)
        _refuse_absent_device(command.device)
        warn_of_memory(self.recipe, command.config, command.device)
        require_tracker(command.report_to)
        new = self.preset.replace(":", "-")
        directory = command.resume or command.out or _new_directory(self.study.name, new, command.device)
        with tracking(command.report_to, self.study.name, directory, command.config, command.device) as tracker:
            report = execute(
                paper=self.study.name,
                recipe=self.recipe,
                config=command.config,
                preset=self.preset,
                seeds=self.seeds,
                arms=self.arms,
                directory=directory,
                command=self.typed,
                device=command.device,
                dtype=command.dtype,
                tracker=tracker,
            )
        return report, directory


def require_tracker(name: ReportTo) -> None:
    """Refuse a tracker that is not installed, before anything is written."""
    if name != "none":
        require_extras((name,), f"--report-to {name}")


@contextmanager
def tracking(name: ReportTo, paper: str, directory: Path, config: Any, device: str) -> Iterator["Tracker | None"]:
    """What metrics go to while training, if anything; closed when training ends, however that is."""
    if name == "none":
        yield None
        return
    from tenfold.train.tracking import Trackers

    with Trackers(name, paper, directory, to_plain(config), device) as tracker:
        yield tracker


def _show(report: "Report", directory: Path) -> None:
    """The tables and verdicts of a run, and where its report is."""
    from rich.console import Console

    from tenfold.cli.published import print_published
    from tenfold.core.cell import is_main_process
    from tenfold.core.terminal import print_report

    if is_main_process():
        console = Console()
        print_report(report, console, directory)
        print_published(report, console)
        console.print(f"\nReport: {directory / 'report.html'}", soft_wrap=True, highlight=False, markup=False)


def parse_seeds(text: str, plan: Sequence[int] = ()) -> tuple[int, ...]:
    """The seeds that ``--seeds`` names: the plan, the first ones of it, or a list with commas or blanks.

    Args:
        text: what was given, several words with a blank between them.
        plan: the planned seeds; without any, a number N means 0 to N-1.

    Raises:
        UserError: it is none of them, a seed is negative or named twice, the number is 0 or above that of the plan, or
            there is no plan.

    Example:
        >>> parse_seeds("3"), parse_seeds("0,4,7"), parse_seeds("0 4 7"), parse_seeds("4,")
        ((0, 1, 2), (0, 4, 7), (0, 4, 7), (4,))
        >>> parse_seeds("plan", plan=(10, 11, 12)), parse_seeds("2", plan=(10, 11, 12))
        ((10, 11, 12), (10, 11))
    """
    words = text.replace(",", " ").split()
    if words == ["plan"]:
        if not plan:
            raise UserError("--seeds is plan, but no verdict is planned for this preset; allowed: a number, or a list")
        return tuple(plan)
    if not words or not all(word.isdecimal() for word in words) or text.strip() == "0":
        raise UserError(f"--seeds is {text!r}; allowed: plan, a number such as 3, or seeds with commas such as 0,4,7")
    longest = max(words, key=len)
    if len(longest) > MOST_DIGITS:
        raise UserError(f"--seeds has a number of {len(longest)} digits; allowed: at most {MOST_DIGITS}")
    if len(words) == 1 and "," not in text:
        return _first_seeds(int(text), plan)
    seeds = tuple(int(word) for word in words)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds is {text!r}; each seed may be named once")
    return seeds


def _first_seeds(count: int, plan: Sequence[int]) -> tuple[int, ...]:
    """The first seeds of the plan; 0, 1 and so on where nothing is planned."""
    if not plan and count > MOST_SEEDS:
        raise UserError(
            f"--seeds is {count}; allowed: at most {MOST_SEEDS:,} seeds; for the seed {count} alone: {count},"
        )
    if not plan:
        return tuple(range(count))
    if count > len(plan):
        raise UserError(
            f"--seeds is {count}, but the verdict is planned on {len(plan)} seeds, {', '.join(map(str, plan))}; name "
            f"others with commas, but on more seeds than planned claims are judged more strictly"
        )
    return tuple(plan[:count])


def _seeds(study: Study, stated: Stated, command: RunCommand[Any]) -> tuple[int, ...]:
    """The seeds to run. ``plan`` leaves out what results hold already, unless a run is gone on with."""
    preset = preset_and_task(study, command)
    plan = _stored_plan(command.resume) or (() if stated.plan is None else stated.plan.seeds(preset))
    seeds = parse_seeds(" ".join(command.seeds), plan)
    if command.seeds != ("plan",) or stated.plan is None or command.resume is not None:
        return seeds
    held = _held_by_results(study, stated.plan, command, preset)
    missing = tuple(seed for seed in seeds if seed not in held)
    if not missing:
        raise UserError(
            f"all planned seeds of {study.name} are published already, from the same configuration and source; "
            f"`tenfold report results/{study.name}` draws their report; name seeds to run them again"
        )
    return missing


def _stored_plan(resumed: Path | None) -> tuple[int, ...]:
    """The plan that a run began with; none for a new run."""
    from tenfold.core.directory import RunDirectory

    plan = None if resumed is None else RunDirectory.open(resumed).facts().get("plan")
    return tuple(plan["seeds"]) if plan else ()


def _held_by_results(study: Study, plan: Plan, command: RunCommand[Any], preset: str) -> list[int]:
    """The planned seeds that are published from a run that this one would be joined with."""
    from tenfold.core.entries import published_here

    runs = [run for run in published_here(study.name) if run.get("plan")]
    if not runs:  # and torch need not be imported
        return []
    from tenfold.core.report import changed_from
    from tenfold.core.results import planned_and_published
    from tenfold.core.runner import stated_facts

    recipe = discovery.recipe_module(study.name)
    facts = stated_facts(study.name, preset, plan, recipe.CLAIMS, command.config)
    arms = _arms(command.arms, tuple(recipe.ARMS))
    changed = changed_from(study.name, preset, command.config)
    asked = {"preset": preset, "changed": changed, "arms": arms, "dtype": command.dtype}
    return planned_and_published(runs, facts | asked)


def preset_and_task(study: Study, command: RunOptions) -> str:
    """The preset as runs call it: with its task where it is ``paper``."""
    task = command.task or discovery.default_task(study.name)
    return f"paper:{task}" if command.preset == "paper" else command.preset


def without_help(words: Sequence[str]) -> list[str]:
    """The words without requests for help, which the second parse answers with all flags."""
    return [word for word in words if word not in ("-h", "--help", "--help-verbose")]


def _fresh(study: Study, options: RunOptions) -> RunCommand[Any]:
    """The command for a new run, before flags."""
    config = discovery.preset_config(study.name, options.preset, options.task)
    dtype: Any = PRESET_DTYPES[options.preset]
    return RunCommand(preset=options.preset, task=options.task, dtype=dtype, config=config)


def _stored(study: Study, directory: Path) -> RunCommand[Any]:
    """The command that made an existing run, before flags."""
    from tenfold.core.directory import RunDirectory

    run = RunDirectory.open(directory)
    facts = run.facts()
    if facts["paper"] != study.name:
        raise UserError(f"{directory} is a run of {facts['paper']}, not of {study.name}")
    preset, _, task = facts["preset"].partition(":")
    return RunCommand(
        preset=preset,
        task=task or None,
        seeds=("".join(f"{seed}," for seed in facts["seeds"]),),
        arms=tuple(facts["arms"]),
        device=facts["device"],
        dtype=facts["dtype"],
        config=from_yaml(discovery.config_module(study.name).Config, run.path / "config.yaml"),
    )


def _parse(study: Study, default: RunCommand[Any], config_file: Path | None, words: Sequence[str]) -> RunCommand[Any]:
    command_type: Any = RunCommand[type(default.config)]  # type: ignore[misc]
    return parse(
        command_type,
        default=default,
        config=default.config,
        yaml_path=config_file,
        arguments=words,
        prog=f"tenfold run {study.name}",
        description=f"{study.title}: {study.claim}. Defaults are those of the preset {default.preset}.",
    )


def _refuse_changes(stored: RunCommand[Any], command: RunCommand[Any]) -> None:
    """With --resume, nothing that decides the numbers may differ from what is stored."""
    names = ("preset", "task", "dtype", "out")
    changed = {name: (getattr(stored, name), getattr(command, name)) for name in names}
    changed |= differences(stored.config, command.config)
    for name, (before, asked) in changed.items():
        if before != asked:
            raise UserError(
                f"--{name} is {asked}, but {command.resume} is a run with {before}; start a new run to change it"
            )


def _arms(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The named arms in the order of the recipe, or all of them; none is refused where none is known."""
    asked = [name for word in names for name in word.split(",") if name]
    for name in asked:
        if known and name not in known:
            raise UserError(f"--arms names {name!r}; {nearest(name, known)}")
    return tuple(arm for arm in known if arm in asked or not asked)


def _refuse_unfit(study: Study, command: RunCommand[Any]) -> None:
    """What can be known before torch is imported, and before a run has a folder."""
    from tenfold.core.directory import is_run, refuse_occupied

    require_extras(study.extras, study.name)
    if command.out is not None and not is_run(command.out):
        refuse_occupied(command.out, to_yaml(command.config))


def _announce(study: Study, command: RunCommand[Any], seeds: Sequence[int]) -> None:
    """The first line, at once: what is about to run, and how long it may take."""
    preset = preset_and_task(study, command)
    time = time_of(study, preset)
    named = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    words = f"tenfold run {study.name}: preset {preset}, {named}{f'; {time}' if time else ''}"
    if int(os.environ.get("RANK", "0")) == 0:
        print(words, flush=True)


def _extras_of(recipe: Any, config: Any) -> tuple[str, ...]:
    """The optional parts that a configuration needs, where the recipe says so."""
    return recipe.extras(config) if hasattr(recipe, "extras") else ()


def _refuse_absent_device(device: str) -> None:
    """Before a run directory is made, so that a refused start leaves nothing behind."""
    if device == "cuda":
        from tenfold.train.distributed import require_device

        require_device(device)


def _new_directory(paper: str, preset: str, device: str) -> Path:
    """A fresh run directory; every process of a distributed run gets the main one's choice."""
    from tenfold.core.directory import new_run_path

    path = new_run_path(paper, preset)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return path
    from tenfold.train.distributed import broadcast

    return Path(broadcast(str(path), device))
