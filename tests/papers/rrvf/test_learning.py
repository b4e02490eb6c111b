"""What the small policy learns, at the laptop's size, on seeds outside of the plan; minutes of one core."""

import numpy as np
import pytest

from tenfold.core.cell import Cell
from tenfold.papers.rrvf.config import laptop
from tenfold.papers.rrvf.recipe import run

pytestmark = pytest.mark.slow

SEEDS = (50, 51, 52)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Metrics of an arm with a seed, each trained once; arms of a seed share their starts."""
    folder, known = tmp_path_factory.mktemp("rrvf"), {}

    def metrics(arm, seed):
        if (arm, seed) not in known:
            cell = Cell(
                arm=arm,
                seed=seed,
                directory=folder / arm / str(seed),
                shared_directory=folder / "shared" / str(seed),
                device="cpu",
            )
            scores = run(laptop(), arm, seed, cell)
            known[arm, seed] = dict(scores.metrics), scores.curves
        return known[arm, seed]

    return metrics


def gain(measured, metric, arm, baseline):
    return np.mean([measured(arm, seed)[0][metric] - measured(baseline, seed)[0][metric] for seed in SEEDS])


@pytest.mark.spec("rrvf", "B1")
def test_images_alone_raise_similarity_and_execution_on_held_out_images_and_controls_do_not(measured):
    assert gain(measured, "test/similarity", "images", "start") > 0.25
    assert gain(measured, "test/exact", "images", "start") > 0.15
    # The start runs too often for a rise of 0.10; nearly all programs run in the end.
    assert gain(measured, "test/execution", "images", "start") > 0
    assert min(measured("images", seed)[0]["test/execution"] for seed in SEEDS) > 0.97
    assert gain(measured, "test/similarity", "constant", "start") < 0.05
    assert gain(measured, "test/similarity", "shuffled", "start") < 0.05


def test_a_constant_reward_has_no_group_with_variance(measured):
    _, curves = measured("constant", SEEDS[0])
    assert {value for _, value in curves["train/without_variance"]} == {1.0}


def test_from_the_form_alone_images_teach_more_than_one_constant_program(measured):
    metrics, curves = measured("form_only", SEEDS[0])
    assert metrics["test/similarity"] > 0.45 and metrics["test/execution"] > 0.9
    assert curves["train/reward/vision"][-1][1] > curves["train/reward/vision"][0][1] + 0.15


@pytest.mark.spec("rrvf", "B2")
def test_remarks_help_at_equal_renders(measured):
    assert gain(measured, "test/exact", "words", "one_word") > 0


@pytest.mark.spec("rrvf", "B3")
def test_the_ablations_are_measured_on_the_same_images_and_differ_in_what_they_say(measured):
    """No tool part, no format part, one turn: whatever they show, the table has them, and second turns run."""
    rows = {arm: measured(arm, SEEDS[0])[0] for arm in ("words", "no_tool_reward", "no_format_reward", "images")}
    for arm, metrics in rows.items():
        assert 0 < metrics["test/similarity"] <= 1 and 0 < metrics["test/execution"] <= 1, arm
    assert len({metrics["test/similarity"] for metrics in rows.values()}) == len(rows)
    assert rows["images"]["test/first_turn_similarity"] == rows["images"]["test/similarity"], "it has one turn"
    assert rows["words"]["test/execution"] > 0.5, "the second turn is written"


@pytest.mark.spec("rrvf", "B4")
def test_images_of_a_new_domain_are_set_beside_labels_of_the_old_one_and_lose_to_many_labels_at_home(measured):
    """By how much they win in the new domain is the headline's matter; seeds differ widely."""
    assert gain(measured, "shifted/exact", "new_domain", "labels_100") > 0
    assert gain(measured, "test/exact", "labels_1000", "new_domain") > 0, "with many labels supervision wins at home"
    truth = measured("new_domain", SEEDS[0])[0]["shifted/similarity_of_the_truth"]
    assert 0.5 < truth < 0.8, "there no program scores 1"
