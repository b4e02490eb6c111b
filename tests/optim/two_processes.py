"""Trains tiny models on two processes: ``python -m torch.distributed.run … two_processes.py DIRECTORY``."""

import sys
from pathlib import Path

import torch
import torch.distributed
from tiny_models import tiny, tokens
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from tenfold.optim import MuonClip

STEPS = 3
NAMES = ("llama", "phi3", "qwen3", "deepseek_v3")
KINDS = ("ddp", "fsdp2")


def train(model, raw, rank=0, world=1):
    """Weights and clip history after some steps, each process with its part of every batch."""
    optimizer = MuonClip(raw, lr=0.02, tau=0.2, muon_options={"ns_dtype": "float32"})
    for batch in tokens(4 * STEPS, seed=5).split(4):
        part = batch.chunk(world)[rank]
        model(input_ids=part, labels=part, use_cache=False).loss.backward()
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


def work(directory):
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    for name in NAMES:
        for kind in KINDS:
            raw = tiny(name)
            model = DistributedDataParallel(raw, find_unused_parameters=True) if kind == "ddp" else shard(raw)
            torch.save(train(model, raw, rank, world), Path(directory) / f"{name}-{kind}-{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    work(sys.argv[1])
