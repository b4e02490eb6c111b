"""The measured maxima against attention that builds all logits, for each mask and each implementation."""

import math

import pytest
import torch
import transformers
from tiny_models import measured, tiny, tokens
from torch.nn.attention.flex_attention import create_block_mask
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from tenfold.optim import Visibility, bound_logits, largest_logits, visibility

PADDED = torch.tensor([[1] * 12, [1] * 7 + [0] * 5])


def random_heads(batch=2, heads=4, key_heads=2, length=19, width=8, seed=0, keys=None):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, heads, length, width, generator=generator)
    return query, torch.randn(batch, key_heads, keys or length, width, generator=generator)


def all_logits(query, key, scaling=1.0):
    return scaling * query @ key.repeat_interleave(query.shape[1] // key.shape[1], dim=1).mT


def reference_maxima(model, input_ids, attention_mask):
    """Maxima over the pairs that transformers' additive mask leaves, rows of padding left out."""
    seen = []

    def attention(module, query, key, value, mask, scaling=None, **_):
        logits = all_logits(query, key, query.shape[-1] ** -0.5 if scaling is None else scaling)
        visible = logits + mask > torch.finfo(torch.float32).min / 2
        if attention_mask is not None:
            visible = visible & attention_mask.bool()[:, None, :, None]
        seen.append(logits.where(visible, -math.inf).amax(dim=(0, 2, 3)))
        value = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
        cap = getattr(module, "attn_logit_softcapping", None)
        logits = logits if cap is None else cap * torch.tanh(logits / cap)
        return ((logits + mask).softmax(dim=-1) @ value).transpose(1, 2), None

    AttentionInterface.register("reference", attention)
    AttentionMaskInterface.register("reference", eager_mask)
    before = model.config._attn_implementation
    model.set_attn_implementation("reference")
    model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    model.set_attn_implementation(before)
    return seen


# Flex attention compiles for a minute on a CPU, through parts of torch that torch has deprecated.
COMPILED = (pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning"))
CASES = [
    ("llama", "sdpa", None),
    ("llama", "sdpa", PADDED),
    ("llama", "sdpa", PADDED.flip(1)),
    ("llama", "eager", None),
    ("llama", "eager", PADDED),
    ("mistral", "sdpa", None),
    ("mistral", "eager", PADDED),
    ("gemma2", "eager", PADDED),
    ("gemma3", "sdpa", PADDED),
    ("deepseek_v3", "sdpa", PADDED),
    ("gpt2", "sdpa", PADDED),
    ("gpt_neox", "eager", None),
    ("opt", "sdpa", None),
    pytest.param("llama", "flex_attention", PADDED, marks=COMPILED),
    pytest.param("mistral", "flex_attention", PADDED, marks=COMPILED),
]


@pytest.mark.spec("kimi_k2", "B3")
@pytest.mark.parametrize(("name", "attention", "mask"), CASES)
def test_maxima_are_those_of_attention_that_builds_all_logits(name, attention, mask):
    model = tiny(name, attention=attention)
    with torch.no_grad():
        expected = reference_maxima(model, tokens(), mask)
        ours = measured(model, attention_mask=mask)
    for one, other in zip(ours.values(), expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.spec("kimi_k2", "B3")
@pytest.mark.parametrize("chunk_rows", [1, 5, 64])
@pytest.mark.parametrize("causal", [True, False])
def test_the_size_of_the_chunks_does_not_matter(chunk_rows, causal):
    query, key = random_heads()
    logits = all_logits(query, key, 0.3)
    if causal:
        logits = logits.masked_fill(torch.ones(19, 19).triu(1).bool(), -math.inf)
    ours = largest_logits(query, key, 0.3, Visibility(causal), chunk_rows=chunk_rows)
    torch.testing.assert_close(ours, logits.amax(dim=(0, 2, 3)))


def test_block_masks_of_flex_attention_and_masks_that_differ_by_head():
    query, key = random_heads(length=16)

    def see(batch, head, row, column):
        return (column <= row) & (row - column < 3 + head) & ((batch == 0) | (column < 9))

    dense = see(*torch.meshgrid(*(torch.arange(size) for size in (2, 4, 16, 16)), indexing="ij"))
    block_mask = create_block_mask(see, 2, 4, 16, 16, device="cpu")
    rows = dense.diagonal(dim1=2, dim2=3).any(dim=1)
    pairs = dense & rows[:, None, :, None]
    expected = all_logits(query, key).masked_fill(~pairs, -math.inf).amax(dim=(0, 2, 3))
    for mask in (dense, block_mask):
        ours = largest_logits(query, key, 1.0, visibility(mask, True, query, key), chunk_rows=5)
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("least", [-1e3, -1e4, -1e9, -math.inf, "lowest"])
def test_whatever_a_mask_adds_to_hide_hides(least, dtype):
    lowest = torch.finfo(dtype).min
    least = lowest if least == "lowest" or lowest > least > -math.inf else least
    query, key = random_heads()
    query[0, :, 3, :], key[0, :, 9, :] = 30.0, 30.0  # the loudest pair, and a hidden one
    seen = torch.ones(19, 19).tril().bool()
    mask = torch.zeros(19, 19, dtype=dtype).masked_fill(~seen, least)[None, None]
    expected = all_logits(query, key).masked_fill(~seen, -math.inf).amax(dim=(0, 2, 3))
    torch.testing.assert_close(largest_logits(query, key, 1.0, visibility(mask, False, query, key)), expected)


@pytest.mark.parametrize("seed", range(8))
def test_biases_that_do_not_hide_are_seen_beside_masks_that_do(seed):
    """Distances cost up to some hundreds (ALiBi); padding and the future cost any of the constants in use, summed."""
    generator = torch.Generator().manual_seed(seed)
    query, key = random_heads(seed=seed)
    constant = [-1e4, -1e9, torch.finfo(torch.float32).min, -65504.0][seed % 4]
    future = torch.ones(19, 19).triu(1).bool()
    padding = torch.rand(2, 1, 1, 19, generator=generator) < 0.3
    padding[..., 0] = False
    distance = (torch.arange(19)[:, None] - torch.arange(19)).clamp(min=0)
    slopes = 40 * torch.rand(1, 4, 1, 1, generator=generator)
    mask = (constant * future + constant * padding).clamp(min=torch.finfo(torch.float32).min) - slopes * distance
    hidden = (future | padding) | padding.transpose(2, 3)  # rows of padding count for nothing
    expected = all_logits(query, key).masked_fill(hidden, -math.inf).amax(dim=(0, 2, 3))
    torch.testing.assert_close(largest_logits(query, key, 1.0, visibility(mask, False, query, key)), expected)


class Crossings(TorchDispatchMode):
    """Counts copies from one device to another."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            inputs = [value for value in args if isinstance(value, torch.Tensor) and value.ndim]
            self.count += any(value.device != result.device for value in inputs)
        return result


@pytest.mark.parametrize("mode", ["exact", "bound", "sampled"])
@pytest.mark.parametrize("masked", [False, True])
def test_measuring_copies_nothing_between_host_and_device(mode, masked):
    """Tensors without memory stand for those of a device: reading one of them on the host is an error."""
    query, key = (tensor.to("meta") for tensor in random_heads(length=64))
    mask = torch.ones(2, 1, 64, 64, dtype=torch.bool, device="meta").tril() if masked else None
    with Crossings() as crossings:
        visible = visibility(mask, True, query, key)
        if mode == "bound":
            bound_logits(query, key, 1.0, visible)
        else:
            rows = torch.arange(0, 64, 3) if mode == "sampled" else None
            largest_logits(query, key, 1.0, visible, rows=rows, chunk_rows=4)
    assert crossings.count == (1 if mode == "sampled" else 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("measure", [largest_logits, bound_logits])
def test_any_precision_is_measured_in_single(measure, dtype):
    query, key = (tensor.to(dtype) for tensor in random_heads())
    expected = measure(query.float(), key.float(), 1.0, Visibility(True))
    torch.testing.assert_close(measure(query, key, 1.0, Visibility(True)), expected)


@pytest.mark.parametrize("measure", [largest_logits, bound_logits])
def test_autocast_around_the_model_does_not_round_what_is_measured(measure):
    query, key = random_heads(width=64)
    expected = measure(query, key, 1.0, Visibility(True))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(measure(query, key, 1.0, Visibility(True)), expected)


def test_rows_that_continue_a_cache_see_all_of_it():
    query, key = random_heads(length=3, keys=7)
    mask = torch.ones(3, 7).tril(4).bool()[None, None]
    expected = all_logits(query, key).masked_fill(~mask, -math.inf).amax(dim=(0, 2, 3))
    torch.testing.assert_close(largest_logits(query, key, 1.0, visibility(mask, False, query, key)), expected)


@pytest.mark.spec("kimi_k2", "B4")
@pytest.mark.parametrize("mask", [None, PADDED])
@pytest.mark.parametrize("name", ["llama", "mistral", "gemma3", "deepseek_v3", "gpt2"])
def test_the_bound_is_above_and_all_rows_sampled_are_exact(name, mask):
    model = tiny(name)
    with torch.no_grad():
        exact, bound, sampled, few = (
            torch.cat(list(measured(model, attention_mask=mask, clip=options).values()))
            for options in ({}, {"mode": "bound"}, {"mode": "sampled", "fraction": 1.0}, {"mode": "sampled"})
        )
    assert (bound >= exact).all() and (bound > exact).any()
    torch.testing.assert_close(sampled, exact, atol=0, rtol=0)
    assert (few <= exact).all() and (few < exact).any()


@pytest.mark.parametrize("first", [0, 5])
def test_padding_counts_for_nothing_in_the_bound(first):
    query, key = random_heads(batch=1, length=12)
    seen = slice(first, first + 7)
    expected = bound_logits(query[:, :, seen], key[:, :, seen], 1.0, Visibility(True))
    rows = torch.zeros(1, 12, dtype=torch.bool)
    rows[:, seen] = True
    query, key = (tensor.masked_fill(~rows[:, None, :, None], 99.0) for tensor in (query, key))
    mask = rows[:, None, :, None] & rows[:, None, None] & torch.ones(12, 12).tril().bool()
    torch.testing.assert_close(bound_logits(query, key, 1.0, visibility(mask, True, query, key)), expected)


def test_the_bound_is_at_most_a_few_times_the_exact_maximum_of_noise():
    query, key = random_heads(batch=4, length=128, width=32)
    exact = largest_logits(query, key, 1.0, Visibility(True))
    ratio = bound_logits(query, key, 1.0, Visibility(True)) / exact
    assert (ratio > 1).all() and (ratio < 3).all()


@pytest.mark.spec("kimi_k2", "B6")
def test_nothing_visible_gives_no_data():
    query, key = random_heads()
    empty = query[:0], key[:0]
    for measure in (largest_logits, bound_logits):
        assert (measure(*empty, 1.0, Visibility(True)) == -math.inf).all()
    hidden = torch.zeros(2, 1, 19, 19, dtype=torch.bool)
    assert (largest_logits(query, key, 1.0, visibility(hidden, False, query, key)) == -math.inf).all()


def test_half_precision_is_summed_in_single():
    query, key = (tensor.bfloat16() for tensor in random_heads(width=64))
    expected = all_logits(query.double(), key.double()).amax(dim=(0, 2, 3))
    ours = largest_logits(query, key, 1.0, Visibility(False))
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), expected, atol=1e-5, rtol=1e-6)


def test_the_library_versions_have_the_interface():
    assert {"sdpa", "flex_attention"} <= set(AttentionInterface().valid_keys()), transformers.__version__
