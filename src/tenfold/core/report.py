"""The report of a run: ``report.json`` for programs, ``report.html`` for readers, tables for the terminal.

``report.html`` is one file without scripts or outside references: style sheet and figures (SVG) are inside,
so it can be mailed, archived and read on a phone. ``report.json`` has the same facts: one value per seed for
each arm and metric, every claim with effect, interval and verdict, curves, configuration and environment.
Both say in which fields the configuration differs from the preset as it is when the report is written.
Seconds per cell are measured by the runner and appear as the metric ``cost/seconds``; those of what all arms of a
seed share appear as ``cost/shared_seconds``, the same for every arm, and are in no arm's own.
"""

import html
import math
import re
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
from tenfold.core.glossary import glossary_of
from tenfold.core.learning_curves import learning_curves
from tenfold.core.notices import notices
from tenfold.core.pages import inside, page_environment, svg_of
from tenfold.core.rows import arm_groups, claim_rows, facts_table, metric_rows
from tenfold.core.types import Picture, Report
from tenfold.core.wording import Entry, count_verdicts, duration, entry_of, preset_text
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
        svg = svg_of(picture.figure)
        write_atomically(directory / "plots" / f"{picture.name}.svg", svg)
        drawings.append((picture, inside("svg+xml", svg)))
    write_atomically(directory / "report.json", to_json(to_plain(report), indent=1) + "\n")
    write_atomically(directory / "report.html", render_html(report, drawings, directory))


def render_html(report: Report, drawings: Sequence[tuple[Picture, str]], directory: Path) -> str:
    """The report as one HTML document.

    Args:
        report: what the run knows.
        drawings: each picture with its image as a data URI.
        directory: where the report lies, for the commands in it.
    """
    environment = page_environment(TEMPLATES)
    environment.filters["markdown"] = _html_of_markdown
    table, metrics, glossary = metric_table(report), metric_names(report), glossary_of(report.paper)
    return environment.get_template("report.html.j2").render(
        report=report,
        title=_title(report.paper),
        setting=preset_text(report.preset, changed_fields(report) or {}),
        facts=report.facts,
        notices=notices(report, directory),
        claims=claim_rows(report.judgements),
        arms={arm: text for arm, text in report.arms.items() if text},
        arm_groups=arm_groups(list(table)),
        results=metric_rows([name for name in metrics if not name.startswith(COST)], glossary),
        costs=metric_rows([name for name in metrics if name.startswith(COST)], glossary),
        table=table,
        drawings=drawings,
        gif=lambda content: inside("gif", content),
        duration=duration(report.facts["seconds"]),
        seeds=count_of_seeds(len(report.seeds)),
        outcome=count_verdicts([judgement.verdict for judgement in report.judgements]),
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


def _title(paper: str) -> str:
    """The title of a study's paper, or its name where it has no folder here."""
    return next((study.title for study in studies() if study.name == paper), paper)


def _html_of_markdown(text: str) -> Any:
    """Code, bold words and the words of links; nothing else of Markdown is in a glossary, and no link leads out."""
    import markupsafe

    escaped = html.escape(text)
    escaped = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", escaped)
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escaped)
    return markupsafe.Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))
