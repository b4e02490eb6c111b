"""The command line from Python: ``tenfold.run``, ``tenfold.load``, ``tenfold.compare`` and ``tenfold.list_papers``.

    import tenfold

    report = tenfold.run("hrm", preset="smoke", training={"steps": 4})
    report.claims      # a row for each claim: verdict, effect, interval
    report.metrics     # a row for each arm, seed and metric, as pandas.DataFrame takes them
    report             # in a notebook: the tables and the verdicts

A run from Python is the run that the command line makes: same folder, same files, same words in its report.
"""

import html
import io
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tenfold.cli.run import Asked, Device, Dtype, Preset, ReportTo
from tenfold.core import discovery
from tenfold.core.config import as_flags
from tenfold.core.entries import claim_entry
from tenfold.core.errors import UserError
from tenfold.core.types import Report

WIDTH = 110
"""Columns of the tables that a notebook shows."""


@dataclass(frozen=True, repr=False)
class RunReport:
    """What a run knows, and where it is.

    Args:
        report: scores, judgements and facts.
        folder: the run directory; that of a published run holds its report alone.
    """

    report: Report
    folder: Path

    @property
    def claims(self) -> list[dict[str, Any]]:
        """A row for each claim that can be judged, headline first, as ``report.json`` has it."""
        judgements = sorted(self.report.judgements, key=lambda judged: not judged.claim.headline)
        return [claim_entry(judged) for judged in judgements]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A row for each arm, seed and metric."""
        return [
            {"arm": arm, "seed": seed, "metric": metric, "value": value}
            for arm, by_seed in self.report.scores.items()
            for seed, scores in by_seed.items()
            for metric, value in scores.metrics.items()
        ]

    def figures(self) -> dict[str, Any]:
        """The pictures of the report as matplotlib figures, by title."""
        from tenfold.core.learning_curves import learning_curves

        drawn = discovery.recipe_module(self.report.paper).figures(self.report)
        return {picture.title: picture.figure for picture in drawn or learning_curves(self.report)}

    def __repr__(self) -> str:
        from rich.console import Console

        from tenfold.core.terminal import print_report

        console = Console(file=io.StringIO(), width=WIDTH)
        print_report(self.report, console, self.folder)
        console.print(f"\nReport: {self.folder / 'report.html'}", soft_wrap=True, highlight=False)
        return console.file.getvalue()  # type: ignore[attr-defined]

    def _repr_html_(self) -> str:
        return f"<pre style='line-height: 1.2'>{html.escape(repr(self))}</pre>"


def run(
    paper: str,
    *,
    preset: Preset = "laptop",
    task: str | None = None,
    seeds: int | Sequence[int] | Literal["plan"] = 1,
    arms: Sequence[str] = (),
    out: str | Path | None = None,
    resume: str | Path | None = None,
    device: Device | None = None,
    dtype: Dtype | None = None,
    report_to: ReportTo = "none",
    quiet: bool = False,
    **settings: Any,
) -> RunReport:
    """Run a study as ``tenfold run`` does, and return what it found.

    Args:
        paper: a paper, or ``paper/study``.
        preset: what the configuration starts from.
        task: the published setting, with the preset ``paper``.
        seeds: ``"plan"``, how many of the plan's first ones, or a list.
        arms: the arms; all of them when none is named.
        out: the run directory; by default a new one below ``./runs``.
        resume: a run directory to go on with.
        device: where to compute.
        dtype: precision of the forward pass; by default the preset's.
        report_to: where else metrics go while training.
        quiet: whether progress is left out.
        settings: fields of the configuration, nested as it is: ``training={"steps": 500}``.

    Raises:
        UserError: what is asked for does not exist, or cannot run here.
        Interrupted: the run was stopped; it can be resumed.

    Example:
        >>> import tempfile, tenfold
        >>> folder = tempfile.mkdtemp()
        >>> report = tenfold.run("iw_sft", preset="smoke", arms=["sft"], out=f"{folder}/run", quiet=True)
        >>> sorted({row["arm"] for row in report.metrics})
        ['sft']
    """
    choices = (
        ("preset", preset, Preset),
        ("device", device, Device),
        ("dtype", dtype, Dtype),
        ("report_to", report_to, ReportTo),
    )
    for name, value, allowed in choices:
        if value is not None and value not in get_args(allowed):
            raise UserError(f"{name} is {value!r}; allowed: {', '.join(get_args(allowed))}")
    named = {"preset": preset, "task": task, "out": out, "resume": resume, "device": device, "dtype": dtype}
    if resume is not None and preset == "laptop":
        del named["preset"]  # the run has its own
    words = [text for name, value in named.items() if value is not None for text in (f"--{name}", str(value))]
    words += ["--report-to", report_to] if report_to != "none" else []
    words += ["--seeds", _seeds(seeds), *(["--arms", *arms] if arms else [])]
    study = discovery.find_study(paper)
    flags = as_flags(discovery.config_module(study.name).Config, settings, "settings")
    with redirect_stdout(io.StringIO()) if quiet else nullcontext():
        return RunReport(*Asked.read([paper, *words, *flags]).execute())


def load(path: str | Path) -> RunReport:
    """What a run found, from its directory, or from ``results/PAPER`` for the published one.

    Args:
        path: a run directory, finished or not, or the results of a paper.

    Raises:
        UserError: it is neither.
    """
    from tenfold.cli.report import draw_published, is_published
    from tenfold.core.runner import partial_report

    path = Path(path)
    return RunReport(*draw_published(path)) if is_published(path) else RunReport(partial_report(path), path)


def compare(*runs: str | Path | RunReport) -> list[dict[str, Any]]:
    """How the metrics of runs differ from the first one's, over the seeds that both have.

    Args:
        runs: two or more, as :func:`load` takes them, or as it returns them.

    Returns:
        A row for each further run, shared arm and metric: ``run`` (counted from 1), ``arm``, ``metric``, ``seeds``,
        ``difference`` and its 95 % ``interval``, ``None`` below two common seeds.

    Raises:
        UserError: there are fewer than two runs, or they share no arm.
    """
    from tenfold.cli.compare import paired_difference

    if len(runs) < 2:
        raise UserError(f"compare needs at least 2 runs, not {len(runs)}")
    reports = [(one if isinstance(one, RunReport) else load(one)).report for one in runs]
    reference, rows = reports[0], []
    for place, other in enumerate(reports[1:], 1):
        for arm, before in reference.scores.items():
            after = other.scores.get(arm, {})
            metrics = dict.fromkeys(metric for scores in before.values() for metric in scores.metrics)
            for metric in metrics:
                found = paired_difference(before, after, metric)
                if found.seeds:
                    row = {"run": place, "arm": arm, "metric": metric, "seeds": found.seeds}
                    rows.append(row | {"difference": found.mean, "interval": found.interval})
    if not rows:
        raise UserError("the runs have no finished arm and seed in common")
    return rows


def list_papers() -> list[dict[str, Any]]:
    """The papers that are here, in the order of the list: name, title, claim and studies.

    Example:
        >>> import tenfold
        >>> "hrm" in [row["name"] for row in tenfold.list_papers()]
        True
    """
    return [
        {
            "name": paper.name,
            "title": paper.title,
            "claim": paper.claim,
            "studies": [study.name for study in paper.studies],
        }
        for paper in discovery.papers()
        if paper.available
    ]


def _seeds(seeds: int | Sequence[int] | str) -> str:
    """The seeds as the command line takes them."""
    if isinstance(seeds, int | str):
        return str(seeds)
    return "".join(f"{seed}," for seed in seeds)
