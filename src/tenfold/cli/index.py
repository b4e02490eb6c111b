"""``tenfold index build CORPUS.jsonl --out DIR`` and ``tenfold index search DIR "query"``.

The corpus has one object a line, with ``id``, ``title`` and ``text``; see docs/retrieval.md.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tenfold.core.errors import UserError

USAGE = 'allowed: tenfold index build CORPUS.jsonl --out DIR, or tenfold index search DIR "query"'


@dataclass(frozen=True)
class BuildCommand:
    """Index a corpus, and keep the index in a folder."""

    corpus: Annotated[Path, tyro.conf.Positional]
    """The corpus: a file of JSON lines with id, title and text."""
    out: Path
    """The folder to write the index to; an index that is there is replaced."""
    engine: Literal["bm25", "tantivy"] = "bm25"
    """How words are matched. bm25: as they are, in memory; tantivy: as stems of English words, on disk
    (extra tantivy)."""
    tokenizer: Literal["script", "words"] = "script"
    """What bm25 compares; kept in the index. script: words, and in Korean, Chinese, Japanese, Thai and other scripts
    without spaces between words single characters and pairs; words: runs of letters and digits in every script."""


@dataclass(frozen=True)
class SearchCommand:
    """Print the passages that fit a query best."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The folder of the index."""
    query: Annotated[str, tyro.conf.Positional]
    """Words to look for."""
    k: int = 5
    """Most passages to print."""
    corpus: Path | None = None
    """The corpus file, if it was moved since the index was built."""
    json: bool = False
    """Print one JSON object for each passage, one on each line."""


def main(arguments: Sequence[str]) -> int:
    """Build or search an index."""
    if not arguments or arguments[0] not in ("build", "search"):
        if arguments and arguments[0] in ("-h", "--help"):
            print(f"{__doc__}\ntenfold index build --help and tenfold index search --help tell the options.")
            return 0
        raise UserError(f"tenfold index cannot do {' '.join(arguments[:1]) or 'nothing'!r}; {USAGE}")
    if arguments[0] == "build":
        _build(tyro.cli(BuildCommand, args=arguments[1:], prog="tenfold index build"))
    else:
        _search(tyro.cli(SearchCommand, args=arguments[1:], prog="tenfold index search"))
    return 0


def _build(command: BuildCommand) -> None:
    from tenfold.envs.search.index import build_index

    retriever = build_index(command.corpus, command.out, command.engine, command.tokenizer)
    print(f"{len(retriever.passages)} passages of {command.corpus} indexed in {command.out}")


def _search(command: SearchCommand) -> None:
    from tenfold.envs.search.index import load_index

    (found,) = load_index(command.folder, command.corpus).search([command.query], command.k)
    for passage in found:
        if command.json:
            print(json.dumps(asdict(passage), ensure_ascii=False))
        else:
            heading = f"{passage.title} ({passage.id})" if passage.title else passage.id
            print(f"{passage.score:7.3f}  {heading}\n         {passage.text}")
    if not found and not command.json:
        print("nothing was found")
