"""``tenfold show PAPER``: what a paper claims, what its arms are, and the configuration behind each preset.

With ``--preset paper`` every value stands beside the section or table of the publication that it comes from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from tenfold.core import discovery
from tenfold.core.config import leaves, to_yaml
from tenfold.core.discovery import Paper, Study
from tenfold.core.timing import time_of
from tenfold.core.types import Claim


@dataclass(frozen=True)
class ShowCommand:
    """Claims, arms, presets and the resolved configuration of a paper."""

    paper: Annotated[str, tyro.conf.Positional]
    """Name of the paper or study, as in `tenfold list`."""
    preset: Literal["smoke", "laptop", "gpu", "paper"] = "laptop"
    """The preset whose configuration is shown."""
    task: str | None = None
    """The published setting that is shown, with --preset paper."""


def main(arguments: Sequence[str]) -> int:
    """Print one paper."""
    command = tyro.cli(ShowCommand, args=arguments, prog="tenfold show")
    paper = discovery.find(command.paper.partition("/")[0])
    console = Console(highlight=False)
    if not paper.available:
        _print_facts(paper, None, console)
        console.print("\nAnnounced: it cannot be run yet.")
        return 0
    study = discovery.find_study(command.paper)
    _print_facts(paper, study, console)
    module = discovery.config_module(study.name)
    config = discovery.preset_config(study.name, command.preset, command.task)
    _print_claims(discovery.recipe_module(study.name), console)
    presets = ", ".join(discovery.presets_of(study.name))
    tasks = f"; tasks of paper: {', '.join(module.TASKS)}" if hasattr(module, "paper") else ""
    console.print(f"\n[bold]presets[/bold]: {presets}{tasks}")
    if command.preset == "paper":
        task = command.task or discovery.default_task(study.name)
        console.print(f"\n[bold]configuration[/bold] of paper, task {task}, and where each value comes from")
        _print_sources(config, module.SOURCES[task], console)
    else:
        console.print(f"\n[bold]configuration[/bold] of {command.preset}\n")
        console.print(to_yaml(config), end="", markup=False, soft_wrap=True)
    return 0


def _print_facts(paper: Paper, study: Study | None, console: Console) -> None:
    about = study or paper
    console.print(f"[bold]{paper.title}[/bold]\n{paper.authors}, https://arxiv.org/abs/{paper.arxiv}", soft_wrap=True)
    console.print(f"\n{about.claim}", soft_wrap=True)
    console.print(f"\n[bold]needs[/bold]: {about.needs}", soft_wrap=True)
    for preset, time in _times(about).items():
        console.print(f"[bold]{preset}[/bold]: {time}")
    if study is not None and study.own:
        console.print(f"[bold]tenfold train {study.name}[/bold]: {study.own}")
    for verb, text in paper.verbs.items():
        console.print(f"[bold]tenfold {verb} {paper.name}[/bold]: {text}")
    if len(paper.studies) > 1:
        console.print(f"[bold]studies[/bold]: {', '.join(study.name for study in paper.studies)}")


def _times(about: Paper | Study) -> dict[str, str]:
    """Preset to time: as measured, or as the paper's folder says."""
    if isinstance(about, Paper):
        return dict(about.times)
    times = {preset: time_of(about, preset) for preset in discovery.presets_of(about.name)}
    return {preset: time for preset, time in times.items() if time}


def _print_claims(recipe: Any, console: Console) -> None:
    console.print("\n[bold]arms[/bold]")
    for name, arm in recipe.ARMS.items():
        console.print(f"  {name}: {arm.text}", markup=False, soft_wrap=True)
    console.print("\n[bold]claims[/bold]")
    for claim in sorted(recipe.CLAIMS, key=lambda claim: not claim.headline):
        mark = " (headline)" if claim.headline else ""
        console.print(f"  {claim.id}{mark}: {claim.text}", markup=False, soft_wrap=True)
        for line in _about_claim(claim):
            console.print(f"     {line}", markup=False, soft_wrap=True, style="dim")
    seeds = ", ".join(map(str, recipe.PLAN.laptop))
    console.print(
        f"\n[bold]plan[/bold]: verdicts of laptop are taken on the seeds {seeds} ({recipe.PLAN.why})", soft_wrap=True
    )


def _about_claim(claim: Claim) -> list[str]:
    """What a claim is read from, where its margin comes from, and what its rival must have learned."""
    arms = claim.arm if claim.baseline is None else f"{claim.arm} against {claim.baseline}"
    kind = claim.kind.replace("_", "-")
    lines = [
        f"{kind}, {claim.metric} on {claim.split}, {arms}; {claim.budget}",
        f"margin {claim.margin:.3g}: {claim.source}",
    ]
    if claim.gate is not None:
        side = "above" if claim.gate.direction == "higher" else "below"
        lines.append(f"gate: {claim.gate.arm} has {claim.gate.metric} {side} {claim.gate.bound:g} in every seed")
    return lines


def _print_sources(config: Any, sources: Mapping[str, str], console: Console) -> None:
    from tenfold.study.sources import UNSTATED, unstated

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("field", "value", "source"):
        table.add_column(heading, no_wrap=heading == "field", overflow="fold")
    values = leaves(config)
    for name, value in values.items():
        table.add_row(name, str(value), sources.get(name, UNSTATED))
    console.print(table)
    ours = len(unstated(sources, config))
    console.print(f"\n{len(values) - ours} of {len(values)} fields have a source; {ours} are ours.")
