"""``tenfold env``: versions, hardware and source, to be pasted into a bug report."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class EnvironmentCommand:
    """Versions, hardware, accelerators and commit of this installation, one fact a line."""


def main(arguments: Sequence[str]) -> int:
    """Print the facts; takes no options."""
    import tyro

    from tenfold.core import machine

    tyro.cli(EnvironmentCommand, args=arguments, prog="tenfold env")
    facts = machine.describe(ask_torch=True)
    for name, number in facts.pop("versions").items():
        print(f"{name}: {number}")
    for name, value in facts.items():
        shown = ", ".join(value) or "none" if isinstance(value, list) else value
        print(f"{name}: {shown}")
    return 0
