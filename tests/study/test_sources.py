from dataclasses import dataclass

from tenfold.study.sources import merged, source_table, unstated


@dataclass(frozen=True)
class Config:
    steps: int = 3
    rate: float = 0.1
    size: int = 2


def test_later_sources_count_and_names_are_dotted():
    groups = merged({"a": {"x": "code", "y": "code"}}, {"a": {"x": "section 2"}, "": {"z": "table 1"}})
    assert source_table(groups) == {"a.x": "section 2", "a.y": "code", "z": "table 1"}


def test_what_no_entry_names_is_ours():
    assert unstated({"steps": "section 3", "rate": "unstated: ours (0.1, as their code's default)"}, Config()) == [
        "rate",
        "size",
    ]
