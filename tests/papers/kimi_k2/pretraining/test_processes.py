"""Two processes on the CPU compute what one does: QK-Clip and the routers' biases agree over the whole batch."""

import pytest

pytestmark = pytest.mark.alone


@pytest.fixture
def runs(by_one_and_two_processes):
    return by_one_and_two_processes("kimi_k2")


@pytest.fixture
def scores(runs):
    """The scores of arm muonclip from one process and from two."""
    return [run["arms"]["muonclip"] for run in (runs.one, runs.two[0])]


def test_every_process_saves_its_state(runs):
    assert {path.name for path in runs.folder.rglob("rank-*.pt")} == {"rank-0.pt", "rank-1.pt"}


def same(name, value):
    """Within 1e-5, of losses relative; exploding logits and their clip within 1e-3.

    Newton-Schulz enlarges rounding in small directions: after 20 steps of stress a loss of 3.4 has moved by 3.6e-5.
    """
    return pytest.approx(value, abs=1e-5, rel=1e-3 if "logit" in name or "gamma" in name else 2e-5)


def test_two_processes_have_the_losses_and_logits_of_one(scores):
    one, two = (kept["curves"] for kept in scores)
    assert list(one) == list(two) and {name.split("/")[0] for name in one} >= {"dense", "experts", "stress", "calm"}
    for name, points in one.items():
        assert two[name] == [same(name, point) for point in points], name
    assert max(value for _, value in one["stress/qk_clip/fraction_clipped"]) > 0, (
        "a clip that never acts proves nothing"
    )


def test_two_processes_have_the_results_of_one(scores):
    one, two = ({k: v for k, v in kept["metrics"].items() if not k.startswith("cost/")} for kept in scores)
    assert two == {name: same(name, value) for name, value in one.items()}
    assert scores[0]["samples"]["loads"] == scores[1]["samples"]["loads"]
