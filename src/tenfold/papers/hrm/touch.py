"""HRM's tab: a Sudoku, and the board after each segment of reasoning."""

import html
from collections.abc import Iterator
from pathlib import Path

from tenfold.core.touch import Number, Tab, Text, first_finished
from tenfold.data.sudoku import Box
from tenfold.papers.hrm.commands import loaded, obeys

ARM = "hrm"


def act(run: Path, puzzle: str, segments: int) -> Iterator[str]:
    """The boards so far, once for each segment.

    Args:
        run: a run directory with a finished cell of HRM.
        puzzle: row by row, a dot or 0 for an empty cell; a fresh one where nothing is typed.
        segments: of reasoning.
    """
    cell, seed = first_finished(run, ARM)
    reasoner = loaded(cell / "model")
    assert reasoner.box is not None
    text = "".join(puzzle.split()) or _fresh_puzzle(reasoner.box)
    (solution,) = reasoner.solve([text], segments=int(segments))
    shown, previous = "", text.replace("0", ".")
    for number, board in enumerate(solution.after_segment, start=1):
        changed = sum(one != other for one, other in zip(previous, board, strict=True))
        title = f"segment {number}: {changed} cell{'' if changed == 1 else 's'} changed"
        shown += f"<figure><figcaption>{title}</figcaption>{board_html(board, text, previous, reasoner.box)}</figure>"
        previous = board
        yield f'<div class="boards">{shown}</div>'
    legal = "obeys" if obeys(solution.board, text, reasoner.box) else "breaks"
    yield (
        f'<div class="boards">{shown}</div><p>The answer <b>{legal}</b> the rules and the givens. Confidence '
        f"{solution.confidence:.2f}; the learned rule halts after segment {solution.halting_step}. "
        f"Model: arm {ARM}, seed {seed} of {html.escape(run.name)}.</p>"
    )


def board_html(board: str, puzzle: str, previous: str, box: Box) -> str:
    """A board as a table: givens bold, cells that changed in colour, boxes apart.

    Args:
        board: digits, row by row.
        puzzle: the givens.
        previous: the board before.
        box: rows and columns of a box.
    """
    height, width = box
    n = height * width
    rows = ""
    for row in range(n):
        cells = ""
        for column in range(n):
            place = row * n + column
            kind = "given" if puzzle[place] not in ".0" else "changed" if board[place] != previous[place] else ""
            edges = f"{' below' if (row + 1) % height == 0 else ''}{' right' if (column + 1) % width == 0 else ''}"
            cells += f'<td class="{kind}{edges}">{html.escape(board[place])}</td>'
        rows += f"<tr>{cells}</tr>"
    return f'<table class="board">{rows}</table>'


def _fresh_puzzle(box: Box) -> str:
    """A puzzle of a seed that no run uses."""
    from tenfold.data.sudoku import board_text
    from tenfold.data.sudoku_generator import generate

    return board_text(generate(1, box, seed=20250721).puzzles[0])


TAB = Tab(
    title="HRM",
    about="A Sudoku, solved by a model that thinks in segments: each one gives a whole board. Bold cells are given, "
    "coloured ones changed since the segment before.",
    button="Solve",
    fields={
        "puzzle": Text("Puzzle, row by row, a dot for an empty cell (empty: a fresh one)", lines=2),
        "segments": Number("Segments", 8, 1, 32),
    },
    act=act,
    study="hrm",
    arms=(ARM,),
)
