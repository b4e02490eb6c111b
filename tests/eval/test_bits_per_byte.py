"""Bits per byte: against models whose probabilities are known, transformers' own loss, and hand-made tables."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from tenfold.core.errors import UserError
from tenfold.eval.bits_per_byte import bits_per_byte, token_bits
from tenfold.models import byte_transformer_config

TABLE = np.array([[8.0, 4.0, 2.0, 1.0, 0.5], [8.0, 6.0, 4.0, 3.0, 1.5]])


class Bigram(nn.Module):
    """Predicts the next token from a table of probabilities, [this token, next token]."""

    def __init__(self, probabilities, dtype=torch.float32):
        super().__init__()
        self.logits = nn.Parameter(probabilities.log().to(dtype))

    def forward(self, input_ids, use_cache):
        return SimpleNamespace(logits=self.logits[input_ids])


def small_gpt2():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=256, n_positions=16, n_embd=32, n_layer=1, n_head=2, initializer_range=0.5)
    return GPT2LMHeadModel(config)


def test_each_token_costs_minus_log2_of_its_probability():
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [1 / 3, 1 / 3, 1 / 3]])
    bits = token_bits(Bigram(probabilities), torch.tensor([[0, 0, 1, 0], [1, 1, 2, 2]]))
    assert bits.dtype == torch.float64
    expected = [[1, 2, 3], [math.log2(4 / 3), 3, math.log2(3)]]
    np.testing.assert_allclose(bits, expected, rtol=1e-6)


def test_the_mean_is_the_loss_of_transformers():
    model = small_gpt2().eval()
    tokens = torch.randint(256, (7, 16), generator=torch.Generator().manual_seed(1))
    bits, _ = bits_per_byte(token_bits(model, tokens))
    assert bits == pytest.approx(model(input_ids=tokens, labels=tokens).loss.item() / math.log(2), rel=1e-6)


def test_batches_and_integer_types_change_nothing():
    model = small_gpt2()
    tokens = torch.randint(256, (7, 16), generator=torch.Generator().manual_seed(1))
    whole = token_bits(model, tokens)
    for other in (token_bits(model, tokens, batch_size=3), token_bits(model, tokens.to(torch.uint8))):
        torch.testing.assert_close(other, whole, rtol=1e-5, atol=1e-5)


def test_dropout_is_off_and_the_modes_come_back():
    model = small_gpt2().train()
    model.transformer.drop.eval()
    before = {name: module.training for name, module in model.named_modules()}
    tokens = torch.randint(256, (2, 16))
    torch.testing.assert_close(token_bits(model, tokens), token_bits(model, tokens), rtol=0, atol=0)
    assert {name: module.training for name, module in model.named_modules()} == before
    with pytest.raises(IndexError):
        token_bits(model, tokens + 256)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_half_precision_logits_are_summed_in_full():
    probabilities = torch.full((256, 256), 1 / 256)
    bits = token_bits(Bigram(probabilities, torch.bfloat16), torch.randint(256, (4, 50)))
    np.testing.assert_allclose(bits, 8, rtol=1e-6)


def test_a_model_that_knows_nothing_needs_eight_bits():
    model = AutoModelForCausalLM.from_config(byte_transformer_config(width=32, layers=1, heads=2))
    nn.init.zeros_(model.lm_head.weight)
    np.testing.assert_allclose(token_bits(model, torch.randint(256, (4, 20))), 8, rtol=1e-6)


@pytest.mark.parametrize(
    ("positions", "means"), [("all", [3.1, 4.5]), ("second_half", [3.5 / 3, 8.5 / 3]), ("last", [0.5, 1.5])]
)
def test_positions_and_standard_error(positions, means):
    mean, error = bits_per_byte(TABLE, positions)
    assert mean == pytest.approx(sum(means) / 2)
    assert error == pytest.approx(abs(means[0] - means[1]) / 2)  # two windows: half their distance
    assert bits_per_byte(torch.tensor(TABLE), positions) == (mean, error)


def test_one_window_has_no_standard_error():
    mean, error = bits_per_byte(TABLE[:1])
    assert mean == pytest.approx(3.1)
    assert math.isnan(error)


def test_wrong_input_is_named():
    with pytest.raises(UserError, match="positions is 'first', but it must be one of last, all, second_half"):
        bits_per_byte(TABLE, "first")
    for empty in ([[]], np.empty((0, 3)), [1.0]):
        with pytest.raises(UserError, match="token_bits have the shape"):
            bits_per_byte(empty)
    for tokens in (torch.zeros(3), torch.zeros(3, 1)):
        with pytest.raises(UserError, match="tokens have the shape"):
            token_bits(small_gpt2(), tokens)
