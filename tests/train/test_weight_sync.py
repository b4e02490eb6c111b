"""Weights reach those who sample bit by bit, or not at all, in each of the three ways."""

import shutil
import warnings

import pytest
import torch
import weight_pushing
from completions_server import StandIn, serving
from language_training import experts
from language_training import policy as tiny
from processes import launch
from safetensors.torch import load_file

from tenfold.core.errors import UserError
from tenfold.policies import Sampling, load_policy, rollout, served_policy
from tenfold.policies.served import ServerError
from tenfold.train.settings import LoraSettings
from tenfold.train.trl_run import make_lora, quiet
from tenfold.train.weight_sync import (
    BroadcastSync,
    CopySync,
    FolderSync,
    WeightSyncError,
    adapter_weights,
    merged_weights,
)


def changed(seed):
    """A policy whose weights differ from those of another seed in every tensor."""
    policy = tiny(seed)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.01 * (seed + 1))
    return policy


def with_adapter(seed=0):
    from peft import get_peft_model

    with quiet():
        base = tiny().model
        model = get_peft_model(base, make_lora(LoraSettings(rank=2), base))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def push(sync, model, version):
    sync.write(merged_weights(model), version)
    sync.activate(version)


def assert_equal(held, pushed):
    held, pushed = held.state_dict(), pushed.state_dict()
    assert held.keys() == pushed.keys()
    for name, tensor in pushed.items():
        assert torch.equal(held[name], tensor), name


@pytest.fixture
def stand_ins():
    return [StandIn(tiny()), StandIn(tiny())]


@pytest.fixture
def served(stand_ins):
    with serving(stand_ins[0]) as first, serving(stand_ins[1]) as second:
        yield served_policy([first, second], tiny().tokenizer, retries=0, seconds=10.0)


@pytest.fixture
def sync(served, tmp_path):
    return FolderSync(served, tmp_path / "weights")


@pytest.mark.spec("weight_sync", "W1")
def test_a_copy_is_there_bit_by_bit():
    source, target = changed(1).model, tiny().model
    copy = CopySync(dict(target.named_parameters()))
    copy.push(dict(source.named_parameters()), 7)
    assert_equal(target, source)
    assert copy.version == 7


@pytest.mark.spec("weight_sync", "W4")
def test_a_copy_that_does_not_fit_or_is_interrupted_leaves_one_whole_version():
    old = {"a": torch.zeros(2), "b": torch.zeros(3)}
    copy = CopySync(old)
    for new in ({"a": torch.ones(2)}, {"a": torch.ones(2), "b": torch.ones(4)}, {**old, "c": torch.ones(1)}):
        with pytest.raises(WeightSyncError, match=r"version 0 stays: (b|c): .* pushed, .* in use"):
            copy.push(new, 1)
    assert copy.version == 0 and not old["a"].any() and not old["b"].any()

    class Interrupting(torch.Tensor):
        def copy_(self, values):
            super().copy_(values)
            raise KeyboardInterrupt

    target = {"a": torch.zeros(2).as_subclass(Interrupting), "b": torch.zeros(3)}
    with pytest.raises(KeyboardInterrupt):
        CopySync(target).push({"a": torch.ones(2), "b": torch.ones(3)}, 1)
    assert target["b"].all(), "copied to the end"


@pytest.mark.spec("weight_sync", "W1")
def test_servers_hold_what_was_pushed_bit_by_bit(sync, stand_ins):
    for version in (3, 4):
        source = changed(version)
        push(sync, source.model, version)
        for stand_in in stand_ins:
            assert_equal(stand_in.policy.model, source.model)
        assert sync.version == version
        sync.require(version)
    assert [path.name for path in sync.folder.iterdir()] == ["version-00000004"], "the one before is gone"


def test_a_push_pauses_forgets_the_prefixes_and_goes_on(sync, stand_ins):
    push(sync, changed(1).model, 1)
    paths = [path for path, _ in stand_ins[0].calls]
    assert paths == ["/pause?mode=wait", "/collective_rpc", "/reset_prefix_cache", "/update_weight_version", "/resume"]
    assert not stand_ins[0].paused


