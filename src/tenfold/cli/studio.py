"""``tenfold studio``: serves a page on this machine's loopback on which papers can be tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tenfold.cli.run import shown
from tenfold.core.directory import runs_root
from tenfold.core.errors import UserError
from tenfold.core.extras import require_extras


@dataclass(frozen=True)
class StudioCommand:
    """Serve a page on which papers can be tried, on the models of finished runs, until Ctrl-C."""

    runs: Annotated[tuple[Path, ...], shown("DIR …", "default: ./runs, or $TENFOLD_RUNS")] = ()
    """Folders with runs, or run directories, whose models the page offers."""
    port: int = 7860
    """The port on this machine's loopback, where it listens, and nowhere else."""


def main(arguments: Sequence[str]) -> int:
    """Serve the page until Ctrl-C."""
    command = tyro.cli(StudioCommand, args=arguments, prog="tenfold studio")
    if not 1 <= command.port <= 65535:
        raise UserError(f"--port is {command.port}; allowed: 1 to 65535")
    for folder in command.runs:
        if not folder.is_dir():
            raise UserError(f"--runs is {str(folder)!r}, which is no folder; allowed: folders with runs")
    require_extras(("studio",), "tenfold studio")
    from tenfold.studio.page import serve

    serve(command.runs or (runs_root(),), command.port)
    return 0
