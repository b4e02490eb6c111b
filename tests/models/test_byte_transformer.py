"""The byte-level model: its parts, by closed form and invariance, and its way through transformers' own files."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from transformers import AutoModelForCausalLM

from tenfold.core.errors import UserError
from tenfold.models import byte_transformer_config


def model_of(**sizes):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(byte_transformer_config(**sizes)).eval()


def test_the_number_of_parameters_is_that_of_the_parts():
    width, layers, vocabulary = 32, 3, 50
    model = model_of(width=width, layers=layers, heads=4, vocab_size=vocabulary)
    per_layer = 4 * width * width + 2 * width * 4 * width + 2 * width
    assert sum(p.numel() for p in model.parameters()) == layers * per_layer + 2 * vocabulary * width + width


def test_head_and_embedding_are_apart_and_start_small():
    model = model_of(width=128)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.05), name


def test_the_feed_forward_layer_is_down_of_gelu_of_up():
    model = model_of(width=32)
    layer, x = model.model.layers[0].mlp, torch.randn(2, 5, 32)
    expected = torch.nn.functional.gelu(x @ layer.up_proj.weight.T) @ layer.down_proj.weight.T
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler looks, we don't
def test_a_compiled_training_step_is_one_graph_at_every_step():
    torch.compiler.reset()
    model, counter, made = model_of(width=32, layers=2).train(), CompileCounter(), []
    model.compile(backend=counter)
    for step in range(3):
        tokens = torch.randint(256, (2, 16), generator=torch.Generator().manual_seed(step))
        model(input_ids=tokens, use_cache=False).logits.square().mean().backward()
        made.append(counter.frame_count)
    assert made == [1, 1, 1]


def test_no_position_sees_a_later_one_and_each_sees_all_before():
    model, tokens = model_of(width=32), torch.randint(256, (1, 16), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 6] += 1 if tokens[0, 6] < 255 else -1
    with torch.no_grad():
        same = torch.isclose(model(tokens).logits, model(changed).logits, rtol=0, atol=1e-7).all(-1)[0]
    assert same.tolist() == [True] * 6 + [False] * 10


def test_positions_are_relative():
    model, tokens = model_of(width=32), torch.arange(40, 50)[None]
    with torch.no_grad():
        here, there = (model(tokens, position_ids=torch.arange(10)[None] + shift).logits for shift in (0, 17))
    torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-6)


def test_a_saved_model_loads_in_transformers_as_it_is(tmp_path):
    model = model_of(width=32)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(again(torch.arange(9)[None]).logits, model(torch.arange(9)[None]).logits)
    assert again.generate(torch.tensor([[65, 66]]), max_new_tokens=3, do_sample=False).shape == (1, 5)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (dict(width=60), "width = 60: must be a multiple of twice the 4 heads"),
        (dict(layers=0), "layers = 0: must be at least 1"),
        (dict(vocab_size=-1), "vocab_size = -1: must be at least 1"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        byte_transformer_config(**sizes)
