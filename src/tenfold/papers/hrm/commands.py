"""HRM's own verbs: ``solve`` a puzzle with a trained model, and ``export`` the model.

Each verb is a function that tyro reads; the target is a run directory, the folder of a training on one's own puzzles,
or a folder with an exported model.
"""

import contextlib
import io
import shutil
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenfold.core.errors import UserError
from tenfold.papers.hrm.method import num_parameters
from tenfold.papers.hrm.model_card import card, origin
from tenfold.papers.hrm.reasoner import Reasoner, Solution

Target = Annotated[Path, tyro.conf.Positional]


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
        arm: the arm of the run whose model is used.
        seed: the seed of the run whose model is used.
        segments: number of segments of reasoning; 0 for as many as in training, more to think longer.
        symmetry_votes: number of symmetries of each puzzle whose answers are put to a vote; 0 for no vote.
    """
    if not puzzle:
        raise UserError(
            f"only {str(run)!r} is given; a run and a puzzle are needed: tenfold solve hrm RUN --puzzle BOARD"
        )
    folder = model_folder(run, arm, seed)
    reasoner = loaded(folder)
    console = Console(highlight=False)
    puzzles = ["".join(text.split()) for text in puzzle]
    solutions = reasoner.solve(puzzles, segments=segments, symmetry_votes=symmetry_votes)
    for text, solution in zip(puzzles, solutions, strict=True):
        _print_solution(console, text, solution, reasoner.box)


def export(run: Target, out: Path, arm: str = "hrm", seed: int = 0) -> None:
    """Write a trained model as a folder that ``Reasoner.from_pretrained`` loads, with a card that says what it is.

    Args:
        run: a run directory.
        out: the folder to write; must not exist or be empty.
        arm: the arm of the run whose model is used.
        seed: the seed of the run whose model is used.
    """
    source = model_folder(run, arm, seed)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out is {out}, which exists and is not an empty folder")
    reasoner = loaded(source)
    about = card(reasoner.core.config, reasoner.box, num_parameters(reasoner.core), str(out)) + origin(run, arm, seed)
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    (temporary / "README.md").write_text(about, encoding="utf-8")
    if out.exists():
        out.rmdir()
    temporary.rename(out)
    print(f"wrote {out}; load it with Reasoner.from_pretrained({str(out)!r})")


def loaded(folder: Path) -> Reasoner:
    """The reasoner in a folder; anything else there is refused in one line."""
    with contextlib.redirect_stdout(io.StringIO()):  # huggingface_hub prints that it reads a local folder
        return Reasoner.from_pretrained(folder)


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
    legal = "obeys" if obeys(solution.board, puzzle, box) else "breaks"
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


def obeys(board: str, puzzle: str, box: tuple[int, int]) -> bool:
    """Whether a board keeps the givens of a puzzle and the rules of Sudoku."""
    from tenfold.data.sudoku import is_valid_solution, parse_board

    if "." in board or any(given not in ".0" and given != digit for given, digit in zip(puzzle, board, strict=True)):
        return False
    try:
        return bool(is_valid_solution(parse_board(board, box)[None], box)[0])
    except UserError:  # conflicting digits
        return False
