"""A grid of learning rates over arms: which arms are asked for, one line and one stored row for each training."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically


def chosen_arms(arms: Sequence[str], allowed: Iterable[str]) -> tuple[str, ...]:
    """The arms that are asked for; all of them if none is named.

    Raises:
        UserError: there is no such arm.

    Example:
        >>> chosen_arms((), {"sft": "...", "rl": "..."}), chosen_arms(("rl",), ("sft", "rl"))
        (('sft', 'rl'), ('rl',))
    """
    names = tuple(allowed)
    if unknown := [arm for arm in arms if arm not in names]:
        raise UserError(f"arms: {unknown[0]!r}; allowed: {', '.join(names)}")
    return tuple(arms) or names


def try_rates(
    grid: Sequence[tuple[str, float]],
    score: Callable[[str, float], Mapping[str, float]],
    shown: Sequence[str],
    out: Path,
) -> None:
    """Score each arm at each of its rates; what is done so far stands in ``tuning.json`` of ``out``.

    Args:
        grid: arms, each with a rate.
        score: metrics of an arm at a rate, from a training that goes on if it was begun.
        shown: names of the metrics that are printed, without what stands before a slash.
        out: the folder.
    """
    width = max(len(arm) for arm, _ in grid)
    rows: list[dict[str, Any]] = []
    for arm, rate in grid:
        metrics = score(arm, rate)
        rows.append({"arm": arm, "learning_rate": rate, **metrics})
        values = "  ".join(f"{name.rpartition('/')[2]} {metrics[name]:.3f}" for name in shown)
        print(f"{arm:{width}} rate {rate:<8g} {values}", flush=True)
        write_atomically(out / "tuning.json", to_json(rows, indent=2) + "\n")
