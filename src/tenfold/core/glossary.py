"""What metrics mean: the table under *Metrics* in a paper's README, as reports show it under their names.

A row explains one metric or several, and a name may stand for many: ``start/…``, ``zero_shot/<task>``,
``rewards/NAME/mean``, ``test/accuracy_within_20`` *and so on*. A name without a group has that of the name before it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenfold.core.discovery import studies

OPEN = re.compile(r"…|<\w+>|(?<![A-Za-z0-9])[A-Z]+(?![A-Za-z0-9])")
"""The part of a name that stands for any other: an ellipsis, a word in angle brackets, a word in capitals."""
AND_SO_ON = "and so on"


@dataclass(frozen=True)
class Meaning:
    """A row of the glossary.

    Args:
        names: the metrics that it explains, as the README writes them, with their groups.
        text: what they are, and in which unit; Markdown.
        and_so_on: whether other numbers in the names are meant as well.
    """

    names: tuple[str, ...]
    text: str
    and_so_on: bool = False


def glossary_of(study: str) -> list[Meaning]:
    """The glossary of a study's paper; empty where the paper has no folder or no README here."""
    readme = next((one.paper_directory / "README.md" for one in studies() if one.name == study), None)
    return glossary_in(readme.read_text(encoding="utf-8")) if readme is not None and readme.is_file() else []


def glossary_in(markdown: str) -> list[Meaning]:
    """The rows of the table under the heading *Metrics*, in order.

    Args:
        markdown: text of a README.

    Example:
        >>> text = "## Metrics\\n| metric | meaning |\\n|---|---|\\n| `test/mean`, `min` | of the weights |\\n## Next"
        >>> glossary_in(text)
        [Meaning(names=('test/mean', 'test/min'), text='of the weights', and_so_on=False)]
    """
    _, _, rest = markdown.partition("## Metrics\n")
    rows = []
    for line in rest.partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        names = re.findall(r"`([^`]+)`", cells[0])
        if line.startswith("|") and len(cells) > 1 and names:
            rows.append(Meaning(_with_groups(names), cells[1], AND_SO_ON in cells[0]))
    return rows


def meaning_of(metric: str, rows: Sequence[Meaning]) -> Meaning | None:
    """The row that explains a metric: the one with its name, else the one whose pattern says most of it.

    Example:
        >>> rows = [Meaning(("start/…",), "at the start"), Meaning(("start/closed_book",), "without search")]
        >>> meaning_of("start/closed_book", rows).text, meaning_of("start/f1", rows).text, meaning_of("test/f1", rows)
        ('without search', 'at the start', None)
    """
    matches = [(_fixed_letters(name), row) for row in rows for name in row.names if _stands_for(name, row, metric)]
    return max(matches, key=lambda match: match[0])[1] if matches else None


def explained(metrics: Sequence[str], rows: Sequence[Meaning]) -> Mapping[str, tuple[str, str]]:
    """For each metric what stands under its name in a table: whose meaning it is where it is shared, and the meaning.

    Both are empty where the glossary has no row, and where the metric above it in the table has the same one.

    Args:
        metrics: in the order of the table.
        rows: the glossary.
    """
    found: dict[str, tuple[str, str]] = {}
    above: Meaning | None = None
    for metric in metrics:
        meaning = meaning_of(metric, rows)
        if meaning is None or meaning is above:
            found[metric] = ("", "")
        else:
            found[metric] = ("" if meaning.names == (metric,) else ", ".join(meaning.names), meaning.text)
        above = meaning
    return found


def _with_groups(names: Sequence[str]) -> tuple[str, ...]:
    """Names with their groups, where that of the name before holds on."""
    group, found = "", []
    for name in names:
        if "/" in name:
            group = name.rpartition("/")[0]
        found.append(name if "/" in name or not group else f"{group}/{name}")
    return tuple(found)


def _fixed_letters(name: str) -> tuple[bool, int]:
    """How much of a name is no placeholder; a whole name comes before any pattern."""
    return OPEN.search(name) is None, len(OPEN.sub("", name))


def _stands_for(name: str, row: Meaning, metric: str) -> bool:
    pattern = ".+".join(re.escape(part) for part in OPEN.split(name))
    if row.and_so_on:
        pattern = re.sub(r"\d+", r"\\d+", pattern)
    return re.fullmatch(pattern, metric) is not None
