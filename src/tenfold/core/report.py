"""The report of a run: ``report.json`` for programs, ``report.html`` for readers, tables for the terminal.

``report.html`` is one file without scripts or outside references: style sheet and figures (SVG) are inside,
so it can be mailed, archived and read on a phone. ``report.json`` has the same facts: one value per seed for
each arm and metric, every claim with effect, interval and verdict, curves, configuration and environment.
Seconds per cell are measured by the runner and appear as the metric ``cost/seconds``.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from tenfold.core.claims import count_of_seeds, mean_interval, verdict_text
from tenfold.core.files import to_json, write_atomically
from tenfold.core.progress import clock
from tenfold.core.types import Claim, Judgement, Picture, Report

SECONDS = "cost/seconds"
COST = "cost/"
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Entry:
    """One entry of the metrics table, as text.

    Args:
        mean: the mean over seeds; ``–`` where the arm does not report the metric.
        spread: half the width of the 95 % interval over seeds, with sign; empty below two seeds.
        seeds: the value of each seed; empty for a single one.
    """

    mean: str
    spread: str = ""
    seeds: str = ""


def values_by_arm(report: Report) -> dict[str, dict[str, list[float]]]:
    """Arm to metric to one value per finished seed, in increasing seed, with ``cost/seconds`` added.

    A metric that only some seeds of an arm report has NaN for the others.
    """
    table: dict[str, dict[str, list[float]]] = {}
    for arm, by_seed in report.scores.items():
        names = list(dict.fromkeys(name for scores in by_seed.values() for name in scores.metrics))
        table[arm] = {
            name: [float(scores.metrics.get(name, math.nan)) for scores in by_seed.values()] for name in names
        }
        seconds = report.facts.get("cell_seconds", {}).get(arm, {})
        if by_seed and SECONDS not in table[arm]:
            table[arm][SECONDS] = [float(seconds[str(seed)]) for seed in by_seed]
    return {arm: row for arm, row in table.items() if row}


def claim_entry(judgement: Judgement) -> dict[str, Any]:
    """A judgement as it stands in ``report.json`` and in ``results/<paper>.json``."""
    claim = judgement.claim
    return {
        "id": claim.id,
        "text": claim.text,
        "kind": claim.kind,
        "metric": claim.metric,
        "split": claim.split,
        "arm": claim.arm,
        "baseline": claim.baseline,
        "direction": claim.direction,
        "margin": claim.margin,
        "budget": claim.budget,
        "effect": judgement.effect,
        "interval": None if judgement.interval is None else list(judgement.interval),
        "interval_over": judgement.interval_over,
        "seeds": judgement.seeds,
        "verdict": judgement.verdict,
        "note": judgement.note,
    }


def to_plain(report: Report) -> dict[str, Any]:
    """The content of ``report.json``."""
    facts = {key: value for key, value in report.facts.items() if key != "cell_seconds"}
    curves = {
        arm: {str(seed): scores.curves for seed, scores in by_seed.items()} for arm, by_seed in report.scores.items()
    }
    return facts | {
        "paper": report.paper,
        "preset": report.preset,
        "seeds": list(report.seeds),
        "seeds_finished": {arm: list(by_seed) for arm, by_seed in report.scores.items()},
        "arms": values_by_arm(report),
        "claims": [claim_entry(judgement) for judgement in report.judgements],
        "curves": curves,
        "config": report.config,
    }


def write_report(report: Report, pictures: Sequence[Picture], directory: Path) -> None:
    """Write ``report.json``, ``report.html`` and ``plots/<name>.svg`` into a run directory.

    Args:
        report: what the run knows.
        pictures: the recipe's figures; where there are none, learning curves are drawn.
        directory: the run directory.
    """
    drawings = []
    for picture in pictures or learning_curves(report):
        svg = _svg(picture.figure)
        write_atomically(directory / "plots" / f"{picture.name}.svg", svg)
        drawings.append((picture, "data:image/svg+xml;base64," + base64.b64encode(svg).decode()))
    write_atomically(directory / "report.json", to_json(to_plain(report), indent=1) + "\n")
    write_atomically(directory / "report.html", render_html(report, drawings))


def render_html(report: Report, drawings: Sequence[tuple[Picture, str]]) -> str:
    """The report as one HTML document.

    Args:
        report: what the run knows.
        drawings: each picture with its image as a data URI.
    """
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    metrics = metric_names(report)
    return environment.get_template("report.html.j2").render(
        report=report,
        facts=report.facts,
        verdicts=[_verdict_row(judgement) for judgement in report.judgements],
        results=[name for name in metrics if not name.startswith(COST)],
        costs=[name for name in metrics if name.startswith(COST)],
        table=metric_table(report),
        drawings=drawings,
        duration=clock(report.facts["seconds"]),
        seeds=count_of_seeds(len(report.seeds)),
        unfinished=unfinished_cells(report),
        environment=facts_table(report.facts),
        config=yaml.safe_dump(dict(report.config), sort_keys=False, allow_unicode=True),
    )


def metric_names(report: Report) -> list[str]:
    """All metrics of a report: those that claims need first, then the others in the order of the recipe."""
    reported = [name for row in values_by_arm(report).values() for name in row]
    claimed = [judgement.claim.metric for judgement in report.judgements]
    return list(dict.fromkeys([*(name for name in claimed if name in reported), *reported]))


def metric_table(report: Report) -> dict[str, dict[str, Entry]]:
    """Arm to metric to table entry, for every metric of :func:`metric_names`."""
    names = metric_names(report)
    return {arm: {name: entry_of(row.get(name, [])) for name in names} for arm, row in values_by_arm(report).items()}


def entry_of(values: Sequence[float]) -> Entry:
    """The table entry for one metric of one arm.

    Args:
        values: the value for each seed; none when the arm does not report the metric.

    Example:
        >>> entry_of([0.5, 0.7]).mean
        '0.600'
    """
    if not values:
        return Entry("–")
    mean = sum(values) / len(values)
    seeds = "  ".join(readable(value) for value in values) if len(values) > 1 else ""
    if len(values) == 1 or not math.isfinite(mean):
        return Entry(readable(mean), "", seeds)
    low, high = mean_interval(values)
    return Entry(readable(mean), f"± {readable((high - low) / 2)}" if high > low else "", seeds)


def unfinished_cells(report: Report) -> int:
    """How many (arm, seed) were asked for and have no scores yet."""
    return sum(len(report.seeds) - len(by_seed) for by_seed in report.scores.values())


def print_report(report: Report, console: Console) -> None:
    """Print the metrics table and the verdicts.

    Args:
        report: what the run knows.
        console: where to.
    """
    console.print(terminal_metrics(report))
    if report.judgements:
        console.print(terminal_verdicts(report))


def terminal_metrics(report: Report) -> Table:
    """Metrics as rows, arms as columns, mean ± half interval over seeds."""
    cells = metric_table(report)
    title = f"{report.paper} · {report.preset} · {count_of_seeds(len(report.seeds))}"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("metric")
    for arm in cells:
        table.add_column(arm, justify="right")
    for name in metric_names(report):
        entries = [cells[arm][name] for arm in cells]
        table.add_row(name, *(f"{entry.mean} {entry.spread}".strip() for entry in entries))
    return table


def terminal_verdicts(report: Report) -> Table:
    """Claims as rows: sentence, effect with interval, what was needed, verdict."""
    styles = {"supported": "green", "not supported": "red", "undecided": "yellow"}
    table = Table(title="claims", title_justify="left", title_style="bold", show_lines=True)
    for name in ("claim", "effect [95 %]", "needed", "verdict"):
        table.add_column(name, overflow="fold")
    for judgement in report.judgements:
        row = _verdict_row(judgement)
        style = styles[judgement.verdict]
        table.add_row(row["text"], row["effect"], row["needed"], f"[{style}]{row['verdict']}[/{style}]")
    return table


def learning_curves(report: Report) -> list[Picture]:
    """A figure with a panel for each curve: a thin line for each seed, a colour for each arm.

    Returns:
        One picture, or none when the recipe gave no curves.
    """
    from matplotlib.figure import Figure

    names = list(
        dict.fromkeys(name for row in report.scores.values() for scores in row.values() for name in scores.curves)
    )
    if not names:
        return []
    columns = min(2, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, name in zip(panels, names, strict=False):
        for index, (arm, by_seed) in enumerate(report.scores.items()):
            for position, scores in enumerate(by_seed.values()):
                steps, values = zip(*scores.curves.get(name) or [(math.nan, math.nan)], strict=True)
                panel.plot(steps, values, color=f"C{index}", linewidth=1.2, label=arm if position == 0 else None)
        panel.set(title=name, xlabel="step")
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    panels[0].legend(frameon=False)
    caption = "One line for each seed, one colour for each arm."
    return [Picture("learning-curves", "Learning curves", caption, figure)]


def readable(value: float) -> str:
    """A number with as many digits as a table needs.

    Example:
        >>> readable(0.65625), readable(27275266), readable(12.3456), readable(1.5e12), readable(2e-5)
        ('0.656', '27,275,266', '12.3', '1.5e+12', '2e-05')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 1e10 or 0 < size < 5e-4:
        text = f"{value:.3g}"
    elif value == round(value) and size >= 10:
        text = f"{value:,.0f}"
    else:
        text = f"{value:,.0f}" if size >= 1000 else f"{value:.1f}" if size >= 10 else f"{value:.3f}"
    return text.replace("-", "−") if value < 0 and "e" not in text else text


