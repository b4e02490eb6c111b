"""HRM's own verbs: ``solve`` a puzzle, ``train`` on one's own, ``export`` a model, ``tune`` the arms' rates.

Each verb is a function that tyro reads; the target is a run directory, a folder with an exported model, or ``hrm``.
``train`` and ``tune`` go on with what is in their ``--out``, which therefore says what it is about and is refused
for anything else.
"""

import contextlib
import hashlib
import io
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenfold.core.cell import Cell
from tenfold.core.directory import claim_folder
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.papers.hrm import config as presets
from tenfold.papers.hrm.reasoner import Reasoner, Solution

Target = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True)
class OwnTraining:
    """What the folder of a ``train`` is about."""

    preset: str
    """Where sizes and rates came from."""
    arm: str
    """The model that is trained."""
    seed: int
    """Seed of split, order and weights."""
    dtype: str
    """Precision of the forward pass."""
    data_sha256: str
    """Hash of the data file; its path may change."""
    config: presets.Config
    """The resolved configuration."""


@dataclass(frozen=True)
class Tuning:
    """What the folder of a ``tune`` is about; rates may be added to it."""

    preset: str
    """The setting that is tuned."""
    seed: int
    """Seed of puzzles, order and weights."""
    ema_decay: float
    """Decay of the weight average."""
    config: presets.Config
    """The resolved configuration, its rates at their defaults."""


def solve(
    run: Target,
    puzzle: tuple[str, ...],
    arm: str = "hrm",
    seed: int = 0,
    segments: int = 0,
    symmetry_votes: int = 0,
) -> None:
    """Solve Sudokus with a trained model and print the board after each segment that changed it.

    Args:
        run: a run directory, or a folder that ``export`` or ``save_pretrained`` wrote.
        puzzle: boards, row by row, a dot or 0 for an empty cell.
        arm: which arm of the run.
        seed: which seed of the run.
        segments: segments of reasoning; 0 for as many as in training, more to think longer.
        symmetry_votes: vote over the answers to so many symmetries of each puzzle.
    """
    if not puzzle:
        raise UserError(f"of run and --puzzle only {str(run)!r} is given; usage: tenfold solve hrm RUN --puzzle BOARD")
    folder = model_folder(run, arm, seed)
    with contextlib.redirect_stdout(io.StringIO()):  # huggingface_hub prints that it reads a local folder
        reasoner = Reasoner.from_pretrained(folder)
    console = Console(highlight=False)
    puzzles = ["".join(text.split()) for text in puzzle]
    solutions = reasoner.solve(puzzles, segments=segments, symmetry_votes=symmetry_votes)
    for text, solution in zip(puzzles, solutions, strict=True):
        _print_solution(console, text, solution, reasoner.box)


def export(run: Target, out: Path, arm: str = "hrm", seed: int = 0) -> None:
    """Write a trained model as a folder that ``Reasoner.from_pretrained`` loads.

    Args:
        run: a run directory.
        out: the folder to write; must not exist or be empty.
        arm: which arm of the run.
        seed: which seed of the run.
    """
    source = model_folder(run, arm, seed)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out is {out}, which exists and is not an empty folder")
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    if out.exists():
        out.rmdir()
    temporary.rename(out)
    print(f"wrote {out}; load it with Reasoner.from_pretrained({str(out)!r})")


