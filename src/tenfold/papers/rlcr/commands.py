"""RLCR's own verbs: ``calibrate`` predictions that exist, and ``ablate`` the reward on two small networks."""

import reprlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tenfold.core.errors import UserError


def calibrate(
    file: Annotated[Path, tyro.conf.Positional],
    bins: int = 10,
    confidence: str = "confidence",
    correct: str = "correct",
    edges: Literal["width", "linspace", "adaptive"] = "width",
) -> None:
    """Print how well stated confidences match what was right, for predictions that you already have.

    In brackets are 95 % bootstrap intervals.

    Args:
        file: JSON lines, one prediction a line: a confidence in [0, 1], and whether it was right (true, false, 1, 0).
        bins: number of bins of the reliability table and of the expected calibration error.
        confidence: the name of the column with confidences.
        correct: the name of the column with outcomes.
        edges: how the bins are made. width: equally wide; adaptive: equally many predictions in each;
            linspace: as RLCR's authors have it, who bin exact 0.3, 0.6 and 0.7 one lower.
    """
    from rich.console import Console
    from rich.table import Table

    from tenfold.eval.calibration import (
        auroc,
        bootstrap_interval,
        brier,
        calibration_report,
        expected_calibration_error,
        fit_temperature,
        reliability_table,
    )

    stated, right = read_predictions(file, confidence, correct)
    table = Table("confidence", "predictions", "mean confidence", "right", "difference", box=None, header_style="bold")
    for row in reliability_table(stated, right, bins, edges):
        if row.size:
            numbers = (row.mean_confidence, row.accuracy, row.accuracy - row.mean_confidence)
            table.add_row(f"{row.low:.2f} to {row.high:.2f}", str(row.size), *(f"{number:.3f}" for number in numbers))
    print(f"{file}: {len(stated)} predictions")
    ece = partial(expected_calibration_error, bins=bins, edges=edges)
    metrics: dict[str, Callable[..., float]] = {"brier": brier, "ece": ece, "auroc": auroc}
    for name, value in calibration_report(stated, right, bins, edges).items():
        interval = ""
        if name in metrics:
            interval = "  [{:.4f}, {:.4f}]".format(*bootstrap_interval(metrics[name], stated, right, resamples=200))
        print(f"{name.replace('_', ' '):22}{value:.{0 if name.startswith('distinct') else 4}f}{interval}")
    print(f"best temperature      {fit_temperature(stated, right):.4f}  (above 1: too sure)")
    Console(highlight=False).print(table)
    if len(set(right)) == 1:
        print("auroc needs right and wrong predictions; all of these are alike.")


def read_predictions(file: Path, confidence: str = "confidence", correct: str = "correct") -> tuple[list, list]:
    """Confidences and outcomes of a file.

    Raises:
        UserError: the file is missing or empty, or a row cannot be used; with the row, counted from 1.
    """
    from tenfold.data.json_lines import read_json_lines

    stated, right = [], []
    for number, row in enumerate(read_json_lines(file, (confidence, correct)), start=1):
        q, c = row[confidence], row[correct]
        if isinstance(q, bool) or not isinstance(q, int | float) or not 0 <= q <= 1:
            raise UserError(f"{file}, row {number}: {confidence} is {reprlib.repr(q)}; allowed: a number from 0 to 1")
        if not isinstance(c, bool | int | float) or c not in (0, 1):
            raise UserError(f"{file}, row {number}: {correct} is {reprlib.repr(c)}; allowed: true, false, 1, 0")
        stated.append(float(q))
        right.append(int(c))
    return stated, right


def ablate(seeds: tuple[int, ...] = (0, 1, 2)) -> None:
    """Compare rewards, the entropy bonus and scaled advantages on masked addition, with two small networks.

    This takes about half a minute for each seed. The table has the mean over seeds, then the lowest and the highest.

    Args:
        seeds: seeds of weights, problems and samples; each is a run of every variant.
    """
    from rich.console import Console
    from rich.table import Table

    from tenfold.papers.rlcr.small_policy import VARIANTS, compare

    if not seeds:
        raise UserError("seeds: none given; at least 1 is needed")
    reports = [compare(seed, VARIANTS) for seed in seeds]
    shown = ("accuracy", "brier", "ece", "auroc")
    table = Table("variant", *shown, box=None, header_style="bold")
    for variant in reports[0]:
        columns = [[report[variant][name] for report in reports] for name in shown]
        table.add_row(variant, *(f"{sum(c) / len(c):.3f} ({min(c):.3f}-{max(c):.3f})" for c in columns))
    Console(highlight=False, width=110).print(table)
