"""A result with adapters is a model to begin with: the second stage goes on from the first one, or is refused."""

import copy
import json
import shutil
import warnings
from dataclasses import replace

import peft
import pytest
import torch
from language_training import SFT, cell_of, policy, sums
from safetensors.torch import load_file, save_file

from tenfold.core.errors import UserError
from tenfold.policies import load_policy
from tenfold.policies.sizes import estimate_of_model
from tenfold.train.settings import LoraSettings
from tenfold.train.sft import sft

ADAPTED = replace(SFT, steps=3, evaluate_every=0, lora=LoraSettings(rank=2))
WHOLE = replace(ADAPTED, lora=LoraSettings())
IDS = torch.arange(12).reshape(2, 6)


def logits(chosen):
    with torch.no_grad():
        return chosen.model.eval()(IDS).logits


def saved(tmp_path):
    """The first policy, in a folder."""
    policy().save(tmp_path / "base")
    return tmp_path / "base"


def stage(start, settings, folder):
    """A training from a folder into another one; what it left in memory."""
    trained = sft(load_policy(start), sums(), settings, cell_of("sft", folder / "cell"))
    trained.save(folder / "model")
    return trained


def adapted(tmp_path, config):
    """A folder with adapters of some kind, moved away from 0, and the policy in memory."""
    start = load_policy(saved(tmp_path))
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)
        model = peft.get_peft_model(start.model, copy.deepcopy(config)).eval()  # peft writes the base into it
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    made = replace(start, model=model)
    made.save(tmp_path / "adapters")
    return made, tmp_path / "adapters"


