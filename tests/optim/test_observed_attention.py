"""Models that share a configuration, copies, cells that run again: each is measured alone, none breaks another."""

import copy
import pickle
import random

import pytest
import torch
from tiny_models import CONFIGS, measured, tiny, tokens
from transformers import LlamaForCausalLM

from tenfold.core.errors import UserError
from tenfold.optim import MuonClip, QKClip, attention_modules, verify_layouts


def twins(config, number=2):
    """Models of one configuration object, each with weights of its own."""
    models = []
    for seed in range(number):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).train()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        models.append(model)
    assert all(model.config is config for model in models)
    return models


def alone(model):
    """What is measured of a model that shares nothing."""
    return measured(pickle.loads(pickle.dumps(model)))


def run(model):
    model(input_ids=tokens(), use_cache=False)


def check(clip, expected):
    clip.step()
    torch.testing.assert_close(clip.max_logits, expected, atol=1e-5, rtol=1e-5)


def test_two_models_of_one_configuration_are_measured_each_alone():
    one, other = twins(CONFIGS["llama"]())
    expected = [alone(model) for model in (one, other)]
    clips = [MuonClip(model, tau=1e6).qk_clip for model in (one, other)]
    for model in (one, other):
        run(model)
    for clip, maxima in zip(clips, expected, strict=True):
        check(clip, maxima)


def test_what_happens_to_one_of_them_leaves_the_other():
    config = CONFIGS["llama"]()
    one, other = twins(config)
    expected = alone(one)
    clip, other_clip = QKClip(one), QKClip(other)
    other_clip.detach()
    other.set_attn_implementation("eager")
    run(one)
    check(clip, expected)
    assert config._attn_implementation == other.config._attn_implementation == "eager"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_an_observed_model_is_measured_alone_and_is_an_ordinary_model(duplicate):
    model = tiny("llama")
    clip = MuonClip(model, tau=1e6).qk_clip
    twin = duplicate(model)
    assert all(module.config is twin.config for module in attention_modules(twin).values())
    with torch.no_grad():
        twin.model.layers[0].self_attn.q_proj.weight.mul_(3)
    twin_clip = MuonClip(twin, tau=1e6).qk_clip
    expected = alone(model), alone(twin)
    run(model)
    run(twin)
    check(clip, expected[0])
    check(twin_clip, expected[1])


def test_a_cell_that_runs_again_takes_over_and_the_former_clip_says_so():
    model = tiny("llama")
    expected = alone(model)
    former = QKClip(model)
    latter = QKClip(model)
    run(model)
    with pytest.raises(UserError, match="another QKClip was built for the model since"):
        former.step()
    former.detach()  # gives back nothing that the latter has
    check(latter, expected)


def test_the_configuration_and_what_reads_it_stay_as_they_are():
    model = tiny("llama", attention="eager")
    before = model.config.to_dict()
    QKClip(model)
    assert model.config._attn_implementation == "eager" and model.config.to_dict() == before
    module = attention_modules(model)["model.layers.0.self_attn"]
    assert module.config.hidden_size == 32
    module.config.hidden_size = 64  # written to the configuration that all share
    assert model.config.hidden_size == 64


def test_layouts_are_verified_while_a_clip_observes():
    model = tiny("llama")
    expected = alone(model)
    clip = QKClip(model)
    run(model)
    assert max(verify_layouts(model).values()) < 2e-6
    check(clip, expected)


@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_building_copying_and_switching_measures_each_model_alone(seed):
    """Some models of one configuration, and copies of them, go through random operations; then each is measured."""
    choose = random.Random(seed)
    models = twins(CONFIGS[choose.choice(["llama", "llama_multi_head"])](), number=3)
    clips = {}
    for _ in range(12):
        model = choose.choice(models)
        match choose.choice(["build", "build", "copy", "switch", "detach", "forget", "run"]):
            case "build":
                clips[model] = QKClip(model)
            case "copy":
                models.append(copy.deepcopy(model))
            case "switch":
                model.set_attn_implementation(choose.choice(["eager", "sdpa"]))
            case "detach" if model in clips:
                clips.pop(model).detach()
            case "forget":
                clips.pop(model, None)
            case "run":
                run(model)
    for model in models:
        if model not in clips:
            clips[model] = QKClip(model)
        clips[model].reset()
    expected = {model: alone(model) for model in models}
    for model in models:
        run(model)
    for model in models:
        check(clips[model], expected[model])
