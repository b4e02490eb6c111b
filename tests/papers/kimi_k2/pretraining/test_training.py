"""One training: it starts alike in every arm, saves what transformers loads, and measures what it says."""

import json
from dataclasses import replace
from statistics import mean

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from tenfold.core.cell import Cell
from tenfold.papers.kimi_k2.pretraining import config as presets
from tenfold.papers.kimi_k2.pretraining import training as pretraining
from tenfold.papers.kimi_k2.pretraining.config import PartConfig
from tenfold.papers.kimi_k2.pretraining.data import load_text
from tenfold.papers.kimi_k2.pretraining.training import Training, build, measure, pretrain


@pytest.fixture(scope="module")
def config():
    return presets.smoke()


@pytest.fixture(scope="module")
def text(config):
    return load_text(config.data)


def training(kind="experts", optimizer="muonclip", **changes):
    part = PartConfig(warmup_steps=1, stable_steps=3, batch_size=4)
    return replace(Training("name", kind, part, optimizer, 0.01, 0.01, 1), **changes)


def cell_in(directory, dtype="float32"):
    return Cell(arm="any", seed=0, directory=directory, device="cpu", dtype=dtype)


def logged(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["dense", "experts"])
def test_transformers_loads_the_trained_model_as_it_is(kind, config, text, tmp_path):
    outcome = pretrain(training(kind), config, text, 0, cell_in(tmp_path))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    assert loaded.config._attn_implementation == "sdpa"
    state, again = outcome.model.state_dict(), loaded.state_dict()
    assert state.keys() == again.keys() and all(torch.equal(state[name], again[name]) for name in state)
    assert any("e_score_correction_bias" in name for name in state) is (kind == "experts")
    with torch.no_grad():
        logits = loaded(input_ids=text.test_NT, use_cache=False).logits[:, :-1]
    expected = nn.functional.cross_entropy(logits.transpose(1, 2), text.test_NT[:, 1:], reduction="none").mean(1)
    assert outcome.losses == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.parametrize("kind", ["dense", "experts"])
def test_every_arm_begins_with_the_same_weights_and_windows(kind, config, text, tmp_path):
    first = []
    for arm in ("adamw", "muon", "muonclip"):
        pretrain(training(kind, arm), config, text, 0, cell_in(tmp_path / arm))
        first.append(logged(tmp_path / arm)[0])
    assert len({line["train/loss"] for line in first}) == len({line["qk_clip/max_logit"] for line in first}) == 1
    pretrain(training(kind), config, text, 1, cell_in(tmp_path / "another seed"))
    assert logged(tmp_path / "another seed")[0]["train/loss"] != first[0]["train/loss"]


def test_windows_follow_the_seed(config, text, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "build", lambda kind, config, seed: build(kind, config, 0))
    first = set()
    for seed in (0, 1):
        pretrain(training("dense"), config, text, seed, cell_in(tmp_path / str(seed)))
        first.add(logged(tmp_path / str(seed))[0]["train/loss"])
    assert len(first) == 2


def test_loads_are_counted_before_and_after_on_the_test_windows(config, text, tmp_path):
    outcome = pretrain(training(), config, text, 0, cell_in(tmp_path))
    _, fresh = measure(build("experts", config, 0), text.test_NT)
    [name] = fresh
    assert outcome.loads_before == {name: fresh[name].tolist()}
    assert sum(outcome.loads[name]) == sum(outcome.loads_before[name]) == 2 * text.test_NT.numel()
    assert outcome.loads != outcome.loads_before
    assert pretrain(training("dense"), config, text, 0, cell_in(tmp_path / "dense")).loads == {}


def test_bias_updates_of_rate_zero_leave_the_biases(config, text, tmp_path):
    biases = [
        pretrain(training(bias_rate=rate), config, text, 0, cell_in(tmp_path / str(rate))).model.state_dict()[
            "model.layers.1.mlp.gate.e_score_correction_bias"
        ]
        for rate in (0.0, 0.01)
    ]
    assert not biases[0].any() and biases[1].any()


def test_heads_and_loads_are_logged_at_the_steps_asked_for(config, text, tmp_path):
    pretrain(training(log_every=2), config, text, 0, cell_in(tmp_path))
    lines = {line["step"]: line for line in logged(tmp_path) if "train/loss" in line}
    assert list(lines) == [2, 4]
    assert {"qk_clip/max_logit", "logits/0.0", "logits/1.3", "router/load_violation"} <= lines[4].keys()


def test_muon_without_an_observer_has_none_in_the_model(config, text, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "prepare", None)
    pretrain(training("dense", "unobserved muon"), config, text, 0, cell_in(tmp_path))
    assert not any(key.startswith("qk_clip") for line in logged(tmp_path) for key in line)


@pytest.mark.parametrize("kind", ["dense", "experts"])
def test_a_training_in_bfloat16_is_near_that_in_float32(kind, config, text, tmp_path, forget_precision):
    losses = []
    for dtype in ("float32", "bfloat16"):
        forget_precision()
        losses.append(mean(pretrain(training(kind), config, text, 0, cell_in(tmp_path / dtype, dtype)).losses))
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.02)
