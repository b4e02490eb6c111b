"""At a rate far too high, logits explode under plain Muon, and QK-Clip keeps them near its threshold at no cost."""

import statistics
import sysconfig
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from tenfold.optim import Muon, MuonClip, muon_param_groups

TAU = 20.0


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


def train(optimizer, model, steps):
    """The loss of each step; the same batches for every optimizer."""
    data = standard_library()
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 20))
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        starts = torch.randint(len(data) * 9 // 10 - 64, (8,), generator=generator)
        batch = torch.stack([data[start : start + 64] for start in starts.tolist()])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        warm_up.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def explode(tau):
    """The largest logit of each step, and the loss of the last twenty."""
    model = byte_model()
    optimizer = MuonClip(model, lr=0.03, weight_decay=0.0, tau=tau)
    losses = train(optimizer, model, 200)
    return [largest for _, largest, _ in optimizer.qk_clip.history], statistics.mean(losses[-20:])


@pytest.mark.spec("kimi_k2", "B8", "T2")
def test_the_clip_regulates_an_explosion_to_about_the_threshold():
    exploding, loss = explode(tau=float("inf"))
    regulated, clipped_loss = explode(tau=TAU)
    assert exploding[-1] > 5 * TAU
    assert max(regulated) <= 1.7 * TAU
    assert statistics.median(regulated[-50:]) <= 1.25 * TAU
    assert clipped_loss < loss + 0.02


@pytest.mark.spec("kimi_k2", "T4")
def test_where_nothing_explodes_the_clip_is_inert():
    clipped, plain = byte_model(), byte_model()
    optimizer = MuonClip(clipped, lr=3e-3, weight_decay=0.1, tau=30.0)
    losses = train(optimizer, clipped, 60)
    assert losses == train(Muon(muon_param_groups(plain, 3e-3, 0.1)), plain, 60)
    assert all(map(torch.equal, clipped.parameters(), plain.parameters()))
    assert max(largest for _, largest, _ in optimizer.qk_clip.history) < 15
