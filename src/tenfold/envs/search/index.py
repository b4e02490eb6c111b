"""An index on disk: built from a corpus file, loaded again, and refused when the corpus is no longer the same.

A folder holds ``index.json`` and, beside it, the engine's files. The passages stay in the corpus file, which is read,
and compared by its hash, whenever the index is loaded. A build writes the engine's files into a new folder and names
it in ``index.json`` last, so that a reader sees the old index or the new one, never a part.
"""

import json
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any, Literal

from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.data.passages import Passage, corpus_hash, read_passages
from tenfold.envs.search.bm25 import BM25
from tenfold.envs.search.tantivy_engine import Tantivy
from tenfold.envs.search.words import BY_SCRIPT, tokenizer_named

Engine = Literal["bm25", "tantivy"]
MANIFEST = "index.json"
FILES = re.compile(r"(bm25|tantivy)-[0-9a-f]{12}")
FORMAT = 1
KEYS = {"engine", "files", "corpus", "corpus_hash"}


def build_index(corpus: Path, folder: Path, engine: Engine = "bm25", tokenizer: str = BY_SCRIPT.name) -> BM25 | Tantivy:
    """Index a corpus file, and keep the index in a folder.

    Args:
        corpus: JSON lines with ``id``, ``title`` and ``text``.
        folder: a new or empty folder, or one with an index, which is replaced.
        engine: ``bm25`` (words as they are, in memory) or ``tantivy`` (stemmed English words, on disk).
        tokenizer: of bm25: ``script`` (words, in scripts without spaces characters) or ``words``; kept in the index.

    Returns:
        The retriever, as ``load_index`` gives it.

    Raises:
        UserError: the corpus is not one, the folder holds something else, or the engine's package is missing.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as name:
        ...     corpus = Path(name) / "corpus.jsonl"
        ...     _ = corpus.write_text('{"id": 7, "title": "Rome", "text": "Rome is on the Tiber."}')
        ...     _ = build_index(corpus, Path(name) / "index")
        ...     load_index(Path(name) / "index").search(["Tiber"], k=1)[0][0].title
        'Rome'
    """
    _check_folder(folder)
    if engine == "tantivy" and tokenizer != BY_SCRIPT.name:
        raise UserError(f"tokenizer = {tokenizer}: does nothing with the engine tantivy, which stems English words")
    tokenizer_named(tokenizer)
    passages = read_passages(corpus)
    files = folder / f"{engine}-{uuid.uuid4().hex[:12]}"
    try:
        retriever = _write(passages, files, engine, tokenizer)
        manifest = {
            "format": FORMAT,
            "engine": engine,
            "files": files.name,
            "corpus": os.path.abspath(corpus),
            "corpus_hash": retriever.corpus_hash,
            "num_passages": len(passages),
        }
        write_atomically(folder / MANIFEST, to_json(manifest, indent=2) + "\n")
    except BaseException as error:
        shutil.rmtree(files, ignore_errors=True)
        if isinstance(error, OSError):
            raise UserError(f"{folder}: the index cannot be written there ({error.strerror or error})") from None
        raise
    for other in folder.iterdir():  # earlier builds, and those that were killed
        if FILES.fullmatch(other.name) and other != files:
            shutil.rmtree(other)
    return retriever


def load_index(folder: Path, corpus: Path | None = None) -> BM25 | Tantivy:
    """The retriever of an index on disk.

    Args:
        folder: what ``build_index`` wrote.
        corpus: where the corpus file is now; default: where it was.

    Raises:
        UserError: there is no index, the corpus is missing or not the one that was indexed, or the engine's package is
            missing.
    """
    manifest = _manifest(folder)
    corpus = corpus or Path(manifest["corpus"])
    if not corpus.is_file():
        raise UserError(
            f"{corpus}: the corpus of index {folder} is not there; name its new place with corpus (--corpus)"
        )
    passages = read_passages(corpus)
    if corpus_hash(passages) != manifest["corpus_hash"]:
        raise UserError(
            f"{corpus}: changed since index {folder} was built from it; build it again: "
            f"tenfold index build {corpus} --out {folder}"
        )
    engine = BM25 if manifest["engine"] == "bm25" else Tantivy
    try:
        return engine.load(folder / manifest["files"], passages)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: the index is damaged ({error}); build it again") from None


def _write(passages: list[Passage], files: Path, engine: Engine, tokenizer: str) -> BM25 | Tantivy:
    if engine == "tantivy":
        return Tantivy(passages, folder=files)
    retriever = BM25(passages, tokenize=tokenizer)
    retriever.save(files)
    return retriever


def _check_folder(folder: Path) -> None:
    """Refuse to write into a folder that holds anything but an index, whole or left over."""
    if not folder.exists():
        return
    if (folder / MANIFEST).exists():
        _manifest(folder)
    if not folder.is_dir() or any(name != MANIFEST and not FILES.fullmatch(name) for name in os.listdir(folder)):
        raise UserError(f"{folder}: holds something that is no index; allowed: a new folder, or that of an index")


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{folder}: holds no index; build one: tenfold index build CORPUS.jsonl --out {folder}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or not manifest.keys() >= KEYS:
        raise UserError(f"{path}: is no index of this version; allowed: one that `tenfold index build` wrote")
    return manifest
