"""What a run prints when it has ended: the metrics and the verdicts, readable on whatever width there is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenfold.core.claims import count_of_seeds
from tenfold.core.notices import plan_notice
from tenfold.core.report import changed_fields, metric_names, metric_table
from tenfold.core.types import Report
from tenfold.core.wording import Entry, preset_text, verdict_row

_BORDERS = 3
"""Columns of the terminal that a column of a table takes beside its text."""
STYLES = {"supported": "green", "not supported": "red", "undecided": "yellow"}


def print_report(report: Report, console: Console, directory: Path) -> None:
    """Print the metrics and the verdicts.

    Args:
        report: what the run knows.
        console: where to.
        directory: where the run is, for the command that goes on with it.
    """
    for table in terminal_metrics(report, console.width):
        console.print(table)
    if report.judgements:
        console.print(Text("\nclaims", style="bold"))
        console.print(terminal_verdicts(report))
    if report.judgements and (notice := plan_notice(report, directory)):
        console.print(notice.text, highlight=False, markup=False)
        if notice.command:  # on one line, however long, so that it can be copied
            console.print(notice.command, soft_wrap=True, highlight=False, markup=False)


def terminal_metrics(report: Report, width: int) -> list[Table]:
    """Metrics as rows and arms as columns, mean ± half interval, where that fits.

    Where it does not, arms are rows, and the metrics that claims are read from columns; the report has the others.

    Args:
        report: what the run knows.
        width: columns of the terminal.
    """
    cells = metric_table(report)
    texts = {arm: {name: _text(entry) for name, entry in row.items()} for arm, row in cells.items()}
    names = metric_names(report)
    setting = preset_text(report.preset, changed_fields(report) or {})
    title = f"{report.paper} · {setting} · {count_of_seeds(len(report.seeds))}"
    columns = {arm: max([len(arm), *(len(row[name]) for name in names)]) for arm, row in texts.items()}
    if _width([max(map(len, names), default=0), *columns.values()]) <= width:
        return [_upright(title, names, texts)]
    claimed = list(dict.fromkeys(judged.claim.metric for judged in report.judgements if judged.claim.metric in names))
    kept = claimed or names
    tables = _turned(title, kept, texts, width)
    if len(kept) < len(names):
        tables[-1].caption = f"{len(names) - len(kept)} other metrics are in the report"
        tables[-1].caption_justify = "left"
    return tables


def terminal_verdicts(report: Report) -> Table:
    """The claims, headline first: the verdict, the sentence, and what the verdict is read from."""
    table = Table(box=None, show_header=False, padding=(0, 0, 1, 0))
    for judgement in sorted(report.judgements, key=lambda judged: not judged.claim.headline):
        row, style = verdict_row(judgement), STYLES[judgement.verdict]
        heading = Text(judgement.claim.id, style="bold")  # Text: brackets are no markup
        heading.append(" (headline)" if judgement.claim.headline else "", style="dim").append(": ", style="dim")
        heading.append(row["verdict"], style=style)
        effect = f"{row['effect']} {row['over']}".strip()
        facts = "; ".join(part for part in (effect, f"needed: {row['needed']}", row["note"]) if part)
        table.add_row(Text("\n").join([heading, Text(row["text"]), Text(facts, style="dim")]))
    return table


def _text(entry: Entry) -> str:
    return f"{entry.mean} {entry.spread}".strip()


def _width(columns: Sequence[int]) -> int:
    return sum(columns) + _BORDERS * len(columns) + 1


def _upright(title: str, names: Sequence[str], texts: Mapping[str, Mapping[str, str]]) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold")  # Text: brackets are no markup
    table.add_column("metric", overflow="fold")  # a cropped name is no name
    for arm in texts:
        table.add_column(arm, justify="right")
    for name in names:
        table.add_row(name, *(row[name] for row in texts.values()))
    return table


def _turned(title: str, names: Sequence[str], texts: Mapping[str, Mapping[str, str]], width: int) -> list[Table]:
    """Arms as rows; as many metrics in a table as fit."""
    first = max(map(len, texts))
    widths = {name: max([len(name), *(len(row[name]) for row in texts.values())]) for name in names}
    tables: list[Table] = []
    rest = list(names)
    while rest:
        fitting = [rest[0]]
        for name in rest[1:]:
            if _width([first, *(widths[one] for one in [*fitting, name])]) > width:
                break
            fitting.append(name)
        rest = rest[len(fitting) :]
        table = Table(title=None if tables else Text(title), title_justify="left", title_style="bold")
        table.add_column("arm", overflow="fold")
        for name in fitting:
            table.add_column(name, justify="right", overflow="fold")
        for arm, row in texts.items():
            table.add_row(arm, *(row[name] for name in fitting))
        tables.append(table)
    return tables