def test_a_version_is_what_from_pretrained_reads(sync, tmp_path):
    source = changed(2)
    folder = sync.write(merged_weights(source.model), 2)
    source.tokenizer.save_pretrained(folder)
    source.model.config.save_pretrained(folder)
    assert_equal(load_policy(folder).model, source.model)


@pytest.mark.spec("weight_sync", "W4")
def test_a_push_that_breaks_off_leaves_the_old_version_in_use(sync, stand_ins):
    old = changed(1)
    push(sync, old.model, 1)
    before = rollout(sync.policy, [[9]], Sampling(5), num_samples=4)

    def breaking():
        for number, pair in enumerate(merged_weights(changed(2).model)):
            if number == 4:
                raise OSError("no space left")
            yield pair

    with pytest.raises(OSError, match="no space left"):
        sync.write(breaking(), 2)
    sync.require(1)
    for failing in ("/collective_rpc", "/update_weight_version"):
        sync.write(merged_weights(changed(2).model), 2)
        stand_ins[1].script, stand_ins[1].failing = [], {failing}
        with pytest.raises(ServerError, match="version 2 was not pushed; the servers' weights are unknown"):
            sync.activate(2)
        assert sync.version is None
        with pytest.raises(ServerError, match=r"version = None of the servers' weights; the trainer's is 1"):
            sync.require(1)
        stand_ins[1].failing = set()
        sync.activate(1)
        assert rollout(sync.policy, [[9]], Sampling(5), num_samples=4) == before


@pytest.mark.spec("weight_sync", "W4")
def test_a_server_that_cannot_read_a_version_reads_the_old_one_again(sync, stand_ins):
    old = changed(1)
    push(sync, old.model, 1)
    shutil.rmtree(sync.write(merged_weights(changed(2).model), 2))
    (sync.folder / "version-00000002").mkdir()
    ((sync.folder / "version-00000002") / "model-00000.safetensors").write_bytes(b"broken")
    plain = stand_ins[1].call

    def call(path, body):
        try:
            return plain(path, body)
        except Exception as error:  # safetensors' own
            return 500, {"error": str(error)}

    stand_ins[0].call = stand_ins[1].call = call
    with pytest.raises(ServerError, match=r"version 2 was not pushed; version 1 is in use: .*status 500"):
        sync.activate(2)
    sync.require(1)
    for stand_in in stand_ins:
        assert_equal(stand_in.policy.model, old.model)
        assert not stand_in.paused


def test_servers_that_were_started_anew_or_pushed_to_by_others_are_found_out(sync, stand_ins, tmp_path):
    push(sync, changed(1).model, 1)
    stand_ins[1].version = "default"
    with pytest.raises(ServerError, match=r"holds the weights 'default', and the trainer pushed '.*-1'"):
        sync.require(1)
    other = FolderSync(sync.policy, tmp_path / "other")
    push(other, changed(1).model, 1)
    with pytest.raises(ServerError, match="another trainer pushes to it"):
        sync.require(1)


def test_servers_that_would_keep_the_old_linear_layers_are_refused(sync, stand_ins):
    """Found on vLLM 0.32: with adapters enabled, its reload leaves the weights that they wrap as they are."""
    stand_ins[1].lora_config = {"max_lora_rank": 16}
    with pytest.raises(ServerError, match=r"was started with --enable-lora, .* push the adapter alone"):
        push(sync, changed(1).model, 1)
    assert sync.version == 0 and not stand_ins[0].calls


def test_adapters_are_folded_in_as_peft_does():
    model = with_adapter()
    merged = dict(merged_weights(model))
    expected = model.merge_and_unload().state_dict()
    assert merged.keys() == expected.keys() - {"lm_head.weight"}
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)


def vision_language():
    """A model of LLaVA's kind, whose files have other names than transformers gives."""
    import transformers

    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    vision = transformers.CLIPVisionConfig(**sizes, image_size=16, patch_size=8, projection_dim=16)
    text = transformers.LlamaConfig(**sizes, vocab_size=32)
    return transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(vision_config=vision, text_config=text))


