"""At a rate far too high, logits explode under plain Muon, and QK-Clip keeps them near its threshold at no cost."""

import statistics
import sysconfig
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from tenfold.optim import MuonClip

TAU, STEPS, RATE = 20.0, 200, 0.03


def standard_library():
    """The bytes of the first sixty files of the standard library, at most a million, as tokens below 128."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:60]
    return torch.tensor(list(b"".join(file.read_bytes() for file in files)[:1_000_000])).clamp(max=127)


def byte_model():
    """Two layers of width 128 with four heads: norm before each part, rotary positions, GELU, an untied head."""
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=128,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        use_parallel_residual=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0},
        attention_bias=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPTNeoXForCausalLM(config)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.LayerNorm):
            model.set_submodule(name, nn.RMSNorm(128))
    return model.train()


def train(tau):
    """The largest logit of each step, and the loss of the last twenty."""
    model, data = byte_model(), standard_library()
    optimizer = MuonClip(model, lr=RATE, weight_decay=0.0, tau=tau)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 20))
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(STEPS):
        starts = torch.randint(len(data) * 9 // 10 - 64, (8,), generator=generator)
        batch = torch.stack([data[start : start + 64] for start in starts.tolist()])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        warm_up.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return [largest for _, largest, _ in optimizer.qk_clip.history], statistics.mean(losses[-20:])


@pytest.mark.spec("kimi_k2", "B8")
def test_the_clip_regulates_an_explosion_to_about_the_threshold():
    exploding, loss = train(tau=float("inf"))
    regulated, clipped_loss = train(tau=TAU)
    assert exploding[-1] > 5 * TAU
    assert max(regulated) <= 1.7 * TAU
    assert statistics.median(regulated[-50:]) <= 1.25 * TAU
    assert clipped_loss < loss + 0.02
