"""What a run prints when it has ended: the metrics and the verdicts, on whatever width there is."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenfold.core.claims import count_of_seeds
from tenfold.core.report import changed_fields, metric_names, metric_table
from tenfold.core.types import Report
from tenfold.core.wording import preset_text, verdict_row


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
    setting = preset_text(report.preset, changed_fields(report) or {})
    title = f"{report.paper} · {setting} · {count_of_seeds(len(report.seeds))}"
    table = Table(title=Text(title), title_justify="left", title_style="bold")  # Text: brackets are no markup
    table.add_column("metric", overflow="fold")  # a cropped name is no name
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
        row = verdict_row(judgement)
        effect = f"{row['effect']}\n{row['over']}".strip()
        texts = [Text(text) for text in (row["text"], effect, row["needed"])]  # Text: brackets are no markup
        table.add_row(*texts, Text(row["verdict"], style=styles[judgement.verdict]))
    return table
