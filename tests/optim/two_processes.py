"""Trains tiny models on two processes."""

from pathlib import Path

import torch
import torch.distributed
from tiny_models import tiny, tokens
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from tenfold.optim import Muon, MuonClip, muon_param_groups

STEPS = 3
NAMES = ("llama", "phi3", "qwen3", "deepseek_v3")
KINDS = ("ddp", "fsdp2", "fsdp2 in parts")


def train(model, raw, rank=0, world=1, parts=1):
    """Weights and clip history after some steps, each process with its part of every batch, which it may split."""
    optimizer = MuonClip(raw, lr=0.02, tau=0.2, muon_options={"ns_dtype": "float32"})
    for batch in tokens(4 * STEPS, seed=5).split(4):
        own = batch.chunk(world)[rank].chunk(parts)
        for number, part in enumerate(own, start=1):
            if parts > 1:
                model.set_requires_gradient_sync(number == parts)  # as accelerate does
            (model(input_ids=part, labels=part, use_cache=False).loss / parts).backward()
        optimizer.step()
        optimizer.zero_grad()
    weights = {
        name: (parameter.full_tensor() if isinstance(parameter, DTensor) else parameter).detach().clone()
        for name, parameter in raw.named_parameters()
    }
    factors = [values.tolist() for values in optimizer.qk_clip.max_logits.values()]
    return {"weights": weights, "history": optimizer.qk_clip.history, "max_logits": factors}


def shard(model):
    layers = model.model.layers
    for layer in layers:
        fully_shard(layer)
    return fully_shard(model)


def skip_nonfinite(rank):
    """Which parameters of a sharded module move, of which one's gradient is broken in the shard of one process."""
    torch.manual_seed(0)
    module = fully_shard(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)))  # a row for two processes
    optimizer = Muon(muon_param_groups(module), skip_nonfinite=True)
    before = [parameter.full_tensor().clone() for parameter in module.parameters()]
    module(torch.ones(3, 4)).sum().backward()
    if rank == 1:
        module[0].weight.grad.to_local()[0, 0] = torch.nan
    optimizer.step()
    moved = [not torch.equal(*pair) for pair in zip(before, map(DTensor.full_tensor, module.parameters()), strict=True)]
    return moved, optimizer.nonfinite_skipped


def ask_for_state(rank):
    """What a sharded model's optimizer counts after a checkpoint asked it for a state, and after a step."""
    raw = tiny("llama")
    model = shard(raw)
    optimizer = MuonClip(raw, lr=0.02, tau=0.2)
    before = [parameter.full_tensor().clone() for parameter in raw.parameters()]
    get_optimizer_state_dict(model, optimizer)
    unmoved = all(torch.equal(*pair) for pair in zip(before, map(DTensor.full_tensor, raw.parameters()), strict=True))
    asked = counts(optimizer)
    model(input_ids=tokens(2, seed=rank), labels=tokens(2, seed=rank)).loss.backward()
    optimizer.step()
    return unmoved, asked, counts(optimizer)


def counts(optimizer):
    """Steps of the clip, and those of AdamW's parameters."""
    return optimizer.qk_clip.steps, sorted(
        {int(state["step"]) for state in optimizer.state.values() if "step" in state}
    )


def work(directory):
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    for name in NAMES:
        for kind in KINDS:
            raw = tiny(name)
            model = DistributedDataParallel(raw, find_unused_parameters=True) if kind == "ddp" else shard(raw)
            result = train(model, raw, rank, world, parts=2 if kind == "fsdp2 in parts" else 1)
            torch.save(result, Path(directory) / f"{name}-{kind}-{rank}.pt")
    torch.save(skip_nonfinite(rank), Path(directory) / f"nonfinite-{rank}.pt")
    torch.save(ask_for_state(rank), Path(directory) / f"asked-{rank}.pt")
