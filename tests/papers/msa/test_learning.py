"""What more situations teach, on a seed outside of the plan: minutes of one core."""

from dataclasses import replace

import pytest

from tenfold.core.cell import Cell
from tenfold.papers.msa.config import laptop
from tenfold.papers.msa.recipe import run

pytestmark = pytest.mark.slow

SITUATIONS = (700, 1400, 2800)
SEED = 50


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    """Errors of each way by the number of training situations, each seen as often as by the laptop preset."""
    whole, found = laptop(), {}
    for number in SITUATIONS:
        steps = whole.training.steps * number // whole.world.num_training
        training = replace(whole.training, steps=steps)
        config = replace(whole, world=replace(whole.world, num_training=number), training=training)
        folder = tmp_path_factory.mktemp(str(number))
        for arm in ("synthesis", "best_rival", "counting"):
            cell = Cell(arm=arm, seed=SEED, directory=folder / arm, shared_directory=folder / "shared", device="cpu")
            found[arm, number] = run(config, arm, SEED, cell).metrics
    return found


def test_programs_are_learned_from_fewer_situations_than_numbers(curve):
    first, second, third = SITUATIONS
    assert curve["synthesis", first]["far/failed"] > 0.5, "with few situations most programs fail"
    for number in (second, third):
        assert curve["synthesis", number]["far/w1"] < curve["best_rival", number]["far/w1"] - 3, number
    assert curve["synthesis", third]["far/w1"] < 3 and curve["synthesis", third]["far/failed"] < 0.05


def test_the_rival_gets_nearer_with_each_doubling(curve):
    errors = [curve["best_rival", number]["far/w1"] for number in SITUATIONS]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > curve["counting", SITUATIONS[0]]["far/w1"] + 3
