"""``tenfold digest``: one page of all papers, made from the results of the repository, in English and Korean."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tenfold.cli.run import shown
from tenfold.core.checkout import ROOT, is_checkout
from tenfold.core.errors import UserError


@dataclass(frozen=True)
class DigestCommand:
    """Write the page of all papers in each language, and the picture of each paper."""

    out: Annotated[Path | None, shown("DIR", "default: docs/digest of the repository")] = None
    """The folder to write to."""


def main(arguments: Sequence[str]) -> int:
    """Write the pages and say where they are."""
    command = tyro.cli(DigestCommand, args=arguments, prog="tenfold digest")
    if not is_checkout():
        raise UserError("tenfold digest reads the results of a source checkout, and this tenfold is installed without")
    from tenfold.core.digest import write_digest

    for path in write_digest(ROOT, command.out):
        print(path)
    return 0
