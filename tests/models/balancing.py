"""A router of transformers that favours two experts, and what each of two processes does with it."""

from pathlib import Path

import torch
import torch.distributed
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter

from tenfold.models import RouterBias, kimi_k2_config

WIDTH = 16


def tokens(number, seed=0):
    return torch.randn(number, WIDTH, generator=torch.Generator().manual_seed(seed))


def router_of(**changes):
    router = DeepseekV3TopkRouter(kimi_k2_config("tiny", hidden_size=WIDTH, **changes))
    router.weight = torch.nn.Parameter(torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(3)) / WIDTH**0.5)
    return router


def balanced(form, updates, rank=0, world=1):
    """The router and its violations after updates on fresh tokens, of which each process sees its part."""
    router = router_of()
    with torch.no_grad():
        router.weight[:2, 0] += 3  # two experts for a feature that most tokens have
    balance = RouterBias(router, rate=0.01, form=form)
    violations = []
    for seed in range(updates):
        x = tokens(512, seed)
        x[:, 0] = x[:, 0].abs()
        router(x.chunk(world)[rank])
        violations.append(balance.step()["router/load_violation"])
    return router, violations


def work(directory):
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    for form in ("deepseek", "moonlight"):
        router, violations = balanced(form, 20, rank, world)
        torch.save((router.e_score_correction_bias, violations), Path(directory) / f"{form}-{rank}.pt")