def needed_text(claim: Claim) -> str:
    """What the interval has to satisfy, in words.

    Example:
        >>> needed_text(Claim("a", "A works.", "threshold", "test/exact", "test", "A", None, "higher", 0.5, "steps"))
        'above 0.500'
    """
    if claim.kind == "exact":
        return f"equal to {claim.baseline}" if claim.baseline else f"exactly {readable(claim.margin)}"
    if claim.kind == "threshold":
        return f"{'above' if claim.direction == 'higher' else 'below'} {readable(claim.margin)}"
    line = claim.margin if claim.kind == "superiority" else -claim.margin
    return f"gain above {readable(line) if line else '0'}"


def interval_text(judgement: Judgement) -> str:
    """The effect with its interval, and what the interval is over when that is not seeds."""
    signed = judgement.claim.kind in ("superiority", "non_inferiority") and judgement.effect > 0
    text = ("+" if signed else "") + readable(judgement.effect)
    if judgement.interval is None:
        return text
    over = " over items" if judgement.interval_over == "items" else ""
    return f"{text} [{readable(judgement.interval[0])}, {readable(judgement.interval[1])}]{over}"


def _verdict_row(judgement: Judgement) -> dict[str, str]:
    claim = judgement.claim
    arms = claim.arm if claim.baseline is None else f"{claim.arm} against {claim.baseline}"
    return {
        "id": claim.id,
        "text": claim.text,
        "arms": arms,
        "kind": claim.kind.replace("_", "-"),
        "metric": claim.metric,
        "split": claim.split,
        "budget": claim.budget,
        "effect": interval_text(judgement),
        "needed": needed_text(claim),
        "verdict": verdict_text(judgement),
        "style": judgement.verdict.replace(" ", "-"),
        "note": judgement.note,
    }


def _svg(figure: Any) -> bytes:
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tenfold"}):  # equal figures give equal files
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def facts_table(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the run ran on, as rows of the report."""
    state = {True: "tree clean", False: "with uncommitted or mixed changes", None: "installed package"}
    rows = [("hardware", facts["hardware"]), ("platform", facts["platform"])]
    rows.append(("device, dtype", f"{facts['device']}, {facts['dtype']}"))
    rows.append(("source", f"{facts['commit'] or 'no repository'} ({state[facts['tree_clean']]})"))
    rows.append(("versions", ", ".join(f"{name} {number}" for name, number in facts["versions"].items())))
    for session in facts.get("resumptions", []):
        rows.append(("resumed", f"{session['date']} on {session['hardware']}"))
    return rows
