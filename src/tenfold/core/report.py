"""The report of a run: ``report.json`` for programs, ``report.html`` for readers, tables for the terminal.

``report.html`` is one file without scripts or outside references: style sheet and figures (SVG) are inside,
so it can be mailed, archived and read on a phone. ``report.json`` has the same facts: one value per seed for
each arm and metric, every claim with effect, interval and verdict, curves, configuration and environment.
Both say in which fields the configuration differs from the preset as it is when the report is written.
Seconds per cell are measured by the runner and appear as the metric ``cost/seconds``; those of what all arms of a
seed share appear as ``cost/shared_seconds``, the same for every arm, and are in no arm's own.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tenfold.core.claims import count_of_seeds
from tenfold.core.config import field_values
from tenfold.core.config import to_plain as config_to_plain
from tenfold.core.discovery import preset_config, studies
from tenfold.core.entries import claim_entry
from tenfold.core.files import to_json, write_atomically
from tenfold.core.types import Picture, Report
from tenfold.core.wording import Entry, count_verdicts, duration, entry_of, facts_table, preset_text, verdict_row
from tenfold.core.wording import readable as readable  # part of the public names of this module

SECONDS = "cost/seconds"
SHARED_SECONDS = "cost/shared_seconds"
COST = "cost/"
ABSENT = "absent"
TEMPLATES = Path(__file__).parent / "templates"


def values_by_arm(report: Report) -> dict[str, dict[str, list[float]]]:
    """Arm to metric to one value per finished seed, in increasing seed, with the measured seconds added.

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
        if by_seed and any(report.stages.values()):
            table[arm][SHARED_SECONDS] = [seconds_of_stages(report, seed) for seed in by_seed]
    return {arm: row for arm, row in table.items() if row}


def seconds_of_stages(report: Report, seed: int) -> float:
    """What all that the arms of a seed share has cost."""
    return round(sum(stage.seconds for stage in report.stages.get(seed, {}).values()), 3)


def preset_fields(paper: str, preset: str) -> dict[str, Any] | None:
    """The values of a preset by dotted field name, as plain data; ``None`` for a paper that has no folder here.

    Args:
        paper: folder name of the paper.
        preset: its preset, with the task where there is one, as in ``paper:maze-hard``.

    Raises:
        UserError: the paper has no such preset or task.
    """
    if paper not in [study.name for study in studies()]:
        return None
    name, _, task = preset.partition(":")
    return field_values(config_to_plain(preset_config(paper, name, task or None)))


def changed_fields(report: Report) -> dict[str, Any] | None:
    """The fields in which a run differs from its preset, with the run's values; ``None`` where no preset is known.

    A field that the preset has gained since the run has the value ``"absent"``.
    """
    return _changed(report.paper, report.preset, report.config)


def changed_from(paper: str, preset: str, config: Any) -> dict[str, Any] | None:
    """The fields in which a configuration differs from a preset, as :func:`changed_fields` gives those of a run."""
    return _changed(paper, preset, config_to_plain(config))


def _changed(paper: str, preset_name: str, config: Mapping[str, Any]) -> dict[str, Any] | None:
    preset = preset_fields(paper, preset_name)
    if preset is None:
        return None
    run = {**dict.fromkeys(preset, ABSENT), **field_values(config)}
    return {name: value for name, value in run.items() if value != preset.get(name, ABSENT)}


def to_plain(report: Report) -> dict[str, Any]:
    """The content of ``report.json``."""
    facts = {key: value for key, value in report.facts.items() if key != "cell_seconds"}
    curves = {
        arm: {str(seed): scores.curves for seed, scores in by_seed.items()} for arm, by_seed in report.scores.items()
    }
    stages = {
        str(seed): {name: {"seconds": stage.seconds, "curves": stage.curves} for name, stage in found.items()}
        for seed, found in report.stages.items()
    }
    return facts | {
        "paper": report.paper,
        "preset": report.preset,
        "changed": changed_fields(report),
        "seeds": list(report.seeds),
        "seeds_finished": {arm: list(by_seed) for arm, by_seed in report.scores.items()},
        "arms": values_by_arm(report),
        "claims": [claim_entry(judgement) for judgement in report.judgements],
        "curves": curves,
        "stages": stages,
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
        title=_title(report.paper),
        setting=preset_text(report.preset, changed_fields(report) or {}),
        facts=report.facts,
        verdicts=[verdict_row(judgement) for judgement in report.judgements],
        results=[name for name in metrics if not name.startswith(COST)],
        costs=[name for name in metrics if name.startswith(COST)],
        table=metric_table(report),
        drawings=drawings,
        duration=duration(report.facts["seconds"]),
        seeds=count_of_seeds(len(report.seeds)),
        outcome=count_verdicts([judgement.verdict for judgement in report.judgements]),
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


def unfinished_cells(report: Report) -> int:
    """How many (arm, seed) were asked for and have no scores yet."""
    return sum(len(report.seeds) - len(by_seed) for by_seed in report.scores.values())


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


def _title(paper: str) -> str:
    """The title of a study's paper, or its name where it has no folder here."""
    return next((study.title for study in studies() if study.name == paper), paper)


def _svg(figure: Any) -> bytes:
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tenfold"}):  # equal figures give equal files
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
