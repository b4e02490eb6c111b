"""A run directory: everything needed to believe a run, to continue it and to repeat it.

    run.json       what was run, where and with which versions      config.yaml   the resolved configuration
    cells/<arm>/seed-<k>/  metrics.jsonl, seconds.json, checkpoints/, model/ and, once finished, scores.json
    shared/seed-<k>/<stage>/  what all arms of a seed share, likewise, and, once finished, done.json
    report.html    report.json    plots/*.svg

A cell is finished when its ``scores.json`` is there: it is written last, and atomically. Runs go below
``./runs``, below the directory named by the environment variable ``TENFOLD_RUNS``, or where ``--out`` says.
"""

import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from tenfold.core.cell import is_main_process, read_seconds, read_stages
from tenfold.core.config import field_values, to_yaml
from tenfold.core.damage import damaged, read_json
from tenfold.core.errors import UserError
from tenfold.core.files import is_leftover, number, to_json, write_atomically
from tenfold.core.types import Scores

NEEDED_FACTS = ("paper", "arms", "seeds")
"""Without these, ``run.json`` says nothing."""


def runs_root() -> Path:
    """Where runs go: the directory named by ``TENFOLD_RUNS``, else ``./runs``."""
    return Path(os.environ.get("TENFOLD_RUNS", "runs"))


def claim_folder(out: Path, name: str, facts: Mapping[str, Any], config: Any, *, ignored: Collection[str] = ()) -> None:
    """Store what a folder is about in the file ``name`` of it, or check that it is about the same.

    For what goes on with a folder and is no run: tuning of rates, a training on one's own data.

    Args:
        out: the folder.
        name: of the file, which is YAML.
        facts: what it is about, as plain data.
        config: the configuration, a dataclass; its fields follow ``facts``.
        ignored: dotted fields that may differ.

    Raises:
        UserError: ``out`` is about something else, with the first field that differs; or it holds other things.
    """
    if not is_main_process():
        return
    file, about = out / name, yaml.safe_dump(dict(facts), sort_keys=False, allow_unicode=True) + to_yaml(config)
    if not file.is_file():
        if out.exists() and (not out.is_dir() or not all(is_leftover(one.name) for one in out.iterdir())):
            raise UserError(f"--out is {out}; allowed: a new or empty folder, or one that has a {name}")
        write_atomically(file, about)
        return
    stored, asked = field_values(_plain_yaml(file, "give another --out")), field_values(yaml.safe_load(about))
    for field in {**stored, **asked}:
        before, now = (values.get(field, "absent") for values in (stored, asked))
        if before != now and field not in ignored:
            raise UserError(f"{field} is {now}, but {out} was begun with {before}; give another --out")


def new_run_path(paper: str, preset: str, root: Path | None = None) -> Path:
    """A path for a new run that does not exist yet, named after paper, preset and time.

    Args:
        paper: folder name of the paper.
        preset: name of the preset.
        root: the folder for it; by default :func:`runs_root`.

    Example:
        >>> new_run_path("hrm", "smoke", Path("runs")).name.startswith("hrm-smoke-")
        True
    """
    stem = f"{paper.replace('/', '-')}-{preset}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = runs_root() if root is None else root
    candidates = [folder / stem, *(folder / f"{stem}-{count}" for count in range(2, 100))]
    return next(path for path in candidates if not path.exists())


def scores_to_plain(scores: Scores) -> dict[str, Any]:
    """``scores`` as JSON-able data; every number becomes a float, non-finite ones ``None`` when written."""
    return {
        "metrics": {name: float(value) for name, value in scores.metrics.items()},
        "items": {name: [float(value) for value in values] for name, values in scores.items.items()},
        "curves": {name: [[float(x), float(y)] for x, y in points] for name, points in scores.curves.items()},
        "samples": scores.samples,
        "data": dict(scores.data),
    }


def scores_from_plain(data: Mapping[str, Any]) -> Scores:
    """The inverse of :func:`scores_to_plain`, with ``None`` as NaN wherever a number is expected."""
    return Scores(
        metrics={name: number(value) for name, value in data["metrics"].items()},
        items={name: [number(value) for value in values] for name, values in data["items"].items()},
        curves={name: [(number(x), number(y)) for x, y in points] for name, points in data["curves"].items()},
        samples=data["samples"],
        data=data.get("data", {}),
    )


