"""What is said about named GPUs is arithmetic that can be done by hand, and no preset of the four papers lacks it."""

import importlib

import pytest

from tenfold.core import discovery
from tenfold.policies.sizes import PUBLISHED, ModelShape
from tenfold.study.gpus import MEMORY, Work, gpus_needed, lines_about, parts_of_memory, rates

SHAPE = ModelShape(1e9, layers=10, key_heads=4, head_size=128, width=2048)
WORK = Work("one reinforcement", 4.0, batch=64, pieces=8, length=1000, steps=10, checkpointing=True, rows=16)


def test_parts_are_what_one_computes_by_hand():
    parts = parts_of_memory(SHAPE, WORK, num_gpus=4)
    assert parts["weights"] == parts["gradients"] == parts["moments"] / 2 == 1e9
    assert parts["gathered"] == 2 * 2 * 1e8
    assert parts["activations"] == 2 * 1000 * (2 * 2048 * 10 + 34 * 2048)  # two rows of a piece on each GPU
    assert parts["cache"] == 16 * 1000 * 2 * 10 * 4 * 128 * 2 / 4
    assert "gathered" not in parts_of_memory(SHAPE, WORK, num_gpus=1)


def test_as_many_gpus_as_are_needed_and_no_more():
    for name in PUBLISHED:
        num_gpus = gpus_needed(PUBLISHED[name], WORK)
        assert sum(parts_of_memory(PUBLISHED[name], WORK, num_gpus).values()) <= MEMORY
        assert num_gpus == 1 or sum(parts_of_memory(PUBLISHED[name], WORK, num_gpus // 2).values()) > MEMORY


def test_rates_follow_their_assumptions():
    trained, sampled = rates(SHAPE, WORK, num_gpus=2)
    assert trained == pytest.approx(2 * 0.4 * 989e12 / 8e9)
    assert sampled == pytest.approx(2 * 16 * 0.5 * 3.35e12 / (2e9 + 16 * 500 * 2 * 10 * 4 * 128 * 2))


@pytest.mark.parametrize(
    ("study", "preset", "tasks"),
    [
        ("iw_sft/language", "paper", ("s1k",)),
        ("rlcr", "paper", ("hotpotqa", "big-math")),
        ("sem", "paper", ("qwen2.5-7b", "qwen2.5-14b")),
        ("cort", "paper", ("rl-1.5b", "sft-1.5b", "hint-engineering-rft-32b")),
        *[(study, "gpu", (None,)) for study in ("iw_sft/language", "rlcr", "sem", "cort")],
    ],
)
def test_presets_of_models_that_are_known_by_name_say_what_they_take(study, preset, tasks):
    recipe = importlib.import_module(f"tenfold.papers.{study.replace('/', '.')}.recipe")
    for task in tasks:
        lines = recipe.estimate(discovery.preset_config(study, preset, task))["gpus"]
        assert len(lines) in (4, 8) and all("nan" not in line for line in lines)
        assert "x H100 80 GB" in lines[0] and "weights" in lines[1] and lines[3].endswith("not measured")


def test_what_fits_nowhere_says_so():
    (line,) = lines_about(ModelShape(1e14, 10, 4, 128, 2048), WORK)
    assert "does not fit 1024 x H100 80 GB" in line
