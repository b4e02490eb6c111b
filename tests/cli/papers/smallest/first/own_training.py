"""Moving towards the mean of a file's numbers."""

from pathlib import Path

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.files import write_atomically
from tenfold.papers.smallest.first.config import Config
from tenfold.papers.smallest.first.recipe import ARMS as ALL
from tenfold.papers.smallest.first.recipe import moved

ARMS = ("fast", "slow")
ACTING = ("steps", "file", "rates")
OF_ARM = {"fast": ("rates.fast",), "slow": ("rates.slow",)}


def read(config: Config, arm: str) -> float:
    """The mean of the numbers."""
    words = Path(config.file).read_text().split()
    if not words:
        raise UserError(f"{config.file}: has no numbers; at least 1 is needed")
    return sum(map(float, words)) / len(words)


def train(config: Config, arm: str, given: float, cell: Cell) -> None:
    """Store where it ends."""
    value = moved(config, getattr(config.rates, ALL[arm].rate), 0.0, given)
    write_atomically(cell.directory / "value.txt", f"{arm} {cell.seed} {value:.3f}")
