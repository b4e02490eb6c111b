"""A vignette: background, observations and questions in words, read from YAML; what is wrong is refused in one line."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from tenfold.core.errors import UserError

FOLDER = Path(__file__).parent / "vignettes"
REGIMES = ("detailed", "underspecified", "open-world")
KINDS = ("constant", "event", "outcome")


@dataclass(frozen=True)
class Query:
    """A question.

    Args:
        text: in words.
        kind: ``constant`` (a lasting trait), ``event`` (something on one occasion), ``outcome`` (what will happen).
        range: smallest and largest answer.
    """

    text: str
    kind: str
    range: tuple[float, float] = (0.0, 100.0)


@dataclass(frozen=True)
class Vignette:
    """A situation in words.

    Args:
        name: short.
        domain: what it is about, in a word; no example of that domain is shown to a model that reads it.
        regime: ``detailed``, ``underspecified`` or ``open-world``.
        background: how things work.
        conditions: what was observed, a sentence each.
        queries: what is asked; they are known as query1, query2, and so on.
        gold_program: a program by hand, if there is one.
        notes: for readers.
    """

    name: str
    domain: str
    regime: str
    background: str
    conditions: tuple[str, ...]
    queries: tuple[Query, ...]
    gold_program: str = ""
    notes: str = ""

    @property
    def query_names(self) -> list[str]:
        """query1, query2, …"""
        return [f"query{number + 1}" for number in range(len(self.queries))]

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Name of each query to its range."""
        return {name: query.range for name, query in zip(self.query_names, self.queries, strict=True)}

    def to_plain(self) -> dict[str, Any]:
        """The vignette as JSON-able data, as :func:`read_vignette` takes it."""
        plain = asdict(self)
        plain["conditions"] = list(self.conditions)
        plain["queries"] = [asdict(query) | {"range": list(query.range)} for query in self.queries]
        return plain


def load_vignette(path: str | Path) -> Vignette:
    """A vignette from a YAML file.

    Raises:
        UserError: the file is missing, is no YAML, or lacks something.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"vignette is {str(path)!r}, which does not exist; allowed: a YAML file, see docs/programs.md")
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # bytes, dates and numbers that are none
        raise UserError(f"{path}: is no YAML: {' '.join(str(error).split())[:200]}") from None
    return read_vignette(plain, path.stem, str(path))


def read_vignette(plain: Any, name: str = "vignette", where: str = "vignette") -> Vignette:
    """A vignette from plain data.

    Example:
        >>> read_vignette({"background": "Coins are fair.", "conditions": ["One shows heads."],
        ...                "queries": ["How likely do both?"]}).queries[0].kind
        'outcome'
    """
    if not isinstance(plain, Mapping):
        raise UserError(f"{where}: must have the keys background, conditions and queries")
    known = {"name", "domain", "regime", "background", "conditions", "queries", "gold_program", "notes"}
    if unknown := sorted(set(plain) - known):
        raise UserError(f"{where}: unknown key {unknown[0]}; allowed: {', '.join(sorted(known))}")
    for key in ("background", "gold_program", "notes", "name", "domain", "regime"):
        if not isinstance(plain.get(key, ""), str):
            raise UserError(f"{where}: {key} must be text")
    regime = plain.get("regime", "open-world")
    if regime not in REGIMES:
        raise UserError(f"{where}: regime is {regime!r}; allowed: {', '.join(REGIMES)}")
    return Vignette(
        name=plain.get("name", name),
        domain=plain.get("domain", name),
        regime=regime,
        background=_required_text(plain, where),
        conditions=tuple(_sentences(plain.get("conditions"), f"{where}: conditions")),
        queries=tuple(_query(entry, f"{where}: queries[{i}]") for i, entry in enumerate(_list(plain, where))),
        gold_program=plain.get("gold_program", ""),
        notes=plain.get("notes", ""),
    )


def _required_text(plain: Mapping[str, Any], where: str) -> str:
    text = plain.get("background", "").strip()
    if not text:
        raise UserError(f"{where}: background is missing; it must say how things work")
    return str(text)


def _sentences(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each.strip() for each in value):
        raise UserError(f"{where} must be a list of sentences")
    return [" ".join(each.split()) for each in value]


def _list(plain: Mapping[str, Any], where: str) -> list[Any]:
    queries = plain.get("queries")
    if not isinstance(queries, list) or not queries:
        raise UserError(f"{where}: queries must be a list of at least one question")
    return queries


def _query(entry: Any, where: str) -> Query:
    if isinstance(entry, str):
        entry = {"text": entry}
    if (
        not isinstance(entry, Mapping)
        or not isinstance(entry.get("text"), str)
        or set(entry) - {"text", "kind", "range"}
    ):
        raise UserError(f"{where} must be a question, or have the keys text, kind and range")
    kind = entry.get("kind", "outcome")
    if kind not in KINDS:
        raise UserError(f"{where}: kind is {kind!r}; allowed: {', '.join(KINDS)}")
    bounds = entry.get("range", [0, 100])
    is_pair = isinstance(bounds, (list, tuple)) and len(bounds) == 2
    if not is_pair or not all(isinstance(each, (int, float)) for each in bounds) or not bounds[0] < bounds[1]:
        raise UserError(f"{where}: range is {bounds!r}; allowed: two numbers, the smaller one first")
    return Query(" ".join(entry["text"].split()), kind, (float(bounds[0]), float(bounds[1])))


def vignettes() -> list[Vignette]:
    """All vignettes that come with the library, by name."""
    return [load_vignette(path) for path in sorted(FOLDER.glob("*.yaml"))]
