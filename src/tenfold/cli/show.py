"""``tenfold show PAPER``: what a paper claims, what its arms are, and the configuration behind each preset.

With ``--preset paper`` every value stands beside the section or table of the publication that it comes from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from tenfold.core import discovery
from tenfold.core.config import leaves, to_yaml
from tenfold.core.discovery import Paper


@dataclass(frozen=True)
class ShowCommand:
    """Claims, arms, presets and the resolved configuration of a paper."""

    paper: Annotated[str, tyro.conf.Positional]
    """Name of the paper, as in `tenfold list`."""
    preset: Literal["smoke", "laptop", "gpu", "paper"] = "laptop"
    """Whose configuration to show."""
    task: str | None = None
    """Which of the published settings, with --preset paper."""


def main(arguments: Sequence[str]) -> int:
    """Print one paper."""
    command = tyro.cli(ShowCommand, args=arguments, prog="tenfold show")
    paper = discovery.find(command.paper)
    console = Console(highlight=False)
    _print_facts(paper, console)
    if not paper.available:
        console.print("\nAnnounced: it cannot be run yet.")
        return 0
    module = discovery.config_module(paper.name)
    config = discovery.preset_config(paper.name, command.preset, command.task)
    _print_claims(discovery.recipe_module(paper.name), console)
    console.print(f"\n[bold]presets[/bold]: {', '.join(discovery.PRESETS)}; tasks of paper: {', '.join(module.TASKS)}")
    if command.preset == "paper":
        task = command.task or discovery.default_task(paper.name)
        console.print(f"\n[bold]configuration[/bold] of paper, task {task}, and where each value comes from")
        console.print(_sources(config, module.SOURCES[task]))
    else:
        console.print(f"\n[bold]configuration[/bold] of {command.preset}\n")
        console.print(to_yaml(config), end="", markup=False, soft_wrap=True)
    return 0


def _print_facts(paper: Paper, console: Console) -> None:
    console.print(f"[bold]{paper.title}[/bold]\n{paper.authors}, https://arxiv.org/abs/{paper.arxiv}", soft_wrap=True)
    console.print(f"\n{paper.claim}", soft_wrap=True)
    console.print(f"\n[bold]needs[/bold]: {paper.needs}", soft_wrap=True)
    for preset, time in paper.times.items():
        console.print(f"[bold]{preset}[/bold]: {time}")
    for verb, text in paper.verbs.items():
        console.print(f"[bold]tenfold {verb} {paper.name}[/bold]: {text}")


def _print_claims(recipe: Any, console: Console) -> None:
    console.print(f"\n[bold]arms[/bold]: {', '.join(recipe.ARMS)}\n\n[bold]claims[/bold]")
    for claim in recipe.CLAIMS:
        console.print(f"  {claim.id}: {claim.text}", markup=False, soft_wrap=True)
        arms = claim.arm if claim.baseline is None else f"{claim.arm} against {claim.baseline}"
        kind = claim.kind.replace("_", "-")
        line = f"     {kind}, {claim.metric} on {claim.split}, {arms}, margin {claim.margin:g}; {claim.budget}"
        console.print(line, markup=False, soft_wrap=True, style="dim")


def _sources(config: Any, sources: Any) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("field", "value", "source"):
        table.add_column(heading, no_wrap=heading == "field", overflow="fold")
    for name, value in leaves(config).items():
        table.add_row(name, str(value), sources[name])
    return table
