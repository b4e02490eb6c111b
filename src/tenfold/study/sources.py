"""Source tables: where each value of a published setting comes from, by dotted field name.

A table names what a publication or its code states. What it does not name is ours: ``tenfold show PAPER --preset
paper`` says so for each such field and counts them. Imports no torch.
"""

from collections.abc import Mapping
from typing import Any

UNSTATED = "unstated: ours"
"""What is shown for a field that no table names."""

Groups = Mapping[str, Mapping[str, str]]


def source_table(groups: Groups) -> dict[str, str]:
    """Sources by dotted field name, from sources by group of fields.

    Args:
        groups: dotted name of a group of the configuration (empty for the top level) to field to source.

    Example:
        >>> source_table({"": {"steps": "section 3"}, "training.optimizer": {"beta2": "code"}})
        {'steps': 'section 3', 'training.optimizer.beta2': 'code'}
    """
    table: dict[str, str] = {}
    for group, fields in groups.items():
        for field, source in fields.items():
            table[f"{group}.{field}" if group else field] = source
    return table


def merged(*parts: Groups) -> dict[str, dict[str, str]]:
    """Groups of sources joined; where two name a field, the later one counts.

    Example:
        >>> merged({"data": {"size": "code"}}, {"data": {"size": "section 4"}})
        {'data': {'size': 'section 4'}}
    """
    joined: dict[str, dict[str, str]] = {}
    for part in parts:
        for group, fields in part.items():
            joined[group] = {**joined.get(group, {}), **fields}
    return joined


def unstated(sources: Mapping[str, str], config: Any) -> list[str]:
    """The fields of a configuration whose values no source states."""
    from tenfold.core.config import leaves

    return [field for field in leaves(config) if sources.get(field, UNSTATED).startswith("unstated")]
