"""Puzzle files: both published layouts, bare puzzles, and one clear sentence for each way to be wrong."""

import gzip

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data import sudoku_files
from tenfold.data.sudoku import board_text
from tenfold.data.sudoku_files import read_sudoku_csv
from tenfold.data.sudoku_generator import generate

PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
SOLUTION = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
PUZZLE_ROWS = [PUZZLE[start : start + 9] for start in range(0, 81, 9)]


def written(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_solved_puzzles_with_guesses(tmp_path):
    lines = ["puzzle,solution,clues,guesses", f"{PUZZLE},{SOLUTION},30,7"]
    found = read_sudoku_csv(written(tmp_path / "a.csv", *lines))
    assert (board_text(found.puzzles[0]), board_text(found.solutions[0])) == (PUZZLE, SOLUTION)
    assert {name: values.tolist() for name, values in found.ratings.items()} == {"guesses": [7]}
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    np.testing.assert_array_equal(read_sudoku_csv(tmp_path / "a.csv.gz").puzzles, found.puzzles)


def test_sudoku_extreme_layout(tmp_path):
    found = read_sudoku_csv(
        written(tmp_path / "a.csv", "source,question,answer,rating", f"puzzles3,{PUZZLE},{SOLUTION},12")
    )
    assert board_text(found.solutions[0]) == SOLUTION
    assert found.ratings["rating"].tolist() == [12]


@pytest.mark.parametrize("header", [["puzzle"], []])
@pytest.mark.parametrize("box", [(2, 2), (2, 3), (2, 4), (3, 3)])
def test_bare_puzzles_are_solved_and_their_size_recognised(tmp_path, header, box):
    made = generate(4, box, seed=0)
    found = read_sudoku_csv(written(tmp_path / "a.csv", *header, *(board_text(board) for board in made.puzzles)))
    np.testing.assert_array_equal(found.solutions, made.solutions)
    for name in ("guesses", "rounds"):
        np.testing.assert_array_equal(found.ratings[name], made.ratings[name])


def test_a_box_that_is_given_is_used(tmp_path):
    made = generate(2, (3, 2), seed=0)
    path = written(tmp_path / "a.csv", *(board_text(board) for board in made.puzzles))
    np.testing.assert_array_equal(read_sudoku_csv(path, box=(3, 2)).solutions, made.solutions)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["puzzle", PUZZLE, PUZZLE[:-1]], "puzzle of row 2 has 80 cells, but a 9x9 board has 81"),
        (["puzzle", PUZZLE, "x" + PUZZLE[1:]], "puzzle of row 2 has 'x' in row 1, column 1"),
        (["puzzle", PUZZLE, "é" + PUZZLE[1:]], "puzzle of row 2 has 'é' in row 1, column 1"),
        (["puzzle", "55" + PUZZLE[2:]], "puzzle of row 1 has the digit 5 twice in row 1"),
        (["puzzle", "x" * 40 + "_" * 41], "puzzle of row 1 has 'x' in row 1, column 1"),
        (["puzzle,x", f"{PUZZLE},1", f"{PUZZLE},1,2"], "row 2 has 3 columns, but the columns are puzzle,x"),
        (["name,rows", f"a,{PUZZLE[:9]}"], r"no column is called puzzle; its header is name,rows\. Allowed .*quizzes"),
        (["id,boards", f"1,{PUZZLE[:-1]}"], r"no column is called puzzle; its header is id,boards"),
        ([*PUZZLE_ROWS[:4], PUZZLE_ROWS[4][:8], *PUZZLE_ROWS[5:]], "puzzle 1 has 8 cells in its row 5, but 9 above"),
        (PUZZLE_ROWS[:8], "the last puzzle has 8 rows, but a 9x9 board has 9"),
        ([f"{PUZZLE},{SOLUTION}", f"{PUZZLE},{PUZZLE}"], "solution of row 2 is no solution of its puzzle"),
        (["question,answer,rating", f"{PUZZLE},{SOLUTION},{'9' * 5000}"], "of at most 18 digits"),
        (["# only a comment", ""], "holds no puzzle"),
        (["puzzle", PUZZLE[:20]], r"puzzle of row 1 has 20 cells, but boards have 16, 36, 64, 81"),
        (["puzzle", "." * 81], "puzzle of row 1 has more than one solution"),
        (["puzzle", "12345678." + "." * 8 + "9" + "." * 63], "puzzle of row 1 has no solution"),
        (["puzzle,solution", f"{PUZZLE},{SOLUTION[::-1]}"], "solution of row 1 is no solution of its puzzle"),
        (["puzzle,solution", f"{PUZZLE},{PUZZLE}"], "solution of row 1 is no solution of its puzzle"),
        (["puzzle,solution", PUZZLE], "row 1 has 1 columns, but the columns are puzzle,solution"),
        (
            ["question,answer,rating", f"{PUZZLE},{SOLUTION},-3"],
            "rating of row 1 is '-3', but it must be a whole number",
        ),
        (["puzzle"], "holds no puzzle"),
    ],
)
def test_wrong_files_are_refused_in_one_sentence(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        read_sudoku_csv(written(tmp_path / "a.csv", *lines))


def rows_of(board, between=""):
    return [between.join(board[start : start + 9]) for start in range(0, 81, 9)]


def drawn(board):
    """As Simple Sudoku writes it: bars and lines between the boxes."""
    lines = ["|".join(row[start : start + 3] for start in (0, 3, 6)) for row in rows_of(board)]
    return [*lines[:3], "-----------", *lines[3:6], "-----------", *lines[6:]]


def framed(board):
    lines = [f" |{line}|" for line in drawn(board) if "-" not in line]
    edge = [" *-----------*"]
    return [*edge, *lines[:3], " |---+---+---|", *lines[3:6], " |---+---+---|", *lines[6:], *edge]


SPELLINGS = {
    "the million games": lambda p, s: ["quizzes,solutions", f"{p.replace('.', '0')},{s}"],
    "semicolons, capitals": lambda p, s: ["Puzzle;Solution", f"{p};{s}"],
    "tabs": lambda p, s: ["puzzle\tsolution", f"{p}\t{s}"],
    "further columns": lambda p, s: ["id, puzzle, solution, clues, difficulty", f"1, {p}, {s}, 30, 2.2"],
    "solution first": lambda p, s: ["Answer,Question", f"{s},{p}"],
    "quoted": lambda p, s: ['"quizzes","solutions"', f'"{p}","{s}"'],
    "no header, a pair": lambda p, s: [f"{p},{s}"],
    "no header, further columns": lambda p, s: [f"7,{p},{s},12"],
    "no header, blanks": lambda p, s: [f"{p} {s}"],
    "trailing blanks and delimiter": lambda p, s: ["puzzle,solution,", f"{p} ,{s}  ,"],
    "a board a line": lambda p, s: [p],
    "comments and empty lines": lambda p, s: ["# by hand", "", f"{p}  ", "#end"],
    "stars for empty cells": lambda p, s: [p.replace(".", "*")],
    "dashes for empty cells": lambda p, s: [p.replace(".", "-")],
    "nine lines": lambda p, s: rows_of(p),
    "nine lines with blanks": lambda p, s: rows_of(p.replace(".", "0"), " "),
    "nine lines with commas": lambda p, s: rows_of(p.replace(".", "0"), ","),
    "nine lines under a title": lambda p, s: ["Grid 01", *rows_of(p.replace(".", "0"))],
    "nine lines of sdk": lambda p, s: ["#ASomebody", "[Puzzle]", *rows_of(p)],
    "simple sudoku": lambda p, s: drawn(p),
    "simple sudoku, X": lambda p, s: drawn(p.replace(".", "X")),
    "a frame": lambda p, s: framed(p),
}


@pytest.mark.parametrize("ending", ["csv", "sdm", "csv.gz"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_common_spelling_is_read(tmp_path, spelling, ending):
    """Each with one board and with several, with the line ends of both systems and a byte-order mark."""
    made = generate(3, (3, 3), seed=1)
    pairs = [(board_text(made.puzzles[n]), board_text(made.solutions[n])) for n in range(3)]
    for count in (1, 3):
        written_out = [SPELLINGS[spelling](*pair) for pair in pairs[:count]]
        is_table = len(written_out[0]) == 2  # a header, which stands once
        lines = written_out[0] + [line for more in written_out[1:] for line in (more[1:] if is_table else more)]
        for end, encoding in (("\n", "utf-8"), ("\r\n", "utf-8-sig")):
            content = (end.join(lines) + end).encode(encoding)
            path = tmp_path / f"a.{ending}"
            path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
            found = read_sudoku_csv(path)
            np.testing.assert_array_equal(found.puzzles, made.puzzles[:count])
            np.testing.assert_array_equal(found.solutions, made.solutions[:count])


@pytest.mark.parametrize("box", [(2, 2), (2, 3), (2, 4)])
def test_boards_of_other_sizes_are_read_over_several_lines_too(tmp_path, box):
    made = generate(2, box, seed=1)
    n = box[0] * box[1]
    lines = [" ".join(board_text(board)[start : start + n]) for board in made.puzzles for start in range(0, n * n, n)]
    np.testing.assert_array_equal(read_sudoku_csv(written(tmp_path / "a.txt", *lines)).puzzles, made.puzzles)


def test_a_board_that_cannot_be_solved_ends_the_search(tmp_path, monkeypatch):
    """Norvig's impossible board: depth-first search walks a billion branches before it says so."""
    board = ".....5.8....6.1.43..........1.5........1.6...3.......553.....61........4........."
    monkeypatch.setattr(sudoku_files, "MOST_GUESSES", 200)
    with pytest.raises(UserError, match="200 guesses did not show that puzzle of row 2 has exactly one solution"):
        read_sudoku_csv(written(tmp_path / "a.csv", PUZZLE, board))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.csv does not exist"):
        read_sudoku_csv(tmp_path / "nowhere.csv")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match=r"is a folder, not a CSV file; a puzzle file is a \.csv or \.csv\.gz"):
        read_sudoku_csv(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_text_that_is_not_utf8_is_named_by_its_line(tmp_path, name):
    content = f"source,question,answer,rating\nA,{PUZZLE},{SOLUTION},1\ncafé,{PUZZLE},{SOLUTION},2\n"
    for encoding in ("utf-8", "utf-8-sig"):
        data = content.encode(encoding)
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        assert len(read_sudoku_csv(tmp_path / name)) == 2
    data = content.encode("latin-1")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(UserError, match=rf"{name}: line 3 is not UTF-8; allowed is UTF-8 text\.$"):
        read_sudoku_csv(tmp_path / name)


def test_a_file_that_is_not_gzip_or_not_whole_is_refused(tmp_path):
    whole = gzip.compress(f"puzzle\n{PUZZLE}\n".encode())
    for data in (PUZZLE.encode(), whole[:-9], whole[:10] + b"\x07" + whole[11:]):
        (tmp_path / "a.csv.gz").write_bytes(data)
        with pytest.raises(UserError, match=r"a\.csv\.gz is not a whole gzip file"):
            read_sudoku_csv(tmp_path / "a.csv.gz")


def test_a_file_with_endless_cells_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a\.csv is not CSV \(field larger than field limit"):
        read_sudoku_csv(written(tmp_path / "a.csv", "puzzle,solution", "." * 200_000 + ","))


def test_the_published_lists_read_whole(shared_sudoku):
    found = read_sudoku_csv(shared_sudoku / "magictour_top1465.csv.gz")
    assert len(found) == 1165
    assert found.ratings["guesses"].mean() == pytest.approx(51.9, rel=0.1)  # published means of the whole list
    assert (found.puzzles > 0).sum(axis=1).mean() == pytest.approx(22.1, abs=0.1)
