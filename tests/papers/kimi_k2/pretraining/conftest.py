"""A tiny Kimi K2, a tiny dense model, and tokens for them."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from tenfold.models import byte_transformer_config, kimi_k2_config


@pytest.fixture
def make_model():
    """A seeded model: ``"experts"`` with a router in its second layer, or ``"dense"``."""

    def make(kind="experts", seed=0):
        torch.manual_seed(seed)
        config = kimi_k2_config("tiny") if kind == "experts" else byte_transformer_config(32, 2, 4, 32, 128)
        return AutoModelForCausalLM.from_config(config)

    return make


@pytest.fixture
def make_tokens():
    """Windows of random tokens below 128."""
    return lambda count=4, length=32, seed=0: torch.randint(
        128, (count, length), generator=torch.Generator().manual_seed(seed)
    )