@pytest.mark.parametrize("second", [ADAPTED, WHOLE], ids=["adapters", "all weights"])
def test_the_second_stage_goes_on_from_the_first(tmp_path, second):
    base = saved(tmp_path)
    first = stage(base, ADAPTED, tmp_path / "first")
    read = load_policy(tmp_path / "first" / "model")
    torch.testing.assert_close(logits(read), logits(first), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(logits(read), logits(load_policy(base)), atol=1e-4), "not the base"
    then = stage(tmp_path / "first" / "model", second, tmp_path / "second")
    reread = load_policy(tmp_path / "second" / "model")
    torch.testing.assert_close(logits(reread), logits(then), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(logits(reread), logits(first), atol=1e-4), "trained on"


def test_what_is_merged_in_memory_can_be_trained_in_all_its_weights(tmp_path):
    merged = sft(policy(), sums(), ADAPTED, cell_of("sft", tmp_path / "first")).merged()
    assert all(parameter.requires_grad for parameter in merged.model.parameters())
    before = logits(merged)
    sft(merged, sums(), WHOLE, cell_of("sft", tmp_path / "second"))
    assert not torch.equal(logits(merged), before)
    assert merged.merged() is merged


def test_adapters_on_a_model_without_a_folder_are_saved_whole_or_not_at_all(tmp_path):
    """Made in memory, or merged there: the name of the first base would lose the first stage."""
    start = load_policy(saved(tmp_path))
    merged = sft(start, sums(), ADAPTED, cell_of("sft", tmp_path / "first")).merged()
    for number, unnamed in enumerate((merged, policy())):
        second = sft(unnamed, sums(), ADAPTED, cell_of("sft", tmp_path / f"second-{number}"))
        with pytest.raises(
            UserError, match=r"the adapters belong to a model without a folder, .*policy.merged\(\).save"
        ):
            second.save(tmp_path / "model")
        expected = logits(second)
        second.merged().save(tmp_path / "model")
        torch.testing.assert_close(logits(load_policy(tmp_path / "model")), expected, atol=1e-5, rtol=1e-4)


def test_new_adapters_on_adapters_are_refused(tmp_path):
    first = sft(policy(), sums(), ADAPTED, cell_of("sft", tmp_path / "first"))
    with pytest.raises(UserError, match=r"lora.rank = 2: the model has adapters already; fold them in with policy.mer"):
        sft(first, sums(), ADAPTED, cell_of("sft", tmp_path / "second"))


@pytest.mark.parametrize(
    "config",
    [
        peft.LoraConfig(r=1, target_modules="all-linear", task_type="CAUSAL_LM"),
        peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], use_rslora=True, task_type="CAUSAL_LM"),
        peft.LoraConfig(r=2, target_modules=["down_proj"], use_dora=True, task_type="CAUSAL_LM"),
        peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM"),
        peft.LoraConfig(r=2, target_modules=["embed_tokens", "k_proj"], task_type="CAUSAL_LM"),
        peft.IA3Config(
            target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
        ),
    ],
    ids=["lora", "rslora", "dora", "whole head", "embedding", "ia3"],
)
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
@pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`:UserWarning")
@pytest.mark.filterwarnings("ignore:Input and output embeddings are no longer tied:UserWarning")
def test_adapters_of_any_kind_that_weights_can_hold_are_read(tmp_path, config):
    made, folder = adapted(tmp_path, config)
    read = load_policy(folder)
    torch.testing.assert_close(logits(read), logits(made), atol=1e-4, rtol=1e-3)
    read.save(tmp_path / "whole")
    torch.testing.assert_close(logits(load_policy(tmp_path / "whole")), logits(read), msg="as a whole model, too")
    assert type(read.model) is type(policy().model) and all(one.requires_grad for one in read.model.parameters())
    assert estimate_of_model(str(folder))["parameters"] == policy().num_parameters


def test_a_learned_prompt_is_refused_by_name(tmp_path):
    _, folder = adapted(tmp_path, peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
    with pytest.raises(UserError, match=r"adapters of the kind PROMPT_TUNING cannot be folded into the weights"):
        load_policy(folder)


LORA = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")


def told(folder, **changes):
    """Change what the folder says about its adapters."""
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def renamed(folder, change):
    """Give the weights of adapters other names, or drop those whose new name is none."""
    file = folder / "adapter_model.safetensors"
    save_file({change(name): weight for name, weight in load_file(file).items() if change(name)}, file)


@pytest.mark.parametrize("named", ["base", "./base", "../base", "adapters/../base"])
def test_a_relative_base_is_found_from_any_folder(tmp_path, monkeypatch, named):
    made, folder = adapted(tmp_path, LORA)
    expected = logits(made)
    told(folder, base_model_name_or_path=named)
    (tmp_path / "elsewhere").mkdir()
    for place in (tmp_path, tmp_path / "elsewhere", tmp_path.parent):
        monkeypatch.chdir(place)
        torch.testing.assert_close(logits(load_policy(folder)), expected, atol=1e-4, rtol=1e-3)


def test_what_is_trained_from_a_relative_path_names_its_base_for_readers_elsewhere(tmp_path, monkeypatch):
    saved(tmp_path)
    monkeypatch.chdir(tmp_path)
    first = stage("base", ADAPTED, tmp_path / "first")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "first" / "model", tmp_path / "elsewhere" / "model")
    monkeypatch.chdir(tmp_path.parent)
    read = load_policy(tmp_path / "elsewhere" / "model")
    torch.testing.assert_close(logits(read), logits(first), atol=1e-5, rtol=1e-4)


def test_a_tokenizer_is_that_of_the_base_where_adapters_have_none(tmp_path):
    made, folder = adapted(tmp_path, LORA)
    for file in folder.glob("*token*"):
        file.unlink()
    assert load_policy(folder).encode("1+2=") == made.encode("1+2=")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: shutil.rmtree(folder.parent / "base"),
            r"names the base '.*/base', which is not there; put the",
        ),
        (
            lambda folder: told(folder, base_model_name_or_path=None),
            "base_model_name_or_path is None; needed: the mode",
        ),
        (lambda folder: told(folder, base_model_name_or_path=str(folder)), "which rests on these adapters; needed"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), r"adapter_config.json cannot be read"),
        (
            lambda folder: (folder / "adapter_model.safetensors").unlink(),
            r"holds adapter_config.json without weights; needed: adapter_model.safetensors or adapter_model.bin",
        ),
        (
            lambda folder: renamed(folder, lambda name: name.replace("q_proj", "query")),
            r"do not fit the base '.*': it lacks .*q_proj.lora_A.*; the base has no place for .*query.lora_A",
        ),
        (lambda folder: renamed(folder, lambda name: f"module.{name}"), "it lacks .* more; the base has no place for"),
        (lambda folder: renamed(folder, lambda name: None if "lora_B" in name else name), "it lacks .*lora_B"),
        (lambda folder: renamed(folder, lambda name: None), "it lacks .*lora_A"),
        (lambda folder: told(folder, target_modules=["q_proj"]), "the base has no place for .*_proj.lora_A"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"x"), "its adapters cannot be put on the"),
        (lambda folder: told(folder, r=3), "its adapters cannot be put on the base"),
        (lambda folder: told(folder, peft_type="NEW_KIND"), "its adapters cannot be put on the base"),
        (
            lambda folder: shutil.copy(folder.parent / "base" / "model.safetensors", folder),
            "holds both adapter_config.json and model.safetensors; allowed: adapters, or a whole model",
        ),
    ],
)
def test_adapters_that_cannot_be_read_are_refused_in_a_sentence(tmp_path, spoil, message):
    _, folder = adapted(tmp_path, LORA)
    spoil(folder)
    with pytest.raises(UserError, match=message):
        load_policy(folder)


def test_adapters_that_rest_on_each_other_are_refused(tmp_path):
    _, folder = adapted(tmp_path, LORA)
    shutil.copytree(folder, tmp_path / "other")
    told(folder, base_model_name_or_path=str(tmp_path / "other"))
    told(tmp_path / "other", base_model_name_or_path=str(folder))
    with pytest.raises(UserError, match="which rests on these adapters"):
        load_policy(folder)
    with pytest.raises(UserError, match="which rests on these adapters"):
        estimate_of_model(str(folder))