@pytest.mark.parametrize("made", [lambda: experts().model, vision_language], ids=["experts", "vision-language"])
@pytest.mark.parametrize("adapted", [False, True])
def test_pushed_names_are_those_of_the_files_that_servers_read(tmp_path, made, adapted):
    from peft import LoraConfig, get_peft_model

    model = made()
    if adapted:
        with warnings.catch_warnings(action="ignore"):
            model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    pushed = dict(merged_weights(model))
    plain = model.merge_and_unload() if adapted else model
    plain.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert pushed.keys() == saved.keys() != plain.state_dict().keys()
    for name, tensor in saved.items():
        torch.testing.assert_close(pushed[name], tensor, rtol=0, atol=1e-6)


def test_adapters_alone_are_loaded_under_a_name_of_their_version(sync, stand_ins):
    model, base = with_adapter(), sync.policy.model
    for version in (1, 2):
        folder = sync.write_adapter(adapter_weights(model), model.peft_config["default"], version)
        sync.activate_adapter(version)
        assert sync.policy.model.startswith(f"{base}-") and sync.policy.model.endswith(f"-{version}")
        assert [*stand_ins[1].adapters.items()] == [(sync.policy.model, str(folder.resolve()))]
        sync.require(version)
    from peft import PeftModel

    with quiet():
        again = PeftModel.from_pretrained(tiny().model, folder).state_dict()
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        assert torch.equal(again[name.replace(".weight", ".default.weight")], tensor)
    assert len(rollout(sync.policy, [[9]], Sampling(3))) == 1, "the servers know the name"


@pytest.mark.spec("weight_sync", "W4")
def test_adapters_that_one_server_refuses_leave_the_old_ones_in_use(sync, stand_ins):
    model = with_adapter()
    sync.write_adapter(adapter_weights(model), model.peft_config["default"], 1)
    sync.activate_adapter(1)
    name, stand_ins[1].failing = sync.policy.model, {"/v1/load_lora_adapter"}
    sync.write_adapter(adapter_weights(model), model.peft_config["default"], 2)
    with pytest.raises(ServerError, match="status 500"):
        sync.activate_adapter(2)
    assert sync.policy.model == name and sync.version == 1 and all(name in each.adapters for each in stand_ins)


def test_what_cannot_be_merged_and_a_folder_that_cannot_be_made_are_refused(served, tmp_path):
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings(action="ignore"):
        model = get_peft_model(tiny().model, LoraConfig(r=2, target_modules=["embed_tokens"], task_type="CAUSAL_LM"))
    with pytest.raises(UserError, match=r"embed_tokens: Embedding is not merged; allowed: one LoRA adapter"):
        list(merged_weights(model))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"folder = .* cannot be made"):
        FolderSync(served, tmp_path / "file" / "weights")


@pytest.mark.alone
@pytest.mark.spec("weight_sync", "W1", "W3")
def test_broadcast_weights_are_there_bit_by_bit_from_one_sharding_to_another(tmp_path):
    launch(weight_pushing.push_between_shardings, tmp_path, folder=tmp_path)


@pytest.mark.alone
@pytest.mark.spec("weight_sync", "W1", "W3")
def test_broadcast_weights_reach_a_process_that_holds_a_part(tmp_path):
    launch(weight_pushing.push_from_one_to_the_other, tmp_path, folder=tmp_path)


@pytest.mark.alone
@pytest.mark.spec("weight_sync", "W2")
def test_a_broadcast_holds_two_buckets_and_no_more_than_the_largest_tensor_beside_them(tmp_path):
    launch(weight_pushing.push_within_memory, tmp_path, folder=tmp_path)


@pytest.mark.alone
@pytest.mark.spec("weight_sync", "W4")
def test_a_broadcast_that_breaks_off_leaves_the_old_version_in_use(tmp_path):
    launch(weight_pushing.push_what_breaks_off, tmp_path, folder=tmp_path)


@pytest.mark.alone
@pytest.mark.spec("weight_sync", "W4")
def test_a_source_that_dies_in_the_middle_leaves_the_old_version_in_use(tmp_path):
    launch(weight_pushing.push_and_die, tmp_path, folder=tmp_path)
    assert (tmp_path / "survived").exists()


def test_buckets_of_no_size_are_refused():
    with pytest.raises(UserError, match="bucket_bytes = 0"):
        BroadcastSync(bucket_bytes=0)
