"""Presets: the published values come out of the parts, nothing is built for the paper's size, mistakes are refused."""

from dataclasses import replace

import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.papers.kimi_k2.pretraining import config as presets
from tenfold.papers.kimi_k2.pretraining import recipe
from tenfold.papers.kimi_k2.pretraining.config import DataConfig, OptimizationConfig, PartConfig
from tenfold.papers.kimi_k2.pretraining.training import model_config, schedule, trainings


def test_the_published_rate_at_the_end_of_each_phase():
    part = presets.paper().experts
    factor = schedule(part)
    ends = (500, 500 + part.stable_steps, part.steps - part.anneal_steps, part.steps)
    assert [part.muonclip_rate * factor(end) for end in ends] == pytest.approx([2e-4, 2e-4, 2e-5, 7e-6])
    assert part.muonclip_rate * factor(250) == pytest.approx(1e-4)
    assert part.steps - part.anneal_steps == pytest.approx(231_000, rel=0.005)
    assert part.batch_size * presets.paper().data.context == pytest.approx(67e6, rel=0.005)


def test_the_published_run_is_one_training_of_the_full_model_which_nothing_builds(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a full model was built")

    monkeypatch.setattr("transformers.DeepseekV3ForCausalLM.__init__", refuse)
    config = presets.paper()
    for arm in recipe.ARMS:
        assert [training.name for training in trainings(config, recipe.ARMS[arm])] == ["experts"]
    estimate = recipe.estimate(config)
    assert estimate["parameters"] == pytest.approx(1.04e12, rel=0.02)
    assert estimate["memory_bytes"] >= 16 * estimate["parameters"]


def test_the_full_model_has_no_yarn_in_pretraining():
    with torch.device("meta"):
        config = model_config("experts", presets.paper())
    assert config.rope_parameters["rope_type"] == "default" and config.rope_parameters["rope_theta"] == 50_000.0
    assert (config.vocab_size, config.max_position_embeddings) == (163_840, 4096)


def test_the_gpu_preset_has_the_sparsity_of_k2_and_reads_all_bytes():
    config = model_config("experts", presets.gpu())
    assert config.n_routed_experts / config.num_experts_per_tok == 48
    assert config.vocab_size == model_config("dense", presets.gpu()).vocab_size == 256


@pytest.mark.parametrize("preset", [presets.smoke, presets.laptop, presets.gpu])
def test_arms_differ_by_optimizer_and_rate_alone(preset):
    config = preset()
    assert config.stress.adamw_rate == config.stress.muon_rate == config.stress.muonclip_rate
    plans = {arm: trainings(config, recipe.ARMS[arm]) for arm in recipe.ARMS}
    for adamw, muon, muonclip in zip(*(plan[:3] for plan in plans.values()), strict=True):
        for other in (muon, muonclip):
            assert replace(other, optimizer="adamw", learning_rate=adamw.learning_rate) == adamw
    assert [training.name for training in plans["muonclip"][3:]] == ["calm", "calm-unobserved", "unbalanced"]
    calm, unobserved, unbalanced = plans["muonclip"][3:]
    assert replace(unobserved, name="calm", optimizer="muonclip") == calm
    assert replace(unbalanced, name="experts", bias_rate=plans["muonclip"][1].bias_rate) == plans["muonclip"][1]
    assert unbalanced.bias_rate == 0


def test_without_a_warm_up_training_starts_at_the_full_rate():
    assert schedule(PartConfig(stable_steps=3))(1) == 1.0
    assert schedule(PartConfig(warmup_steps=4, stable_steps=3))(1) == 0.25


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: replace(presets.smoke(), data=DataConfig(context=1)), r"data\.context = 1: must be at least 2"),
        (
            lambda: replace(presets.smoke(), data=DataConfig(test_windows=0)),
            r"data\.test_windows = 0: must be at least 1",
        ),
        (
            lambda: replace(presets.smoke(), dense=PartConfig(decay_steps=-1)),
            r"dense\.decay_steps = -1: must not be negative",
        ),
        (lambda: replace(presets.smoke(), calm=PartConfig(batch_size=0)), r"calm\.batch_size = 0: must be at least 1"),
        (
            lambda: replace(presets.smoke(), stress=PartConfig(batch_size=96)),
            r"stress\.batch_size = 96: does not act here; set a number of steps of stress first",
        ),
        (
            lambda: replace(presets.smoke(), optimization=OptimizationConfig(log_every=0)),
            r"optimization\.log_every = 0: must be at least 1",
        ),
        (lambda: presets.paper("k3"), "task = 'k3': must be one of k2"),
    ],
)
def test_mistakes_are_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()
