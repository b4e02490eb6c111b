"""Mazes: paths are shortest by scipy's word, splits hold no mirror images, the coding is the published one."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from tenfold.core.errors import UserError
from tenfold.data.dihedral import dihedral_transform
from tenfold.data.maze import (
    FREE,
    GOAL,
    PATH,
    START,
    WALL,
    flood,
    format_maze,
    generate_mazes,
    maze_split,
    parse_maze,
)


def scipy_steps(free):
    """All-pairs steps of one maze, [L, L], infinite where there is no way."""
    size = len(free)
    edges = np.zeros((size * size, size * size))
    for row, column in np.argwhere(free):
        for r, c in ((row + 1, column), (row, column + 1)):
            if r < size and c < size and free[r, c]:
                edges[row * size + column, r * size + c] = 1
    return shortest_path(csr_array(edges), directed=False, unweighted=True)


def test_flood_equals_scipy():
    generator = np.random.default_rng(0)
    free = generator.random((30, 7, 7)) > 0.35
    starts = np.array([generator.choice(np.flatnonzero(maze)) for maze in free])
    for maze, start, steps in zip(free, starts, flood(free, starts), strict=True):
        expected = scipy_steps(maze)[start]
        expected[~np.isfinite(expected)] = -1
        np.testing.assert_array_equal(steps, expected)


@pytest.mark.parametrize(("size", "least"), [(6, 5), (10, 18)])
def test_marked_cells_are_a_shortest_path(size, least):
    made = generate_mazes(25, size, min_path_length=least, seed=0)
    assert len(made) == 25 and (made.lengths >= least).all()
    for tokens, label, length in zip(made.inputs, made.labels, made.lengths, strict=True):
        assert [(tokens == token).sum() for token in (START, GOAL, PATH)] == [1, 1, 0]
        np.testing.assert_array_equal(np.where(label == PATH, FREE, label), tokens)
        start, goal = (int(np.flatnonzero(tokens == token)[0]) for token in (START, GOAL))
        assert scipy_steps((tokens != WALL).reshape(size, size))[start, goal] == length
        on_path = np.isin(label, (START, PATH, GOAL)).reshape(size, size)
        assert on_path.sum() == length + 1
        assert scipy_steps(on_path)[start, goal] == length


def test_walls_are_a_third_to_a_half_of_the_cells():
    made = generate_mazes(60, 20, min_path_length=60, seed=0)
    share = (made.inputs == WALL).mean(axis=1)
    assert share.min() > 0.2 and share.max() < 0.6  # 0.3 to 0.5 with the noise of 400 cells


def test_coding_is_the_published_one():
    text = "# S\n#o \nGo#"
    tokens = parse_maze(text)
    assert tokens.tolist() == [1, 2, 3, 1, 5, 2, 4, 5, 1]
    assert format_maze(tokens, 3) == text
    assert format_maze(np.zeros(4, dtype=np.uint8), 2) == "??\n??"


def test_split_holds_no_mirror_images_and_augments_training_alone():
    train, test = maze_split(5, num_train=60, num_test=40, min_path_length=4, seed=0, dihedral=True)
    assert (train.num_groups, train.num_examples, test.num_examples) == (60, 480, 40)
    assert (train.vocab_size, train.seq_len) == (6, 25)
    in_train = {row.tobytes() for row in train.inputs}
    assert not any(row.tobytes() in in_train for row in test.inputs)
    for tokens in (train.inputs, train.labels):
        originals = tokens[::8].reshape(-1, 5, 5)
        for code in range(8):
            np.testing.assert_array_equal(dihedral_transform(originals, code).reshape(-1, 25), tokens[code::8])
    plain, _ = maze_split(5, num_train=60, num_test=40, min_path_length=4, seed=0)
    np.testing.assert_array_equal(plain.inputs, train.inputs[::8])


def test_equal_seeds_give_equal_mazes():
    first, again, other = (generate_mazes(5, 8, min_path_length=8, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.labels != other.labels).any()


def test_mazes_of_the_published_size_and_length_can_be_made():
    made = generate_mazes(2, 30, min_path_length=111, seed=0)
    assert (made.lengths > 110).all() and made.inputs.shape == (2, 900)


def test_wrong_wishes_and_drawings_are_refused():
    with pytest.raises(UserError, match="min_path_length is 25 at size 5"):
        generate_mazes(1, 5, min_path_length=25, seed=0)
    with pytest.raises(UserError, match="symbol 'x'"):
        parse_maze("Sx\nG#")
    with pytest.raises(UserError, match="2 rows"):
        parse_maze("S#G\n###")
    assert len(generate_mazes(0, 5, min_path_length=3, seed=0)) == 0
