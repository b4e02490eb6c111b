"""Puzzle files: both published layouts, bare puzzles, and one clear sentence for each way to be wrong."""

import gzip

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data.sudoku import board_text
from tenfold.data.sudoku_files import read_sudoku_csv
from tenfold.data.sudoku_generator import generate

PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
SOLUTION = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"


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
        (["puzzle", PUZZLE, " " + PUZZLE], "must be 81 symbols without blanks"),
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
        read_sudoku_csv(written(tmp_path / "a.csv", "puzzle", "." * 200_000))


def test_the_published_lists_read_whole(shared_sudoku):
    found = read_sudoku_csv(shared_sudoku / "magictour_top1465.csv.gz")
    assert len(found) == 1165
    assert found.ratings["guesses"].mean() == pytest.approx(51.9, rel=0.1)  # published means of the whole list
    assert (found.puzzles > 0).sum(axis=1).mean() == pytest.approx(22.1, abs=0.1)
