"""Learning rates by one grid for each arm, as ``tenfold tune PAPER`` tries them: one line and one stored row each.

A paper's recipe names the fields of its configuration that hold rates, with the grid of each, and measures what one of
them trains on validation data::

    GRID = {"rates.baseline": RATES, "rates.method": RATES}

    def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]: ...

``config`` has the rate under trial at ``field``; the first metric is the one to choose by. Imports no torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tenfold.core.cell import is_main_process
from tenfold.core.config import nearest
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically

Settings = TypeVar("Settings")
Grid = Mapping[str, Sequence[float]]
"""Dotted field of the configuration to the rates to try there."""


def at_rate(settings: Settings, learning_rate: float) -> Settings:
    """The settings of a training at another learning rate.

    Example:
        >>> from tenfold.train.settings import SFTSettings
        >>> at_rate(SFTSettings(), 1e-3).optimizer.learning_rate
        0.001
    """
    training: Any = settings
    return replace(training, optimizer=replace(training.optimizer, learning_rate=learning_rate))


def with_value(config: Settings, field: str, value: Any) -> Settings:
    """The configuration with another value at a dotted field.

    Example:
        >>> from tenfold.train.settings import SFTSettings
        >>> with_value(SFTSettings(), "optimizer.learning_rate", 1e-3).optimizer.learning_rate
        0.001
    """
    holder: Any = config
    name, _, rest = field.partition(".")
    return replace(holder, **{name: with_value(getattr(holder, name), rest, value) if rest else value})


def chosen_fields(fields: Sequence[str], grid: Grid) -> tuple[str, ...]:
    """The fields that are asked for, by their whole names or their last parts; all of them if none is named.

    Raises:
        UserError: there is no such field, or several end so.

    Example:
        >>> chosen_fields(["sem"], {"rates.sem": (1e-2,), "rates.answer_reward": (1e-2,)})
        ('rates.sem',)
    """
    chosen = []
    for asked in fields:
        found = [field for field in grid if field == asked or field.endswith(f".{asked}")]
        if not found:
            known = [*grid, *(field.rpartition(".")[2] for field in grid)]
            raise UserError(f"fields: {asked!r} is no rate of this paper; {nearest(asked, known)}")
        if len(found) > 1:
            raise UserError(f"fields: {asked!r} may be {' or '.join(found)}; give the whole name")
        chosen.append(found[0])
    return tuple(chosen) or tuple(grid)


def try_rates(
    trials: Sequence[tuple[str, float]], score: Callable[[str, float], Mapping[str, float]], file: Path
) -> list[dict[str, Any]]:
    """Score each field at each of its rates; what is done so far stands in ``file``.

    Args:
        trials: fields, each with a rate.
        score: metrics of a field at a rate, from a training that goes on if it was begun.
        file: JSON; written after each trial.

    Returns:
        One row for each trial: ``field``, ``learning_rate`` and the metrics.
    """
    width = max(len(field) for field, _ in trials)
    rows: list[dict[str, Any]] = []
    for field, rate in trials:
        metrics = score(field, rate)
        rows.append({"field": field, "learning_rate": rate, **metrics})
        if is_main_process():
            values = "  ".join(f"{name.rpartition('/')[2]} {value:.3f}" for name, value in metrics.items())
            print(f"{field:{width}}  {rate:<8g} {values}", flush=True)
            write_atomically(file, to_json(rows, indent=2) + "\n")
    return rows