def train(
    data: Path,
    out: Path,
    arm: Literal["hrm", "trm"] = "hrm",
    preset: Literal["smoke", "laptop", "gpu"] = "laptop",
    steps: int | None = None,
    num_train: int | None = None,
    num_test: int | None = None,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> None:
    """Train a reasoner on Sudokus of your own; the same again goes on after an interruption, anything else is refused.

    Args:
        data: a CSV file with a column ``puzzle`` (or ``question``), and ``solution`` (or ``answer``) if known.
        out: a folder for checkpoints and, in ``model``, the trained model.
        arm: which model.
        preset: where sizes and rates come from; board size and vocabulary follow the data.
        steps: optimizer steps; by default the preset's.
        num_train: training puzzles; by default four fifths of the file.
        num_test: puzzles held out to measure on, half of them for the curve; by default the rest.
        seed: of split, order and weights.
        device: where to compute.
        dtype: precision of the forward pass.
    """
    from tenfold.papers.hrm import recipe
    from tenfold.papers.hrm.own_puzzles import config_for_file

    config = config_for_file(getattr(presets, preset)(), data, num_train, num_test, steps)
    hashed = hashlib.sha256(data.read_bytes()).hexdigest()
    about = OwnTraining(preset, arm, seed, dtype, hashed, config)
    claim_folder(out, about, "training.yaml", ignored=("config.data.files",))  # the hash of their content counts
    cell = Cell(arm=arm, seed=seed, directory=out, device=device, dtype=dtype)
    scores = recipe.run(config, arm, seed, cell)
    write_atomically(out / "scores.json", to_json(dict(scores.metrics), indent=2) + "\n")
    for name, value in scores.metrics.items():
        print(f"{name:40} {value:.4g}")
    print(f"model: {out / 'model'}; try: tenfold solve hrm {out} --puzzle …")


def tune(
    out: Path,
    preset: Literal["smoke", "laptop"] = "laptop",
    rates: tuple[float, ...] = (1e-3, 2e-3, 4e-3, 8e-3),
    ema_decay: float = 0.99,
    seed: int = 1000,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Give every arm the same grid of learning rates, with and without weight averaging, on the validation split.

    The seed is none of those that a run uses, so its puzzles are others too. Run it again to go on, or to add rates.

    Args:
        out: a folder for checkpoints and ``tuning.json``.
        preset: the setting to tune.
        rates: the grid.
        ema_decay: decay of the weight average that is compared with none.
        seed: of puzzles, order and weights.
        device: where to compute.
    """
    from tenfold.papers.hrm import recipe

    config = getattr(presets, preset)()
    unset = presets.RatesConfig()
    arms = replace(config.arms, plain_rates=unset, hrm_rates=unset, trm_rates=unset)
    claim_folder(out, Tuning(preset, seed, ema_decay, replace(config, arms=arms)), "tuning.yaml")
    rows = []
    for arm in recipe.ARMS:
        for rate in rates:
            directory = out / f"{arm}-{rate:g}"
            cell = Cell(arm=arm, seed=seed, directory=directory, device=device)
            averaged, last = recipe.validation_accuracy(config, arm, presets.RatesConfig(rate, ema_decay), seed, cell)
            rows.append({"arm": arm, "learning_rate": rate, "averaged": averaged, "last": last})
            print(f"{arm:6} rate {rate:<8g} averaged {averaged:.3f}   last weights {last:.3f}", flush=True)
            write_atomically(out / "tuning.json", to_json(rows, indent=2) + "\n")


def model_folder(run: Path, arm: str, seed: int) -> Path:
    """The folder with ``config.json`` and weights in a run directory, a ``train`` folder, or ``run`` itself."""
    candidates = [run / "cells" / arm / f"seed-{seed}" / "model", run / "model", run]
    if not run.exists():
        raise UserError(f"run is {str(run)!r}, which does not exist; allowed: a run directory or a model's folder")
    found = next((folder for folder in candidates if (folder / "config.json").is_file()), None)
    if found is None:
        trained = sorted(str(path.parent.relative_to(run)) for path in run.glob("cells/*/*/model"))
        have = ", ".join(trained) or "none"
        raise UserError(f"no trained model of arm {arm!r}, seed {seed} in {run}; trained there: {have}")
    return found


def _print_solution(console: Console, puzzle: str, solution: Solution, box: tuple[int, int] | None) -> None:
    assert box is not None
    boards, shown = Table.grid(padding=(0, 3)), []
    previous = None
    for segment, board in enumerate(solution.after_segment, start=1):
        if board != previous:
            shown.append((f"segment {segment}", _board(board, puzzle, previous, box)))
        previous = board
    if solution.board != previous:
        shown.append(("vote", _board(solution.board, puzzle, previous, box)))
    per_row = max(1, console.width // (2 * box[0] * box[1] + 2 * box[1] + 5))
    for start in range(0, len(shown), per_row):
        part = shown[start : start + per_row]
        boards.add_row(*(Text(title, style="bold") for title, _ in part))
        boards.add_row(*(board for _, board in part))
        boards.add_row("")
    console.print(boards)
    legal = "obeys" if _obeys(solution.board, puzzle, box) else "breaks"
    console.print(
        f"{solution.board}\nThe answer {legal} the rules and the givens. Confidence {solution.confidence:.2f}; "
        f"the learned rule halts after segment {solution.halting_step}."
    )


def _board(board: str, puzzle: str, previous: str | None, box: tuple[int, int]) -> Text:
    """A board with boxes; givens bold, cells that changed since the last board in colour."""
    height, width = box
    n = height * width
    text = Text()
    for cell, digit in enumerate(board):
        row, column = divmod(cell, n)
        given = puzzle[cell] not in ".0"
        changed = previous is not None and previous[cell] != digit
        text.append(f"{digit} ", style="bold" if given else "yellow" if changed else "")
        if column == n - 1:
            text.append("\n" + ("\n" if (row + 1) % height == 0 and row + 1 < n else ""))
        elif (column + 1) % width == 0:
            text.append("  ")
    return text


def _obeys(board: str, puzzle: str, box: tuple[int, int]) -> bool:
    from tenfold.data.sudoku import is_valid_solution, parse_board

    if "." in board or any(given not in ".0" and given != digit for given, digit in zip(puzzle, board, strict=True)):
        return False
    try:
        return bool(is_valid_solution(parse_board(board, box)[None], box)[0])
    except UserError:  # conflicting digits
        return False