@dataclass(frozen=True)
class RunDirectory:
    """A run on disk. Make one with :meth:`create` or :meth:`open`.

    Args:
        path: the directory.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, facts: Mapping[str, Any], config_yaml: str) -> "RunDirectory":
        """Begin a run in ``path``, which must be missing or empty.

        Args:
            path: the new run directory.
            facts: the content of ``run.json``; its ``arms`` and ``seeds`` say which cells there are.
            config_yaml: the resolved configuration.

        Raises:
            UserError: ``path`` is a file or a folder with something in it.
        """
        refuse_occupied(path, config_yaml)
        write_atomically(path / "config.yaml", config_yaml)
        run = cls(path)
        run.write_facts(facts)
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """The run in ``path``.

        Raises:
            UserError: there is no run in ``path``.
        """
        if not is_run(path):
            begun = (path / "config.yaml").is_file() and not (path / "run.json").exists()
            hint = f"; a start that was cut short goes on with --out {path}" if begun else ""
            raise UserError(f"{path} is not a run directory: a run has the files run.json and config.yaml{hint}")
        return cls(path)

    def facts(self) -> dict[str, Any]:
        """``run.json``: paper, preset, arms, seeds, command, commit, date, hardware, versions and so on.

        Raises:
            UserError: it is damaged.
        """
        path = self.path / "run.json"
        advice = "put back a copy of it, or begin a new run"
        facts = read_json(path, advice)
        missing = [name for name in NEEDED_FACTS if not isinstance(facts, dict) or name not in facts]
        if missing:
            raise damaged(path, f"it does not say {missing[0]}", advice)
        return dict(facts)

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Replace ``run.json``."""
        write_atomically(self.path / "run.json", to_json(facts, indent=2) + "\n")

    def config_yaml(self) -> str:
        """``config.yaml`` as text."""
        return (self.path / "config.yaml").read_text(encoding="utf-8")

    def config(self) -> dict[str, Any]:
        """``config.yaml`` as plain data.

        Raises:
            UserError: it is damaged.
        """
        return _plain_yaml(self.path / "config.yaml", "put back a copy of it, or begin a new run")

    def cell(self, arm: str, seed: int) -> Path:
        """The directory of one (arm, seed)."""
        return self.path / "cells" / arm / f"seed-{seed}"

    def shared(self, seed: int) -> Path:
        """The directory of what all arms of a seed share."""
        return self.path / "shared" / f"seed-{seed}"

    def cells(self) -> list[tuple[str, int]]:
        """Every (arm, seed) that was asked for, in the order in which they run: seed by seed, baseline first."""
        facts = self.facts()
        return cell_order(facts["arms"], facts["seeds"])

    def finished(self) -> list[tuple[str, int]]:
        """Those of :meth:`cells` whose scores are there."""
        return [cell for cell in self.cells() if self.is_finished(*cell)]

    def is_finished(self, arm: str, seed: int) -> bool:
        """Whether the scores of a cell are there."""
        return (self.cell(arm, seed) / "scores.json").exists()

    def scores(self, arm: str, seed: int) -> Scores:
        """The stored scores of a finished cell.

        Raises:
            UserError: the file is damaged.
        """
        path = self.cell(arm, seed) / "scores.json"
        advice = f"delete it, and `{resuming(self.path, self.facts()['paper'])}` measures that cell again"
        plain = read_json(path, advice)
        try:
            return scores_from_plain(plain)
        except (TypeError, KeyError, ValueError, AttributeError):
            raise damaged(path, "it does not hold the scores of a cell", advice) from None

    def write_scores(self, arm: str, seed: int, scores: Scores) -> None:
        """Store the scores of a cell, which makes it finished."""
        write_atomically(self.cell(arm, seed) / "scores.json", to_json(scores_to_plain(scores)) + "\n")

    def seconds(self, arm: str, seed: int) -> float:
        """Wall-clock seconds spent on a cell, interrupted attempts included."""
        return read_seconds(self.cell(arm, seed))

    def cost(self, cells: Sequence[tuple[str, int]]) -> dict[str, Any]:
        """Seconds of some cells, and of all of them and of what they share, as stored.

        Args:
            cells: (arm, seed) each.

        Returns:
            ``cell_seconds``, arm to seed to seconds, and ``seconds``; reports read both among a run's facts.
        """
        seconds: dict[str, dict[str, float]] = {}
        for arm, seed in cells:
            seconds.setdefault(arm, {})[str(seed)] = self.seconds(arm, seed)
        total = sum(value for row in seconds.values() for value in row.values())
        for seed in {seed for _, seed in cells}:
            total += sum(stage.seconds for stage in read_stages(self.shared(seed)).values())
        return {"cell_seconds": seconds, "seconds": round(total, 1)}


def refuse_occupied(path: Path, config_yaml: str) -> None:
    """Refuse a folder for a new run that holds something.

    A start that was killed between its first two writes leaves its configuration alone, and is begun again.

    Args:
        path: the folder.
        config_yaml: the resolved configuration.

    Raises:
        UserError: ``path`` is a file, or a folder with something in it.
    """
    if not path.exists():
        return
    if path.is_dir():
        held = [one.name for one in path.iterdir() if not is_leftover(one.name)]
        if not held or (held == ["config.yaml"] and (path / "config.yaml").read_bytes() == config_yaml.encode()):
            return
    hint = "a run is there; continue it with --resume" if is_run(path) else "allowed is a new or empty directory"
    raise UserError(f"the run directory {path} is not empty: {hint}")


def resuming(path: Path, paper: str) -> str:
    """The command that goes on with a run, as a shell takes it."""
    return shlex.join(["tenfold", "run", paper, "--resume", str(path)])


def _plain_yaml(path: Path, advice: str) -> dict[str, Any]:
    """The fields of a YAML file that tenfold wrote."""
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError):  # bytes, dates and numbers that are none
        raise damaged(path, "it is no YAML", advice) from None
    if not isinstance(plain, dict):
        raise damaged(path, "it holds no fields", advice)
    return plain


def is_run(path: Path) -> bool:
    """Whether ``path`` holds a run."""
    return (path / "run.json").is_file() and (path / "config.yaml").is_file()


def cell_order(arms: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """All (arm, seed), seed by seed, so that every finished seed has all its arms.

    Example:
        >>> cell_order(["plain", "hrm"], [0, 1])
        [('plain', 0), ('hrm', 0), ('plain', 1), ('hrm', 1)]
    """
    return [(arm, seed) for seed in seeds for arm in arms]
