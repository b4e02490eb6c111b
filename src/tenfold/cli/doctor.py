"""``tenfold doctor``: what is really isolated on this machine, and which optional parts are installed."""

from collections.abc import Sequence
from dataclasses import dataclass

from tenfold.core.extras import EXTRAS, advice, is_installed


@dataclass(frozen=True)
class DoctorCommand:
    """Try to break out of the code sandbox, and list the optional parts. Status 1 if anything was not stopped."""

    allow_unsafe: bool = False
    """Show what programs could do without isolation, on a machine that offers none."""


def main(arguments: Sequence[str]) -> int:
    """Print the table, and return 1 if a line of the sandbox fails."""
    import tyro
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tenfold.core import machine
    from tenfold.core.errors import UserError
    from tenfold.envs.sandbox.probes import probe

    options = tyro.cli(DoctorCommand, args=arguments, prog="tenfold doctor")
    table = Table("part", "state", "what was seen")

    def line(*cells: str) -> None:
        table.add_row(*(Text(cell) for cell in cells))  # brackets are no markup here

    try:
        findings = probe(allow_unsafe=options.allow_unsafe)
    except UserError as error:
        line("sandbox", "MISSING", str(error))
        isolated = False
    else:
        isolated = all(finding.stopped for finding in findings)
        for finding in findings:
            state = "stopped" if finding.stopped else "NOT STOPPED"
            line(f"sandbox: {finding.name}", state, finding.seen)
    for extra, module in EXTRAS.items():
        line(f"extra: {extra}", *(("installed", module) if is_installed(extra) else ("absent", advice(extra))))
    names = machine.accelerators()
    line("accelerators", "found" if names else "none", ", ".join(names) or "everything runs on the processor")
    console = Console()
    Console(width=console.width if console.is_terminal else 150).print(table)
    return 0 if isolated else 1
