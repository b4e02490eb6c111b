"""Two processes with half of each batch end with the weights of one process with all of it."""

import pytest
import torch
from processes import launch
from tiny_models import tiny
from two_processes import KINDS, NAMES, train, work

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    directory = tmp_path_factory.mktemp("two_processes")
    launch(work, directory, folder=directory)
    return directory


def test_a_gradient_that_is_broken_in_one_shard_is_skipped_by_all(results):
    for rank in (0, 1):
        moved, skipped = torch.load(results / f"nonfinite-{rank}.pt", weights_only=True)
        assert moved == [False, True, True, True] and skipped == 1


def test_a_checkpoint_that_asks_for_a_state_takes_no_step(results):
    for rank in (0, 1):
        unmoved, asked, stepped = torch.load(results / f"asked-{rank}.pt", weights_only=True)
        assert unmoved and asked == (0, [0]) and stepped == (1, [1])


@pytest.mark.spec("kimi_k2", "B7")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_that_of_a_single_process(results, name, kind):
    model = tiny(name)
    alone = train(model, model)
    first, second = (torch.load(results / f"{name}-{kind}-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["history"] == second["history"] and first["max_logits"] == second["max_logits"]
    assert [number for *_, number in first["history"]] == [number for *_, number in alone["history"]]
    assert sum(number for *_, number in first["history"]) > 0
    torch.testing.assert_close(first["max_logits"], alone["max_logits"], atol=1e-5, rtol=1e-5)
    for key, expected in alone["weights"].items():
        assert torch.equal(first["weights"][key], second["weights"][key]), key
        torch.testing.assert_close(first["weights"][key], expected, atol=1e-6, rtol=1e-5)
